package filigree.tensor;

/**
 * What an attention kernel needs to know beside its tensors. Attention is causal: with Tq queries
 * and Tk keys, query i stands at position {@code Tk - Tq + i} and sees keys 0 to that position,
 * which serves whole sequences (Tq = Tk) and decoding from a key-value cache alike. With a sliding
 * window (Beltagy et al., arXiv 2004.05150) it sees only the last {@code window} of those keys,
 * itself among them: position i sees keys j with {@code i - window < j <= i}.
 *
 * @param heads query heads
 * @param kvHeads key and value heads; each serves {@code heads / kvHeads} query heads
 * @param headDim length of one head's vectors
 * @param scale multiplies {@code q . k}, usually {@code 1 / sqrt(headDim)}
 * @param gate which edges are kept
 * @param window how many keys a query sees at most, {@link #ALL_KEYS} for no limit
 */
public record AttentionSpec(
    int heads, int kvHeads, int headDim, double scale, Gate gate, int window) {
  /** A window without a limit. */
  public static final int ALL_KEYS = Integer.MAX_VALUE;

  /** Column of the counts: gates open without noise. */
  public static final int OPEN = 0;

  /** Column of the counts: query rows all of whose gates are closed. */
  public static final int EMPTY_ROWS = 1;

  /** Column of the counts: open gates to key position 0. */
  public static final int FIRST = 2;

  /** Column of the counts: open gates of a position to itself. */
  public static final int DIAGONAL = 3;

  /** Columns of the counts. */
  public static final int COUNTS = 4;

  /**
   * Checks the sizes.
   *
   * @throws TensorException where the heads cannot be grouped
   */
  public AttentionSpec {
    if (heads < 1 || kvHeads < 1 || headDim < 1 || heads % kvHeads != 0) {
      throw new TensorException(
          "attention: %d heads over %d key-value heads of %d; heads must be a multiple of key-value heads"
              .formatted(heads, kvHeads, headDim));
    }
    if (window < 1) {
      throw new TensorException(
          "attention: a window of %d keys; a query sees at least itself".formatted(window));
    }
  }

  /**
   * Attention without a window.
   *
   * @param heads query heads
   * @param kvHeads key and value heads
   * @param headDim length of one head's vectors
   * @param scale multiplies {@code q . k}
   * @param gate which edges are kept
   */
  public AttentionSpec(int heads, int kvHeads, int headDim, double scale, Gate gate) {
    this(heads, kvHeads, headDim, scale, gate, ALL_KEYS);
  }

  /**
   * Returns the first key that a query sees.
   *
   * @param position the query's position
   * @return 0 unless the window has left it behind
   */
  public int firstKey(int position) {
    return firstKey(position, window);
  }

  /**
   * Returns the first key in a window.
   *
   * @param position the query's position
   * @param window how many keys a query sees at most
   * @return {@code max(0, position - window + 1)}
   */
  public static int firstKey(int position, int window) {
    return Math.max(0, position - window + 1); // at most position, as a window is at least 1
  }

  /**
   * Returns how many pairs of a query and a key it sees there are.
   *
   * @param queries query positions, Tq
   * @param keys key positions, Tk, at least Tq
   * @return {@link #causalPairs} without those that the window hides
   */
  public long pairs(long queries, long keys) {
    // Hidden from position i are max(0, i - window + 1) keys: a triangle, and what precedes it.
    return causalPairs(queries, keys) - triangle(keys - window) + triangle(keys - queries - window);
  }

  private static long triangle(long n) {
    return n <= 0 ? 0 : n * (n + 1) / 2;
  }

  /**
   * Returns the number of causal pairs.
   *
   * @param queries query positions, Tq
   * @param keys key positions, Tk, at least Tq
   * @return T (T + 1) / 2 where both are T
   */
  public static long causalPairs(long queries, long keys) {
    return queries * (keys - queries) + queries * (queries + 1) / 2;
  }
}
