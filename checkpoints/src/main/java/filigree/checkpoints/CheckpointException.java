package filigree.checkpoints;

/**
 * A file of a model folder, a corpus or a tokenizer is not what it should be, or could not be read
 * or written.
 */
public final class CheckpointException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /**
   * Creates the exception.
   *
   * @param message one sentence: which file and tensor or key, what was found, what was expected,
   *     what to try
   */
  public CheckpointException(String message) {
    super(message);
  }

  /**
   * Creates the exception with its cause.
   *
   * @param message one sentence: which file and tensor or key, what was found, what was expected,
   *     what to try
   * @param cause what made it fail
   */
  public CheckpointException(String message, Throwable cause) {
    super(message, cause);
  }
}
