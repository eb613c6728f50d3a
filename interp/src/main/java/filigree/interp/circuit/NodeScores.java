package filigree.interp.circuit;

/**
 * A number for every node that writes: how the metric changes, on the mean of all prompts, when the
 * node's output is exchanged, or an estimate of it. What is large counts, whatever its sign.
 *
 * @param graph the nodes
 * @param bySender in order of the graph's senders
 */
public record NodeScores(CircuitGraph graph, double[] bySender) {
  /** Checks the number of scores. */
  public NodeScores {
    if (bySender.length != graph.senders().size()) {
      throw new CircuitException(
          "found %d scores for %d nodes".formatted(bySender.length, graph.senders().size()));
    }
    bySender = bySender.clone();
  }

  /**
   * Returns a score.
   *
   * @param node a node that writes
   * @return its score
   */
  public double of(Node node) {
    return bySender[graph.senderIndex(node)];
  }
}
