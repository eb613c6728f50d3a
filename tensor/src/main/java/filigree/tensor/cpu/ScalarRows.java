package filigree.tensor.cpu;

import static filigree.tensor.cpu.Native.getFloat;
import static filigree.tensor.cpu.Native.putFloat;

/** Plain loops over a row; sums in double. */
final class ScalarRows implements RowLanes {
  @Override
  public double sum(long x, int n) {
    double sum = 0;
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      sum += getFloat(x + at);
    }
    return sum;
  }

  @Override
  public double sumOfSquares(long x, int n) {
    double sum = 0;
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      double value = getFloat(x + at);
      sum += value * value;
    }
    return sum;
  }

  @Override
  public double squaredDeviations(long x, float mean, int n) {
    double sum = 0;
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      double deviation = getFloat(x + at) - mean;
      sum += deviation * deviation;
    }
    return sum;
  }

  @Override
  public double dot(long x, long y, int n) {
    double sum = 0;
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      sum += getFloat(x + at) * getFloat(y + at);
    }
    return sum;
  }

  @Override
  public double dotShifted(long x, long y, long z, float shift, int n) {
    double sum = 0;
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      sum += getFloat(x + at) * getFloat(y + at) * (getFloat(z + at) - shift);
    }
    return sum;
  }

  @Override
  public float max(long x, int n) {
    float max = Float.NEGATIVE_INFINITY;
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      float value = getFloat(x + at);
      max = value > max ? value : max;
    }
    return max;
  }

  @Override
  public double exp(long x, float shift, long out, int n) {
    double sum = 0;
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      float value = (float) Math.exp(getFloat(x + at) - shift);
      putFloat(out + at, value);
      sum += value;
    }
    return sum;
  }

  @Override
  public double sumExp(long x, float shift, int n) {
    double sum = 0;
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      sum += Math.exp(getFloat(x + at) - shift);
    }
    return sum;
  }

  @Override
  public void expScaled(long x, float shift, float factor, long out, int n) {
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      putFloat(out + at, (float) (factor * Math.exp(getFloat(x + at) - shift)));
    }
  }

  @Override
  public void addExpScaled(long x, float shift, float factor, long out, int n) {
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      float more = (float) (factor * Math.exp(getFloat(x + at) - shift));
      putFloat(out + at, getFloat(out + at) + more);
    }
  }

  @Override
  public double divergence(long s, float shiftS, long t, float shiftT, int n) {
    double sum = 0;
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      double teacher = getFloat(t + at);
      double p = Math.exp(teacher - shiftT);
      sum += p == 0 ? 0 : p * ((teacher - getFloat(s + at)) - ((double) shiftT - shiftS));
    }
    return sum;
  }

  @Override
  public void softmaxBackward(long y, long gradient, float d, long out, int n) {
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      putFloat(out + at, getFloat(y + at) * (getFloat(gradient + at) - d));
    }
  }

  @Override
  public void normalise(
      long x, float mean, float inverse, long weight, long bias, long out, int n) {
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      float normal = (getFloat(x + at) - mean) * inverse;
      putFloat(out + at, normal * getFloat(weight + at) + getFloat(bias + at));
    }
  }

  @Override
  public void normaliseByRoot(long x, float inverse, long weight, long out, int n) {
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      putFloat(out + at, getFloat(x + at) * inverse * getFloat(weight + at));
    }
  }

  @Override
  public void normBackward(NormRow row, long weight, long dweight, int n) {
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      float normal = (getFloat(row.x() + at) - row.mean()) * row.inverse();
      float gradient = getFloat(row.gradient() + at);
      float dx = gradient * getFloat(weight + at) - row.a() - row.b() * normal;
      putFloat(dweight + at, getFloat(dweight + at) + gradient * normal);
      putFloat(row.dx() + at, row.inverse() * dx);
    }
  }

  @Override
  public void rotate(long x, long cos, long sin, float sign, long out, int n) {
    long half = (long) n * Float.BYTES;
    for (long at = 0; at < half; at += Float.BYTES) {
      float a = getFloat(x + at);
      float b = getFloat(x + half + at);
      float c = getFloat(cos + at);
      float s = sign * getFloat(sin + at);
      putFloat(out + at, a * c - b * s);
      putFloat(out + half + at, b * c + a * s);
    }
  }
}
