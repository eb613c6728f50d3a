package filigree.tensor.cpu;

import static filigree.tensor.cpu.Native.getFloat;
import static filigree.tensor.cpu.Native.putFloat;

import filigree.tensor.DType;

/** Plain loops over rows of weights; dot products in double. */
final class ScalarWeights implements WeightLanes {
  @Override
  public int partials() {
    return 1;
  }

  @Override
  public int streams(DType type) {
    return TOGETHER;
  }

  @Override
  public void fold(long partials, int count, long out) {
    Native.copy(partials, out, (long) count * Float.BYTES);
  }

  @Override
  public void dots(DType type, long x, long[] w, int n, long out) {
    for (int i = 0; i < w.length; i++) {
      double sum = type == DType.BF16 ? dotBf16(x, w[i], n) : dot(x, w[i], n);
      putFloat(out + (long) i * Float.BYTES, (float) sum);
    }
  }

  private static double dot(long x, long w, int n) {
    double sum = 0;
    for (long i = 0; i < n; i++) {
      sum += (double) getFloat(x + i * Float.BYTES) * getFloat(w + i * Float.BYTES);
    }
    return sum;
  }

  private static double dotBf16(long x, long w, int n) {
    double sum = 0;
    for (long i = 0; i < n; i++) {
      sum += (double) getFloat(x + i * Float.BYTES) * Native.getBf16(w + i * Short.BYTES);
    }
    return sum;
  }

  @Override
  public void axpys(long c, Four w, long y, int n) {
    float c0 = getFloat(c);
    float c1 = getFloat(c + Float.BYTES);
    float c2 = getFloat(c + 2 * Float.BYTES);
    float c3 = getFloat(c + 3 * Float.BYTES);
    for (long at = 0; at < (long) n * Float.BYTES; at += Float.BYTES) {
      float first = c0 * getFloat(w.a() + at) + c1 * getFloat(w.b() + at);
      float second = c2 * getFloat(w.c() + at) + c3 * getFloat(w.d() + at);
      putFloat(y + at, getFloat(y + at) + first + second);
    }
  }

  @Override
  public void axpysBf16(long c, Four w, long y, int n) {
    float c0 = getFloat(c);
    float c1 = getFloat(c + Float.BYTES);
    float c2 = getFloat(c + 2 * Float.BYTES);
    float c3 = getFloat(c + 3 * Float.BYTES);
    for (long i = 0; i < n; i++) {
      long at = i * Short.BYTES;
      float first = c0 * Native.getBf16(w.a() + at) + c1 * Native.getBf16(w.b() + at);
      float second = c2 * Native.getBf16(w.c() + at) + c3 * Native.getBf16(w.d() + at);
      putFloat(y + i * Float.BYTES, getFloat(y + i * Float.BYTES) + first + second);
    }
  }
}
