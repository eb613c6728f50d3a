package filigree.tensor.cpu;

import filigree.tensor.DType;

/** Conversions between element types, each rounded once, to nearest with ties to even. */
final class Casts {
  private static final int BF16_DROPPED_BITS = 16;

  private Casts() {}

  static boolean writes(DType type) {
    return switch (type) {
      case F32, F64, BF16, F16 -> true;
      case I32, I64, I8, U8 -> false;
    };
  }

  /** Converts the elements from {@code first} to {@code last - 1}. */
  static void run(DType source, long from, DType target, long to, long first, long last) {
    if (source == target) {
      int bytes = source.bytes();
      Native.copy(from + first * bytes, to + first * bytes, (last - first) * bytes);
    } else if (source == DType.BF16 && target == DType.F32) {
      widenBf16(from, to, first, last);
    } else if (source == DType.F16 && target == DType.F32) {
      widenF16(from, to, first, last);
    } else if (source == DType.F32 && target == DType.BF16) {
      narrowBf16(from, to, first, last);
    } else {
      for (long i = first; i < last; i++) {
        convert(source, from, target, to, i);
      }
    }
  }

  // The casts of weights have methods of their own, which the compiler takes one at a time.
  private static void widenBf16(long from, long to, long first, long last) {
    for (long i = first; i < last; i++) {
      Native.putFloat(to + i * Float.BYTES, fromBf16(Native.getShort(from + i * Short.BYTES)));
    }
  }

  private static void widenF16(long from, long to, long first, long last) {
    for (long i = first; i < last; i++) {
      short half = Native.getShort(from + i * Short.BYTES);
      Native.putFloat(to + i * Float.BYTES, Float.float16ToFloat(half));
    }
  }

  private static void narrowBf16(long from, long to, long first, long last) {
    for (long i = first; i < last; i++) {
      Native.putShort(to + i * Short.BYTES, toBf16(Native.getFloat(from + i * Float.BYTES)));
    }
  }

  private static void convert(DType source, long from, DType target, long to, long i) {
    switch (target) {
      case F64 -> Native.putDouble(to + i * Double.BYTES, nearestDouble(source, from, i));
      case F32 -> Native.putFloat(to + i * Float.BYTES, (float) oddDouble(source, from, i));
      case BF16 ->
          Native.putShort(to + i * Short.BYTES, toBf16(oddFloat(oddDouble(source, from, i))));
      case F16 ->
          Native.putShort(
              to + i * Short.BYTES, Float.floatToFloat16(oddFloat(oddDouble(source, from, i))));
      case I32, I64, I8, U8 -> throw new IllegalStateException("cast to " + target);
    }
  }

  private static double nearestDouble(DType source, long from, long i) {
    return source == DType.I64
        ? (double) Native.getLong(from + i * Long.BYTES)
        : oddDouble(source, from, i);
  }

  /**
   * An element as a double, exact but for large I64, which round to odd. Rounding to odd (Boldo and
   * Melquiond, "When double rounding is odd", 2005) keeps a trace of what was cut off in the last
   * bit, so that a later rounding to a narrower type comes out as if it were the only one.
   */
  private static double oddDouble(DType source, long from, long i) {
    return switch (source) {
      case F32 -> Native.getFloat(from + i * Float.BYTES);
      case F64 -> Native.getDouble(from + i * Double.BYTES);
      case BF16 -> fromBf16(Native.getShort(from + i * Short.BYTES));
      case F16 -> Float.float16ToFloat(Native.getShort(from + i * Short.BYTES));
      case I32 -> Native.getInt(from + i * Integer.BYTES);
      case I64 -> oddDouble(Native.getLong(from + i * Long.BYTES));
      case I8 -> Native.getByte(from + i);
      case U8 -> Native.getByte(from + i) & 0xff;
    };
  }

  private static double oddDouble(long value) {
    double sign = value < 0 ? -1 : 1;
    // |Long.MIN_VALUE| is itself as an unsigned number, and a power of two.
    long magnitude = Math.abs(value);
    int excess = 64 - Long.numberOfLeadingZeros(magnitude) - 53;
    if (excess <= 0 || value == Long.MIN_VALUE) {
      return value;
    }
    long kept = magnitude >>> excess;
    long odd = kept << excess == magnitude ? kept : kept | 1;
    return sign * odd * (1L << excess);
  }

  private static float oddFloat(double value) {
    float nearest = (float) value;
    if (nearest == value || Double.isNaN(value)) {
      return nearest;
    }
    if ((Float.floatToRawIntBits(nearest) & 1) == 1) {
      return nearest;
    }
    // The odd neighbour is on the other side of the value.
    return nearest < value ? Math.nextUp(nearest) : Math.nextDown(nearest);
  }

  private static float fromBf16(short bits) {
    return Float.intBitsToFloat(bits << BF16_DROPPED_BITS);
  }

  private static short toBf16(float value) {
    int bits = Float.floatToRawIntBits(value);
    if (Float.isNaN(value)) {
      // Rounding could carry a NaN's payload into infinity; this keeps it quiet and a NaN.
      return (short) ((bits >>> BF16_DROPPED_BITS) | 0x40);
    }
    int even = (bits >>> BF16_DROPPED_BITS) & 1;
    return (short) ((bits + 0x7fff + even) >>> BF16_DROPPED_BITS);
  }
}
