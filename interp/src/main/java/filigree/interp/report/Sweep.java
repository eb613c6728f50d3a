package filigree.interp.report;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.SequencedMap;
import java.util.stream.Collectors;
import org.apache.commons.math3.distribution.TDistribution;
import org.apache.commons.math3.stat.descriptive.SummaryStatistics;

/**
 * What a sweep came to: its runs one by one, and for each setting the mean over seeds.
 *
 * @param title what was swept
 * @param runs in the order of the sweep
 */
public record Sweep(String title, List<Run> runs) {
  /** Edges per query and head: the abscissa of the plot. */
  public static final String EDGES = "edges_per_query";

  /** Loss above the dense model's, nats per token: the ordinate. */
  public static final String EXCESS = "excess";

  /** Confidence of the intervals. */
  private static final double CONFIDENCE = 0.95;

  /** How a run ended. */
  public enum Status {
    /** Within the tolerance. */
    DONE,
    /** Above the tolerance. */
    VIOLATES,
    /** Its gates all closed at a loss above the tolerance. */
    COLLAPSED,
    /** Its loss is no number. */
    DIVERGED,
    /** It ended with an error. */
    FAILED,
    /** Not yet run. */
    WAITING;

    /** Whether its figures mean something. */
    boolean isMeasured() {
      return switch (this) {
        case DONE, VIOLATES, COLLAPSED -> true;
        case DIVERGED, FAILED, WAITING -> false;
      };
    }

    String label() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /**
   * A run.
   *
   * @param setting what it differs in from others, without the seed
   * @param seed its seed
   * @param status how it ended
   * @param note what went wrong; empty where nothing did
   * @param measures figures by name, such as {@link #EDGES} and {@link #EXCESS}
   */
  public record Run(
      SequencedMap<String, String> setting,
      long seed,
      Status status,
      String note,
      SequencedMap<String, Double> measures) {
    String settingText() {
      return setting.isEmpty()
          ? "base"
          : setting.entrySet().stream()
              .map(entry -> entry.getKey() + " " + entry.getValue())
              .collect(Collectors.joining(", "));
    }

    OptionalDouble measure(String name) {
      Double value = status.isMeasured() ? measures.get(name) : null;
      return value == null ? OptionalDouble.empty() : OptionalDouble.of(value);
    }
  }

  /**
   * A mean with its interval.
   *
   * @param mean over seeds
   * @param margin half of the 95 % interval by Student's t; empty for a single seed
   * @param count how many seeds
   */
  public record Mean(double mean, OptionalDouble margin, long count) {
    /**
     * Averages.
     *
     * @param values one for each seed; at least one
     * @return mean and margin
     */
    public static Mean of(List<Double> values) {
      SummaryStatistics statistics = new SummaryStatistics();
      values.forEach(statistics::addValue);
      long n = statistics.getN();
      if (n < 2) {
        return new Mean(statistics.getMean(), OptionalDouble.empty(), n);
      }
      double t = new TDistribution(n - 1.0).inverseCumulativeProbability(0.5 + CONFIDENCE / 2);
      return new Mean(
          statistics.getMean(),
          OptionalDouble.of(t * statistics.getStandardDeviation() / Math.sqrt((double) n)),
          n);
    }

    String text() {
      return Numbers.plain(mean)
          + (margin.isPresent() ? " ± " + Numbers.plain(margin.getAsDouble()) : "");
    }
  }

  /**
   * All runs of one setting.
   *
   * @param name what the setting is
   * @param runs its runs, one for each seed
   * @param edges mean edges per query; empty where no run was measured
   * @param excess mean loss above the dense model's
   */
  record Setting(String name, List<Run> runs, Optional<Mean> edges, Optional<Mean> excess) {
    /** Whether another is at least as good in both and better in one. */
    boolean isBeatenBy(Setting other) {
      if (edges.isEmpty() || other.edges.isEmpty()) {
        return edges.isEmpty() && other.edges.isPresent();
      }
      double e = other.edges.get().mean() - edges.get().mean();
      double x = other.excess.orElseThrow().mean() - excess.orElseThrow().mean();
      return e <= 0 && x <= 0 && (e < 0 || x < 0);
    }
  }

  List<Setting> settings() {
    Map<String, List<Run>> groups = new LinkedHashMap<>();
    for (Run run : runs) {
      groups.computeIfAbsent(run.settingText(), name -> new ArrayList<>()).add(run);
    }
    return groups.entrySet().stream()
        .map(
            group ->
                new Setting(
                    group.getKey(),
                    group.getValue(),
                    mean(group.getValue(), EDGES),
                    mean(group.getValue(), EXCESS)))
        .toList();
  }

