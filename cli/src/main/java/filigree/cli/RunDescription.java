package filigree.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.checkpoints.CheckpointException;
import filigree.tensor.Kernels;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Stream;
import picocli.CommandLine;

/** What {@code run.json} says of a run: enough to repeat it. */
final class RunDescription {
  private static final int BUFFER_BYTES = 1 << 20;

  private RunDescription() {}

  /**
   * Describes a run as it begins.
   *
   * @param command the verb with its options as parsed
   * @param common the common options
   * @param kernels the provider
   */
  static ObjectNode of(
      CommandLine.Model.CommandSpec command, CommonOptions common, Kernels kernels) {
    ObjectNode run = choices(command, common);
    run.put("version", Version.number());
    run.put("jdk", Runtime.version().toString());
    run.put("cpu", cpu());
    run.put("backend", kernels.description());
    run.put("backend_because", common.whyBackend());
    run.put("started", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString());
    return run;
  }

  /**
   * The part that whoever begins a run chooses.
   *
   * @param command the verb with its options as parsed
   * @param common the common options
   */
  static ObjectNode choices(CommandLine.Model.CommandSpec command, CommonOptions common) {
    ObjectNode run = common.object();
    run.put("verb", command.name());
    ObjectNode arguments = run.putObject("arguments");
    for (CommandLine.Model.ArgSpec argument : command.args()) {
      Object value = argument.getValue();
      if (value != null && !isHelp(argument)) {
        String name =
            argument instanceof CommandLine.Model.OptionSpec option
                ? option.longestName()
                : argument.paramLabel();
        arguments.put(name, value.toString());
      }
    }
    run.put("seed", common.seed());
    run.put("threads", common.threads());
    return run;
  }

  private static boolean isHelp(CommandLine.Model.ArgSpec argument) {
    return argument instanceof CommandLine.Model.OptionSpec option
        && (option.usageHelp() || option.versionHelp());
  }

  /** Notes a file and its SHA-256. */
  static void addFile(ObjectNode group, String name, Path file) {
    ObjectNode entry = group.putObject(name);
    entry.put("path", file.toString());
    entry.put("sha256", sha256(file));
  }

  private static String cpu() {
    Path info = Path.of("/proc/cpuinfo");
    if (!Files.isReadable(info)) {
      return System.getProperty("os.arch");
    }
    try (Stream<String> lines = Files.lines(info)) {
      List<String> models =
          lines
              .filter(line -> line.startsWith("model name"))
              .map(line -> line.substring(line.indexOf(':') + 1).trim())
              .toList();
      return models.isEmpty()
          ? System.getProperty("os.arch")
          : models.size() + " x " + models.getFirst();
    } catch (IOException e) {
      return System.getProperty("os.arch");
    }
  }

  /** The SHA-256 of a text, in hexadecimal. */
  static String sha256(String text) {
    return HexFormat.of().formatHex(digest().digest(text.getBytes(StandardCharsets.UTF_8)));
  }

  private static MessageDigest digest() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError("every JDK has SHA-256", e);
    }
  }

  /** The SHA-256 of a file, in hexadecimal. */
  static String sha256(Path file) {
    try (InputStream in = Files.newInputStream(file)) {
      MessageDigest digest = digest();
      byte[] buffer = new byte[BUFFER_BYTES];
      for (int read = in.read(buffer); read >= 0; read = in.read(buffer)) {
        digest.update(buffer, 0, read);
      }
      return HexFormat.of().formatHex(digest.digest());
    } catch (IOException e) {
      throw new CheckpointException(file + ": the file could not be read: " + e.getMessage(), e);
    }
  }
}
