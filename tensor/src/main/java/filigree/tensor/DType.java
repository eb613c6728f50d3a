package filigree.tensor;

/**
 * Element type of a {@link Tensor}.
 *
 * <p>{@link #F32} computes, {@link #F64} is the oracle's type, {@link #BF16} and {@link #F16} store
 * frozen weights, {@link #I32} holds token ids and {@link #I64} appears in files.
 */
public enum DType {
  /** IEEE 754 binary32: the type of computation. */
  F32(4),
  /** IEEE 754 binary64: the oracle's type, and the type of exact counts. */
  F64(8),
  /** The upper half of a binary32: storage only. */
  BF16(2),
  /** IEEE 754 binary16: storage only. */
  F16(2),
  /** Signed 32-bit integers: token ids. */
  I32(4),
  /** Signed 64-bit integers: found in files. */
  I64(8),
  /** Signed bytes: found in files. */
  I8(1),
  /** Unsigned bytes and booleans: found in files. */
  U8(1);

  private final int bytes;

  DType(int bytes) {
    this.bytes = bytes;
  }

  /**
   * Returns the size of one element.
   *
   * @return bytes per element
   */
  public int bytes() {
    return bytes;
  }

  /**
   * Tells whether kernels may compute in this type.
   *
   * @return true for {@link #F32} and {@link #F64}
   */
  public boolean computes() {
    return this == F32 || this == F64;
  }

  /**
   * Returns the type in which numbers of this one are computed with.
   *
   * @return this type where it {@linkplain #computes computes}, else {@link #F32}
   */
  public DType computing() {
    return computes() ? this : F32;
  }
}
