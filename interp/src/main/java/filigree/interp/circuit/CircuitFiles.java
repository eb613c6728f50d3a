package filigree.interp.circuit;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.util.DefaultIndenter;
import com.fasterxml.jackson.core.util.DefaultPrettyPrinter;
import com.fasterxml.jackson.databind.ObjectWriter;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.transformer.ModelConfig;
import java.util.BitSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Files about circuits, as text: of equal reports equal bytes, lines ended by a line feed on every
 * system, numbers in their shortest form that reads back the same.
 */
public final class CircuitFiles {
  private static final JsonMapper MAPPER = JsonMapper.builder().build();
  private static final ObjectWriter WRITER =
      MAPPER.writer(
          new DefaultPrettyPrinter()
              .withObjectIndenter(new DefaultIndenter("  ", "\n"))
              .withArrayIndenter(new DefaultIndenter("  ", "\n")));

  private CircuitFiles() {}

  /**
   * Writes {@code circuit.json}: settings, hashes, {@code total}, {@code k} and their intervals at
   * each target, {@code cpr}, {@code cmd}, the {@code curve}, the {@code nodes} of the graph, and
   * the {@code scores} of heads, nodes or edges in order of their ranks, each with whether it is
   * {@code kept} in the circuit.
   *
   * @param report what was found
   * @return JSON
   */
  public static String json(Finding report) {
    Ranking ranking = report.ranking();
    Curve curve = report.curve();
    Bootstrap bootstrap = report.bootstrap();
    ObjectNode root = MAPPER.createObjectNode();
    root.put("format", 1);
    putAll(root.putObject("settings"), report.settings());
    putAll(root.putObject("hashes"), report.hashes());
    root.put("level", lower(ranking.level()));
    root.put("split", lower(ranking.graph().split()));
    root.put("ablation", lower(curve.plan().ablation()));
    root.put("baseline", lower(curve.plan().baseline()));
    root.put("selection", lower(curve.plan().selection()));
    root.put("prompts", curve.prompts());
    root.put("total", curve.total());
    ArrayNode targets = root.putArray("targets");
    for (double target : curve.plan().targets()) {
      ObjectNode one = targets.addObject();
      one.put("explained_effect", target);
      put(one, "k", curve.kAt(target, bootstrap));
    }
    put(root, "cpr", curve.cpr(bootstrap));
    put(root, "cmd", curve.cmd(bootstrap));
    ArrayNode points = root.putArray("curve");
    for (Curve.Point point : curve.points()) {
      ObjectNode one = points.addObject();
      one.put("k", point.k());
      one.put("kept", point.kept());
      put(one, "explained_effect", curve.effect(point.k(), bootstrap));
    }
    ArrayNode nodes = root.putArray("nodes");
    ranking.graph().senders().forEach(node -> nodes.add(node.label()));
    nodes.add(new Node.Logits().label());
    BitSet kept = report.circuit().kept();
    ArrayNode scores = root.putArray("scores");
    for (int rank = 0; rank < ranking.total(); rank++) {
      scores
          .addObject()
          .put("name", ranking.labelAt(rank))
          .put("score", ranking.scoreAt(rank))
          .put("kept", kept.get(ranking.at(rank)));
    }
    return text(root);
  }

