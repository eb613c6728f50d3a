package filigree.interp.report;

import filigree.tensor.Philox;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/** Made-up circuits: random scores that fall off quickly, more quickly for the sparse model. */
final class CircuitFixture {
  private static final int LAYERS = 5;
  private static final int HEADS = 8;
  private static final List<String> TOKENS =
      List.of("<s>", "Lily", " had", " a", " dog", ".", " Lily", " loved", " the", " dog", ".");
  private static final double[] EFFECTS = {0.8, 0.9, 0.95};

  private CircuitFixture() {}

  /** Dense beside sparse: curves of two units with ratios, edges, scores and attention. */
  static CircuitReport two() {
    CircuitReport.Model dense = model("babyllama", 1.6, 1);
    CircuitReport.Model sparse = model("babyllama-sparse", 3.2, 2);
    return new CircuitReport(
        question(),
        settings(),
        List.of(dense, sparse),
        List.of(
            panel("EAP-IG, resample ablation", CircuitReport.Unit.EDGES, 2461, 200, 14),
            panel("activation patching", CircuitReport.Unit.HEADS, 40, 18, 7)),
        prompts());
  }

  /** One model with heads alone: no edges, no attention, an effect that is not reached. */
  static CircuitReport one() {
    CircuitReport.Model whole = two().models().getFirst();
    CircuitReport.Curve curve =
        new CircuitReport.Curve(
            40,
            List.of(
                new CircuitReport.Point(0, 0, -0.1, 0.1),
                new CircuitReport.Point(9, 0.7, 0.6, 0.8)),
            List.of(new CircuitReport.Reach(0.9, OptionalInt.empty())));
    return new CircuitReport(
        question(),
        settings(),
        List.of(
            new CircuitReport.Model("alone", whole.heads(), List.of(), whole.nodes(), List.of())),
        List.of(
            new CircuitReport.Panel(
                "patching", CircuitReport.Unit.HEADS, List.of(curve), List.of())),
        List.of());
  }

  static CircuitReport.Question question() {
    return new CircuitReport.Question(
        "story-names",
        "A story names a child; the prompt ends where the name stands again.",
        "ours");
  }

  static List<CircuitReport.Setting> settings() {
    return List.of(
        new CircuitReport.Setting("method", "eap-ig, 5 steps"),
        new CircuitReport.Setting("ablation", "resample"),
        new CircuitReport.Setting("seed", "1"));
  }

  private static List<CircuitReport.Prompt> prompts() {
    return List.of(
        new CircuitReport.Prompt("clean", TOKENS, " Lily"),
        new CircuitReport.Prompt("corrupted", TOKENS.subList(0, 8), " Anna"));
  }

  private static CircuitReport.Model model(String name, double steepness, int seed) {
    Philox random = new Philox(seed, 1);
    List<CircuitReport.Node> nodes = new ArrayList<>();
    nodes.add(new CircuitReport.Input());
    for (int layer = 0; layer < LAYERS; layer++) {
      for (int head = 0; head < HEADS; head++) {
        nodes.add(new CircuitReport.Head(layer, head));
      }
      nodes.add(new CircuitReport.Mlp(layer));
    }
    nodes.add(new CircuitReport.Logits());
    List<CircuitReport.Edge> edges = new ArrayList<>();
    for (int to = 1; to < nodes.size(); to++) {
      for (int from = 0; from < to; from++) {
        if (layer(nodes.get(from)) < layer(nodes.get(to))) {
          for (CircuitReport.Port port : ports(nodes.get(to))) {
            double score = random.nextGaussian() * Math.pow(random.nextDouble(), 2 * steepness);
            edges.add(new CircuitReport.Edge(nodes.get(from), nodes.get(to), port, score));
          }
        }
      }
    }
    edges.sort(Comparator.comparingDouble(edge -> -Math.abs(edge.score())));
    List<CircuitReport.ScoredNode> scored =
        nodes.stream()
            .filter(node -> node instanceof CircuitReport.Head)
            .map(
                node ->
                    new CircuitReport.ScoredNode(
                        node, random.nextGaussian() * Math.pow(random.nextDouble(), steepness)))
            .toList();
    return new CircuitReport.Model(
        name,
        new CircuitReport.Shape(LAYERS, HEADS),
        edges,
        scored,
        Stream.of(TOKENS.size(), 8).map(tokens -> pattern(random, tokens)).toList());
  }

  /** Where a node writes: an edge leads from a lower to a higher place. */
  private static int layer(CircuitReport.Node node) {
    return switch (node) {
      case CircuitReport.Input input -> -1;
      case CircuitReport.Head head -> 2 * head.layer();
      case CircuitReport.Mlp mlp -> 2 * mlp.layer() + 1;
      case CircuitReport.Logits logits -> 2 * LAYERS;
    };
  }

  private static List<CircuitReport.Port> ports(CircuitReport.Node node) {
    return node instanceof CircuitReport.Head
        ? List.of(CircuitReport.Port.QUERY, CircuitReport.Port.KEY, CircuitReport.Port.VALUE)
        : List.of(CircuitReport.Port.WHOLE);
  }

  private static double[][][][] pattern(Philox random, int tokens) {
    double[][][][] out = new double[LAYERS][HEADS][tokens][];
    for (double[][][] layer : out) {
      for (double[][] head : layer) {
        for (int query = 0; query < tokens; query++) {
          double[] row =
              IntStream.rangeClosed(0, query)
                  .mapToDouble(key -> Math.exp(3 * random.nextGaussian()))
                  .toArray();
          double sum = IntStream.rangeClosed(0, query).mapToDouble(key -> row[key]).sum();
          head[query] =
              IntStream.rangeClosed(0, query).mapToDouble(key -> row[key] / sum).toArray();
        }
      }
    }
    return out;
  }

  private static CircuitReport.Panel panel(
      String title, CircuitReport.Unit unit, int total, int slow, int fast) {
    List<CircuitReport.Curve> curves = List.of(curve(total, slow), curve(total, fast));
    List<CircuitReport.Ratio> ratios = new ArrayList<>();
    for (double effect : EFFECTS) {
      double ratio =
          (double) curves.get(0).k(effect).orElseThrow() / curves.get(1).k(effect).orElseThrow();
      ratios.add(new CircuitReport.Ratio(effect, ratio, 0.7 * ratio, 1.4 * ratio));
    }
    return new CircuitReport.Panel(title, unit, curves, ratios);
  }

  private static CircuitReport.Curve curve(int total, int scale) {
    List<CircuitReport.Point> points = new ArrayList<>();
    for (int k = 0; k <= total; k = Math.max(k + 1, (int) (1.25 * k))) {
      double effect = 1 - Math.exp(-2.4 * k / scale);
      double half = 0.1 * (1 - effect) + 0.02;
      points.add(new CircuitReport.Point(k, effect, effect - half, effect + half));
    }
    List<CircuitReport.Reach> reached = new ArrayList<>();
    for (double effect : EFFECTS) {
      int k = (int) Math.ceil(-Math.log(1 - effect) / 2.4 * scale);
      reached.add(new CircuitReport.Reach(effect, OptionalInt.of(k)));
    }
    return new CircuitReport.Curve(total, points, reached);
  }
}
