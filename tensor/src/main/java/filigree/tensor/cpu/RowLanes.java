package filigree.tensor.cpu;

/**
 * Loops that reduce or normalise one row of n floats. Sums of differences of sign and of
 * exponentials run in float over short blocks and in double over blocks; plain sums run in double.
 */
public interface RowLanes {
  /** Returns the sum, in float64. */
  double sum(long x, int n);

  /** Returns the sum of squares, in float64. */
  double sumOfSquares(long x, int n);

  /** Returns {@code sum((x - mean)^2)}. */
  double squaredDeviations(long x, float mean, int n);

  /** Returns {@code sum(x y)}. */
  double dot(long x, long y, int n);

  /** Returns {@code sum(x y (z - shift))}. */
  double dotShifted(long x, long y, long z, float shift, int n);

  /** Returns the greatest element, minus infinity where there is none. */
  float max(long x, int n);

  /** Writes {@code out = exp(x - shift)} and returns the sum. */
  double exp(long x, float shift, long out, int n);

  /** Returns {@code sum(exp(x - shift))}. */
  double sumExp(long x, float shift, int n);

  /** Writes {@code out = factor exp(x - shift)}. */
  void expScaled(long x, float shift, float factor, long out, int n);

  /** Adds {@code out += factor exp(x - shift)}. */
  void addExpScaled(long x, float shift, float factor, long out, int n);

  /**
   * Returns {@code sum(p ((t - s) - (shiftT - shiftS)))} with {@code p = exp(t - shiftT)}; elements
   * with p = 0 count 0, whatever s is.
   */
  double divergence(long s, float shiftS, long t, float shiftT, int n);

  /** Writes {@code out = y (gradient - d)}. */
  void softmaxBackward(long y, long gradient, float d, long out, int n);

  /** Writes {@code out = (x - mean) inverse weight + bias}. */
  void normalise(long x, float mean, float inverse, long weight, long bias, long out, int n);

  /** Writes {@code out = x inverse weight}. */
  void normaliseByRoot(long x, float inverse, long weight, long out, int n);

  /**
   * Writes {@code dx = inverse (gradient weight - a - b xhat)} and adds {@code dweight += gradient
   * xhat}, with {@code xhat = (x - mean) inverse}.
   */
  void normBackward(NormRow row, long weight, long dweight, int n);

  /**
   * Writes {@code out[r] = x[r] cos - x[r + n] sin} and {@code out[r + n] = x[r + n] cos + x[r]
   * sin}.
   */
  void rotate(long x, long cos, long sin, float sign, long out, int n);

  /**
   * One row of a normalisation's backward pass.
   *
   * @param x the row
   * @param gradient with respect to the output row
   * @param dx written
   * @param mean of the row; 0 where it is not subtracted
   * @param inverse of the row's deviation
   * @param a see {@link #normBackward}
   * @param b see {@link #normBackward}
   */
  record NormRow(long x, long gradient, long dx, float mean, float inverse, float a, float b) {}
}
