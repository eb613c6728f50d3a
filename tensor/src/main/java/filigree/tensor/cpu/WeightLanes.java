package filigree.tensor.cpu;

import filigree.tensor.DType;

/**
 * Loops that read weights once, for products of a few rows. Weights are F32, or BF16 that is
 * widened in registers; everything else is F32.
 */
public interface WeightLanes {
  /** How many rows of weights {@link #axpys} adds up side by side. */
  int TOGETHER = 4;

  /** How many rows of weights of a type, F32 or BF16, {@link #dots} reads side by side. */
  int streams(DType type);

  /**
   * How many numbers a dot product is left as. They are added up for many products together: {@code
   * bench/run decode generate --threads 1} has a share of 0.83 of what memory allows, and 0.80
   * where each product is added up at once.
   */
  int partials();

  /**
   * Writes {@code w.length} times {@link #partials} numbers that add up to {@code x . w[i]}.
   *
   * @param type of the weights, F32 or BF16
   * @param w addresses of {@link #streams} rows; they may be equal
   */
  void dots(DType type, long x, long[] w, int n, long out);

  /** Writes {@code out[i]}, the sum of the i-th {@link #partials} numbers; may be in place. */
  void fold(long partials, int count, long out);

  /** Adds {@code y += c[0] w[0] + c[1] w[1] + c[2] w[2] + c[3] w[3]}, F32 weights. */
  void axpys(long c, Four w, long y, int n);

  /** Adds {@code y += c[0] w[0] + c[1] w[1] + c[2] w[2] + c[3] w[3]}, BF16 weights. */
  void axpysBf16(long c, Four w, long y, int n);

  /**
   * Addresses of four rows; they may be equal.
   *
   * @param a the first
   * @param b the second
   * @param c the third
   * @param d the fourth
   */
  record Four(long a, long b, long c, long d) {}
}
