package filigree.tensor.cpu;

import static filigree.tensor.cpu.Native.getFloat;
import static filigree.tensor.cpu.Native.putFloat;
import static filigree.tensor.cpu.Native.putInt;

import filigree.tensor.NoiseKey;
import filigree.tensor.Philox;

/** Plain loops over gates. */
final class ScalarGates implements GateLanes {
  @Override
  public void uniforms(NoiseRow row, long out, int n) {
    int[] bits = new int[4];
    for (int i = 0; i < n; i++) {
      if (i % 4 == 0) {
        Philox.block(i / 4, row.query(), row.head(), row.batch(), row.key0(), row.key1(), bits);
      }
      putFloat(out + (long) i * Float.BYTES, NoiseKey.uniform(bits[i % 4]));
    }
  }

  @Override
  public double exp(long s, float shift, long out, int n) {
    double sum = 0;
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      float value = (float) Math.exp(getFloat(s + at) - shift);
      putFloat(out + at, value);
      sum += value;
    }
    return sum;
  }

  @Override
  public void decay(long s, float bias, long decay, int n) {
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      putFloat(decay + at, decay(getFloat(s + at) + bias));
    }
  }

  @Override
  public void hard(GateRow row, int n, RowSums sums) {
    sums.clear();
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      float z = getFloat(row.s() + at) + row.bias();
      sums.probability += sigmoid(z, getFloat(row.decay() + at));
      sums.open += z > 0 ? 1 : 0;
      putFloat(row.s() + at, z > 0 ? getFloat(row.weight() + at) : 0);
    }
  }

  @Override
  public void soft(GateRow row, int n, RowSums sums) {
    sums.clear();
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      float z = getFloat(row.s() + at) + row.bias();
      float m = sigmoid(z, getFloat(row.decay() + at));
      sums.probability += m;
      sums.open += z > 0 ? 1 : 0;
      putFloat(row.s() + at, m * getFloat(row.weight() + at));
    }
  }

  @Override
  public void sampled(GateRow row, int n, RowSums sums) {
    sums.clear();
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      float z = getFloat(row.s() + at) + row.bias();
      float decay = getFloat(row.decay() + at);
      float u = getFloat(row.u() + at);
      sums.probability += sigmoid(z, decay);
      sums.open += z > 0 ? 1 : 0;
      boolean open = oddsFor(z, decay, u) > oddsAgainst(z, decay, u);
      putFloat(row.s() + at, open ? getFloat(row.weight() + at) : 0);
    }
  }

  @Override
  public void openBackward(long s, long g, float logSumExp, float d, int n) {
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      float p = (float) Math.exp(getFloat(s + at) - logSumExp);
      putFloat(s + at, p);
      putFloat(g + at, p * (getFloat(g + at) - d));
    }
  }

  @Override
  public void hardBackward(GateRow row, long g, float d, float density, int n) {
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      float p = getFloat(row.weight() + at);
      float m = getFloat(row.s() + at) + row.bias() > 0 ? 1 : 0;
      float slope = slope(getFloat(row.decay() + at));
      putFloat(row.s() + at, p * m);
      putFloat(g + at, p * ((slope + m) * getFloat(g + at) - d) + density * slope);
    }
  }

  @Override
  public void softBackward(GateRow row, long g, float d, float density, int n) {
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      float p = getFloat(row.weight() + at);
      float decay = getFloat(row.decay() + at);
      float m = sigmoid(getFloat(row.s() + at) + row.bias(), decay);
      float slope = slope(decay);
      putFloat(row.s() + at, p * m);
      putFloat(g + at, p * ((slope + m) * getFloat(g + at) - d) + density * slope);
    }
  }

  @Override
  public void sampledBackward(GateRow row, long g, float d, float density, int n) {
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      float p = getFloat(row.weight() + at);
      float z = getFloat(row.s() + at) + row.bias();
      float decay = getFloat(row.decay() + at);
      float u = getFloat(row.u() + at);
      float a = oddsFor(z, decay, u);
      float b = oddsAgainst(z, decay, u);
      float m = a > b ? 1 : 0;
      float noisy = a * b / ((a + b) * (a + b));
      putFloat(row.s() + at, p * m);
      putFloat(g + at, p * ((noisy + m) * getFloat(g + at) - d) + density * slope(decay));
    }
  }

  @Override
  public int open(long weights, int n, long indices) {
    int count = 0;
    for (int i = 0; i < n; i++) {
      if (getFloat(weights + (long) i * Float.BYTES) != 0) {
        putInt(indices + (long) count++ * Integer.BYTES, i);
      }
    }
    return count;
  }

  @Override
  public void hardGates(long z, long out, int n) {
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      putFloat(out + at, getFloat(z + at) > 0 ? 1 : 0);
    }
  }

  @Override
  public void softGates(long z, long out, int n) {
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      float logit = getFloat(z + at);
      putFloat(out + at, sigmoid(logit, decay(logit)));
    }
  }

  @Override
  public void sampledGates(long z, long u, long out, int n) {
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      float logit = getFloat(z + at);
      float decay = decay(logit);
      float uniform = getFloat(u + at);
      boolean open = oddsFor(logit, decay, uniform) > oddsAgainst(logit, decay, uniform);
      putFloat(out + at, open ? 1 : 0);
    }
  }

  @Override
  public void hardGatesBackward(long z, long gradient, long out, int n) {
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      putFloat(out + at, getFloat(gradient + at) * slope(decay(getFloat(z + at))));
    }
  }

  @Override
  public void sampledGatesBackward(long z, long u, long gradient, long out, int n) {
    for (long i = 0, at = 0; i < n; i++, at += Float.BYTES) {
      float logit = getFloat(z + at);
      float decay = decay(logit);
      float uniform = getFloat(u + at);
      float a = oddsFor(logit, decay, uniform);
      float b = oddsAgainst(logit, decay, uniform);
      putFloat(out + at, getFloat(gradient + at) * (a * b / ((a + b) * (a + b))));
    }
  }

  private static float sigmoid(float z, float decay) {
    return (z >= 0 ? 1 : decay) / (1 + decay);
  }

  private static float slope(float decay) {
    return decay / ((1 + decay) * (1 + decay));
  }

  private static float decay(float z) {
    return (float) Math.exp(-Math.abs(z));
  }

  private static float oddsFor(float z, float decay, float u) {
    return z >= 0 ? u : u * decay;
  }

  private static float oddsAgainst(float z, float decay, float u) {
    return z >= 0 ? (1 - u) * decay : 1 - u;
  }
}
