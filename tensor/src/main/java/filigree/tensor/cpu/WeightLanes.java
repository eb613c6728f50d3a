package filigree.tensor.cpu;

import filigree.tensor.DType;

/**
 * Loops that read weights once, for products of a few rows. Weights are F32, or BF16 that is
 * widened in registers; everything else is F32.
 */
public interface WeightLanes {
  /** How many products a loop over several rows of x computes side by side. */
  int TOGETHER = 4;

  /** How many rows of weights of a type, F32 or BF16, meet a single row of x side by side. */
  int streams(DType type);

  /**
   * How many numbers a dot product is left as. They are added up for many products together: {@code
   * bench/run decode generate --threads 1} has a share of 0.83 of what memory allows, and 0.80
   * where each product is added up at once.
   */
  int partials();

  /**
   * Writes four times {@link #partials} numbers that add up to {@code x[i] . w[i]}, F32 weights.
   */
  void dots(Four x, Four w, int n, long out);

  /**
   * Writes four times {@link #partials} numbers that add up to {@code x[i] . w[i]}, BF16 weights.
   */
  void dotsBf16(Four x, Four w, int n, long out);

  /**
   * Writes {@code w.length} times {@link #partials} numbers that add up to {@code x . w[i]}, F32
   * weights.
   *
   * @param w addresses of {@link #streams} rows; they may be equal
   */
  void dotsOfRow(long x, long[] w, int n, long out);

  /**
   * Writes {@code w.length} times {@link #partials} numbers that add up to {@code x . w[i]}, BF16
   * weights.
   *
   * @param w addresses of {@link #streams} rows; they may be equal
   */
  void dotsOfRowBf16(long x, long[] w, int n, long out);

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
