package filigree.interp.report;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.interp.circuit.Edge;
import filigree.interp.circuit.Part;
import java.math.BigDecimal;
import java.math.MathContext;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.ToDoubleFunction;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * One self-contained HTML page about the circuits of a task: curves of explained effect with the
 * ratio of two models between them, the circuits as layered graphs, scores of heads, the strongest
 * edges, and attention.
 *
 * <p>The page needs no network and opens from disk; the same report gives the same bytes.
 */
public final class CircuitPage {
  /** The effect whose circuit is drawn and named first, as in the paper (arXiv 2512.05865). */
  private static final double EFFECT = 0.9;

  /** A graph with more edges cannot be read, and makes a browser slow. */
  private static final int MOST_EDGES = 2_000;

  private static final int TABLE_EDGES = 20;
  private static final JsonNodeFactory NODES = JsonNodeFactory.instance;

  private CircuitPage() {}

  /**
   * Writes the page, to a temporary name first, so that it is either whole or as it was before.
   *
   * @param report what it shows
   * @param page the HTML file to write; its folder must exist
   * @throws ReportException if the page cannot be written
   */
  public static void write(CircuitPageData report, Path page) {
    PageFile.write(html(report), page);
  }

  private static String html(CircuitPageData report) {
    String names =
        report.models().stream()
            .map(CircuitPageData.Model::name)
            .collect(Collectors.joining(" and "));
    Map<String, String> places = new HashMap<>();
    places.put("title", Html.escape("Circuits of " + names));
    places.put("lead", Html.escape(lead(report)));
    places.put("task", Html.escape(report.task().description()));
    places.put("figures", reached(report));
    places.put("edges", topEdges(report));
    places.put("settings", settings(report));
    places.put("style", Html.resource("page.css") + Html.resource("circuit.css"));
    places.put("script", Html.script("shared.js", "circuit.js"));
    places.put("data", Json.forScript(data(report)));
    return Html.fill(Html.resource("circuit.html"), places);
  }

  private static String lead(CircuitPageData report) {
    return Stream.concat(
            Stream.of("The task is " + report.task().name() + "."),
            report.panels().stream().limit(1).map(panel -> sentence(report, panel)))
        .collect(Collectors.joining(" "));
  }

  private static String sentence(CircuitPageData report, CircuitPageData.Panel panel) {
    List<String> parts = new ArrayList<>();
    for (int m = 0; m < report.models().size(); m++) {
      CircuitPageData.Curve curve = panel.curves().get(m);
      OptionalInt k = curve.k(EFFECT);
      String name = report.models().get(m).name();
      String share = Numbers.percent(EFFECT) + " of the effect";
      parts.add(
          k.isPresent()
              ? "%s explains %s with %s of %s %s"
                  .formatted(
                      name,
                      share,
                      Numbers.plain(k.getAsInt()),
                      Numbers.plain(curve.total()),
                      panel.unit().plural())
              : "no circuit of %s that was tried explains %s in %s"
                  .formatted(panel.unit().plural(), share, name));
    }
    String ratio =
        ratio(panel, EFFECT)
            .map(
                found ->
                    "; the ratio is "
                        + times(found.ratio())
                        + ", with an interval from "
                        + times(found.low())
                        + " to "
                        + times(found.high()))
            .orElse("");
    return panel.title() + ": " + String.join(", and ", parts) + ratio + ".";
  }

  private static Optional<CircuitPageData.Ratio> ratio(CircuitPageData.Panel panel, double effect) {
    return panel.ratios().stream().filter(ratio -> ratio.effect() == effect).findFirst();
  }

  /** A ratio with three significant digits. */
  private static String times(double ratio) {
    return Numbers.plain(rounded(ratio, 3)) + "×";
  }

  /** k at each effect, for each panel and model. */
  private static String reached(CircuitPageData report) {
    // One panel needs no column that tells panels apart, which a narrow screen has no room for.
    boolean several = report.panels().size() > 1;
    List<String> head = new ArrayList<>(several ? List.of("Smallest circuit") : List.of());
    head.add("Effect");
    report.models().forEach(model -> head.add(model.name()));
    if (report.models().size() > 1) {
      head.addAll(List.of("Ratio", "Interval"));
    }
    List<List<String>> rows = new ArrayList<>();
    for (CircuitPageData.Panel panel : report.panels()) {
      for (CircuitPageData.Reach reach : panel.curves().getFirst().reached()) {
        List<String> row = new ArrayList<>();
        if (several) {
          row.add(panel.title() + ", " + panel.unit().plural());
        }
        row.add(Numbers.plain(reach.effect()));
        for (CircuitPageData.Curve curve : panel.curves()) {
          OptionalInt k = curve.k(reach.effect());
          row.add(
              (k.isPresent() ? Numbers.plain(k.getAsInt()) : "not reached")
                  + " of "
                  + Numbers.plain(curve.total()));
        }
        if (report.models().size() > 1) {
          Optional<CircuitPageData.Ratio> ratio = ratio(panel, reach.effect());
          row.add(ratio.map(found -> times(found.ratio())).orElse("–"));
          row.add(
              ratio.map(found -> times(found.low()) + " to " + times(found.high())).orElse("–"));
        }
        rows.add(row);
      }
    }
    return Html.table("k at an explained effect", head, rows);
  }

