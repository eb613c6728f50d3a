package filigree.interp.circuit;

import filigree.autograd.Gradients;
import filigree.autograd.Pass;
import filigree.autograd.Site;
import filigree.autograd.Tap;
import filigree.autograd.Var;
import filigree.interp.GradientProbe;
import filigree.tensor.Arithmetic;
import filigree.tensor.Kernels;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Estimates of what patching would do, by gradients: a few runs for all nodes or edges at once. A
 * score is (source - base output of the sender) . gradient, summed over positions, and averaged
 * over prompts.
 *
 * <p>With {@link Metric#DIVERGENCE} the gradient in the clean run is 0, and so are all scores of
 * {@link Gradient.AtBase} in direction {@link Direction#CORRUPT}.
 */
public final class Attribution {
  private Attribution() {}

  /**
   * Scores nodes (attribution patching: Nanda 2023; Syed, Rager, Conmy, arXiv 2310.10348).
   *
   * @param study model and prompts
   * @param direction which run is patched
   * @param gradient where gradients are taken
   * @return a score for every node that writes
   */
  public static NodeScores nodes(Study study, Direction direction, Gradient gradient) {
    CircuitGraph graph = CircuitGraph.of(study.config(), CircuitGraph.Split.WHOLE);
    double[] scores = new double[graph.senders().size()];
    addGradients(
        study,
        direction,
        gradient,
        scores,
        (differences, weight, sums) ->
            new NodeTap(study.kernels(), graph, differences, weight, sums));
    return new NodeScores(graph, scores);
  }

  /**
   * Scores edges (EAP: Syed, Rager, Conmy, arXiv 2310.10348; EAP-IG: Hanna, Pezzelle, Belinkov,
   * arXiv 2403.17806). Of the differences and gradients of single heads only those of one block
   * each exist at a time; their products are matrix products.
   *
   * @param study model and prompts
   * @param split whether heads read as a whole
   * @param direction which run is patched
   * @param gradient where gradients are taken
   * @return a score for every edge
   * @throws CircuitException where the model's heads have no edges
   */
  public static EdgeScores edges(
      Study study, CircuitGraph.Split split, Direction direction, Gradient gradient) {
    CircuitGraph graph = CircuitGraph.of(study.config(), split);
    graph.requireEdges();
    double[] scores = new double[graph.edgeCount()];
    addGradients(
        study,
        direction,
        gradient,
        scores,
        (differences, weight, sums) -> new EdgeTap(study, graph, differences, weight, sums));
    return new EdgeScores(graph, scores);
  }

  /** A tap whose probes score when the gradient of the metric arrives. */
  private interface Scoring extends Tap {
    /** The gradient with respect to the input, which ends the backward pass. */
    void seeInput(Kernels kernels, Tensor gradient, Workspace scratch);
  }

  private interface Scorer {
    /**
     * Begins a backward pass.
     *
     * @param differences source less base
     * @param weight by which its scores count
     * @param sums to which they are added
     */
    Scoring begin(Differences differences, double weight, double[] sums);
  }

  private static void addGradients(
      Study study, Direction direction, Gradient gradient, double[] scores, Scorer scorer) {
    double[] shares = gradient.shares();
    double weight = 1.0 / shares.length / study.promptCount();
    long[] done = {0};
    study.forEach(
        pair -> {
          Recorded base = pair.base(direction);
          Recorded source = pair.source(direction);
          Differences differences =
              Differences.of(study, source.senders(), base.senders(), study.kept());
          for (double share : shares) {
            double[] part =
                study.remembered(
                    () -> {
                      double[] sums = new double[scores.length];
                      Scoring tap = scorer.begin(differences, weight, sums);
                      backward(study, pair, tap, between(study, source, base, share));
                      return sums;
                    });
            for (int i = 0; i < part.length; i++) {
              scores[i] += part[i];
            }
            study.tell(++done[0], (long) study.batchCount() * shares.length);
          }
        });
  }

  /** share base + (1 - share) source, at the input. */
  private static Tensor between(Study study, Recorded source, Recorded base, double share) {
    if (share == 1) {
      return base.senders().input();
    }
    Tensor out = study.kept().allocate(base.senders().input().shape(), base.logits().dtype());
    study.kernels().scale(share, base.senders().input(), out);
    study.kernels().accumulate(1 - share, source.senders().input(), out);
    return out;
  }

  private static void backward(Study study, Pair pair, Scoring tap, Tensor input) {
    Pass recording = Pass.recording(study.kernels(), study.scratch()).training(param -> false);
    try (Pass pass = study.tapped(recording, pair, List.of(tap))) {
      Var start = pass.variable(input);
      Var logits = Study.atPositions(pass, study.logits(pass, start, 0), pair.batch());
      Var metric =
          study
              .settings()
              .metric()
              .sum(pass, logits, pair.clean().logits(), pair.batch().contrasts());
      Gradients gradients = pass.backward(metric);
      gradients
          .of(start)
          .ifPresent(gradient -> tap.seeInput(study.kernels(), gradient, study.scratch()));
    }
  }

  // ---------------------------------------------------------------- nodes

  /** Multiplies gradients at senders with the senders' differences. */
  private static final class NodeTap implements Scoring {
    private final Kernels kernels;
    private final CircuitGraph graph;
    private final Differences differences;
    private final double weight;
    private final double[] scores;
    private final Map<Site, Integer> heads = new LinkedHashMap<>();
    private final Map<Site, Integer> mlps = new LinkedHashMap<>();

    NodeTap(
        Kernels kernels,
        CircuitGraph graph,
        Differences differences,
        double weight,
        double[] scores) {
      this.kernels = kernels;
      this.graph = graph;
      this.differences = differences;
      this.weight = weight;
      this.scores = scores;
      for (int layer = 0; layer < graph.layers(); layer++) {
        heads.put(Places.z(layer), layer);
        mlps.put(Places.mlpOutput(layer), layer);
      }
    }

    @Override
    public boolean wants(Site site) {
      return heads.containsKey(site) || mlps.containsKey(site);
    }

    @Override
    public Var see(Pass pass, Site site, Var value) {
      if (heads.containsKey(site)) {
        int layer = heads.get(site);
        return pass.apply(
            new GradientProbe(
                (scope, gradient) -> {
                  Tensor product = scope.like(gradient);
                  kernels.combine(Arithmetic.MULTIPLY, gradient, differences.z(layer), product);
                  Tensor sums = scope.make(Shape.of(1, 1, graph.heads(), 1), gradient.dtype());
                  kernels.sumTo(product, sums);
                  for (int head = 0; head < graph.heads(); head++) {
                    scores[graph.headSender(layer) + head] += weight * sums.get(head);
                  }
                  scope.release(product);
                  scope.release(sums);
                }),
            value);
      }
      int layer = mlps.get(site);
      return pass.apply(
          new GradientProbe(
              (scope, gradient) -> {
                Tensor product = scope.like(gradient);
                kernels.combine(
                    Arithmetic.MULTIPLY,
                    gradient,
                    differences.mlp(layer).reshape(gradient.shape()),
                    product);
                Tensor sum = scope.make(Shape.of(), gradient.dtype());
                kernels.sumTo(product, sum);
                scores[graph.mlpSender(layer)] += weight * sum.item();
                scope.release(product);
                scope.release(sum);
              }),
          value);
    }

    @Override
    public void seeInput(Kernels same, Tensor gradient, Workspace scratch) {
      Tensor product = scratch.allocate(gradient.shape(), gradient.dtype());
      Tensor difference = differences.input().reshape(gradient.shape());
      same.combine(Arithmetic.MULTIPLY, gradient, difference, product);
      Tensor sum = scratch.allocate(Shape.of(), gradient.dtype());
      same.sumTo(product, sum);
      scores[0] += weight * sum.item();
    }
  }

  // ---------------------------------------------------------------- edges

  /** Multiplies gradients at readers with the differences of all senders that they see. */
  private static final class EdgeTap implements Scoring {
    private final CircuitGraph graph;
    private final EdgeProducts products;
    private final Map<Site, Integer> firstReaders = new LinkedHashMap<>();

    EdgeTap(
        Study study, CircuitGraph graph, Differences differences, double weight, double[] scores) {
      this.graph = graph;
      this.products = new EdgeProducts(study, graph, differences, weight, scores);
      for (int layer = 0; layer < graph.layers(); layer++) {
        for (Part part : CircuitGraph.parts(graph.split())) {
          firstReaders.put(Places.headInput(layer, part), graph.headReader(layer, part));
        }
        firstReaders.put(Places.mlpInput(layer), graph.mlpReader(layer));
      }
      firstReaders.put(Places.lastResidual(graph.layers()), graph.logitsReader());
    }

    /** Heads that share keys get keys of their own, so that each is a reader. */
    @Override
    public boolean wants(Site site) {
      return firstReaders.containsKey(site) || isHeadInput(site);
    }

    private boolean isHeadInput(Site site) {
      for (int layer = 0; layer < graph.layers(); layer++) {
        if (site.equals(Places.attentionInput(layer))) {
          return true;
        }
      }
      return false;
    }

    @Override
    public Var see(Pass pass, Site site, Var value) {
      Integer first = firstReaders.get(site);
      if (first == null) {
        return value;
      }
      Node node = graph.readers().get(first).node();
      return pass.apply(
          new GradientProbe(
              (scope, gradient) -> {
                switch (node) {
                  case Node.Head(int layer, int _) -> products.heads(scope, layer, first, gradient);
                  case Node.Mlp(int layer) -> products.mlp(scope, layer, gradient);
                  case Node.Logits() -> products.logits(scope, gradient);
                  case Node.Input() -> throw new IllegalStateException("the input reads nothing");
                }
              }),
          value);
    }

    @Override
    public void seeInput(Kernels kernels, Tensor gradient, Workspace scratch) {
      // Every edge into a reader has been scored where the reader's gradient arrived.
    }
  }
}
