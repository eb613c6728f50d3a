package filigree.tensor.cpu.vector;

import static filigree.tensor.cpu.vector.Vectors.BYTES;
import static filigree.tensor.cpu.vector.Vectors.LANES;
import static filigree.tensor.cpu.vector.Vectors.ORDER;
import static filigree.tensor.cpu.vector.Vectors.SPECIES;
import static filigree.tensor.cpu.vector.Vectors.load;
import static filigree.tensor.cpu.vector.Vectors.splat;
import static filigree.tensor.cpu.vector.Vectors.store;
import static filigree.tensor.cpu.vector.Vectors.zero;

import filigree.tensor.cpu.Native;
import filigree.tensor.cpu.WeightLanes;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/**
 * Vector loops over rows of weights. Four products side by side hide the latency of a multiply-add,
 * and read four streams of memory, which is more than one stream brings.
 */
final class VectorWeights implements WeightLanes {
  private static final VectorSpecies<Integer> INTS = SPECIES.withLanes(int.class);
  // As many numbers as a float vector has, in half the bits.
  private static final VectorSpecies<Short> SHORTS =
      VectorSpecies.of(short.class, VectorShape.forBitSize(SPECIES.vectorBitSize() / 2));
  private static final long HALF = SHORTS.vectorByteSize();
  private static final int BF16_DROPPED_BITS = 16;

  private final WeightLanes rest;

  VectorWeights(WeightLanes rest) {
    this.rest = rest;
  }

  @Override
  public void dots(Four x, Four w, int n, long out) {
    int whole = SPECIES.loopBound(n);
    if (whole < n) {
      rest.dots(after(x, whole, Float.BYTES), after(w, whole, Float.BYTES), n - whole, out);
    } else {
      clear(out);
    }
    if (whole > 0) {
      addDots(x, w, (long) whole * Float.BYTES, out);
    }
  }

  @Override
  public void dotsBf16(Four x, Four w, int n, long out) {
    int whole = SPECIES.loopBound(n);
    if (whole < n) {
      rest.dotsBf16(after(x, whole, Float.BYTES), after(w, whole, Short.BYTES), n - whole, out);
    } else {
      clear(out);
    }
    if (whole > 0) {
      addDotsBf16(x, w, (long) whole * Float.BYTES, out);
    }
  }

  private static Four after(Four rows, int elements, int bytes) {
    long skipped = (long) elements * bytes;
    return new Four(rows.a() + skipped, rows.b() + skipped, rows.c() + skipped, rows.d() + skipped);
  }

  private static void clear(long out) {
    for (int i = 0; i < TOGETHER; i++) {
      Native.putFloat(out + (long) i * Float.BYTES, 0);
    }
  }

  private static void addTo(long out, FloatVector sum) {
    Native.putFloat(out, (float) (Native.getFloat(out) + Vectors.sum(sum)));
  }

  private static void addDots(Four x, Four w, long bytes, long out) {
    long xa = x.a();
    long xb = x.b();
    long xc = x.c();
    long xd = x.d();
    long wa = w.a();
    long wb = w.b();
    long wc = w.c();
    long wd = w.d();
    FloatVector a = zero();
    FloatVector b = zero();
    FloatVector c = zero();
    FloatVector d = zero();
    for (long at = 0; at < bytes; at += BYTES) {
      a = load(wa + at).fma(load(xa + at), a);
      b = load(wb + at).fma(load(xb + at), b);
      c = load(wc + at).fma(load(xc + at), c);
      d = load(wd + at).fma(load(xd + at), d);
    }
    addTo(out, a);
    addTo(out + Float.BYTES, b);
    addTo(out + 2 * Float.BYTES, c);
    addTo(out + 3 * Float.BYTES, d);
  }

  private static void addDotsBf16(Four x, Four w, long bytes, long out) {
    long xa = x.a();
    long xb = x.b();
    long xc = x.c();
    long xd = x.d();
    long wa = w.a();
    long wb = w.b();
    long wc = w.c();
    long wd = w.d();
    FloatVector a = zero();
    FloatVector b = zero();
    FloatVector c = zero();
    FloatVector d = zero();
    long half = 0;
    for (long at = 0; at < bytes; at += BYTES, half += HALF) {
      a = widened(wa + half).fma(load(xa + at), a);
      b = widened(wb + half).fma(load(xb + at), b);
      c = widened(wc + half).fma(load(xc + at), c);
      d = widened(wd + half).fma(load(xd + at), d);
    }
    addTo(out, a);
    addTo(out + Float.BYTES, b);
    addTo(out + 2 * Float.BYTES, c);
    addTo(out + 3 * Float.BYTES, d);
  }

  /** A bfloat16 is the upper half of the float of the same value. */
  private static FloatVector widened(long address) {
    return ((IntVector)
            ShortVector.fromMemorySegment(SHORTS, Native.MEMORY, address, ORDER)
                .convertShape(VectorOperators.S2I, INTS, 0))
        .lanewise(VectorOperators.LSHL, BF16_DROPPED_BITS)
        .reinterpretAsFloats();
  }

  @Override
  public void axpys(long c, Four w, long y, int n) {
    int whole = SPECIES.loopBound(n);
    addWeighted(c, w, y, (long) whole * Float.BYTES);
    if (whole < n) {
      rest.axpys(c, after(w, whole, Float.BYTES), y + (long) whole * Float.BYTES, n - whole);
    }
  }

  private static void addWeighted(long c, Four w, long y, long bytes) {
    long wa = w.a();
    long wb = w.b();
    long wc = w.c();
    long wd = w.d();
    FloatVector ca = splat(Native.getFloat(c));
    FloatVector cb = splat(Native.getFloat(c + Float.BYTES));
    FloatVector cc = splat(Native.getFloat(c + 2 * Float.BYTES));
    FloatVector cd = splat(Native.getFloat(c + 3 * Float.BYTES));
    for (long at = 0; at < bytes; at += BYTES) {
      FloatVector first = load(wb + at).fma(cb, load(wa + at).fma(ca, load(y + at)));
      FloatVector second = load(wd + at).fma(cd, load(wc + at).mul(cc));
      store(first.add(second), y + at);
    }
  }

  @Override
  public void axpysBf16(long c, Four w, long y, int n) {
    int whole = SPECIES.loopBound(n);
    addWeightedBf16(c, w, y, whole);
    if (whole < n) {
      rest.axpysBf16(c, after(w, whole, Short.BYTES), y + (long) whole * Float.BYTES, n - whole);
    }
  }

  private static void addWeightedBf16(long c, Four w, long y, int whole) {
    long wa = w.a();
    long wb = w.b();
    long wc = w.c();
    long wd = w.d();
    FloatVector ca = splat(Native.getFloat(c));
    FloatVector cb = splat(Native.getFloat(c + Float.BYTES));
    FloatVector cc = splat(Native.getFloat(c + 2 * Float.BYTES));
    FloatVector cd = splat(Native.getFloat(c + 3 * Float.BYTES));
    long half = 0;
    for (int i = 0; i < whole; i += LANES, y += BYTES, half += HALF) {
      FloatVector first = widened(wb + half).fma(cb, widened(wa + half).fma(ca, load(y)));
      FloatVector second = widened(wd + half).fma(cd, widened(wc + half).mul(cc));
      store(first.add(second), y);
    }
  }
}
