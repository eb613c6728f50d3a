package filigree.interp.circuit;

import filigree.autograd.Pass;
import filigree.autograd.Site;
import filigree.autograd.Tap;
import filigree.autograd.Var;
import filigree.interp.Recorder;
import filigree.tensor.Kernels;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import java.util.BitSet;
import java.util.List;

/**
 * What patching does, exactly: a run for every node or edge, from the first block that it changes.
 * A score is the metric of the patched run less that of the run that was patched, averaged over
 * prompts.
 */
public final class Patching {
  private Patching() {}

  /**
   * Exchanges the outputs of nodes, one at a time (activation patching: Vig et al. 2020; Meng et
   * al., arXiv 2202.05262).
   *
   * @param study model and prompts
   * @param direction which run is patched
   * @return a score for every node that writes
   */
  public static NodeScores nodes(Study study, Direction direction) {
    CircuitGraph graph = CircuitGraph.of(study.config(), CircuitGraph.Split.WHOLE);
    double[] scores = new double[graph.senders().size()];
    long[] done = {0};
    study.forEach(
        pair -> {
          double[] before = study.values(pair, pair.base(direction));
          Senders source = pair.source(direction).senders();
          for (int sender = 0; sender < scores.length; sender++) {
            BitSet patched = new BitSet();
            patched.set(sender);
            double[] after =
                study.remembered(
                    () ->
                        NodePatch.run(
                            study,
                            pair,
                            new NodePatch(graph, pair.base(direction), source, patched)));
            scores[sender] += meanChange(study, before, after);
            study.tell(++done[0], (long) study.batchCount() * scores.length);
          }
        });
    return new NodeScores(graph, scores);
  }

  /**
   * Exchanges what one reader reads of one sender, an edge at a time.
   *
   * @param study model and prompts
   * @param split whether heads read as a whole
   * @param direction which run is patched
   * @return a score for every edge
   * @throws CircuitException where the model's heads have no edges
   */
  public static EdgeScores edges(Study study, CircuitGraph.Split split, Direction direction) {
    CircuitGraph graph = CircuitGraph.of(study.config(), split);
    graph.requireEdges();
    double[] scores = new double[graph.edgeCount()];
    long[] done = {0};
    study.forEach(
        pair -> {
          double[] before = study.values(pair, pair.base(direction));
          Differences differences = differences(study, pair, direction);
          forEachSender(
              study,
              graph,
              differences,
              (sender, difference) -> {
                boolean differs = study.kernels().sumOfSquares(difference) > 0;
                for (int reader = 0; reader < graph.readers().size(); reader++) {
                  if (sender < graph.visible(reader)) {
                    if (differs) {
                      Delta delta = new Delta(graph, reader, difference);
                      double[] after =
                          study.remembered(() -> patched(study, pair, direction, delta));
                      scores[graph.edge(reader, sender)] += meanChange(study, before, after);
                    }
                    study.tell(++done[0], (long) study.batchCount() * scores.length);
                  }
                }
              });
        });
    return new EdgeScores(graph, scores);
  }

  /**
   * Exchanges along one path: the first node's output changes, each further node sees the change
   * only through the edge of the path, and the last edge leads to the logits; all else stays as in
   * the run that is patched (path patching: Goldowsky-Dill et al., arXiv 2304.05969).
   *
   * @param study model and prompts
   * @param direction which run is patched
   * @param path edges, each beginning where the last ended
   * @return by how much the metric changes, averaged over prompts
   * @throws CircuitException where the edges are no path to the logits
   */
  public static double path(Study study, Direction direction, List<Edge> path) {
    requirePath(path);
    CircuitGraph.Split split =
        path.stream().anyMatch(edge -> edge.part() != Part.ALL)
            ? CircuitGraph.Split.QKV
            : CircuitGraph.Split.WHOLE;
    CircuitGraph graph = CircuitGraph.of(study.config(), split);
    graph.requireEdges();
    int[] readers = path.stream().mapToInt(edge -> graph.readerOf(graph.indexOf(edge))).toArray();
    double[] score = {0};
    study.forEach(
        pair -> {
          double[] before = study.values(pair, pair.base(direction));
          Tensor change = row(study, path.getFirst(), differences(study, pair, direction));
          for (int step = 0; step + 1 < readers.length; step++) {
            Delta delta = new Delta(graph, readers[step], change);
            Senders base = pair.base(direction).senders();
            change = passedOn(study, pair, direction, base, delta);
          }
          Delta last = new Delta(graph, readers[readers.length - 1], change);
          score[0] += meanChange(study, before, patched(study, pair, direction, last));
        });
    return score[0];
  }

  private static void requirePath(List<Edge> path) {
    if (path.isEmpty()) {
      throw new CircuitException("a path needs at least one edge");
    }
    for (int i = 1; i < path.size(); i++) {
      if (!path.get(i).sender().equals(path.get(i - 1).reader())) {
        throw new CircuitException(
            "%s does not begin where %s ends; give edges in the order of the path"
                .formatted(path.get(i).label(), path.get(i - 1).label()));
      }
    }
    if (!(path.getLast().reader() instanceof Node.Logits)) {
      throw new CircuitException(
          "the path ends at %s; its last edge must lead to logits"
              .formatted(path.getLast().reader().label()));
    }
  }

