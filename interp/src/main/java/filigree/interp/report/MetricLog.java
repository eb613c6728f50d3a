package filigree.interp.report;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeType;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;

/**
 * {@code metrics.jsonl}: what a run wrote down at each step.
 *
 * @param phases parts of the run in their order, side by side on one step axis; a run without
 *     phases has one with an empty name
 * @param series each quantity that was logged, by its key
 * @param notes sentences about the log that a reader of the page should know
 */
record MetricLog(List<Phase> phases, Map<String, MetricSeries> series, List<String> notes) {
  /** Keys that are not quantities. */
  private static final Set<String> COORDINATES = Set.of("step", "phase");

  /** Keys that must be numbers where they occur; other keys are drawn if they are numbers. */
  private static final Set<String> QUANTITIES =
      Set.of(
          "ce",
          "ce_average",
          "density",
          "expected_density",
          "edges_per_query",
          "beta",
          "lr",
          "grad_norm",
          "tokens",
          "wall_ms",
          "valid_ce",
          "valid_density",
          "valid_edges_per_query");

  /** How JSON writers spell the numbers that JSON does not have. */
  private static final Set<String> NOT_FINITE =
      Set.of("NaN", "Infinity", "-Infinity", "+Infinity", "inf", "-inf", "nan");

  /**
   * One part of a run.
   *
   * @param name as logged, for example {@code dense} or {@code sparse}
   * @param first first step of the part, as logged
   * @param last last step of the part, as logged
   * @param offset what to add to a step to get its position on the common axis
   */
  record Phase(String name, long first, long last, long offset) {}

  /** A line of the log: its step and its finite numbers. */
  private record Row(long step, Map<String, Double> values) {}

  MetricLog {
    phases = List.copyOf(phases);
    notes = List.copyOf(notes);
  }

  /** The quantity with this key, where it was logged at least once. */
  Optional<MetricSeries> find(String key) {
    return Optional.ofNullable(series.get(key));
  }

  /**
   * Reads the log of a run folder; a folder without one gives an empty log with a note.
   *
   * @param folder the run folder
   * @return the log
   * @throws ReportException if a line other than a half-written last one is malformed
   */
  static MetricLog read(Path folder) {
    Path file = folder.resolve("metrics.jsonl");
    Optional<byte[]> bytes = Json.bytes(file);
    if (bytes.isEmpty()) {
      return new MetricLog(
          List.of(), Map.of(), List.of("This run has no metrics.jsonl, so there are no curves."));
    }
    return new Reader(file).read(bytes.get());
  }

  /** The state of one reading. */
  private static final class Reader {
    private final Path file;
    private final Map<String, Deque<Row>> rows = new LinkedHashMap<>();
    private final List<String> notes = new ArrayList<>();
    private int repeated;
    private int notFinite;

    Reader(Path file) {
      this.file = file;
    }

    MetricLog read(byte[] bytes) {
      int line = 0;
      for (int start = 0; start < bytes.length; ) {
        line++;
        int end = start;
        while (end < bytes.length && bytes[end] != '\n') {
          end++;
        }
        readLine(line, Arrays.copyOfRange(bytes, start, end), end == bytes.length);
        start = end + 1;
      }
      if (repeated > 0) {
        notes.add(
            "The run was stopped and resumed: "
                + Numbers.count(repeated, "step that was", "steps that were")
                + " done twice "
                + (repeated == 1 ? "is" : "are")
                + " shown as done the last time.");
      }
      if (notFinite > 0) {
        notes.add(
            Numbers.count(notFinite, "logged value is", "logged values are")
                + " not a finite number and cannot be drawn.");
      }
      return assemble();
    }

