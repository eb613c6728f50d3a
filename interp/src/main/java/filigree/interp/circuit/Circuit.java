package filigree.interp.circuit;

import java.util.BitSet;
import java.util.List;

/** A part of a model: what is kept, while everything else is ablated. */
public sealed interface Circuit {
  /**
   * Returns the graph that this is a part of.
   *
   * @return the graph
   */
  CircuitGraph graph();

  /**
   * Returns what is kept.
   *
   * @return a copy: numbers of senders or of edges
   */
  BitSet kept();

  /**
   * Counts what is kept.
   *
   * @return nodes or edges
   */
  default int size() {
    return kept().cardinality();
  }

  /**
   * Some nodes; the outputs of the others are replaced.
   *
   * @param graph the nodes
   * @param kept numbers of senders
   */
  record Nodes(CircuitGraph graph, BitSet kept) implements Circuit {
    /** Copies the set. */
    public Nodes {
      kept = (BitSet) kept.clone();
    }

    @Override
    public BitSet kept() {
      return (BitSet) kept.clone();
    }
  }

  /**
   * Some edges; what is read over the others is replaced.
   *
   * @param graph the edges
   * @param kept numbers of edges
   */
  record Edges(CircuitGraph graph, BitSet kept) implements Circuit {
    /** Copies the set and checks that there are edges. */
    public Edges {
      graph.requireEdges();
      kept = (BitSet) kept.clone();
    }

    @Override
    public BitSet kept() {
      return (BitSet) kept.clone();
    }

    /**
     * The whole model.
     *
     * @param graph its edges
     * @return all of them
     */
    public static Edges all(CircuitGraph graph) {
      BitSet all = new BitSet();
      all.set(0, graph.edgeCount());
      return new Edges(graph, all);
    }

    /**
     * Some edges.
     *
     * @param graph all edges
     * @param edges those that are kept
     * @return the circuit
     */
    public static Edges of(CircuitGraph graph, List<Edge> edges) {
      BitSet kept = new BitSet();
      edges.forEach(edge -> kept.set(graph.indexOf(edge)));
      return new Edges(graph, kept);
    }

    /**
     * Lists the edges.
     *
     * @return in order of their numbers
     */
    public List<Edge> edges() {
      return kept.stream().mapToObj(graph::edge).toList();
    }

    /**
     * Leaves out what lies on no path of kept edges from the input to the logits, as EAP-IG's and
     * MIB's graphs do before they are counted (arXiv 2403.17806; arXiv 2504.13151). What leads to
     * no logits has no effect. What comes from no input is what it is in the ablated run: with
     * {@link Ablation#RESAMPLE} leaving it out changes nothing either.
     *
     * @return the circuit without dead ends
     */
    public Edges pruned() {
      int senders = graph.senders().size();
      boolean[] fromInput = new boolean[senders];
      fromInput[0] = true;
      for (int sender = 1; sender < senders; sender++) {
        for (int reader : graph.readersOf(sender)) {
          for (int before = 0; before < graph.visible(reader); before++) {
            fromInput[sender] |= fromInput[before] && kept.get(graph.edge(reader, before));
          }
        }
      }
      boolean[] toLogits = new boolean[senders];
      BitSet out = new BitSet();
      keepInto(graph.logitsReader(), fromInput, toLogits, out);
      for (int sender = senders - 1; sender > 0; sender--) {
        if (toLogits[sender]) {
          for (int reader : graph.readersOf(sender)) {
            keepInto(reader, fromInput, toLogits, out);
          }
        }
      }
      return new Edges(graph, out);
    }

    /** Keeps the edges into a reader that matters, whose senders then matter too. */
    private void keepInto(int reader, boolean[] fromInput, boolean[] toLogits, BitSet out) {
      for (int sender = 0; sender < graph.visible(reader); sender++) {
        int edge = graph.edge(reader, sender);
        if (kept.get(edge) && fromInput[sender]) {
          out.set(edge);
          toLogits[sender] = true;
        }
      }
    }
  }
}
