package filigree.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.checkpoints.AtomicFiles;
import filigree.interp.report.Sweep;
import filigree.interp.report.SweepPage;
import filigree.sparsity.RunFolder;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.io.Writer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** A grid of post-training runs, one after the other. */
@Command(
    name = "sweep",
    mixinStandardHelpOptions = true,
    description =
        "Runs sparsify for every combination of a grid and every seed, resumes where it was"
            + " interrupted, and writes a table and a page of loss against edges.",
    footer = {
      "",
      "SPEC is a JSON file: {\"model\": FOLDER, \"data\": TEXT, \"base\": {OPTION: VALUE},",
      "\"grid\": {OPTION: [VALUES]}, \"seeds\": [1, 2, 3]}, options being those of sparsify.",
      "With the option test in base, edges and loss are those on that text, which chooses nothing;",
      "how runs ended is told by the held-out text, which chooses."
    })
final class SweepCommand implements Callable<Integer> {
  /** Figures of a run's result that the table shows, as they are named there. */
  private static final List<String> MEASURES =
      List.of(
          "base_ce",
          "ce",
          "sampled_ce",
          "density",
          "dead_heads",
          "kl",
          "top1_agreement",
          "test_base_ce",
          "test_ce",
          "test_density",
          "test_kl",
          "test_top1_agreement",
          "best_step",
          "steps");

  private static final String RUNS = "runs";
  private static final String SPEC = "sweep.json";
  private static final String TABLE = "table";
  private static final ObjectMapper MAPPER = new ObjectMapper();

  @Mixin private CommonOptions common;

  @Parameters(paramLabel = "SPEC", description = "A JSON file that describes the sweep.")
  private Path file;

  @Option(
      names = "--out",
      required = true,
      paramLabel = "DIR",
      description = "A new folder, or that of the same sweep, which then goes on.")
  private Path out;

  @Override
  public Integer call() {
    SweepSpec spec = SweepSpec.read(file);
    List<SweepSpec.Point> points = spec.points();
    requireSameSweep(spec);
    List<Sweep.Run> runs = new ArrayList<>();
    points.forEach(point -> runs.add(waiting(point)));
    String title = "%s, %d runs".formatted(file.getFileName(), points.size());
    int failures = 0;
    for (int i = 0; i < points.size(); i++) {
      SweepSpec.Point point = points.get(i);
      common.err().printf("sweep: run %d of %d: %s%n", i + 1, points.size(), point.folder());
      Sweep.Run done = run(spec, point);
      runs.set(i, done);
      if (!done.note().isEmpty()) {
        common.err().printf("sweep: %s: %s%n", point.folder(), done.note());
      }
      failures += done.status() == Sweep.Status.FAILED ? 1 : 0;
      write(new Sweep(title, runs));
    }
    ObjectNode json = new Sweep(title, runs).json();
    json.put("page", out.resolve("sweep.html").toString());
    json.put("table", out.resolve(TABLE + ".csv").toString());
    if (common.isJson()) {
      common.print(json);
    } else {
      common.out().print(new Sweep(title, runs).markdown());
      common.out().flush();
    }
    return failures == 0 ? Main.DONE : Main.FAILED;
  }

  private static Sweep.Run waiting(SweepSpec.Point point) {
    return new Sweep.Run(
        point.setting(), point.seed(), Sweep.Status.WAITING, "", new LinkedHashMap<>());
  }

  /** A folder takes more values and seeds of the same sweep, and no other sweep. */
  private void requireSameSweep(SweepSpec spec) {
    Path known = out.resolve(SPEC);
    try {
      if (Files.exists(known)) {
        if (!MAPPER.readTree(Files.readString(known)).equals(spec.identity())) {
          throw new UsageException(
              "--out %s holds a sweep of another model, text or base (%s); choose a new folder"
                  .formatted(out, known));
        }
        return;
      }
      if (Files.exists(out)) {
        RunFolder.requireVacant(out);
      }
      Files.createDirectories(out.resolve(RUNS));
      writeFile(SPEC, MAPPER.writerWithDefaultPrettyPrinter().writeValueAsString(spec.identity()));
    } catch (JsonProcessingException e) {
      throw new UsageException(known + ": this is not JSON: " + e.getOriginalMessage());
    } catch (IOException e) {
      throw new UsageException(
          "--out %s: cannot be written (%s); check free space and permissions"
              .formatted(out, e.getMessage()));
    }
  }

