package filigree.tensor.cpu.vector;

import static filigree.tensor.cpu.vector.Vectors.BYTES;
import static filigree.tensor.cpu.vector.Vectors.LANES;
import static filigree.tensor.cpu.vector.Vectors.LOWEST;
import static filigree.tensor.cpu.vector.Vectors.SPECIES;
import static filigree.tensor.cpu.vector.Vectors.ZERO;
import static filigree.tensor.cpu.vector.Vectors.expNegative;
import static filigree.tensor.cpu.vector.Vectors.first;
import static filigree.tensor.cpu.vector.Vectors.load;
import static filigree.tensor.cpu.vector.Vectors.splat;
import static filigree.tensor.cpu.vector.Vectors.store;
import static filigree.tensor.cpu.vector.Vectors.zero;

import filigree.tensor.cpu.RowLanes;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/** Vector loops over a row. */
final class VectorRows implements RowLanes {
  // Float accumulators add at most BLOCK / LANES numbers each before they go to a double.
  private static final int BLOCK = 1024;
  private static final VectorSpecies<Double> DOUBLES = DoubleVector.SPECIES_PREFERRED;

  private final RowLanes rest;

  VectorRows(RowLanes rest) {
    this.rest = rest;
  }

  @Override
  public double sum(long x, int n) {
    DoubleVector low = DoubleVector.zero(DOUBLES);
    DoubleVector high = DoubleVector.zero(DOUBLES);
    int i = 0;
    for (; i < SPECIES.loopBound(n); i += LANES, x += BYTES) {
      FloatVector value = load(x);
      low = low.add(lower(value));
      high = high.add(upper(value));
    }
    if (i < n) {
      FloatVector value = load(x, first(n - i));
      low = low.add(lower(value));
      high = high.add(upper(value));
    }
    return Vectors.sum(low.add(high));
  }

  @Override
  public double sumOfSquares(long x, int n) {
    DoubleVector low = DoubleVector.zero(DOUBLES);
    DoubleVector high = DoubleVector.zero(DOUBLES);
    int i = 0;
    for (; i < SPECIES.loopBound(n); i += LANES, x += BYTES) {
      FloatVector value = load(x);
      low = lower(value).fma(lower(value), low);
      high = upper(value).fma(upper(value), high);
    }
    if (i < n) {
      FloatVector value = load(x, first(n - i));
      low = lower(value).fma(lower(value), low);
      high = upper(value).fma(upper(value), high);
    }
    return Vectors.sum(low.add(high));
  }

  private static DoubleVector lower(FloatVector value) {
    return (DoubleVector) value.convertShape(VectorOperators.F2D, DOUBLES, 0);
  }

  private static DoubleVector upper(FloatVector value) {
    return (DoubleVector) value.convertShape(VectorOperators.F2D, DOUBLES, 1);
  }

  @Override
  public double squaredDeviations(long x, float mean, int n) {
    double sum = 0;
    for (int from = 0; from < n; from += BLOCK) {
      sum += squaredBlock(x + (long) from * Float.BYTES, mean, Math.min(BLOCK, n - from));
    }
    return sum;
  }

  private static double squaredBlock(long x, float mean, int n) {
    FloatVector sum0 = zero();
    FloatVector sum1 = zero();
    int i = 0;
    for (; i <= n - 2 * LANES; i += 2 * LANES, x += 2 * BYTES) {
      FloatVector d0 = load(x).sub(mean);
      FloatVector d1 = load(x + BYTES).sub(mean);
      sum0 = d0.fma(d0, sum0);
      sum1 = d1.fma(d1, sum1);
    }
    for (; i < n; i += LANES, x += BYTES) {
      VectorMask<Float> mask = first(n - i);
      FloatVector d = ZERO.blend(load(x, mask).sub(mean), mask);
      sum0 = d.fma(d, sum0);
    }
    return Vectors.sum(sum0.add(sum1));
  }

  @Override
  public double dot(long x, long y, int n) {
    double sum = 0;
    for (int from = 0; from < n; from += BLOCK) {
      long at = (long) from * Float.BYTES;
      sum += dotBlock(x + at, y + at, Math.min(BLOCK, n - from));
    }
    return sum;
  }

  private static double dotBlock(long x, long y, int n) {
    FloatVector sum0 = zero();
    FloatVector sum1 = zero();
    int i = 0;
    for (; i <= n - 2 * LANES; i += 2 * LANES, x += 2 * BYTES, y += 2 * BYTES) {
      sum0 = load(x).fma(load(y), sum0);
      sum1 = load(x + BYTES).fma(load(y + BYTES), sum1);
    }
    for (; i < n; i += LANES, x += BYTES, y += BYTES) {
      VectorMask<Float> mask = first(n - i);
      sum0 = load(x, mask).fma(load(y, mask), sum0);
    }
    return Vectors.sum(sum0.add(sum1));
  }

