package filigree.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.sun.management.OperatingSystemMXBean;
import filigree.tensor.Kernels;
import filigree.tensor.provider.Backend;
import filigree.transformer.MemoryEstimate;
import java.io.PrintWriter;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import picocli.CommandLine;
import picocli.CommandLine.Option;

/** Options that every verb has, and how every verb prints. */
final class CommonOptions {
  private static final ObjectMapper MAPPER = new ObjectMapper();

  /** What the JVM takes for itself, without the heap that the data fill. */
  private static final long JVM_BYTES = 150L << 20;

  @CommandLine.Spec(CommandLine.Spec.Target.MIXEE)
  private CommandLine.Model.CommandSpec spec;

  @Option(names = "--json", description = "Print exactly one JSON object on standard output.")
  private boolean json;

  @Option(
      names = "--seed",
      defaultValue = "1",
      description = "Chooses everything random (default: ${DEFAULT-VALUE}).")
  private long seed;

  @Option(
      names = "--threads",
      description = "Threads to compute with (default: the machine's cores).")
  private Integer threads;

  @Option(
      names = "--backend",
      defaultValue = "cpu",
      description = "Kernel provider: cpu or nd4j (default: ${DEFAULT-VALUE}).")
  private String backend;

  @Option(
      names = "--memory",
      description = "The most memory to use for tensors, such as 512M or 8G (default: no limit).")
  private String memory;

  @SuppressWarnings("UnusedVariable") // looked up by name, before options are assigned
  @Option(names = "--debug", description = "Print a stack trace with an error.")
  private boolean debug;

  static boolean debugging(CommandLine.ParseResult parsed) {
    for (CommandLine.ParseResult at = parsed; at != null; at = at.subcommand()) {
      if (at.hasMatchedOption("--debug")) {
        return true;
      }
    }
    return false;
  }

  long seed() {
    return seed;
  }

  String backend() {
    return backend;
  }

  int threads() {
    if (threads == null) {
      return Runtime.getRuntime().availableProcessors();
    }
    if (threads < 1) {
      throw new UsageException("--threads is " + threads + ", expected 1 or more");
    }
    return threads;
  }

  /** Options about the machine, for another verb that is run in the same way. */
  List<String> machineOptions() {
    List<String> out = new ArrayList<>(List.of("--backend", backend));
    if (threads != null) {
      out.addAll(List.of("--threads", Integer.toString(threads)));
    }
    if (memory != null) {
      out.addAll(List.of("--memory", memory));
    }
    return out;
  }

  /** The limit in bytes; Long.MAX_VALUE for none. */
  long memoryBytes() {
    if (memory == null) {
      return Long.MAX_VALUE;
    }
    String text = memory.trim().toUpperCase(Locale.ROOT);
    int shift =
        switch (text.isEmpty() ? ' ' : text.charAt(text.length() - 1)) {
          case 'K' -> 10;
          case 'M' -> 20;
          case 'G' -> 30;
          case 'T' -> 40;
          default -> 0;
        };
    try {
      double number = Double.parseDouble(shift == 0 ? text : text.substring(0, text.length() - 1));
      if (number > 0 && Double.isFinite(number)) {
        return (long) (number * (1L << shift));
      }
    } catch (NumberFormatException e) {
      // Falls through to the one sentence for all bad numbers.
    }
    throw new UsageException("--memory is '" + memory + "', expected a number such as 512M or 8G");
  }

  /** Says what a run needs, or refuses one that cannot end well. */
  void requireFits(String verb, MemoryEstimate estimate) {
    String needed = verb + " needs " + estimate.describe();
    requireFits(needed, estimate.totalBytes());
    err().println("memory: " + needed);
  }

  /** Refuses what is more than the limit or the machine. */
  void requireFits(String needed, long bytes) {
    String advice = "; try a smaller batch, a shorter context or ";
    if (bytes > memoryBytes()) {
      throw new UsageException(
          "%s; that is above the limit of %.1f MiB that --memory sets%sa higher --memory"
              .formatted(needed, mebibytes(memoryBytes()), advice));
    }
    if (!fits(bytes)) {
      throw new UsageException(
          "%s; this machine has %.1f MiB, of which the JVM takes %.1f MiB%sa larger machine"
              .formatted(needed, mebibytes(machineBytes()), mebibytes(JVM_BYTES), advice));
    }
  }

  /** Whether there is room for tensors of this many bytes. */
  boolean fits(long bytes) {
    return bytes <= availableBytes();
  }

  /** The most that tensors can take: what --memory allows, or the machine has. */
  long availableBytes() {
    return Math.min(memoryBytes(), machineBytes() - JVM_BYTES);
  }

  private static long machineBytes() {
    return ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class).getTotalMemorySize();
  }

  static double mebibytes(long bytes) {
    return bytes / 1048576.0;
  }

  /** Starts the provider and says once, on standard error, which one and why this one. */
  Kernels open() {
    Kernels kernels = Backend.of(backend).open(threads());
    err().println("backend: " + kernels.description() + "; chosen because " + whyBackend());
    return kernels;
  }

  /** Who chose the provider; its description says what it found on this machine. */
  String whyBackend() {
    return spec.commandLine().getParseResult().hasMatchedOption("--backend")
        ? "--backend " + backend + " asks for it"
        : "it is the default of --backend";
  }

  PrintWriter out() {
    return spec.commandLine().getOut();
  }

  PrintWriter err() {
    return spec.commandLine().getErr();
  }

  boolean isJson() {
    return json;
  }

  ObjectNode object() {
    return MAPPER.createObjectNode();
  }

  /** Prints the result: one JSON object, or a line per key. */
  void print(ObjectNode result) {
    if (json) {
      out().println(result);
    } else {
      result
          .properties()
          .forEach(
              entry -> {
                if (entry.getValue().isValueNode()) {
                  out().printf("%-20s %s%n", entry.getKey(), entry.getValue().asText());
                }
              });
    }
    out().flush();
  }
}