  private static Differences differences(Study study, Pair pair, Direction direction) {
    return Differences.of(
        study, pair.source(direction).senders(), pair.base(direction).senders(), study.kept());
  }

  private static Tensor row(Study study, Edge edge, Differences differences) {
    return switch (edge.sender()) {
      case Node.Input() -> differences.input();
      case Node.Mlp(int layer) -> differences.mlp(layer);
      case Node.Head(int layer, int head) ->
          differences.heads(layer, study.kept()).rows(head, head + 1);
      case Node.Logits() ->
          throw new CircuitException(edge.label() + " begins where every path ends");
    };
  }

  /** How the output of the reader of a change itself changes, as one row. */
  private static Tensor passedOn(
      Study study, Pair pair, Direction direction, Senders base, Delta delta) {
    Node node = delta.node();
    Site site =
        switch (node) {
          case Node.Head(int layer, int _) -> Places.z(layer);
          case Node.Mlp(int layer) -> Places.mlpOutput(layer);
          case Node.Input() -> throw new CircuitException("the input reads nothing");
          case Node.Logits() -> throw new CircuitException("the logits are read by nobody");
        };
    Recorder recorder = new Recorder(List.of(site), study.kept());
    study.run(pair, Study.Start.at(delta.layer(), pair.base(direction)), List.of(delta, recorder));
    Tensor out = recorder.at(site);
    Kernels kernels = study.kernels();
    return switch (node) {
      case Node.Head(int layer, int head) -> {
        kernels.accumulate(-1, base.z().get(layer), out);
        yield Differences.results(study, out, layer, study.kept()).rows(head, head + 1);
      }
      case Node.Mlp(int layer) -> {
        kernels.accumulate(-1, base.mlp().get(layer), out);
        yield out.reshape(Shape.of(1, out.size()));
      }
      case Node.Input() -> throw new CircuitException("the input reads nothing");
      case Node.Logits() -> throw new CircuitException("the logits are read by nobody");
    };
  }

  private static double[] patched(Study study, Pair pair, Direction direction, Delta delta) {
    return study.run(
        pair, Study.Start.at(delta.layer(), pair.base(direction)), List.<Tap>of(delta));
  }

  private interface SenderBody {
    void run(int sender, Tensor difference);
  }

  /** All senders' differences, those of one block's heads at a time. */
  private static void forEachSender(
      Study study, CircuitGraph graph, Differences differences, SenderBody body) {
    body.run(0, differences.input());
    for (int layer = 0; layer < graph.layers(); layer++) {
      Tensor heads = differences.heads(layer, study.kept());
      for (int head = 0; head < graph.heads(); head++) {
        body.run(graph.headSender(layer) + head, heads.rows(head, head + 1));
      }
      study.kept().release(heads);
      body.run(graph.mlpSender(layer), differences.mlp(layer));
    }
  }

  /** The share of a batch in the mean change over all prompts. */
  private static double meanChange(Study study, double[] before, double[] after) {
    double sum = 0;
    for (int i = 0; i < before.length; i++) {
      sum += after[i] - before[i];
    }
    return sum / study.promptCount();
  }

  /**
   * A tap that adds something to what one reader reads.
   *
   * @param graph the readers
   * @param reader its number
   * @param difference [1, batch x time x width]
   */
  private record Delta(CircuitGraph graph, int reader, Tensor difference) implements Tap {
    Node node() {
      return graph.readers().get(reader).node();
    }

    /** The first block that the change reaches. */
    int layer() {
      return switch (node()) {
        case Node.Head(int layer, int _) -> layer;
        case Node.Mlp(int layer) -> layer;
        case Node.Logits() -> graph.layers() - 1;
        case Node.Input() -> 0;
      };
    }

    private Site site() {
      return switch (node()) {
        case Node.Head(int layer, int _) ->
            Places.headInput(layer, graph.readers().get(reader).part());
        case Node.Mlp(int layer) -> Places.mlpInput(layer);
        case Node.Logits() -> Places.lastResidual(graph.layers());
        case Node.Input() -> throw new CircuitException("the input reads nothing");
      };
    }

    /** Heads that share keys get keys of their own, so that only one of them changes. */
    @Override
    public boolean wants(Site site) {
      return site.equals(site())
          || (node() instanceof Node.Head(int layer, int _)
              && site.equals(Places.attentionInput(layer)));
    }

    @Override
    public Var see(Pass pass, Site site, Var value) {
      if (!site.equals(site())) {
        return value;
      }
      Kernels kernels = pass.scope().kernels();
      Tensor out = value.value().copy(pass.scope().memory());
      if (node() instanceof Node.Head(int _, int head)) {
        Shape shape = out.shape();
        Shape one = Shape.of(shape.dim(0), shape.dim(1), 1, shape.dim(3));
        Tensor slice = pass.make(one, out.dtype());
        kernels.copyAlong(out, head, slice, 0, 2, 1);
        kernels.accumulate(1, difference.reshape(one), slice);
        kernels.copyAlong(slice, 0, out, head, 2, 1);
      } else {
        kernels.accumulate(1, difference.reshape(out.shape()), out);
      }
      return pass.constant(out);
    }
  }
}