  @Override
  public double dotShifted(long x, long y, long z, float shift, int n) {
    double sum = 0;
    for (int from = 0; from < n; from += BLOCK) {
      long at = (long) from * Float.BYTES;
      sum += dotShiftedBlock(x + at, y + at, z + at, shift, Math.min(BLOCK, n - from));
    }
    return sum;
  }

  private static double dotShiftedBlock(long x, long y, long z, float shift, int n) {
    FloatVector sum = zero();
    int i = 0;
    for (; i < SPECIES.loopBound(n); i += LANES, x += BYTES, y += BYTES, z += BYTES) {
      sum = load(x).mul(load(y)).fma(load(z).sub(shift), sum);
    }
    if (i < n) {
      // Lanes beyond the row hold 0 in x and y.
      VectorMask<Float> mask = first(n - i);
      sum = load(x, mask).mul(load(y, mask)).fma(load(z, mask).sub(shift), sum);
    }
    return Vectors.sum(sum);
  }

  @Override
  public float max(long x, int n) {
    FloatVector max = splat(Float.NEGATIVE_INFINITY);
    int i = 0;
    for (; i < SPECIES.loopBound(n); i += LANES, x += BYTES) {
      max = Vectors.greater(max, load(x));
    }
    if (i < n) {
      VectorMask<Float> mask = first(n - i);
      max = Vectors.greater(max, LOWEST.blend(load(x, mask), mask));
    }
    return max.reduceLanes(VectorOperators.MAX);
  }

  @Override
  public double exp(long x, float shift, long out, int n) {
    int whole = SPECIES.loopBound(n);
    double sum = 0;
    for (int from = 0; from < whole; from += BLOCK) {
      long at = (long) from * Float.BYTES;
      sum += expBlock(x + at, shift, out + at, Math.min(BLOCK, whole - from));
    }
    long done = (long) whole * Float.BYTES;
    return sum + rest.exp(x + done, shift, out + done, n - whole);
  }

  private static double expBlock(long x, float shift, long out, int n) {
    FloatVector shifts = splat(shift);
    FloatVector sum = zero();
    for (int i = 0; i < n; i += LANES, x += BYTES, out += BYTES) {
      FloatVector e = expNegative(load(x).sub(shifts));
      store(e, out);
      sum = sum.add(e);
    }
    return Vectors.sum(sum);
  }

  @Override
  public double sumExp(long x, float shift, int n) {
    int whole = SPECIES.loopBound(n);
    double sum = 0;
    for (int from = 0; from < whole; from += BLOCK) {
      sum += sumExpBlock(x + (long) from * Float.BYTES, shift, Math.min(BLOCK, whole - from));
    }
    return sum + rest.sumExp(x + (long) whole * Float.BYTES, shift, n - whole);
  }

  private static double sumExpBlock(long x, float shift, int n) {
    FloatVector shifts = splat(shift);
    FloatVector sum = zero();
    for (int i = 0; i < n; i += LANES, x += BYTES) {
      sum = sum.add(expNegative(load(x).sub(shifts)));
    }
    return Vectors.sum(sum);
  }

  @Override
  public void expScaled(long x, float shift, float factor, long out, int n) {
    FloatVector shifts = splat(shift);
    FloatVector factors = splat(factor);
    int i = 0;
    for (; i < SPECIES.loopBound(n); i += LANES, x += BYTES, out += BYTES) {
      store(expNegative(load(x).sub(shifts)).mul(factors), out);
    }
    rest.expScaled(x, shift, factor, out, n - i);
  }

  @Override
  public void addExpScaled(long x, float shift, float factor, long out, int n) {
    FloatVector shifts = splat(shift);
    FloatVector factors = splat(factor);
    int i = 0;
    for (; i < SPECIES.loopBound(n); i += LANES, x += BYTES, out += BYTES) {
      store(expNegative(load(x).sub(shifts)).mul(factors).add(load(out)), out);
    }
    rest.addExpScaled(x, shift, factor, out, n - i);
  }

  @Override
  public double divergence(long s, float shiftS, long t, float shiftT, int n) {
    int whole = SPECIES.loopBound(n);
    double sum = 0;
    for (int from = 0; from < whole; from += BLOCK) {
      long at = (long) from * Float.BYTES;
      sum += divergenceBlock(s + at, shiftS, t + at, shiftT, Math.min(BLOCK, whole - from));
    }
    long done = (long) whole * Float.BYTES;
    return sum + rest.divergence(s + done, shiftS, t + done, shiftT, n - whole);
  }

