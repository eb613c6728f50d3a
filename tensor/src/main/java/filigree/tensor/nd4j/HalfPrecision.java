package filigree.tensor.nd4j;

/**
 * Rounding of wider numbers to the 16-bit types, to nearest, ties to even, without rounding twice.
 *
 * <p>A number is first rounded to odd: where a float cannot hold it exactly, the neighbour with the
 * odd last bit is taken, which remembers that something was cut off and on which side. Rounding
 * that to 11 or 8 bits gives the same as one rounding, as a float has more than two bits to spare
 * (Boldo and Melquiond, "When double rounding is odd", 2005).
 */
final class HalfPrecision {
  private HalfPrecision() {}

  /** Rounds a double to a float that may be rounded again. */
  static float roundToOdd(double value) {
    float nearest = (float) value;
    if (nearest == value || Double.isNaN(value) || (Float.floatToRawIntBits(nearest) & 1) != 0) {
      return nearest;
    }
    return value > nearest ? Math.nextUp(nearest) : Math.nextDown(nearest);
  }

  /** Rounds a long to a float that may be rounded again. */
  static float roundToOdd(long value) {
    if (value >= -(1L << 53) && value <= 1L << 53) {
      return roundToOdd((double) value);
    }
    long low = value & 0x7ff;
    return roundToOdd((double) (value - low | (low == 0 ? 0 : 0x800)));
  }

  /** Rounds a float to the upper half of its bits. */
  static short toBFloat16(float value) {
    int bits = Float.floatToRawIntBits(value);
    if (Float.isNaN(value)) {
      return (short) ((bits >>> 16) | 0x40);
    }
    return (short) ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16);
  }
}
