package filigree.cli;

import java.io.PrintWriter;
import java.time.Duration;
import me.tongfei.progressbar.ConsoleProgressBarConsumer;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;

/**
 * Progress with remaining time on standard error: a bar on a terminal, a line every ten seconds
 * elsewhere, where a bar would only fill a log.
 */
final class Progress implements AutoCloseable {
  private static final long QUIET_NANOS = Duration.ofSeconds(10).toNanos();

  private final String task;
  private final long total;
  private final PrintWriter err;
  private final ProgressBar bar;
  private final long began = System.nanoTime();
  private long spoke = began;

  @SuppressWarnings("SystemConsoleNull") // null again in JDK 25 where there is no terminal
  Progress(String task, long total, PrintWriter err) {
    this.task = task;
    this.total = total;
    this.err = err;
    boolean terminal = System.console() != null && System.console().isTerminal();
    this.bar =
        terminal
            ? new ProgressBarBuilder()
                .setTaskName(task)
                .setInitialMax(total)
                .setStyle(ProgressBarStyle.ASCII)
                .setUpdateIntervalMillis(500)
                .setConsumer(new ConsoleProgressBarConsumer(System.err))
                .build()
            : null;
  }

  void to(long done, String message) {
    if (bar != null) {
      bar.stepTo(done);
      bar.setExtraMessage(message);
      return;
    }
    long now = System.nanoTime();
    if (now - spoke >= QUIET_NANOS) {
      spoke = now;
      double seconds = (now - began) * 1e-9;
      double left = done == 0 ? Double.NaN : seconds / done * (total - done);
      err.printf("%s: %d of %d, %.0f s left%s%n", task, done, total, left, suffix(message));
    }
  }

  private static String suffix(String message) {
    return message.isEmpty() ? "" : "; " + message;
  }

  @Override
  public void close() {
    if (bar != null) {
      bar.close();
    }
  }
}
