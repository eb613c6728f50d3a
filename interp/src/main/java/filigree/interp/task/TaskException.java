package filigree.interp.task;

/** A task that cannot be posed, in one sentence: what was found, expected, what to try. */
public final class TaskException extends RuntimeException {
  private static final long serialVersionUID = 1;

  /**
   * Makes one.
   *
   * @param sentence for the user
   */
  public TaskException(String sentence) {
    super(sentence);
  }
}
