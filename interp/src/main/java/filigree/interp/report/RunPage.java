package filigree.interp.report;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * One self-contained HTML page about one or several runs.
 *
 * <p>The page needs no network and opens from disk. It holds a summary in words, the main figures,
 * curves over the steps, attention patterns and their wiring, and the settings and provenance of
 * each run. The same run folders give the same bytes.
 *
 * <p>A run folder holds {@code run.json}, and may hold {@code metrics.jsonl} and {@code
 * attention.json}.
 */
public final class RunPage {
  /** Keys of run.json in the order in which the settings table shows them; others follow. */
  private static final List<String> SETTINGS =
      List.of(
          "verb",
          "name",
          "started",
          "version",
          "seed",
          "tau",
          "tolerance",
          "backend",
          "threads",
          "cpu",
          "jdk");

  /** Keys of run.json that have a table of their own. */
  private static final List<String> OWN_TABLE = List.of("arguments", "data", "result");

  /** Measures by length of window, in the result: an array of objects. */
  private static final String BY_CONTEXT = "by_context";

  private RunPage() {}

  /**
   * Reads run folders and writes their page, to a temporary name first, so that the page is either
   * whole or as it was before.
   *
   * @param runFolders the folders, in the order in which the page shows them
   * @param page the HTML file to write; its folder must exist
   * @throws ReportException if there is no run folder, a file in one is missing or malformed, or
   *     the page cannot be written
   */
  public static void write(List<Path> runFolders, Path page) {
    if (runFolders.isEmpty()) {
      throw new ReportException(
          "report: found no run folder, expected at least one; give the --out folder of a run.");
    }
    PageFile.write(html(runFolders.stream().map(ReportedRun::read).toList()), page);
  }

  private static String html(List<ReportedRun> runs) {
    boolean single = runs.size() == 1;
    String names = runs.stream().map(ReportedRun::name).collect(Collectors.joining(", "));
    String title = single ? names : Numbers.count(runs.size(), "run", "runs") + " compared";
    String lead =
        single
            ? Summary.paragraph(runs.getFirst())
            : "This page compares "
                + names
                + ". The table puts their main figures side by side; the sections below show each"
                + " run on its own.";
    Map<String, String> places = new HashMap<>();
    places.put("title", Html.escape(title));
    places.put("kind", single ? "single" : "several");
    places.put("lead", Html.escape(lead));
    places.put("figures", Summary.table(runs));
    places.put("comparison", single ? "" : Html.resource("comparison.html"));
    places.put(
        "runs",
        IntStream.range(0, runs.size())
            .mapToObj(index -> section(index, runs.get(index), single))
            .collect(Collectors.joining("\n")));
    places.put("style", Html.resource("page.css"));
    places.put("script", Html.script("shared.js", "page.js"));
    places.put("data", Json.forScript(PageData.of(runs)));
    return Html.fill(Html.resource("page.html"), places);
  }

  private static String section(int index, ReportedRun run, boolean single) {
    String notes =
        run.log().notes().stream()
            .map(note -> Html.paragraph("note", note))
            .collect(Collectors.joining("\n"));
    Map<String, String> places = new HashMap<>();
    places.put("index", Integer.toString(index));
    places.put("heading", single ? "" : "<h2>" + Html.escape(run.name()) + "</h2>");
    places.put("summary", single ? "" : Html.paragraph("summary", Summary.paragraph(run)));
    places.put("notes", notes);
    places.put("attention", run.attention().map(RunPage::attention).orElse(""));
    places.put("settings", settings(run));
    return Html.fill(Html.resource("run.html"), places);
  }

  private static String attention(ReportedAttention maps) {
    List<List<String>> rows = new ArrayList<>();
    maps.summary().forEach((key, value) -> flatten(key, value, rows));
    return Html.fill(
        Html.resource("attention.html"),
        Map.of("summary", Html.table("Attention in figures", List.of("Figure", "Value"), rows)));
  }

  private static String settings(ReportedRun run) {
    JsonNode all = run.settings();
    List<List<String>> settings = new ArrayList<>();
    SETTINGS.stream().filter(all::has).forEach(key -> flatten(key, all.get(key), settings));
    all.properties().stream()
        .filter(entry -> !SETTINGS.contains(entry.getKey()))
        .filter(entry -> !OWN_TABLE.contains(entry.getKey()))
        .forEach(entry -> flatten(entry.getKey(), entry.getValue(), settings));
    List<String> head = List.of("Name", "Value");
    return String.join(
        "\n",
        Html.table("Result", head, rows(all.path("result"))),
        byContext(all.path("result").path(BY_CONTEXT)),
        Html.table("Arguments", head, rows(all.path("arguments"))),
        Html.table("Program and machine", head, settings),
        Html.table("Data", head, rows(all.path("data"))));
  }

  /** A row for each length of window, a column for each measure that the first one has. */
  private static String byContext(JsonNode lengths) {
    if (!lengths.isArray() || lengths.isEmpty()) {
      return "";
    }
    List<String> measures = new ArrayList<>();
    lengths.get(0).fieldNames().forEachRemaining(measures::add);
    List<List<String>> rows = new ArrayList<>();
    lengths.forEach(row -> rows.add(measures.stream().map(key -> text(row.path(key))).toList()));
    return Html.table("Windows of other lengths than trained", measures, rows);
  }

  private static List<List<String>> rows(JsonNode object) {
    List<List<String>> rows = new ArrayList<>();
    object.properties().stream()
        .filter(entry -> !entry.getKey().equals(BY_CONTEXT))
        .forEach(entry -> flatten(entry.getKey(), entry.getValue(), rows));
    return rows;
  }

  /** One row per value, with the keys on the way to it joined by dots. */
  private static void flatten(String key, JsonNode value, List<List<String>> rows) {
    if (value.isObject() && !value.isEmpty()) {
      value
          .properties()
          .forEach(entry -> flatten(key + "." + entry.getKey(), entry.getValue(), rows));
    } else {
      rows.add(List.of(key, text(value)));
    }
  }

  private static String text(JsonNode value) {
    if (value.isFloatingPointNumber() && Double.isFinite(value.doubleValue())) {
      return Numbers.exact(value.doubleValue());
    }
    return value.isTextual() ? value.textValue() : value.toString();
  }
}
