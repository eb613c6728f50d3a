package filigree.interp.report;

import filigree.interp.circuit.Edge;
import filigree.interp.circuit.Node;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.OptionalInt;

/**
 * What a circuit page shows: the circuits of one model for one task, or of two side by side.
 *
 * @param task what was asked
 * @param settings method, ablation, seed and whatever else decides the result, in order
 * @param models one, or the one that is compared with and then the other: dense, then sparse
 * @param panels curves of explained effect; in each one curve per model, in the order of models
 * @param prompts on which attention is shown, perhaps none
 */
public record CircuitPageData(
    Question task,
    List<Setting> settings,
    List<Model> models,
    List<Panel> panels,
    List<Prompt> prompts) {
  private static final int MOST_MODELS = 2;

  /** Rows of a pattern sum to 1, or less where gates are closed; float32 misses it by less. */
  private static final double WEIGHT_SLACK = 1e-2;

  /** Checks that the parts belong together. */
  public CircuitPageData {
    settings = List.copyOf(settings);
    models = List.copyOf(models);
    panels = List.copyOf(panels);
    prompts = List.copyOf(prompts);
    if (models.isEmpty() || models.size() > MOST_MODELS) {
      throw bad("models", models.size() + " models", "one or two");
    }
    if (new HashSet<>(models.stream().map(Model::name).toList()).size() < models.size()) {
      throw bad("models", "one name twice", "names that tell them apart");
    }
    for (Panel panel : panels) {
      if (panel.curves().size() != models.size()) {
        throw bad(
            "panel " + panel.title(),
            panel.curves().size() + " curves",
            "one for each of the " + models.size() + " models");
      }
      if (models.size() == 1 && !panel.ratios().isEmpty()) {
        throw bad("panel " + panel.title(), "a ratio of one model", "none, or two models");
      }
    }
    for (Model model : models) {
      if (model.patterns().size() != prompts.size()) {
        throw bad(
            "model " + model.name(),
            "attention on " + model.patterns().size() + " prompts",
            "on each of the " + prompts.size());
      }
      for (int p = 0; p < prompts.size(); p++) {
        checkPattern(model, prompts.get(p), model.patterns().get(p));
      }
    }
  }

  /**
   * What was asked.
   *
   * @param name of the task with its options
   * @param description one sentence
   * @param source a publication or a file
   */
  public record Question(String name, String description, String source) {}

  /**
   * One line of the settings.
   *
   * @param name such as {@code method}
   * @param value such as {@code eap-ig, 5 steps}
   */
  public record Setting(String name, String value) {}

  /**
   * A node with its score.
   *
   * @param node the node
   * @param score its effect on the metric; the sign says whether it helps
   */
  public record ScoredNode(Node node, double score) {
    /** Checks the score. */
    public ScoredNode {
      requireFinite(node.label(), score);
    }
  }

  /**
   * An edge with its score.
   *
   * @param edge the edge
   * @param score its effect on the metric; the sign says whether it helps
   */
  public record ScoredEdge(Edge edge, double score) {
    /** Checks the score. */
    public ScoredEdge {
      requireFinite(edge.label(), score);
    }
  }

  /**
   * A model with its scores.
   *
   * @param name as it is shown
   * @param heads shape of its attention
   * @param edges in the order in which circuits take them; perhaps none. The first 2,000 are drawn
   * @param nodes those that have a score, in any order; perhaps none
   * @param patterns for each prompt the attention [layer][head][query][key], keys up to the query
   *     at least; 0 where a gate is closed
   */
  public record Model(
      String name,
      Shape heads,
      List<ScoredEdge> edges,
      List<ScoredNode> nodes,
      List<double[][][][]> patterns) {
    /** Checks that nodes exist. */
    public Model {
      edges = List.copyOf(edges);
      nodes = List.copyOf(nodes);
      patterns = List.copyOf(patterns);
      for (ScoredNode node : nodes) {
        heads.require(node.node());
      }
      for (ScoredEdge scored : edges) {
        heads.require(scored.edge().sender());
        heads.require(scored.edge().reader());
      }
    }
  }

  /**
   * The shape of a model's attention.
   *
   * @param layers number of layers
   * @param perLayer heads in each
   */
  public record Shape(int layers, int perLayer) {
    /** Checks both. */
    public Shape {
      if (layers < 1 || perLayer < 1) {
        throw bad("model", layers + " layers of " + perLayer + " heads", "at least one of each");
      }
    }

    private void require(Node node) {
      boolean exists =
          switch (node) {
            case Node.Input() -> true;
            case Node.Logits() -> true;
            case Node.Head(int layer, int head) ->
                layer >= 0 && layer < layers && head >= 0 && head < perLayer;
            case Node.Mlp(int layer) -> layer >= 0 && layer < layers;
          };
      if (!exists) {
        throw bad(
            "model",
            "node " + node.label(),
            "one of %d layers of %d heads".formatted(layers, perLayer));
      }
    }
  }

  /** What is counted along a curve. */
  public enum Unit {
    /** Edges of the graph. */
    EDGES("edges"),
    /** Attention heads. */
    HEADS("heads"),
    /** Heads and MLPs. */
    NODES("nodes");

    private final String plural;

    Unit(String plural) {
      this.plural = plural;
    }

    /**
     * Names several.
     *
     * @return such as {@code edges}
     */
    public String plural() {
      return plural;
    }
  }

  /**
   * Curves of one procedure.
   *
   * @param title such as {@code EAP-IG, resample ablation}
   * @param unit what is counted
   * @param curves one per model
   * @param ratios how many times more the first model needs than the second; none for one model,
   *     and none for an effect that one of them does not reach
   */
  public record Panel(String title, Unit unit, List<Curve> curves, List<Ratio> ratios) {
    /** Copies the lists. */
    public Panel {
      curves = List.copyOf(curves);
      ratios = List.copyOf(ratios);
    }
  }

  /**
   * Explained effect over the size of the circuit.
   *
   * @param total how many there are in the whole model
   * @param points by rising k, at least one
   * @param reached the smallest circuits
   */
  public record Curve(int total, List<Point> points, List<Reach> reached) {
    /** Checks the order. */
    public Curve {
      points = List.copyOf(points);
      reached = List.copyOf(reached);
      if (points.isEmpty()) {
        throw bad("curve", "no point", "at least one");
      }
      for (int i = 0; i < points.size(); i++) {
        int k = points.get(i).k();
        if (k < 0 || k > total || (i > 0 && k <= points.get(i - 1).k())) {
          throw bad("curve", "k = " + k, "rising values from 0 to the total of " + total);
        }
      }
    }

    /**
     * Looks up the smallest circuit with an effect.
     *
     * @param effect a share, as it stands in {@link #reached}
     * @return its size; empty where the effect was not looked for or not reached
     */
    public OptionalInt k(double effect) {
      return reached.stream()
          .filter(reach -> reach.effect() == effect)
          .map(Reach::k)
          .findFirst()
          .orElse(OptionalInt.empty());
    }
  }

  /**
   * One circuit.
   *
   * @param k its size
   * @param effect explained effect: 0 as the corrupted run, 1 as the clean one
   * @param low lower end of the interval
   * @param high upper end of the interval
   */
  public record Point(int k, double effect, double low, double high) {
    /** Checks the interval. */
    public Point {
      requireFinite("explained effect", effect);
      requireInterval("explained effect", low, high);
    }
  }

  /**
   * The smallest circuit with an effect.
   *
   * @param effect explained effect, such as 0.9
   * @param k its size; empty where no circuit reaches the effect
   */
  public record Reach(double effect, OptionalInt k) {}

  /**
   * Two models compared.
   *
   * @param effect explained effect, such as 0.9
   * @param ratio k of the first model / k of the second
   * @param low lower end of the interval
   * @param high upper end of the interval
   */
  public record Ratio(double effect, double ratio, double low, double high) {
    /** Checks the interval. */
    public Ratio {
      requireFinite("ratio", ratio);
      requireInterval("ratio", low, high);
    }
  }

  /**
   * A prompt on which attention is shown.
   *
   * @param name how it is called, such as {@code clean 1}
   * @param tokens its pieces, at least one
   * @param answer what should follow
   */
  public record Prompt(String name, List<String> tokens, String answer) {
    /** Checks that there are tokens. */
    public Prompt {
      tokens = List.copyOf(tokens);
      if (tokens.isEmpty()) {
        throw bad("prompt " + name, "no tokens", "at least one");
      }
    }
  }

  private static void checkPattern(Model model, Prompt prompt, double[][][][] pattern) {
    int tokens = prompt.tokens().size();
    String where = "attention of " + model.name() + " on " + prompt.name();
    boolean shaped =
        pattern.length == model.heads().layers()
            && Arrays.stream(pattern).allMatch(layer -> layer.length == model.heads().perLayer())
            && Arrays.stream(pattern)
                .flatMap(Arrays::stream)
                .allMatch(rows -> rows.length == tokens);
    if (!shaped) {
      throw bad(
          where,
          "another shape",
          "%d layers, %d heads and %d queries"
              .formatted(model.heads().layers(), model.heads().perLayer(), tokens));
    }
    for (double[][][] layer : pattern) {
      for (double[][] head : layer) {
        for (int query = 0; query < tokens; query++) {
          if (head[query].length <= query) {
            throw bad(where, head[query].length + " keys of query " + query, (query + 1) + " keys");
          }
          for (double weight : head[query]) {
            if (!(weight >= 0 && weight <= 1 + WEIGHT_SLACK)) {
              throw bad(where, "the weight " + weight, "a share from 0 to 1");
            }
          }
        }
      }
    }
  }

  private static void requireFinite(String where, double value) {
    if (!Double.isFinite(value)) {
      throw bad(where, Double.toString(value), "a finite number");
    }
  }

  private static void requireInterval(String where, double low, double high) {
    if (!(low <= high && Double.isFinite(low) && Double.isFinite(high))) {
      throw bad(where, "an interval from " + low + " to " + high, "finite ends in order");
    }
  }

  private static ReportException bad(String where, String found, String expected) {
    return ReportException.badInput(
        "circuit page, " + where, found, expected, "correct what is given to the page");
  }
}