  private static String topEdges(CircuitPageData report) {
    String tables =
        report.models().stream().map(CircuitPage::topEdges).collect(Collectors.joining("\n"));
    return tables.isBlank()
        ? ""
        : "<section>\n<h3>The strongest edges</h3>\n<div class=\"tables\">\n"
            + tables
            + "\n</div>\n</section>";
  }

  private static String topEdges(CircuitPageData.Model model) {
    List<List<String>> rows = new ArrayList<>();
    for (CircuitPageData.ScoredEdge scored : model.edges().stream().limit(TABLE_EDGES).toList()) {
      Edge edge = scored.edge();
      String name = edge.sender().label() + " → " + edge.reader().label() + port(edge.part());
      rows.add(
          List.of(
              Integer.toString(rows.size() + 1), name, Numbers.plain(rounded(scored.score(), 4))));
    }
    return Html.table(
        "The strongest edges of " + model.name(), List.of("Rank", "Edge", "Score"), rows);
  }

  private static double rounded(double value, int digits) {
    return new BigDecimal(value, new MathContext(digits)).doubleValue();
  }

  private static String port(Part part) {
    return switch (part) {
      case ALL -> "";
      case QUERY -> " (q)";
      case KEY -> " (k)";
      case VALUE -> " (v)";
    };
  }

  private static String settings(CircuitPageData report) {
    List<List<String>> rows = new ArrayList<>();
    rows.add(List.of("task", report.task().name()));
    rows.add(List.of("source of the task", report.task().source()));
    report.settings().forEach(setting -> rows.add(List.of(setting.name(), setting.value())));
    return Html.table("Settings", List.of("Name", "Value"), rows);
  }

  private static ObjectNode data(CircuitPageData report) {
    ObjectNode data = NODES.objectNode();
    data.put("effect", EFFECT);
    ArrayNode models = data.putArray("models");
    report.models().forEach(model -> models.add(model(model, report.prompts())));
    ArrayNode panels = data.putArray("panels");
    report.panels().forEach(panel -> panels.add(panel(panel)));
    ArrayNode prompts = data.putArray("prompts");
    for (CircuitPageData.Prompt prompt : report.prompts()) {
      ObjectNode node =
          prompts.addObject().put("name", prompt.name()).put("answer", prompt.answer());
      prompt.tokens().forEach(node.putArray("tokens")::add);
    }
    return data;
  }

  private static ObjectNode model(
      CircuitPageData.Model model, List<CircuitPageData.Prompt> prompts) {
    ObjectNode node = NODES.objectNode();
    node.put("name", model.name());
    node.put("layers", model.heads().layers());
    node.put("heads", model.heads().perLayer());
    ArrayNode edges = node.putArray("edges");
    for (CircuitPageData.ScoredEdge scored : model.edges().stream().limit(MOST_EDGES).toList()) {
      edges
          .addArray()
          .add(scored.edge().sender().label())
          .add(scored.edge().reader().label())
          .add(port(scored.edge().part()).strip())
          .add(Numbers.compact(scored.score()));
    }
    node.put("allEdges", model.edges().size());
    ObjectNode nodes = node.putObject("nodes");
    model.nodes().forEach(each -> nodes.put(each.node().label(), Numbers.compact(each.score())));
    ArrayNode weights = node.putArray("weights");
    for (int p = 0; p < prompts.size(); p++) {
      weights.add(PatternPacking.pack(model.patterns().get(p), prompts.get(p).tokens().size()));
    }
    return node;
  }

  private static ObjectNode panel(CircuitPageData.Panel panel) {
    ObjectNode node = NODES.objectNode();
    node.put("title", panel.title());
    node.put("unit", panel.unit().plural());
    ArrayNode curves = node.putArray("curves");
    for (CircuitPageData.Curve curve : panel.curves()) {
      ObjectNode item = curves.addObject().put("total", curve.total());
      put(item, "k", curve.points(), CircuitPageData.Point::k);
      put(item, "effect", curve.points(), CircuitPageData.Point::effect);
      put(item, "low", curve.points(), CircuitPageData.Point::low);
      put(item, "high", curve.points(), CircuitPageData.Point::high);
      ArrayNode reached = item.putArray("reached");
      for (CircuitPageData.Reach reach : curve.reached()) {
        ObjectNode one = reached.addObject().put("effect", reach.effect());
        reach.k().ifPresent(k -> one.put("k", k));
      }
    }
    ArrayNode ratios = node.putArray("ratios");
    for (CircuitPageData.Ratio ratio : panel.ratios()) {
      ratios
          .addObject()
          .put("effect", ratio.effect())
          .put("ratio", Numbers.compact(ratio.ratio()))
          .put("low", Numbers.compact(ratio.low()))
          .put("high", Numbers.compact(ratio.high()));
    }
    return node;
  }

  private static void put(
      ObjectNode node,
      String key,
      List<CircuitPageData.Point> points,
      ToDoubleFunction<CircuitPageData.Point> value) {
    ArrayNode list = node.putArray(key);
    points.stream().mapToDouble(value).mapToObj(Numbers::compact).forEach(list::add);
  }
}
