package filigree.tensor.cpu.vector;

import static filigree.tensor.cpu.Native.putInt;
import static filigree.tensor.cpu.vector.Vectors.BYTES;
import static filigree.tensor.cpu.vector.Vectors.LANES;
import static filigree.tensor.cpu.vector.Vectors.LOWEST;
import static filigree.tensor.cpu.vector.Vectors.ONE;
import static filigree.tensor.cpu.vector.Vectors.ZERO;
import static filigree.tensor.cpu.vector.Vectors.expNegative;
import static filigree.tensor.cpu.vector.Vectors.first;
import static filigree.tensor.cpu.vector.Vectors.load;
import static filigree.tensor.cpu.vector.Vectors.negative;
import static filigree.tensor.cpu.vector.Vectors.positive;
import static filigree.tensor.cpu.vector.Vectors.sigmoidSlope;
import static filigree.tensor.cpu.vector.Vectors.splat;
import static filigree.tensor.cpu.vector.Vectors.store;
import static filigree.tensor.cpu.vector.Vectors.zero;

import filigree.tensor.cpu.GateLanes;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/**
 * Vector loops over gates. Rows of scores have room for whole vectors: scores beyond the end are
 * set to minus infinity, which adds nothing to any sum, and gradients there are rubbish that nobody
 * reads.
 */
final class VectorGates implements GateLanes {
  // What a float accumulator may add before it goes to a double: BLOCK / LANES numbers.
  private static final int BLOCK = 1024;

  @Override
  public void uniforms(NoiseRow row, long out, int n) {
    VectorPhilox.uniforms(row, out, n);
  }

  @Override
  public double exp(long s, float shift, long out, int n) {
    padWithLowest(s, n);
    double sum = 0;
    for (int from = 0; from < n; from += BLOCK) {
      long at = (long) from * Float.BYTES;
      sum += expBlock(s + at, shift, out + at, Math.min(BLOCK, n - from));
    }
    return sum;
  }

  private static double expBlock(long s, float shift, long out, int n) {
    FloatVector shifts = splat(shift);
    FloatVector sum = zero();
    for (int i = 0; i < n; i += LANES, s += BYTES, out += BYTES) {
      FloatVector e = expNegative(load(s).sub(shifts));
      store(e, out);
      sum = sum.add(e);
    }
    return Vectors.sum(sum);
  }

  @Override
  public void decay(long s, float bias, long decay, int n) {
    padWithLowest(s, n);
    FloatVector biases = splat(bias);
    for (int i = 0; i < n; i += LANES, s += BYTES, decay += BYTES) {
      store(Vectors.decay(load(s).add(biases)), decay);
    }
  }

  private static void padWithLowest(long s, int n) {
    if (n % LANES != 0) {
      long last = s + n / LANES * BYTES;
      store(LOWEST.blend(load(last), first(n % LANES)), last);
    }
  }

  @Override
  public void hard(GateRow row, int n, RowSums sums) {
    sums.clear();
    for (int from = 0; from < n; from += BLOCK) {
      hardBlock(row, from, Math.min(n, from + BLOCK), sums);
    }
  }

  private static void hardBlock(GateRow row, int from, int to, RowSums sums) {
    FloatVector biases = splat(row.bias());
    FloatVector probability = zero();
    int open = 0;
    long at = (long) from * Float.BYTES;
    for (int i = from; i < to; i += LANES, at += BYTES) {
      FloatVector z = load(row.s() + at).add(biases);
      VectorMask<Float> gate = positive(z);
      probability = probability.add(Vectors.sigmoid(load(row.decay() + at), negative(z)));
      open += gate.trueCount();
      store(ZERO.blend(load(row.weight() + at), gate), row.s() + at);
    }
    sums.probability += Vectors.sum(probability);
    sums.open += open;
  }

  @Override
  public void soft(GateRow row, int n, RowSums sums) {
    sums.clear();
    for (int from = 0; from < n; from += BLOCK) {
      softBlock(row, from, Math.min(n, from + BLOCK), sums);
    }
  }

