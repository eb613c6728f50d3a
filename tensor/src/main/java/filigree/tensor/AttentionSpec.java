package filigree.tensor;

/**
 * What an attention kernel needs to know beside its tensors. Attention is causal: with Tq queries
 * and Tk keys, query i stands at position {@code Tk - Tq + i} and sees keys 0 to that position,
 * which serves whole sequences (Tq = Tk) and decoding from a key-value cache alike.
 *
 * @param heads query heads
 * @param kvHeads key and value heads; each serves {@code heads / kvHeads} query heads
 * @param headDim length of one head's vectors
 * @param scale multiplies {@code q . k}, usually {@code 1 / sqrt(headDim)}
 * @param gate which edges are kept
 */
public record AttentionSpec(int heads, int kvHeads, int headDim, double scale, Gate gate) {
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
