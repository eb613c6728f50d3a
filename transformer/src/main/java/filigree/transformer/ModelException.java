package filigree.transformer;

/** A model was described or asked for something impossible. */
public final class ModelException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /**
   * Creates the exception.
   *
   * @param message one sentence: where, what was found, what was expected, what to try
   */
  public ModelException(String message) {
    super(message);
  }
}
