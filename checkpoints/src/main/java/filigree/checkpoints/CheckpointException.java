package filigree.checkpoints;

/**
 * A file of a model folder, a corpus or a tokenizer is not what it should be, or could not be read
 * or written.
 */
public final class CheckpointException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** A hostile file says how long a name in it is; a person reads no more than this. */
  private static final int LONGEST = 2000;

  /**
   * Creates the exception.
   *
   * @param message one sentence: which file and tensor or key, what was found, what was expected,
   *     what to try
   */
  public CheckpointException(String message) {
    super(readable(message));
  }

  /**
   * Creates the exception with its cause.
   *
   * @param message one sentence: which file and tensor or key, what was found, what was expected,
   *     what to try
   * @param cause what made it fail
   */
  public CheckpointException(String message, Throwable cause) {
    super(readable(message), cause);
  }

  private static String readable(String message) {
    if (message.length() <= LONGEST) {
      return message;
    }
    int half = LONGEST / 2;
    return "%s ... (%d characters left out) ... %s"
        .formatted(
            message.substring(0, half),
            message.length() - LONGEST,
            message.substring(message.length() - half));
  }
}