  private static void softBlock(GateRow row, int from, int to, RowSums sums) {
    FloatVector biases = splat(row.bias());
    FloatVector probability = zero();
    int open = 0;
    long at = (long) from * Float.BYTES;
    for (int i = from; i < to; i += LANES, at += BYTES) {
      FloatVector z = load(row.s() + at).add(biases);
      FloatVector gate = Vectors.sigmoid(load(row.decay() + at), negative(z));
      probability = probability.add(gate);
      open += positive(z).trueCount();
      store(gate.mul(load(row.weight() + at)), row.s() + at);
    }
    sums.probability += Vectors.sum(probability);
    sums.open += open;
  }

  @Override
  public void sampled(GateRow row, int n, RowSums sums) {
    sums.clear();
    for (int from = 0; from < n; from += BLOCK) {
      sampledBlock(row, from, Math.min(n, from + BLOCK), sums);
    }
  }

  private static void sampledBlock(GateRow row, int from, int to, RowSums sums) {
    FloatVector biases = splat(row.bias());
    FloatVector probability = zero();
    int open = 0;
    long at = (long) from * Float.BYTES;
    for (int i = from; i < to; i += LANES, at += BYTES) {
      FloatVector z = load(row.s() + at).add(biases);
      FloatVector decay = load(row.decay() + at);
      VectorMask<Float> negative = negative(z);
      VectorMask<Float> gate = sample(decay, negative, load(row.u() + at));
      probability = probability.add(Vectors.sigmoid(decay, negative));
      open += positive(z).trueCount();
      store(ZERO.blend(load(row.weight() + at), gate), row.s() + at);
    }
    sums.probability += Vectors.sum(probability);
    sums.open += open;
  }

  private static VectorMask<Float> sample(
      FloatVector decay, VectorMask<Float> negative, FloatVector u) {
    return oddsFor(decay, negative, u).compare(VectorOperators.GT, oddsAgainst(decay, negative, u));
  }

  private static FloatVector oddsFor(FloatVector decay, VectorMask<Float> negative, FloatVector u) {
    return u.blend(u.mul(decay), negative);
  }

  private static FloatVector oddsAgainst(
      FloatVector decay, VectorMask<Float> negative, FloatVector u) {
    FloatVector against = ONE.sub(u);
    return against.mul(decay).blend(against, negative);
  }

  @Override
  public void openBackward(long s, long g, float logSumExp, float d, int n) {
    FloatVector shifts = splat(logSumExp);
    FloatVector ds = splat(d);
    for (int i = 0; i < n; i += LANES, s += BYTES, g += BYTES) {
      FloatVector p = expNegative(load(s).sub(shifts));
      store(p, s);
      store(load(g).sub(ds).mul(p), g);
    }
  }

  @Override
  public void hardBackward(GateRow row, long g, float d, float density, int n) {
    FloatVector biases = splat(row.bias());
    FloatVector ds = splat(d);
    FloatVector densities = splat(density);
    for (long i = 0, at = 0; i < n; i += LANES, at += BYTES) {
      FloatVector p = load(row.weight() + at);
      FloatVector slope = sigmoidSlope(load(row.decay() + at));
      VectorMask<Float> gate = positive(load(row.s() + at).add(biases));
      store(ZERO.blend(p, gate), row.s() + at);
      FloatVector through = slope.blend(slope.add(ONE), gate).mul(load(g + at)).sub(ds);
      store(through.mul(p).add(slope.mul(densities)), g + at);
    }
  }

  @Override
  public void softBackward(GateRow row, long g, float d, float density, int n) {
    FloatVector biases = splat(row.bias());
    FloatVector ds = splat(d);
    FloatVector densities = splat(density);
    for (long i = 0, at = 0; i < n; i += LANES, at += BYTES) {
      FloatVector p = load(row.weight() + at);
      FloatVector decay = load(row.decay() + at);
      FloatVector slope = sigmoidSlope(decay);
      FloatVector gate = Vectors.sigmoid(decay, negative(load(row.s() + at).add(biases)));
      store(gate.mul(p), row.s() + at);
      FloatVector through = slope.add(gate).mul(load(g + at)).sub(ds);
      store(through.mul(p).add(slope.mul(densities)), g + at);
    }
  }

