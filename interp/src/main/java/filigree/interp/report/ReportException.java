package filigree.interp.report;

import java.io.IOException;
import java.nio.file.Path;

/**
 * A report cannot be written; the message is one sentence for the person who asked for it.
 *
 * <p>About a file it says where, what was found, what was expected and what to try.
 */
public final class ReportException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** Longest piece of a file that a message quotes, in characters. */
  private static final int QUOTE_LIMIT = 60;

  /**
   * A failure without an underlying exception.
   *
   * @param message one sentence
   */
  public ReportException(String message) {
    super(message);
  }

  /**
   * A failure with the exception that led to it.
   *
   * @param message one sentence
   * @param cause what was thrown
   */
  public ReportException(String message, Throwable cause) {
    super(message, cause);
  }

  /** The sentence for a file whose content is not what it should be. */
  static ReportException badInput(String where, String found, String expected, String advice) {
    return new ReportException(
        where + ": found " + found + ", expected " + expected + "; " + advice + ".");
  }

  /** The sentence for a page that cannot be written. */
  static ReportException notWritten(Path page, IOException cause) {
    return new ReportException(
        page
            + ": cannot be written ("
            + cause
            + "), expected a folder that exists and may be written to; give another path.",
        cause);
  }

  /** Names a line of a file, counted from 1. */
  static String lineOf(Path file, int line) {
    return file + ", line " + line;
  }

  /** A piece of a file between quotation marks. */
  static String quote(String text) {
    return '"' + excerpt(text) + '"';
  }

  /** A piece of a file, cut to a readable length, on one line. */
  static String excerpt(String text) {
    String shown = text.strip();
    boolean cut = shown.length() > QUOTE_LIMIT;
    StringBuilder quoted = new StringBuilder();
    (cut ? shown.substring(0, QUOTE_LIMIT) : shown)
        .chars()
        .forEach(c -> quoted.append(Character.isISOControl(c) ? '\uFFFD' : (char) c));
    return quoted.append(cut ? "…" : "").toString();
  }
}
