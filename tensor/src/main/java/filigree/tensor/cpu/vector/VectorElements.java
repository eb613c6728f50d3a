package filigree.tensor.cpu.vector;

import static filigree.tensor.cpu.vector.Vectors.BYTES;
import static filigree.tensor.cpu.vector.Vectors.LANES;
import static filigree.tensor.cpu.vector.Vectors.ORDER;
import static filigree.tensor.cpu.vector.Vectors.SPECIES;
import static filigree.tensor.cpu.vector.Vectors.first;
import static filigree.tensor.cpu.vector.Vectors.load;
import static filigree.tensor.cpu.vector.Vectors.splat;
import static filigree.tensor.cpu.vector.Vectors.store;

import filigree.tensor.Arithmetic;
import filigree.tensor.Elementwise;
import filigree.tensor.cpu.ElementLanes;
import filigree.tensor.cpu.Native;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/** Vector loops over elements; functions have theirs in {@link VectorFunctions}. */
final class VectorElements implements ElementLanes {
  private static final VectorSpecies<Double> DOUBLES = DoubleVector.SPECIES_PREFERRED;

  private final ElementLanes rest;

  VectorElements(ElementLanes rest) {
    this.rest = rest;
  }

  @Override
  public void map(Elementwise function, long x, long out, int n) {
    int whole = SPECIES.loopBound(n);
    switch (function) {
      case EXP -> VectorFunctions.exp(x, out, whole);
      case TANH -> VectorFunctions.tanh(x, out, whole);
      case SIGMOID -> VectorFunctions.sigmoid(x, out, whole);
      case RELU -> VectorFunctions.relu(x, out, whole);
      case SILU -> VectorFunctions.silu(x, out, whole);
      case GELU -> VectorFunctions.gelu(x, out, whole);
      case GELU_TANH -> VectorFunctions.geluTanh(x, out, whole);
      case SQUARE -> multiply(x, x, out, whole);
      case NEGATE -> scale(-1, x, out, whole);
      case ABS, SQRT, RECIPROCAL, LOG -> whole = 0;
    }
    long done = (long) whole * Float.BYTES;
    rest.map(function, x + done, out + done, n - whole);
  }

  @Override
  public void mapBackward(Elementwise function, long x, long y, long gradient, long out, int n) {
    int whole = SPECIES.loopBound(n);
    switch (function) {
      case EXP -> multiply(gradient, y, out, whole);
      case TANH -> VectorFunctions.tanhBackward(y, gradient, out, whole);
      case SIGMOID -> VectorFunctions.sigmoidBackward(y, gradient, out, whole);
      case RELU -> VectorFunctions.reluBackward(x, gradient, out, whole);
      case SILU -> VectorFunctions.siluBackward(x, gradient, out, whole);
      case GELU -> VectorFunctions.geluBackward(x, gradient, out, whole);
      case GELU_TANH -> VectorFunctions.geluTanhBackward(x, gradient, out, whole);
      case NEGATE -> scale(-1, gradient, out, whole);
      case ABS, SQUARE, SQRT, RECIPROCAL, LOG -> whole = 0;
    }
    long done = (long) whole * Float.BYTES;
    rest.mapBackward(function, x + done, y + done, gradient + done, out + done, n - whole);
  }

  @Override
  public void combine(Arithmetic op, long a, long b, long out, int n) {
    switch (op) {
      case ADD -> add(a, b, out, n);
      case SUBTRACT -> subtract(a, b, out, n);
      case MULTIPLY -> multiply(a, b, out, n);
      case DIVIDE -> divide(a, b, out, n);
    }
  }

  private static void add(long a, long b, long out, int n) {
    int i = 0;
    for (; i < SPECIES.loopBound(n); i += LANES, a += BYTES, b += BYTES, out += BYTES) {
      store(load(a).add(load(b)), out);
    }
    if (i < n) {
      VectorMask<Float> mask = first(n - i);
      store(load(a, mask).add(load(b, mask)), out, mask);
    }
  }

  private static void subtract(long a, long b, long out, int n) {
    int i = 0;
    for (; i < SPECIES.loopBound(n); i += LANES, a += BYTES, b += BYTES, out += BYTES) {
      store(load(a).sub(load(b)), out);
    }
    if (i < n) {
      VectorMask<Float> mask = first(n - i);
      store(load(a, mask).sub(load(b, mask)), out, mask);
    }
  }

  private static void multiply(long a, long b, long out, int n) {
    int i = 0;
    for (; i < SPECIES.loopBound(n); i += LANES, a += BYTES, b += BYTES, out += BYTES) {
      store(load(a).mul(load(b)), out);
    }
    if (i < n) {
      VectorMask<Float> mask = first(n - i);
      store(load(a, mask).mul(load(b, mask)), out, mask);
    }
  }

  private static void divide(long a, long b, long out, int n) {
    int i = 0;
    for (; i < SPECIES.loopBound(n); i += LANES, a += BYTES, b += BYTES, out += BYTES) {
      store(load(a).div(load(b)), out);
    }
    if (i < n) {
      VectorMask<Float> mask = first(n - i);
      store(load(a, mask).div(load(b, mask)), out, mask);
    }
  }

  @Override
  public void combineRight(Arithmetic op, long a, float b, long out, int n) {
    switch (op) {
      case ADD -> shift(a, b, out, n);
      case SUBTRACT -> shift(a, -b, out, n);
      case MULTIPLY -> scale(b, a, out, n);
      case DIVIDE -> divide(a, b, out, n);
    }
  }

  @Override
  public void combineLeft(Arithmetic op, float a, long b, long out, int n) {
    switch (op) {
      case ADD -> shift(b, a, out, n);
      case MULTIPLY -> scale(a, b, out, n);
      case SUBTRACT -> subtract(a, b, out, n);
      case DIVIDE -> rest.combineLeft(op, a, b, out, n);
    }
  }

