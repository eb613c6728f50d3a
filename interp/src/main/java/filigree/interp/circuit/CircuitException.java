package filigree.interp.circuit;

/** A circuit analysis that cannot be done, in one sentence: found, expected, what to try. */
public final class CircuitException extends RuntimeException {
  private static final long serialVersionUID = 1;

  /**
   * Makes one.
   *
   * @param sentence for the user
   */
  public CircuitException(String sentence) {
    super(sentence);
  }

  CircuitException(String sentence, Throwable cause) {
    super(sentence, cause);
  }
}
