package filigree.interp.circuit;

/** What stands in for the output of a node outside of a circuit. */
public enum Ablation {
  /** Its output in the corrupted run of the same pair. */
  RESAMPLE,
  /**
   * Its mean output, position by position, over all prompts of the same length, clean and
   * corrupted.
   */
  MEAN,
  /** Nothing. */
  ZERO
}
