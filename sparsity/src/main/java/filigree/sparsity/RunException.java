package filigree.sparsity;

/** A run was asked for something impossible, or its folder cannot be written. */
public final class RunException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /**
   * Creates the exception.
   *
   * @param message one sentence: where, what was found, what was expected, what to try
   */
  public RunException(String message) {
    super(message);
  }

  /**
   * Creates the exception with its cause.
   *
   * @param message one sentence: where, what was found, what was expected, what to try
   * @param cause what made it fail
   */
  public RunException(String message, Throwable cause) {
    super(message, cause);
  }
}
