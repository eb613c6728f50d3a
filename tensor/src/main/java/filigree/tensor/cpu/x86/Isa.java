package filigree.tensor.cpu.x86;

/**
 * The instructions that a tile of a matrix product is written in, and what follows from the number
 * and the size of their registers: two vectors for a row of the right matrix, some through which
 * numbers of the left one pass, and the rest for sums.
 */
public enum Isa {
  /** AVX2 with fused multiply-add: 16 registers of 256 bits. */
  AVX2("AVX2", 32, 16, 6),
  /** AVX-512: 32 registers of 512 bits, and masks. */
  AVX512("AVX-512", 64, 32, 12);

  /** Vectors in a row of a tile. */
  static final int VECTORS = 2;

  private final String title;
  private final int bytes;
  private final int registers;
  private final int rows;

  Isa(String title, int bytes, int registers, int rows) {
    this.title = title;
    this.bytes = bytes;
    this.registers = registers;
    this.rows = rows;
  }

  /** Bytes of a register. */
  int bytes() {
    return bytes;
  }

  int registers() {
    return registers;
  }

  /** Floats in a register. */
  int lanes() {
    return bytes / Float.BYTES;
  }

  /** Returns the rows of the largest tile. */
  public int rows() {
    return rows;
  }

  /** Returns the columns of a tile. */
  public int columns() {
    return VECTORS * lanes();
  }

  @Override
  public String toString() {
    return title;
  }
}