  private static void shift(long x, float by, long out, int n) {
    int i = 0;
    for (; i < SPECIES.loopBound(n); i += LANES, x += BYTES, out += BYTES) {
      store(load(x).add(by), out);
    }
    if (i < n) {
      VectorMask<Float> mask = first(n - i);
      store(load(x, mask).add(by), out, mask);
    }
  }

  private static void subtract(float a, long b, long out, int n) {
    int i = 0;
    for (; i < SPECIES.loopBound(n); i += LANES, b += BYTES, out += BYTES) {
      store(splat(a).sub(load(b)), out);
    }
    if (i < n) {
      VectorMask<Float> mask = first(n - i);
      store(splat(a).sub(load(b, mask)), out, mask);
    }
  }

  private static void divide(long a, float b, long out, int n) {
    int i = 0;
    for (; i < SPECIES.loopBound(n); i += LANES, a += BYTES, out += BYTES) {
      store(load(a).div(b), out);
    }
    if (i < n) {
      VectorMask<Float> mask = first(n - i);
      store(load(a, mask).div(b), out, mask);
    }
  }

  @Override
  public void fill(float value, long out, int n) {
    int i = 0;
    for (; i < SPECIES.loopBound(n); i += LANES, out += BYTES) {
      store(splat(value), out);
    }
    if (i < n) {
      store(splat(value), out, first(n - i));
    }
  }

  @Override
  public void scale(float alpha, long x, long out, int n) {
    int i = 0;
    for (; i < SPECIES.loopBound(n); i += LANES, x += BYTES, out += BYTES) {
      store(load(x).mul(alpha), out);
    }
    if (i < n) {
      VectorMask<Float> mask = first(n - i);
      store(load(x, mask).mul(alpha), out, mask);
    }
  }

  @Override
  public void clip(float limit, long x, long out, int n) {
    int i = 0;
    for (; i < SPECIES.loopBound(n); i += LANES, x += BYTES, out += BYTES) {
      store(load(x).max(-limit).min(limit), out);
    }
    if (i < n) {
      VectorMask<Float> mask = first(n - i);
      store(load(x, mask).max(-limit).min(limit), out, mask);
    }
  }

  @Override
  public void clipBackward(float limit, long x, long gradient, long out, int n) {
    int whole = SPECIES.loopBound(n);
    for (int i = 0; i < whole; i += LANES, x += BYTES, gradient += BYTES, out += BYTES) {
      VectorMask<Float> within = load(x).abs().compare(VectorOperators.LE, limit);
      store(Vectors.ZERO.blend(load(gradient), within), out);
    }
    rest.clipBackward(limit, x, gradient, out, n - whole);
  }

  @Override
  public void axpy(float alpha, long x, long y, int n) {
    int i = 0;
    for (; i < SPECIES.loopBound(n); i += LANES, x += BYTES, y += BYTES) {
      store(load(x).fma(splat(alpha), load(y)), y);
    }
    if (i < n) {
      VectorMask<Float> mask = first(n - i);
      store(load(x, mask).fma(splat(alpha), load(y, mask)), y, mask);
    }
  }

  @Override
  public void addToDoubles(long x, long sums, int n) {
    int i = 0;
    long half = DOUBLES.vectorByteSize();
    for (; i < SPECIES.loopBound(n); i += LANES, x += BYTES, sums += 2 * half) {
      FloatVector floats = load(x);
      addTo(sums, (DoubleVector) floats.convertShape(VectorOperators.F2D, DOUBLES, 0));
      addTo(sums + half, (DoubleVector) floats.convertShape(VectorOperators.F2D, DOUBLES, 1));
    }
    rest.addToDoubles(x, sums, n - i);
  }

  private static void addTo(long sums, DoubleVector more) {
    DoubleVector.fromMemorySegment(DOUBLES, Native.MEMORY, sums, ORDER)
        .add(more)
        .intoMemorySegment(Native.MEMORY, sums, ORDER);
  }

  @Override
  public void adamw(AdamWConstants constants, long p, long g, long m, long v, int n) {
    int whole = SPECIES.loopBound(n);
    for (long at = 0; at < (long) whole * Float.BYTES; at += BYTES) {
      FloatVector gradient = load(g + at).mul(constants.scale());
      FloatVector mean = mean(constants, load(m + at), gradient);
      FloatVector variance = variance(constants, load(v + at), gradient);
      store(mean, m + at);
      store(variance, v + at);
      store(update(constants, load(p + at), mean, variance), p + at);
    }
    if (whole < n) {
      VectorMask<Float> mask = first(n - whole);
      long at = (long) whole * Float.BYTES;
      FloatVector gradient = load(g + at, mask).mul(constants.scale());
      FloatVector mean = mean(constants, load(m + at, mask), gradient);
      FloatVector variance = variance(constants, load(v + at, mask), gradient);
      store(mean, m + at, mask);
      store(variance, v + at, mask);
      store(update(constants, load(p + at, mask), mean, variance), p + at, mask);
    }
  }

  private static FloatVector mean(AdamWConstants c, FloatVector mean, FloatVector gradient) {
    return mean.fma(splat(c.beta1()), gradient.mul(c.rest1()));
  }

  private static FloatVector variance(AdamWConstants c, FloatVector v, FloatVector gradient) {
    return v.fma(splat(c.beta2()), gradient.mul(gradient).mul(c.rest2()));
  }

  private static FloatVector update(
      AdamWConstants c, FloatVector p, FloatVector mean, FloatVector variance) {
    FloatVector root = variance.mul(c.correction()).sqrt().add(c.epsilon());
    return p.mul(c.keep()).sub(mean.mul(c.rate()).div(root));
  }
}