  private static Optional<Mean> mean(List<Run> runs, String measure) {
    List<Double> values =
        runs.stream()
            .map(run -> run.measure(measure))
            .filter(OptionalDouble::isPresent)
            .map(OptionalDouble::getAsDouble)
            .toList();
    return values.isEmpty() ? Optional.empty() : Optional.of(Mean.of(values));
  }

  /** Settings that no other beats in both edges and loss, from few edges to many. */
  List<Setting> front() {
    List<Setting> all = settings();
    return all.stream()
        .filter(one -> one.edges().isPresent())
        .filter(one -> all.stream().noneMatch(one::isBeatenBy))
        .sorted((a, b) -> Double.compare(edgesOf(a), edgesOf(b)))
        .toList();
  }

  private static double edgesOf(Setting setting) {
    return setting.edges().orElseThrow().mean();
  }

  private List<String> measureNames() {
    return runs.stream().flatMap(run -> run.measures().keySet().stream()).distinct().toList();
  }

  private List<String> settingNames() {
    return runs.stream().flatMap(run -> run.setting().keySet().stream()).distinct().toList();
  }

  /**
   * A line per run, as comma-separated values (RFC 4180).
   *
   * @return the table with a header
   */
  public String csv() {
    List<String> head = new ArrayList<>(settingNames());
    head.add("seed");
    head.add("status");
    head.addAll(measureNames());
    head.add("note");
    StringBuilder out = new StringBuilder(line(head));
    for (Run run : runs) {
      List<String> cells = new ArrayList<>();
      settingNames().forEach(name -> cells.add(run.setting().getOrDefault(name, "")));
      cells.add(Long.toString(run.seed()));
      cells.add(run.status().label());
      measureNames()
          .forEach(
              name ->
                  cells.add(
                      run.measures().containsKey(name)
                          ? Double.toString(run.measures().get(name))
                          : ""));
      cells.add(run.note());
      out.append(line(cells));
    }
    return out.toString();
  }

  private static String line(List<String> cells) {
    return cells.stream()
            .map(
                cell ->
                    cell.matches("(?s).*[\",\r\n].*")
                        ? "\"" + cell.replace("\"", "\"\"") + "\""
                        : cell)
            .collect(Collectors.joining(","))
        + "\r\n";
  }

  /**
   * Means of each setting and all runs.
   *
   * @return an object with {@code settings} and {@code runs}
   */
  public ObjectNode json() {
    ObjectNode out = JsonNodeFactory.instance.objectNode();
    out.put("title", title);
    List<Setting> front = front();
    ArrayNode means = out.putArray("settings");
    for (Setting setting : settings()) {
      ObjectNode node = means.addObject();
      node.put("setting", setting.name());
      node.put("runs", setting.runs().size());
      put(node, EDGES, setting.edges());
      put(node, EXCESS, setting.excess());
      node.put("pareto", front.contains(setting));
    }
    ArrayNode all = out.putArray("runs");
    for (Run run : runs) {
      ObjectNode node = all.addObject();
      run.setting().forEach(node::put);
      node.put("seed", run.seed());
      node.put("status", run.status().label());
      run.measures().forEach(node::put);
      if (!run.note().isEmpty()) {
        node.put("note", run.note());
      }
    }
    return out;
  }

  private static void put(ObjectNode node, String name, Optional<Mean> mean) {
    mean.ifPresent(
        found -> {
          node.put(name, found.mean());
          found.margin().ifPresent(margin -> node.put(name + "_margin", margin));
        });
  }

  /**
   * The means of each setting as a Markdown table.
   *
   * @return the table
   */
  public String markdown() {
    StringBuilder out = new StringBuilder("| " + String.join(" | ", HEAD) + " |\n");
    out.append("|---".repeat(HEAD.size())).append("|\n");
    for (List<String> row : rows()) {
      out.append("| ")
          .append(
              row.stream().map(cell -> cell.replace("|", "\\|")).collect(Collectors.joining(" | ")))
          .append(" |\n");
    }
    return out.toString();
  }

  /** Columns of {@link #rows}. */
  static final List<String> HEAD =
      List.of("setting", "edges per query", "nats above dense", "seeds", "how they ended");

  /** A row for each setting: its means, and how its runs ended. */
  List<List<String>> rows() {
    List<Setting> front = front();
    List<List<String>> out = new ArrayList<>();
    for (Setting setting : settings()) {
      Map<String, Long> ends =
          setting.runs().stream()
              .collect(
                  Collectors.groupingBy(
                      run -> run.status().label(), LinkedHashMap::new, Collectors.counting()));
      out.add(
          List.of(
              setting.name() + (front.contains(setting) ? " *" : ""),
              setting.edges().map(Mean::text).orElse("–"),
              setting.excess().map(Mean::text).orElse("–"),
              Integer.toString(setting.runs().size()),
              ends.entrySet().stream()
                  .map(end -> end.getValue() + " " + end.getKey())
                  .collect(Collectors.joining(", "))));
    }
    return out;
  }
}
