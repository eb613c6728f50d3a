package filigree.cli;

import static java.nio.charset.StandardCharsets.UTF_8;

import filigree.autograd.AutogradException;
import filigree.checkpoints.CheckpointException;
import filigree.interp.circuit.CircuitException;
import filigree.interp.report.ReportException;
import filigree.interp.task.TaskException;
import filigree.sparsity.RunException;
import filigree.tensor.TensorException;
import filigree.transformer.ModelException;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import picocli.CommandLine;
import picocli.CommandLine.Command;

/** Entry point of the {@code filigree} command. */
@Command(
    name = "filigree",
    mixinStandardHelpOptions = true,
    versionProvider = Version.class,
    description = "Sparsifies pretrained transformers and shows what they compute.",
    subcommands = {
      DemoCommand.class,
      InspectCommand.class,
      InitCommand.class,
      TrainCommand.class,
      LogitsCommand.class,
      EvalCommand.class,
      GenerateCommand.class,
      SparsifyCommand.class,
      SweepCommand.class,
      CircuitCommand.class,
      EdgesCommand.class,
      MergeCommand.class,
      ReportCommand.class,
      CommandLine.HelpCommand.class
    })
public final class Main implements Runnable {
  /** Done. */
  static final int DONE = 0;

  /** Failed while it ran. */
  static final int FAILED = 1;

  /** Called or fed wrongly. */
  static final int BAD_USE = 2;

  @CommandLine.Spec private CommandLine.Model.CommandSpec spec;

  private Main() {}

  /**
   * Runs one verb and ends the process with its exit code.
   *
   * @param args the verb and its options
   */
  public static void main(String[] args) {
    System.exit(
        run(
            args,
            new PrintWriter(System.out, true, UTF_8),
            new PrintWriter(System.err, true, UTF_8)));
  }

  /**
   * Runs one verb.
   *
   * @param args the verb and its options
   * @param out results
   * @param err progress and errors
   * @return the exit code
   */
  public static int run(String[] args, PrintWriter out, PrintWriter err) {
    CommandLine line = new CommandLine(new Main());
    line.setOut(out);
    line.setErr(err);
    line.setCaseInsensitiveEnumValuesAllowed(true);
    line.setParameterExceptionHandler(
        (e, arguments) -> {
          err.println("filigree: " + sentence(e) + "; see 'filigree help'");
          return BAD_USE;
        });
    line.setExecutionExceptionHandler(
        (e, at, parsed) -> {
          report(e, parsed, err);
          return exitCode(e);
        });
    try {
      return line.execute(args);
    } catch (LinkageError | OutOfMemoryError | InternalError e) {
      // picocli hands only exceptions to its handler
      report(e, line.getParseResult(), err);
      return FAILED;
    }
  }

  private static void report(Throwable e, CommandLine.ParseResult parsed, PrintWriter err) {
    if (CommonOptions.debugging(parsed)) {
      e.printStackTrace(err);
    }
    err.println("filigree: " + sentence(e));
  }

  @Override
  public void run() {
    throw new CommandLine.ParameterException(spec.commandLine(), "no verb was given");
  }

  /** Bad input is the caller's to mend; anything else failed while running. */
  private static int exitCode(Throwable e) {
    return switch (e) {
      case CheckpointException c -> ofDisk(c.getCause()) ? FAILED : BAD_USE;
      case RunException r -> ofDisk(r.getCause()) ? FAILED : BAD_USE;
      case UsageException u -> BAD_USE;
      case TensorException t -> BAD_USE;
      case ModelException m -> BAD_USE;
      case AutogradException a -> BAD_USE;
      case ReportException r -> ofDisk(r.getCause()) ? FAILED : BAD_USE;
      case CircuitException c -> BAD_USE;
      case TaskException t -> BAD_USE;
      default -> FAILED;
    };
  }

  /**
   * Whether the disk is at fault. Malformed text and JSON are reported as subclasses of IOException
   * too, and a missing file is the caller's.
   */
  private static boolean ofDisk(Throwable cause) {
    return cause != null
        && (cause.getClass() == IOException.class
            || (cause instanceof FileSystemException && !(cause instanceof NoSuchFileException)));
  }

  private static String sentence(Throwable e) {
    return switch (e) {
      case UncheckedIOException io -> sentence(io.getCause());
      case IOException io ->
          io.getClass().getSimpleName() + (io.getMessage() == null ? "" : ": " + io.getMessage());
      case OutOfMemoryError m -> "the Java heap is full: " + m.getMessage();
      case InternalError i ->
          // What the JVM throws where a mapped file has become shorter or its disk fails.
          "a file of the model could not be read: it was cut short by another program, or the disk"
              + " failed (the JVM says: "
              + i.getMessage()
              + ")";
      case LinkageError l ->
          "a library is missing from the class path or does not load: "
              + l.toString().lines().findFirst().orElse("");
      default -> {
        String message = e.getMessage();
        boolean known = e.getClass().getName().startsWith("filigree.");
        yield known || e instanceof CommandLine.PicocliException
            ? message
            : "this is a fault of filigree: " + e + "; run with --debug for the place";
      }
    };
  }
}
