package filigree.cli;

import filigree.interp.circuit.Progress;
import java.io.PrintWriter;
import java.time.Duration;

/**
 * Progress of work in several phases of which nobody knows before how many there are. A phase gets
 * a bar of its own once it has lasted a while, since most end at once.
 */
final class PhaseProgress implements Progress, AutoCloseable {
  private static final long PATIENCE_NANOS = Duration.ofSeconds(2).toNanos();

  /** What is on the screen. */
  private sealed interface Shown {
    record Nothing() implements Shown {}

    /** A bar of what was left when it was opened. */
    record Bar(filigree.cli.Progress bar, long before) implements Shown {}
  }

  private final String task;
  private final PrintWriter err;
  private Shown shown = new Shown.Nothing();
  private long last = Long.MAX_VALUE;
  private long total = -1;
  private long began;

  PhaseProgress(String task, PrintWriter err) {
    this.task = task;
    this.err = err;
  }

  @Override
  public void at(long done, long all) {
    if (all != total || done <= last) {
      close();
      total = all;
      began = System.nanoTime();
    }
    last = done;
    switch (shown) {
      case Shown.Bar(filigree.cli.Progress bar, long before) -> bar.to(done - before, "");
      case Shown.Nothing() -> {
        if (done < all && System.nanoTime() - began > PATIENCE_NANOS) {
          shown = new Shown.Bar(new filigree.cli.Progress(task, all - done, err), done);
        }
      }
    }
  }

  @Override
  public void close() {
    switch (shown) {
      case Shown.Bar(filigree.cli.Progress bar, long _) -> bar.close();
      case Shown.Nothing() -> {}
    }
    shown = new Shown.Nothing();
  }
}
