package filigree.interp.circuit;

import java.util.BitSet;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Heads, nodes or edges by the size of their scores, largest first; equal ones in order of their
 * numbers. The k first are a circuit.
 */
public final class Ranking {
  /** What is ranked. */
  public enum Level {
    /** Heads; MLPs and the input are always kept. */
    HEAD,
    /** Heads and MLPs; the input is always kept. */
    NODE,
    /** Edges. */
    EDGE
  }

  private final CircuitGraph graph;
  private final Level level;
  private final BitSet always;
  private final int[] order;
  private final double[] scores;

  private Ranking(CircuitGraph graph, Level level, BitSet always, int[] order, double[] scores) {
    this.graph = graph;
    this.level = level;
    this.always = always;
    this.order = order;
    this.scores = scores.clone();
  }

  private static int[] sorted(IntStream candidates, Comparator<Integer> order) {
    return candidates.boxed().sorted(order).mapToInt(Integer::intValue).toArray();
  }

  private static Comparator<Integer> largestFirst(double[] scores) {
    return Comparator.comparingDouble((Integer i) -> -Math.abs(scores[i])).thenComparingInt(i -> i);
  }

  /**
   * Ranks heads.
   *
   * @param scores of all nodes
   * @return heads only
   */
  public static Ranking heads(NodeScores scores) {
    List<Node> senders = scores.graph().senders();
    BitSet always = new BitSet();
    IntStream.range(0, senders.size())
        .filter(i -> !(senders.get(i) instanceof Node.Head))
        .forEach(always::set);
    IntStream heads = IntStream.range(0, senders.size()).filter(i -> !always.get(i));
    double[] numbers = scores.bySender();
    int[] order = sorted(heads, largestFirst(numbers));
    return new Ranking(scores.graph(), Level.HEAD, always, order, numbers);
  }

  /**
   * Ranks heads and MLPs.
   *
   * @param scores of all nodes
   * @return all but the input
   */
  public static Ranking nodes(NodeScores scores) {
    BitSet always = new BitSet();
    always.set(0);
    IntStream nodes = IntStream.range(1, scores.graph().senders().size());
    double[] numbers = scores.bySender();
    int[] order = sorted(nodes, largestFirst(numbers));
    return new Ranking(scores.graph(), Level.NODE, always, order, numbers);
  }

  /**
   * Ranks edges.
   *
   * @param scores of all edges
   * @return all edges
   */
  public static Ranking edges(EdgeScores scores) {
    IntStream edges = IntStream.range(0, scores.graph().edgeCount());
    double[] numbers = scores.byEdge();
    int[] order = sorted(edges, largestFirst(numbers));
    return new Ranking(scores.graph(), Level.EDGE, new BitSet(), order, numbers);
  }

  /**
   * Ranks edges that were left out one after the other.
   *
   * @param found what was kept
   * @return the edges that were kept before all others, each of the two by their scores
   */
  public static Ranking edges(Acdc.Result found) {
    CircuitGraph graph = found.scores().graph();
    BitSet kept = found.circuit().kept();
    double[] numbers = found.scores().byEdge();
    Comparator<Integer> keptFirst = Comparator.comparingInt(i -> kept.get(i) ? 0 : 1);
    int[] order =
        sorted(
            IntStream.range(0, graph.edgeCount()), keptFirst.thenComparing(largestFirst(numbers)));
    return new Ranking(graph, Level.EDGE, new BitSet(), order, numbers);
  }

  /**
   * Returns the graph.
   *
   * @return nodes and edges
   */
  public CircuitGraph graph() {
    return graph;
  }

  /**
   * Tells what is ranked.
   *
   * @return the level
   */
  public Level level() {
    return level;
  }

  /**
   * Counts what is ranked.
   *
   * @return the largest k
   */
  public int total() {
    return order.length;
  }

  /**
   * Returns what stands at a rank.
   *
   * @param rank 0 for the first
   * @return the number of a sender or an edge
   */
  public int at(int rank) {
    return order[rank];
  }

  /**
   * Returns the score at a rank.
   *
   * @param rank 0 for the first
   * @return its score, with its sign
   */
  public double scoreAt(int rank) {
    return scores[order[rank]];
  }

  /**
   * Returns the edge at a rank.
   *
   * @param rank 0 for the first
   * @return the edge
   * @throws CircuitException where nodes are ranked
   */
  public Edge edgeAt(int rank) {
    return switch (level) {
      case EDGE -> graph.edge(order[rank]);
      case HEAD, NODE -> throw new CircuitException("nodes are ranked here, not edges");
    };
  }

  /**
   * Returns the scores of the edges.
   *
   * @return by edge
   * @throws CircuitException where nodes are ranked
   */
  public EdgeScores edgeScores() {
    return switch (level) {
      case EDGE -> new EdgeScores(graph, scores);
      case HEAD, NODE -> throw new CircuitException("nodes are ranked here, not edges");
    };
  }

  /**
   * Names what stands at a rank.
   *
   * @param rank 0 for the first
   * @return such as {@code a0.h1} or {@code a0.h1->m1}
   */
  public String labelAt(int rank) {
    return switch (level) {
      case HEAD, NODE -> graph.senders().get(order[rank]).label();
      case EDGE -> graph.edge(order[rank]).label();
    };
  }

  /**
   * Keeps the first.
   *
   * @param k how many
   * @return the circuit
   * @throws CircuitException where there are not so many
   */
  public Circuit circuit(int k) {
    if (k < 0 || k > order.length) {
      throw new CircuitException("there are no %d of %d".formatted(k, order.length));
    }
    BitSet kept = (BitSet) always.clone();
    for (int rank = 0; rank < k; rank++) {
      kept.set(order[rank]);
    }
    return switch (level) {
      case HEAD, NODE -> new Circuit.Nodes(graph, kept);
      case EDGE -> new Circuit.Edges(graph, kept);
    };
  }
}
