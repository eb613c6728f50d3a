package filigree.checkpoints;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Turns the floating types of files into the one that computes. */
final class Widening {
  private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED;
  private static final ValueLayout.OfDouble DOUBLE = ValueLayout.JAVA_DOUBLE_UNALIGNED;
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

  private Widening() {}

  /** Tells whether {@link #toFloats} takes a type. */
  static boolean isFloating(StoredType type) {
    return type == StoredType.F32
        || type == StoredType.F16
        || type == StoredType.BF16
        || type == StoredType.F64;
  }

  /**
   * Converts elements to binary32: exact from F16 and BF16, rounded to nearest from F64.
   *
   * @param raw elements of the type
   * @param type a floating type
   * @return the numbers, in the arena or, where they are binary32 already, the elements themselves
   */
  static MemorySegment toFloats(MemorySegment raw, StoredType type, Arena arena) {
    if (type == StoredType.F32) {
      return raw;
    }
    long size = raw.byteSize() * Byte.SIZE / type.bits();
    MemorySegment out = arena.allocate(Math.multiplyExact(size, Float.BYTES), Float.BYTES);
    switch (type) {
      case BF16 -> {
        for (long i = 0; i < size; i++) {
          out.setAtIndex(FLOAT, i, Float.intBitsToFloat(raw.getAtIndex(SHORT, i) << 16));
        }
      }
      case F16 -> {
        for (long i = 0; i < size; i++) {
          out.setAtIndex(FLOAT, i, Float.float16ToFloat(raw.getAtIndex(SHORT, i)));
        }
      }
      case F64 -> {
        for (long i = 0; i < size; i++) {
          out.setAtIndex(FLOAT, i, (float) raw.getAtIndex(DOUBLE, i));
        }
      }
      case BOOL,
          F4,
          F6_E2M3,
          F6_E3M2,
          U8,
          I8,
          F8_E5M2,
          F8_E4M3,
          F8_E8M0,
          F8_E4M3FNUZ,
          F8_E5M2FNUZ,
          I16,
          U16,
          I32,
          U32,
          F32,
          C64,
          I64,
          U64 ->
          throw new AssertionError(type + " is not a floating type");
    }
    return out;
  }
}