  @Override
  public void sampledBackward(GateRow row, long g, float d, float density, int n) {
    FloatVector biases = splat(row.bias());
    FloatVector ds = splat(d);
    FloatVector densities = splat(density);
    for (long i = 0, at = 0; i < n; i += LANES, at += BYTES) {
      FloatVector p = load(row.weight() + at);
      FloatVector decay = load(row.decay() + at);
      VectorMask<Float> negative = negative(load(row.s() + at).add(biases));
      FloatVector u = load(row.u() + at);
      FloatVector odds = oddsFor(decay, negative, u);
      FloatVector against = oddsAgainst(decay, negative, u);
      VectorMask<Float> gate = odds.compare(VectorOperators.GT, against);
      store(ZERO.blend(p, gate), row.s() + at);
      FloatVector slope = slopeOfOdds(odds, against);
      FloatVector through = slope.blend(slope.add(ONE), gate).mul(load(g + at)).sub(ds);
      store(through.mul(p).add(sigmoidSlope(decay).mul(densities)), g + at);
    }
  }

  private static FloatVector slopeOfOdds(FloatVector odds, FloatVector against) {
    FloatVector sum = odds.add(against);
    return odds.mul(against).div(sum.mul(sum));
  }

  @Override
  public int open(long weights, int n, long indices) {
    long to = indices;
    for (int i = 0; i < n; i += LANES, weights += BYTES) {
      VectorMask<Float> inRow = first(n - i);
      long open = load(weights, inRow).compare(VectorOperators.NE, ZERO, inRow).toLong();
      for (; open != 0; open &= open - 1, to += Integer.BYTES) {
        putInt(to, i + Long.numberOfTrailingZeros(open));
      }
    }
    return (int) ((to - indices) / Integer.BYTES);
  }

  @Override
  public void hardGates(long z, long out, int n) {
    for (int i = 0; i < n; i += LANES, z += BYTES, out += BYTES) {
      VectorMask<Float> mask = first(n - i);
      store(ZERO.blend(ONE, positive(load(z, mask))), out, mask);
    }
  }

  @Override
  public void softGates(long z, long out, int n) {
    for (int i = 0; i < n; i += LANES, z += BYTES, out += BYTES) {
      VectorMask<Float> mask = first(n - i);
      FloatVector logit = load(z, mask);
      store(Vectors.sigmoid(Vectors.decay(logit), negative(logit)), out, mask);
    }
  }

  @Override
  public void sampledGates(long z, long u, long out, int n) {
    for (int i = 0; i < n; i += LANES, z += BYTES, u += BYTES, out += BYTES) {
      VectorMask<Float> mask = first(n - i);
      FloatVector logit = load(z, mask);
      store(ZERO.blend(ONE, sample(Vectors.decay(logit), negative(logit), load(u))), out, mask);
    }
  }

  @Override
  public void hardGatesBackward(long z, long gradient, long out, int n) {
    for (int i = 0; i < n; i += LANES, z += BYTES, gradient += BYTES, out += BYTES) {
      VectorMask<Float> mask = first(n - i);
      store(sigmoidSlope(Vectors.decay(load(z, mask))).mul(load(gradient, mask)), out, mask);
    }
  }

  @Override
  public void sampledGatesBackward(long z, long u, long gradient, long out, int n) {
    for (long i = 0, at = 0; i < n; i += LANES, at += BYTES) {
      VectorMask<Float> mask = first((int) (n - i));
      FloatVector logit = load(z + at, mask);
      FloatVector decay = Vectors.decay(logit);
      VectorMask<Float> negative = negative(logit);
      FloatVector uniform = load(u + at);
      FloatVector slope =
          slopeOfOdds(oddsFor(decay, negative, uniform), oddsAgainst(decay, negative, uniform));
      store(slope.mul(load(gradient + at, mask)), out + at, mask);
    }
  }
}