    private void readLine(int line, byte[] bytes, boolean unfinished) {
      String text = new String(bytes, StandardCharsets.UTF_8);
      if (text.isBlank()) {
        return;
      }
      JsonNode node;
      try {
        node = Json.MAPPER.readTree(bytes);
      } catch (IOException e) {
        if (unfinished) {
          notes.add(
              "The last line of metrics.jsonl (line "
                  + line
                  + ") is half-written, as after a killed run; it is left out.");
          return;
        }
        String reason =
            e instanceof JsonProcessingException json ? json.getOriginalMessage() : e.getMessage();
        throw bad(line, ReportException.quote(text) + " (" + firstLine(reason) + ")");
      }
      if (!node.isObject()) {
        throw bad(line, ReportException.excerpt(text));
      }
      add(line, node);
    }

    private void add(int line, JsonNode node) {
      JsonNode step = node.get("step");
      if (step == null || !step.canConvertToExactIntegral() || step.longValue() < 0) {
        throw bad(
            line,
            step == null ? "no \"step\"" : "\"step\": " + ReportException.excerpt(step.toString()));
      }
      JsonNode phase = node.path("phase");
      if (!phase.isMissingNode() && !phase.isTextual()) {
        throw bad(line, "\"phase\": " + ReportException.excerpt(phase.toString()));
      }
      Row row = new Row(step.longValue(), numbers(line, node));
      Deque<Row> done = rows.computeIfAbsent(phase.asText(""), name -> new ArrayDeque<>());
      if (!done.isEmpty() && done.getLast().step() > row.step()) {
        while (!done.isEmpty() && done.getLast().step() >= row.step()) {
          done.removeLast();
          repeated++;
        }
      }
      if (!done.isEmpty() && done.getLast().step() == row.step()) {
        done.getLast().values().putAll(row.values());
      } else {
        done.addLast(row);
      }
    }

    private Map<String, Double> numbers(int line, JsonNode node) {
      Map<String, Double> values = new TreeMap<>();
      for (Map.Entry<String, JsonNode> entry : node.properties()) {
        JsonNode value = entry.getValue();
        if (COORDINATES.contains(entry.getKey())) {
          continue;
        }
        if (value.isNumber() && Double.isFinite(value.doubleValue())) {
          values.put(entry.getKey(), value.doubleValue());
        } else if (value.isNumber() || NOT_FINITE.contains(value.asText())) {
          notFinite++;
        } else if (value.getNodeType() != JsonNodeType.NULL
            && QUANTITIES.contains(entry.getKey())) {
          throw bad(
              line, "\"" + entry.getKey() + "\": " + ReportException.excerpt(value.toString()));
        }
      }
      return values;
    }

    private MetricLog assemble() {
      List<Phase> phases = new ArrayList<>();
      Map<String, List<double[]>> points = new TreeMap<>();
      long end = -1;
      for (Map.Entry<String, Deque<Row>> part : rows.entrySet()) {
        long first = part.getValue().getFirst().step();
        long last = part.getValue().getLast().step();
        long offset = first > end ? 0 : end + 1 - first;
        phases.add(new Phase(part.getKey(), first, last, offset));
        end = last + offset;
        for (Row row : part.getValue()) {
          double x = row.step() + offset;
          row.values()
              .forEach(
                  (key, value) ->
                      points
                          .computeIfAbsent(key, any -> new ArrayList<>())
                          .add(new double[] {x, value}));
        }
      }
      Map<String, MetricSeries> series = new LinkedHashMap<>();
      points.forEach((key, list) -> series.put(key, toSeries(list)));
      return new MetricLog(phases, series, notes);
    }

    private static MetricSeries toSeries(Collection<double[]> points) {
      return new MetricSeries(
          points.stream().mapToLong(point -> (long) point[0]).toArray(),
          points.stream().mapToDouble(point -> point[1]).toArray());
    }

    private static String firstLine(String text) {
      return text.lines().findFirst().orElse("");
    }

    private ReportException bad(int line, String found) {
      return ReportException.badInput(
          ReportException.lineOf(file, line),
          found,
          "one JSON object with a whole number \"step\" and numbers such as \"ce\"",
          "mend or delete that line");
    }
  }
}
