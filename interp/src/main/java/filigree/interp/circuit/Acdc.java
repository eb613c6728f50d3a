package filigree.interp.circuit;

import java.util.Arrays;
import java.util.BitSet;

/**
 * Automatic circuit discovery (Conmy et al., arXiv 2304.14997, algorithm 1): reader by reader from
 * the logits back, each edge is ablated for good where that makes the metric worse by less than a
 * threshold. One run for each edge of a node that still matters.
 */
public final class Acdc {
  /**
   * What was found.
   *
   * @param circuit the edges that were kept
   * @param scores the change of the metric when the edge was tried; 0 for edges into nodes that
   *     nobody read any more
   */
  public record Result(Circuit.Edges circuit, EdgeScores scores) {}

  private Acdc() {}

  /**
   * Searches.
   *
   * @param runner model and prompts
   * @param split whether heads read as a whole
   * @param ablation what stands in for edges that are left out
   * @param threshold how much worse the metric may get with each edge
   * @return the circuit
   * @throws CircuitException where the threshold is negative or the model's heads have no edges
   */
  public static Result search(
      CircuitRunner runner, CircuitGraph.Split split, Ablation ablation, double threshold) {
    if (!(threshold >= 0)) {
      throw new CircuitException("the threshold is " + threshold + ", expected 0 or more");
    }
    Study study = runner.study();
    CircuitGraph graph = CircuitGraph.of(study.config(), split);
    BitSet kept = Circuit.Edges.all(graph).kept();
    double[] scores = new double[graph.edgeCount()];
    double now = mean(runner.run(Circuit.Edges.all(graph), ablation));
    Metric metric = study.settings().metric();
    for (int reader = graph.readers().size() - 1; reader >= 0; reader--) {
      if (!isRead(graph, reader, kept)) {
        kept.clear(graph.edge(reader, 0), graph.edge(reader, graph.visible(reader) - 1) + 1);
        study.tell(graph.edgeCount() - graph.edge(reader, 0), graph.edgeCount());
        continue;
      }
      for (int sender = graph.visible(reader) - 1; sender >= 0; sender--) {
        int edge = graph.edge(reader, sender);
        kept.clear(edge);
        double then = mean(runner.run(new Circuit.Edges(graph, kept), ablation));
        scores[edge] = then - now;
        if (metric.damage(now, then) < threshold) {
          now = then;
        } else {
          kept.set(edge);
        }
        study.tell(graph.edgeCount() - edge, graph.edgeCount());
      }
    }
    return new Result(new Circuit.Edges(graph, kept), new EdgeScores(graph, scores));
  }

  /** Whether anybody who is left reads what a reader's node writes. */
  private static boolean isRead(CircuitGraph graph, int reader, BitSet kept) {
    Node node = graph.readers().get(reader).node();
    return switch (node) {
      case Node.Logits() -> true;
      case Node.Input() -> throw new IllegalStateException("the input reads nothing");
      case Node.Head(int _, int _) -> isSenderRead(graph, graph.senderIndex(node), kept);
      case Node.Mlp(int _) -> isSenderRead(graph, graph.senderIndex(node), kept);
    };
  }

  private static boolean isSenderRead(CircuitGraph graph, int sender, BitSet kept) {
    for (int reader = 0; reader < graph.readers().size(); reader++) {
      if (sender < graph.visible(reader) && kept.get(graph.edge(reader, sender))) {
        return true;
      }
    }
    return false;
  }

  private static double mean(double[] values) {
    return Arrays.stream(values).average().orElseThrow();
  }
}
