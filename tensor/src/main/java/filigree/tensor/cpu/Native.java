package filigree.tensor.cpu;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Memory by absolute address. Kernels check shapes once at entry and then walk rows by address, so
 * one constant segment over the whole address space serves all of them: a segment for each row
 * would cost an object where the compiler fails to remove it, and its bounds were checked already.
 */
public final class Native {
  /** The whole address space: offset = address. */
  @SuppressWarnings("restricted")
  public static final MemorySegment MEMORY = MemorySegment.NULL.reinterpret(Long.MAX_VALUE);

  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
  private static final ValueLayout.OfDouble DOUBLE = ValueLayout.JAVA_DOUBLE_UNALIGNED;
  private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG_UNALIGNED;
  private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED;
  private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED;
  private static final ValueLayout.OfByte BYTE = ValueLayout.JAVA_BYTE;

  private Native() {}

  /**
   * Reads a float.
   *
   * @param address where
   * @return the float
   */
  public static float getFloat(long address) {
    return MEMORY.get(FLOAT, address);
  }

  /**
   * Writes a float.
   *
   * @param address where
   * @param value the float
   */
  public static void putFloat(long address, float value) {
    MEMORY.set(FLOAT, address, value);
  }

  static double getDouble(long address) {
    return MEMORY.get(DOUBLE, address);
  }

  static void putDouble(long address, double value) {
    MEMORY.set(DOUBLE, address, value);
  }

  static long getLong(long address) {
    return MEMORY.get(LONG, address);
  }

  static void putLong(long address, long value) {
    MEMORY.set(LONG, address, value);
  }

  static int getInt(long address) {
    return MEMORY.get(INT, address);
  }

  /**
   * Writes an int.
   *
   * @param address where
   * @param value what
   */
  public static void putInt(long address, int value) {
    MEMORY.set(INT, address, value);
  }

  static short getShort(long address) {
    return MEMORY.get(SHORT, address);
  }

  static void putShort(long address, short value) {
    MEMORY.set(SHORT, address, value);
  }

  /**
   * Reads a bfloat16, which is the upper half of the float of the same value.
   *
   * @param address where
   * @return the float
   */
  public static float getBf16(long address) {
    return Float.intBitsToFloat(MEMORY.get(SHORT, address) << 16);
  }

  static byte getByte(long address) {
    return MEMORY.get(BYTE, address);
  }

  static void putByte(long address, byte value) {
    MEMORY.set(BYTE, address, value);
  }

  static double[] doubles(long address, int count) {
    double[] out = new double[count];
    MemorySegment.copy(MEMORY, DOUBLE, address, out, 0, count);
    return out;
  }

  static void copy(long from, long to, long bytes) {
    MemorySegment.copy(MEMORY, from, MEMORY, to, bytes);
  }

  static void clear(long address, long bytes) {
    MEMORY.asSlice(address, bytes).fill((byte) 0);
  }
}
