package filigree.tensor;

/** A tensor operation was asked for something that its inputs do not allow. */
public final class TensorException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /**
   * Creates the exception.
   *
   * @param message one sentence: where, what was found, what was expected, what to try
   */
  public TensorException(String message) {
    super(message);
  }

  /**
   * Creates the exception with its cause.
   *
   * @param message one sentence: where, what was found, what was expected, what to try
   * @param cause what made it fail
   */
  public TensorException(String message, Throwable cause) {
    super(message, cause);
  }
}
