package filigree.interp.report;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Arrays;
import java.util.List;

/** What the script of the page draws, as one JSON tree. */
final class PageData {
  /**
   * Points per curve. A figure is at most about 1,100 pixels wide; with the smallest and largest
   * value of each of 800 stretches there is nothing more to see.
   */
  private static final int POINTS = 1_600;

  private static final JsonNodeFactory NODES = JsonNodeFactory.instance;

  private PageData() {}

  /** The tree for these runs, in their order. */
  static ObjectNode of(List<ReportedRun> runs) {
    ObjectNode data = NODES.objectNode();
    ArrayNode list = data.putArray("runs");
    runs.forEach(run -> list.add(run(run)));
    return data;
  }

  private static ObjectNode run(ReportedRun run) {
    ObjectNode node = NODES.objectNode();
    node.put("name", run.name());
    run.tau().ifPresent(tau -> node.put("tau", tau));
    ArrayNode phases = node.putArray("phases");
    for (MetricLog.Phase phase : run.log().phases()) {
      phases
          .addObject()
          .put("name", phase.name())
          .put("first", phase.first())
          .put("last", phase.last())
          .put("offset", phase.offset());
    }
    ObjectNode series = node.putObject("series");
    run.log().series().forEach((key, whole) -> series.set(key, series(whole)));
    run.attention().ifPresent(maps -> node.set("attention", attention(maps)));
    return node;
  }

  private static ObjectNode series(MetricSeries whole) {
    MetricSeries drawn = whole.decimated(POINTS);
    ObjectNode node = NODES.objectNode();
    node.put("logged", whole.size());
    ArrayNode x = node.putArray("x");
    Arrays.stream(drawn.x()).forEach(x::add);
    ArrayNode y = node.putArray("y");
    Arrays.stream(drawn.y()).mapToObj(Numbers::compact).forEach(y::add);
    return node;
  }

  private static ObjectNode attention(ReportedAttention maps) {
    ObjectNode node = NODES.objectNode();
    node.put("layers", maps.layers());
    node.put("heads", maps.heads());
    node.put("gated", ReportedAttention.GATED_MODEL);
    ArrayNode models = node.putArray("models");
    maps.models().forEach(models::add);
    ArrayNode prompts = node.putArray("prompts");
    for (ReportedAttention.Prompt prompt : maps.prompts()) {
      ObjectNode item = prompts.addObject();
      item.put("name", prompt.name());
      prompt.tokens().forEach(item.putArray("tokens")::add);
      prompt.answer().ifPresent(answer -> item.put("answer", answer));
      ObjectNode weights = item.putObject("weights");
      prompt.weights().forEach(weights::put);
      prompt.gates().ifPresent(gates -> item.put("gates", gates));
    }
    ObjectNode edges = node.putObject("edges");
    maps.edges()
        .forEach(
            (model, perHead) -> {
              ArrayNode rows = edges.putArray(model);
              for (double[] row : perHead) {
                ArrayNode cells = rows.addArray();
                Arrays.stream(row).mapToObj(Numbers::compact).forEach(cells::add);
              }
            });
    return node;
  }
}