  private static double divergenceBlock(long s, float shiftS, long t, float shiftT, int n) {
    FloatVector difference = splat(shiftT - shiftS);
    FloatVector shiftsT = splat(shiftT);
    FloatVector sum = zero();
    for (int i = 0; i < n; i += LANES, s += BYTES, t += BYTES) {
      FloatVector teacher = load(t);
      FloatVector p = expNegative(teacher.sub(shiftsT));
      FloatVector term = teacher.sub(load(s)).sub(difference).mul(p);
      sum = sum.add(term.blend(ZERO, p.compare(VectorOperators.EQ, ZERO)));
    }
    return Vectors.sum(sum);
  }

  @Override
  public void softmaxBackward(long y, long gradient, float d, long out, int n) {
    int i = 0;
    for (; i < SPECIES.loopBound(n); i += LANES, y += BYTES, gradient += BYTES, out += BYTES) {
      store(load(gradient).sub(d).mul(load(y)), out);
    }
    if (i < n) {
      VectorMask<Float> mask = first(n - i);
      store(load(gradient, mask).sub(d).mul(load(y, mask)), out, mask);
    }
  }

  @Override
  public void normalise(
      long x, float mean, float inverse, long weight, long bias, long out, int n) {
    long at = 0;
    for (; at < BYTES * (n / LANES); at += BYTES) {
      FloatVector normal = load(x + at).sub(mean).mul(inverse);
      store(normal.fma(load(weight + at), load(bias + at)), out + at);
    }
    if (n % LANES != 0) {
      VectorMask<Float> mask = first(n % LANES);
      FloatVector normal = load(x + at, mask).sub(mean).mul(inverse);
      store(normal.fma(load(weight + at, mask), load(bias + at, mask)), out + at, mask);
    }
  }

  @Override
  public void normaliseByRoot(long x, float inverse, long weight, long out, int n) {
    int i = 0;
    for (; i < SPECIES.loopBound(n); i += LANES, x += BYTES, weight += BYTES, out += BYTES) {
      store(load(x).mul(inverse).mul(load(weight)), out);
    }
    if (i < n) {
      VectorMask<Float> mask = first(n - i);
      store(load(x, mask).mul(inverse).mul(load(weight, mask)), out, mask);
    }
  }

  @Override
  public void normBackward(NormRow row, long weight, long dweight, int n) {
    long x = row.x();
    long gradient = row.gradient();
    long dx = row.dx();
    long at = 0;
    for (; at < BYTES * (n / LANES); at += BYTES) {
      FloatVector normal = load(x + at).sub(row.mean()).mul(row.inverse());
      FloatVector g = load(gradient + at);
      store(g.fma(normal, load(dweight + at)), dweight + at);
      store(normDx(row, normal, g.mul(load(weight + at))), dx + at);
    }
    if (n % LANES != 0) {
      VectorMask<Float> mask = first(n % LANES);
      FloatVector normal = load(x + at, mask).sub(row.mean()).mul(row.inverse());
      FloatVector g = load(gradient + at, mask);
      store(g.fma(normal, load(dweight + at, mask)), dweight + at, mask);
      store(normDx(row, normal, g.mul(load(weight + at, mask))), dx + at, mask);
    }
  }

  private static FloatVector normDx(NormRow row, FloatVector normal, FloatVector weighted) {
    return normal.fma(splat(-row.b()), weighted.sub(row.a())).mul(row.inverse());
  }

  @Override
  public void rotate(long x, long cos, long sin, float sign, long out, int n) {
    long half = (long) n * Float.BYTES;
    long at = 0;
    for (; at < BYTES * (n / LANES); at += BYTES) {
      FloatVector a = load(x + at);
      FloatVector b = load(x + half + at);
      FloatVector c = load(cos + at);
      FloatVector s = load(sin + at).mul(sign);
      store(a.mul(c).sub(b.mul(s)), out + at);
      store(b.mul(c).add(a.mul(s)), out + half + at);
    }
    if (n % LANES != 0) {
      VectorMask<Float> mask = first(n % LANES);
      FloatVector a = load(x + at, mask);
      FloatVector b = load(x + half + at, mask);
      FloatVector c = load(cos + at, mask);
      FloatVector s = load(sin + at, mask).mul(sign);
      store(a.mul(c).sub(b.mul(s)), out + at, mask);
      store(b.mul(c).add(a.mul(s)), out + half + at, mask);
    }
  }
}
