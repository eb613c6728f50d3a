package filigree.tensor;

/** Whether a matrix operand of a product is used as it lies or with its last two axes exchanged. */
public enum Transpose {
  /** As it lies. */
  NO,
  /** With its last two axes exchanged. */
  YES;

  /**
   * Returns the other one.
   *
   * @return {@link #YES} for {@link #NO} and the reverse
   */
  public Transpose flip() {
    return this == NO ? YES : NO;
  }
}