  /**
   * Writes the graph as EAP-IG does (Hanna, Pezzelle, Belinkov, arXiv 2403.17806, {@code
   * Graph.to_json}), for exchange. Its scores are of a loss: what makes the metric worse is above
   * 0.
   *
   * @param config the model
   * @param metric what was scored
   * @param scores of edges, split
   * @param circuit the edges that are in the graph
   * @return JSON
   * @throws CircuitException where heads read as a whole, which that format cannot say
   */
  public static String eapIgGraph(
      ModelConfig config, Metric metric, EdgeScores scores, Circuit.Edges circuit) {
    CircuitGraph graph = scores.graph();
    switch (graph.split()) {
      case QKV -> {}
      case WHOLE ->
          throw new CircuitException(
              "EAP-IG's graphs tell queries, keys and values apart, and here heads read as a whole;"
                  + " score edges with the split");
    }
    ObjectNode root = MAPPER.createObjectNode();
    root.putObject("cfg")
        .put("n_layers", graph.layers())
        .put("n_heads", graph.heads())
        .put("parallel_attn_mlp", config.residual() == ModelConfig.Residual.PARALLEL)
        .put("d_model", config.sizes().width());
    BitSet kept = circuit.kept();
    ObjectNode nodes = root.putObject("nodes");
    List<Edge> edges = circuit.edges();
    for (Node sender : graph.senders()) {
      boolean isRead = edges.stream().anyMatch(edge -> edge.sender().equals(sender));
      boolean reads =
          sender instanceof Node.Input
              || edges.stream().anyMatch(edge -> edge.reader().equals(sender));
      nodes.putObject(sender.label()).put("in_graph", isRead && reads);
    }
    nodes.putObject(new Node.Logits().label()).put("in_graph", true);
    ObjectNode all = root.putObject("edges");
    for (int edge = 0; edge < graph.edgeCount(); edge++) {
      all.putObject(graph.edge(edge).label())
          .put("score", metric.damage(0, scores.byEdge()[edge]))
          .put("in_graph", kept.get(edge));
    }
    return text(root);
  }

  /**
   * Writes {@code comparison.json}: how many times more heads, nodes or edges one model needs than
   * another on the same prompts, with paired intervals.
   *
   * @param dense what was found in the first
   * @param sparse what was found in the second, on the same prompts by the same plan
   * @return JSON with {@code total}, and for each target {@code k} of both and their {@code ratio}
   * @throws CircuitException where the two were not searched alike
   */
  public static String comparison(Finding dense, Finding sparse) {
    if (!dense.curve().plan().equals(sparse.curve().plan())
        || dense.ranking().level() != sparse.ranking().level()) {
      throw new CircuitException(
          "two circuits are compared that were searched by different plans; search both alike");
    }
    ObjectNode root = MAPPER.createObjectNode();
    root.put("format", 1);
    root.put("level", lower(dense.ranking().level()));
    root.put("prompts", dense.curve().prompts());
    root.putObject("total")
        .put("dense", dense.curve().total())
        .put("sparse", sparse.curve().total());
    ArrayNode targets = root.putArray("targets");
    for (double target : dense.curve().plan().targets()) {
      ObjectNode one = targets.addObject();
      one.put("explained_effect", target);
      put(one, "k_dense", dense.curve().kAt(target, dense.bootstrap()));
      put(one, "k_sparse", sparse.curve().kAt(target, dense.bootstrap()));
      put(one, "ratio", Curve.ratio(dense.curve(), sparse.curve(), target, dense.bootstrap()));
    }
    return text(root);
  }

  /**
   * Writes the curve as CSV: {@code k,kept,share,explained_effect,low,high}.
   *
   * @param curve the curve
   * @param bootstrap draws of the prompts
   * @return a line for each measured k, below one of names
   */
  public static String csv(Curve curve, Bootstrap bootstrap) {
    StringBuilder out = new StringBuilder("k,kept,share,explained_effect,low,high\n");
    for (Curve.Point point : curve.points()) {
      Interval effect = curve.effect(point.k(), bootstrap);
      out.append(point.k())
          .append(',')
          .append(point.kept())
          .append(',')
          .append((double) point.k() / curve.total())
          .append(',')
          .append(effect.estimate())
          .append(',')
          .append(effect.low())
          .append(',')
          .append(effect.high())
          .append('\n');
    }
    return out.toString();
  }

  private static void put(ObjectNode node, String name, Interval interval) {
    node.putObject(name)
        .put("estimate", interval.estimate())
        .put("low", interval.low())
        .put("high", interval.high());
  }

  private static void putAll(ObjectNode node, Map<String, String> values) {
    values.forEach(node::put);
  }

  private static String lower(Enum<?> choice) {
    return choice.name().toLowerCase(Locale.ROOT).replace('_', '-');
  }

  private static String text(ObjectNode root) {
    try {
      return WRITER.writeValueAsString(root) + "\n";
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("a JSON tree could not be written", e);
    }
  }
}
