package filigree.checkpoints;

import filigree.tensor.DType;
import java.util.Optional;

/**
 * The element types of the safetensors format, by their names in its headers. A file may hold any
 * of them; only those that a {@link DType} corresponds to can be loaded.
 */
public enum StoredType {
  /** One byte, 0 or 1. */
  BOOL(8),
  /** 4-bit float, two in a byte. */
  F4(4),
  /** 6-bit float, 2 bits of exponent. */
  F6_E2M3(6),
  /** 6-bit float, 3 bits of exponent. */
  F6_E3M2(6),
  /** Unsigned byte. */
  U8(8),
  /** Signed byte. */
  I8(8),
  /** 8-bit float, 5 bits of exponent. */
  F8_E5M2(8),
  /** 8-bit float, 4 bits of exponent. */
  F8_E4M3(8),
  /** 8-bit scale, exponent only. */
  F8_E8M0(8),
  /** 8-bit float, 4 bits of exponent, without negative zero. */
  F8_E4M3FNUZ(8),
  /** 8-bit float, 5 bits of exponent, without negative zero. */
  F8_E5M2FNUZ(8),
  /** Signed 16-bit integer. */
  I16(16),
  /** Unsigned 16-bit integer. */
  U16(16),
  /** IEEE 754 binary16. */
  F16(16),
  /** The upper half of a binary32. */
  BF16(16),
  /** Signed 32-bit integer. */
  I32(32),
  /** Unsigned 32-bit integer. */
  U32(32),
  /** IEEE 754 binary32. */
  F32(32),
  /** Two binary32, real and imaginary. */
  C64(64),
  /** IEEE 754 binary64. */
  F64(64),
  /** Signed 64-bit integer. */
  I64(64),
  /** Unsigned 64-bit integer. */
  U64(64);

  private final int bits;

  StoredType(int bits) {
    this.bits = bits;
  }

  /**
   * Returns the size of one element.
   *
   * @return bits per element
   */
  public int bits() {
    return bits;
  }

  /**
   * Returns the tensor element type with the same bytes.
   *
   * @return the type, or empty where tensors have no such type
   */
  public Optional<DType> dtype() {
    return switch (this) {
      case F32 -> Optional.of(DType.F32);
      case F64 -> Optional.of(DType.F64);
      case F16 -> Optional.of(DType.F16);
      case BF16 -> Optional.of(DType.BF16);
      case I32 -> Optional.of(DType.I32);
      case I64 -> Optional.of(DType.I64);
      case I8 -> Optional.of(DType.I8);
      case U8, BOOL -> Optional.of(DType.U8);
      case F4,
          F6_E2M3,
          F6_E3M2,
          F8_E5M2,
          F8_E4M3,
          F8_E8M0,
          F8_E4M3FNUZ,
          F8_E5M2FNUZ,
          I16,
          U16,
          U32,
          C64,
          U64 ->
          Optional.empty();
    };
  }

  /**
   * Finds a type by its name in a header.
   *
   * @param name the name, in capitals
   * @return the type, or empty where the format has none of that name
   */
  static Optional<StoredType> named(String name) {
    for (StoredType type : values()) {
      if (type.name().equals(name)) {
        return Optional.of(type);
      }
    }
    return Optional.empty();
  }
}
