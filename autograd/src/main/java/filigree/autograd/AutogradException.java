package filigree.autograd;

/** Recording or differentiating was asked for something impossible. */
public final class AutogradException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /**
   * Creates the exception.
   *
   * @param message one sentence: where, what was found, what was expected, what to try
   */
  public AutogradException(String message) {
    super(message);
  }
}
