package filigree.interp.report;

import filigree.interp.circuit.Edge;
import filigree.interp.circuit.Node;
import filigree.interp.circuit.Part;
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
  static CircuitPageData two() {
    CircuitPageData.Model dense = model("babyllama", 1.6, 1);
    CircuitPageData.Model sparse = model("babyllama-sparse", 3.2, 2);
    return new CircuitPageData(
        question(),
        settings(),
        List.of(dense, sparse),
        List.of(
            panel("EAP-IG, resample ablation", CircuitPageData.Unit.EDGES, 2461, 200, 14),
            panel("activation patching", CircuitPageData.Unit.HEADS, 40, 18, 7)),
        prompts());
  }

  /** One model with heads alone: no edges, no attention, an effect that is not reached. */
  static CircuitPageData one() {
    CircuitPageData.Model whole = two().models().getFirst();
    CircuitPageData.Curve curve =
        new CircuitPageData.Curve(
            40,
            List.of(
                new CircuitPageData.Point(0, 0, -0.1, 0.1),
                new CircuitPageData.Point(9, 0.7, 0.6, 0.8)),
            List.of(new CircuitPageData.Reach(0.9, OptionalInt.empty())));
    return new CircuitPageData(
        question(),
        settings(),
        List.of(
            new CircuitPageData.Model("alone", whole.heads(), List.of(), whole.nodes(), List.of())),
        List.of(
            new CircuitPageData.Panel(
                "patching", CircuitPageData.Unit.HEADS, List.of(curve), List.of())),
        List.of());
  }

  static CircuitPageData.Question question() {
    return new CircuitPageData.Question(
        "story-names",
        "A story names a child; the prompt ends where the name stands again.",
        "ours");
  }

  static List<CircuitPageData.Setting> settings() {
    return List.of(
        new CircuitPageData.Setting("method", "eap-ig, 5 steps"),
        new CircuitPageData.Setting("ablation", "resample"),
        new CircuitPageData.Setting("seed", "1"));
  }

  private static List<CircuitPageData.Prompt> prompts() {
    return List.of(
        new CircuitPageData.Prompt("clean", TOKENS, " Lily"),
        new CircuitPageData.Prompt("corrupted", TOKENS.subList(0, 8), " Anna"));
  }

  private static CircuitPageData.Model model(String name, double steepness, int seed) {
    Philox random = new Philox(seed, 1);
    List<Node> nodes = new ArrayList<>();
    nodes.add(new Node.Input());
    for (int layer = 0; layer < LAYERS; layer++) {
      for (int head = 0; head < HEADS; head++) {
        nodes.add(new Node.Head(layer, head));
      }
      nodes.add(new Node.Mlp(layer));
    }
    nodes.add(new Node.Logits());
    List<CircuitPageData.ScoredEdge> edges = new ArrayList<>();
    for (int to = 1; to < nodes.size(); to++) {
      for (int from = 0; from < to; from++) {
        if (layer(nodes.get(from)) < layer(nodes.get(to))) {
          for (Part part : ports(nodes.get(to))) {
            double score = random.nextGaussian() * Math.pow(random.nextDouble(), 2 * steepness);
            edges.add(
                new CircuitPageData.ScoredEdge(
                    new Edge(nodes.get(from), nodes.get(to), part), score));
          }
        }
      }
    }
    edges.sort(Comparator.comparingDouble(edge -> -Math.abs(edge.score())));
    List<CircuitPageData.ScoredNode> scored =
        nodes.stream()
            .filter(node -> node instanceof Node.Head)
            .map(
                node ->
                    new CircuitPageData.ScoredNode(
                        node, random.nextGaussian() * Math.pow(random.nextDouble(), steepness)))
            .toList();
    return new CircuitPageData.Model(
        name,
        new CircuitPageData.Shape(LAYERS, HEADS),
        edges,
        scored,
        Stream.of(TOKENS.size(), 8).map(tokens -> pattern(random, tokens)).toList());
  }

  /** Where a node writes: an edge leads from a lower to a higher place. */
  private static int layer(Node node) {
    return switch (node) {
      case Node.Input input -> -1;
      case Node.Head head -> 2 * head.layer();
      case Node.Mlp mlp -> 2 * mlp.layer() + 1;
      case Node.Logits logits -> 2 * LAYERS;
    };
  }

  private static List<Part> ports(Node node) {
    return node instanceof Node.Head
        ? List.of(Part.QUERY, Part.KEY, Part.VALUE)
        : List.of(Part.ALL);
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

  private static CircuitPageData.Panel panel(
      String title, CircuitPageData.Unit unit, int total, int slow, int fast) {
    List<CircuitPageData.Curve> curves = List.of(curve(total, slow), curve(total, fast));
    List<CircuitPageData.Ratio> ratios = new ArrayList<>();
    for (double effect : EFFECTS) {
      double ratio =
          (double) curves.get(0).k(effect).orElseThrow() / curves.get(1).k(effect).orElseThrow();
      ratios.add(new CircuitPageData.Ratio(effect, ratio, 0.7 * ratio, 1.4 * ratio));
    }
    return new CircuitPageData.Panel(title, unit, curves, ratios);
  }

  private static CircuitPageData.Curve curve(int total, int scale) {
    List<CircuitPageData.Point> points = new ArrayList<>();
    for (int k = 0; k <= total; k = Math.max(k + 1, (int) (1.25 * k))) {
      double effect = 1 - Math.exp(-2.4 * k / scale);
      double half = 0.1 * (1 - effect) + 0.02;
      points.add(new CircuitPageData.Point(k, effect, effect - half, effect + half));
    }
    List<CircuitPageData.Reach> reached = new ArrayList<>();
    for (double effect : EFFECTS) {
      int k = (int) Math.ceil(-Math.log(1 - effect) / 2.4 * scale);
      reached.add(new CircuitPageData.Reach(effect, OptionalInt.of(k)));
    }
    return new CircuitPageData.Curve(total, points, reached);
  }
}