  /** Runs, resumes or merely reads one point, in this process. */
  private Sweep.Run run(SweepSpec spec, SweepSpec.Point point) {
    List<String> line = spec.arguments(point, out.resolve(RUNS).resolve(point.folder()));
    line.addAll(common.machineOptions());
    StringWriter printed = new StringWriter();
    StringWriter said = new StringWriter();
    int code =
        Main.run(
            line.toArray(String[]::new),
            new PrintWriter(printed, true),
            new PrintWriter(new Tee(said, common.err()), true));
    if (code != Main.DONE) {
      List<String> sentences = said.toString().lines().toList();
      String last = sentences.isEmpty() ? "no message" : sentences.getLast();
      return new Sweep.Run(
          point.setting(), point.seed(), Sweep.Status.FAILED, last, new LinkedHashMap<>());
    }
    try {
      return measured(point, MAPPER.readTree(printed.toString()));
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("sparsify --json prints JSON", e);
    }
  }

  private static Sweep.Run measured(SweepSpec.Point point, JsonNode result) {
    SequencedMap<String, Double> measures = new LinkedHashMap<>();
    double excess = number(result, "ce") - number(result, "base_ce");
    double edges = number(result, Sweep.EDGES);
    boolean tested = result.has("test_ce");
    measures.put(Sweep.EDGES, tested ? number(result, "test_edges_per_query") : edges);
    measures.put(
        Sweep.EXCESS, tested ? number(result, "test_ce") - number(result, "test_base_ce") : excess);
    if (tested) {
      measures.put("valid_" + Sweep.EDGES, edges);
      measures.put("valid_" + Sweep.EXCESS, excess);
    }
    for (String name : MEASURES) {
      if (result.has(name)) {
        measures.put(name, number(result, name));
      }
    }
    Sweep.Status status;
    String note = "";
    if (!Double.isFinite(excess)) {
      status = Sweep.Status.DIVERGED;
      note = "the loss is %s".formatted(number(result, "ce"));
    } else if (result.path("satisfied").asBoolean()) {
      status = Sweep.Status.DONE;
    } else if (edges == 0) {
      status = Sweep.Status.COLLAPSED;
      note = "no edge is open, at %+.4f nats".formatted(excess);
    } else {
      status = Sweep.Status.VIOLATES;
      note = "no model was within the tolerance; the nearest is at %+.4f nats".formatted(excess);
    }
    return new Sweep.Run(point.setting(), point.seed(), status, note, measures);
  }

  /** JSON has no numbers for what is not finite; Jackson writes their names. */
  private static double number(JsonNode result, String name) {
    JsonNode node = result.path(name);
    return node.isNumber() ? node.doubleValue() : Double.NaN;
  }

  private void write(Sweep sweep) {
    try {
      writeFile(TABLE + ".csv", sweep.csv());
      writeFile(TABLE + ".md", sweep.markdown());
      writeFile(
          TABLE + ".json",
          MAPPER.writerWithDefaultPrettyPrinter().writeValueAsString(sweep.json()));
    } catch (IOException e) {
      throw new UsageException(
          "--out %s: cannot be written (%s); check free space and permissions"
              .formatted(out, e.getMessage()));
    }
    SweepPage.write(sweep, out.resolve("sweep.html"));
  }

  private void writeFile(String name, String contents) throws IOException {
    Path file = out.resolve(name);
    Path temporary = AtomicFiles.temporarySibling(file);
    Files.writeString(temporary, contents);
    AtomicFiles.rename(temporary, file);
  }

  /** Writes what a run says to two places. */
  private static final class Tee extends Writer {
    private final Writer one;
    private final Writer other;

    Tee(Writer one, Writer other) {
      this.one = one;
      this.other = other;
    }

    @Override
    public void write(char[] text, int from, int length) throws IOException {
      one.write(text, from, length);
      other.write(text, from, length);
    }

    @Override
    public void flush() throws IOException {
      one.flush();
      other.flush();
    }

    @Override
    public void close() throws IOException {
      flush();
    }
  }
}
