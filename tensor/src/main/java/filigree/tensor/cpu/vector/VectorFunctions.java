package filigree.tensor.cpu.vector;

import static filigree.tensor.cpu.vector.Vectors.BYTES;
import static filigree.tensor.cpu.vector.Vectors.LANES;
import static filigree.tensor.cpu.vector.Vectors.ONE;
import static filigree.tensor.cpu.vector.Vectors.ZERO;
import static filigree.tensor.cpu.vector.Vectors.load;
import static filigree.tensor.cpu.vector.Vectors.negative;
import static filigree.tensor.cpu.vector.Vectors.positive;
import static filigree.tensor.cpu.vector.Vectors.store;

import jdk.incubator.vector.FloatVector;

/**
 * One loop for each function and each derivative. They are written out because a loop that takes
 * its function as an argument would share one compiled body among all functions, and its vectors
 * would become objects.
 */
final class VectorFunctions {
  private VectorFunctions() {}

  static void exp(long x, long out, int n) {
    for (int i = 0; i < n; i += LANES, x += BYTES, out += BYTES) {
      store(Vectors.exp(load(x)), out);
    }
  }

  static void tanh(long x, long out, int n) {
    for (int i = 0; i < n; i += LANES, x += BYTES, out += BYTES) {
      store(Vectors.tanh(load(x)), out);
    }
  }

  static void sigmoid(long x, long out, int n) {
    for (int i = 0; i < n; i += LANES, x += BYTES, out += BYTES) {
      store(sigmoidOf(load(x)), out);
    }
  }

  static void relu(long x, long out, int n) {
    for (int i = 0; i < n; i += LANES, x += BYTES, out += BYTES) {
      store(reluOf(load(x)), out);
    }
  }

  static void silu(long x, long out, int n) {
    for (int i = 0; i < n; i += LANES, x += BYTES, out += BYTES) {
      store(siluOf(load(x)), out);
    }
  }

  static void gelu(long x, long out, int n) {
    for (int i = 0; i < n; i += LANES, x += BYTES, out += BYTES) {
      store(geluOf(load(x)), out);
    }
  }

  static void geluTanh(long x, long out, int n) {
    for (int i = 0; i < n; i += LANES, x += BYTES, out += BYTES) {
      store(geluTanhOf(load(x)), out);
    }
  }

  private static FloatVector sigmoidOf(FloatVector x) {
    return Vectors.sigmoid(Vectors.decay(x), negative(x));
  }

  private static FloatVector reluOf(FloatVector x) {
    return x.blend(ZERO, negative(x));
  }

  private static FloatVector siluOf(FloatVector x) {
    return sigmoidOf(x).mul(x);
  }

  private static FloatVector geluOf(FloatVector x) {
    return Vectors.normalCdf(x, Vectors.bell(x)).mul(x);
  }

  private static FloatVector geluTanhOf(FloatVector x) {
    return sigmoidOf(Vectors.geluArgument(x)).mul(x);
  }

  static void tanhBackward(long y, long gradient, long out, int n) {
    for (int i = 0; i < n; i += LANES, y += BYTES, gradient += BYTES, out += BYTES) {
      store(tanhSlope(load(y)).mul(load(gradient)), out);
    }
  }

  static void sigmoidBackward(long y, long gradient, long out, int n) {
    for (int i = 0; i < n; i += LANES, y += BYTES, gradient += BYTES, out += BYTES) {
      store(sigmoidSlope(load(y)).mul(load(gradient)), out);
    }
  }

  static void reluBackward(long x, long gradient, long out, int n) {
    for (int i = 0; i < n; i += LANES, x += BYTES, gradient += BYTES, out += BYTES) {
      store(reluSlope(load(x)).mul(load(gradient)), out);
    }
  }

  static void siluBackward(long x, long gradient, long out, int n) {
    for (int i = 0; i < n; i += LANES, x += BYTES, gradient += BYTES, out += BYTES) {
      store(siluSlope(load(x)).mul(load(gradient)), out);
    }
  }

  static void geluBackward(long x, long gradient, long out, int n) {
    for (int i = 0; i < n; i += LANES, x += BYTES, gradient += BYTES, out += BYTES) {
      store(geluSlope(load(x)).mul(load(gradient)), out);
    }
  }

  static void geluTanhBackward(long x, long gradient, long out, int n) {
    for (int i = 0; i < n; i += LANES, x += BYTES, gradient += BYTES, out += BYTES) {
      store(geluTanhSlope(load(x)).mul(load(gradient)), out);
    }
  }

  private static FloatVector tanhSlope(FloatVector y) {
    return ONE.sub(y.mul(y));
  }

  private static FloatVector sigmoidSlope(FloatVector y) {
    return ONE.sub(y).mul(y);
  }

  private static FloatVector reluSlope(FloatVector x) {
    return ZERO.blend(ONE, positive(x));
  }

  private static FloatVector siluSlope(FloatVector x) {
    FloatVector decay = Vectors.decay(x);
    return Vectors.sigmoidSlope(decay).fma(x, Vectors.sigmoid(decay, negative(x)));
  }

  private static FloatVector geluSlope(FloatVector x) {
    FloatVector bell = Vectors.bell(x);
    return Vectors.normalDensity(bell).fma(x, Vectors.normalCdf(x, bell));
  }

  private static FloatVector geluTanhSlope(FloatVector x) {
    FloatVector u = Vectors.geluArgument(x);
    FloatVector decay = Vectors.decay(u);
    FloatVector rise = Vectors.sigmoidSlope(decay).mul(Vectors.geluArgumentSlope(x));
    return rise.fma(x, Vectors.sigmoid(decay, negative(u)));
  }
}
