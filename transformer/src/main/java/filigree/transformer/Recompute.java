package filigree.transformer;

/**
 * What a forward run does not keep for its backward pass, which computes it again (activation
 * checkpointing). Gradients have the same bits either way.
 */
public enum Recompute {
  /** Everything is kept. */
  NOTHING,
  /**
   * Of each block only its input is kept: for one forward run more of arithmetic, a third, memory
   * grows with the depth by one [batch, time, width] a block instead of about fifteen.
   */
  BLOCKS
}
