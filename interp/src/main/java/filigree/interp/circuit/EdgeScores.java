package filigree.interp.circuit;

/**
 * A number for every edge: how the metric changes, on the mean of all prompts, when what the reader
 * reads of the sender is exchanged, or an estimate of it. What is large counts, whatever its sign.
 *
 * @param graph the edges
 * @param byEdge in order of the graph's edges
 */
public record EdgeScores(CircuitGraph graph, double[] byEdge) {
  /** Checks the number of scores. */
  public EdgeScores {
    if (byEdge.length != graph.edgeCount()) {
      throw new CircuitException(
          "found %d scores for %d edges".formatted(byEdge.length, graph.edgeCount()));
    }
    byEdge = byEdge.clone();
  }

  /**
   * Returns a score.
   *
   * @param edge an edge of the graph
   * @return its score
   */
  public double of(Edge edge) {
    return byEdge[graph.indexOf(edge)];
  }
}
