package filigree.tensor.cpu;

import static filigree.tensor.cpu.Native.getDouble;
import static filigree.tensor.cpu.Native.getFloat;
import static filigree.tensor.cpu.Native.putDouble;
import static filigree.tensor.cpu.Native.putFloat;

import filigree.tensor.Arithmetic;
import filigree.tensor.Elementwise;

/** Plain loops over elements. */
final class ScalarElements implements ElementLanes {
  @Override
  public void map(Elementwise function, long x, long out, int n) {
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      putFloat(out + at, (float) value(function, getFloat(x + at)));
    }
  }

  private static double value(Elementwise function, double x) {
    return switch (function) {
      case GELU -> x * ScalarMath.normalCdf(x);
      case NEGATE, ABS, SQUARE, SQRT, RECIPROCAL, EXP, LOG, TANH, SIGMOID, RELU, SILU, GELU_TANH ->
          function.value(x);
    };
  }

  @Override
  public void mapBackward(Elementwise function, long x, long y, long gradient, long out, int n) {
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      double slope = derivative(function, getFloat(x + at), getFloat(y + at));
      putFloat(out + at, (float) (getFloat(gradient + at) * slope));
    }
  }

  private static double derivative(Elementwise function, double x, double y) {
    return switch (function) {
      case GELU -> ScalarMath.normalCdf(x) + x * ScalarMath.normalDensity(x);
      case NEGATE, ABS, SQUARE, SQRT, RECIPROCAL, EXP, LOG, TANH, SIGMOID, RELU, SILU, GELU_TANH ->
          function.derivative(x, y);
    };
  }

  @Override
  public void combine(Arithmetic op, long a, long b, long out, int n) {
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      putFloat(out + at, value(op, getFloat(a + at), getFloat(b + at)));
    }
  }

  @Override
  public void combineRight(Arithmetic op, long a, float b, long out, int n) {
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      putFloat(out + at, value(op, getFloat(a + at), b));
    }
  }

  @Override
  public void combineLeft(Arithmetic op, float a, long b, long out, int n) {
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      putFloat(out + at, value(op, a, getFloat(b + at)));
    }
  }

  private static float value(Arithmetic op, float a, float b) {
    return switch (op) {
      case ADD -> a + b;
      case SUBTRACT -> a - b;
      case MULTIPLY -> a * b;
      case DIVIDE -> a / b;
    };
  }

  @Override
  public void fill(float value, long out, int n) {
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      putFloat(out + at, value);
    }
  }

  @Override
  public void scale(float alpha, long x, long out, int n) {
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      putFloat(out + at, alpha * getFloat(x + at));
    }
  }

  @Override
  public void clip(float limit, long x, long out, int n) {
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      putFloat(out + at, Math.min(Math.max(getFloat(x + at), -limit), limit));
    }
  }

  @Override
  public void clipBackward(float limit, long x, long gradient, long out, int n) {
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      putFloat(out + at, Math.abs(getFloat(x + at)) <= limit ? getFloat(gradient + at) : 0);
    }
  }

  @Override
  public void axpy(float alpha, long x, long y, int n) {
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      putFloat(y + at, getFloat(y + at) + alpha * getFloat(x + at));
    }
  }

  @Override
  public void addToDoubles(long x, long sums, int n) {
    for (long i = 0; i < n; i++) {
      long at = sums + i * Double.BYTES;
      putDouble(at, getDouble(at) + getFloat(x + i * Float.BYTES));
    }
  }

  @Override
  public void adamw(AdamWConstants c, long p, long g, long m, long v, int n) {
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      float gradient = c.scale() * getFloat(g + at);
      float mean = c.beta1() * getFloat(m + at) + c.rest1() * gradient;
      float variance = c.beta2() * getFloat(v + at) + c.rest2() * gradient * gradient;
      float root = (float) Math.sqrt(variance * c.correction());
      putFloat(m + at, mean);
      putFloat(v + at, variance);
      putFloat(p + at, c.keep() * getFloat(p + at) - c.rate() * mean / (root + c.epsilon()));
    }
  }
}
