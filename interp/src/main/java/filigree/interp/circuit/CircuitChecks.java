package filigree.interp.circuit;

import filigree.tensor.Philox;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;

/**
 * Whether a small circuit holds nothing needless and lacks nothing (Wang et al., arXiv 2211.00593,
 * section 4).
 */
public final class CircuitChecks {
  /** Tells these random numbers from others of the same seed. */
  private static final int STREAM = 0x63686563;

  /**
   * What one member of a circuit does in it.
   *
   * @param member the number of a sender or an edge
   * @param change the mean metric without it less that with it
   */
  public record Need(int member, double change) {}

  /**
   * What is left of circuit and model without the same members.
   *
   * @param removed numbers of senders or edges
   * @param circuit mean metric of the circuit without them
   * @param model mean metric of the model without them
   */
  public record Loss(List<Integer> removed, double circuit, double model) {
    /** Copies the numbers. */
    public Loss {
      removed = List.copyOf(removed);
    }

    /**
     * Says how far circuit and model lie apart.
     *
     * @return the incompleteness score
     */
    public double incompleteness() {
      return Math.abs(circuit - model);
    }
  }

  /**
   * How subsets are drawn.
   *
   * @param count how many
   * @param seed chooses them
   */
  public record Draws(int count, long seed) {}

  private CircuitChecks() {}

  /**
   * Leaves out each member by itself: where nothing changes it is needless.
   *
   * @param runner model and prompts
   * @param circuit a circuit
   * @param ablation what stands in for the rest
   * @return in order of the members' numbers
   */
  public static List<Need> minimality(CircuitRunner runner, Circuit circuit, Ablation ablation) {
    List<Circuit> circuits = new ArrayList<>();
    circuits.add(circuit);
    int[] members = circuit.kept().stream().toArray();
    for (int member : members) {
      BitSet kept = circuit.kept();
      kept.clear(member);
      circuits.add(with(circuit, kept));
    }
    List<double[]> values = runner.run(circuits, ablation);
    double whole = mean(values.getFirst());
    List<Need> out = new ArrayList<>();
    for (int i = 0; i < members.length; i++) {
      out.add(new Need(members[i], mean(values.get(i + 1)) - whole));
    }
    return out;
  }

  /**
   * Leaves out random subsets of the circuit, once of the circuit and once of the whole model: a
   * complete circuit loses what the model loses.
   *
   * @param runner model and prompts
   * @param circuit a circuit
   * @param ablation what stands in for the rest
   * @param draws how many subsets, each member in with probability 1/2
   * @return a line for each subset
   */
  public static List<Loss> completeness(
      CircuitRunner runner, Circuit circuit, Ablation ablation, Draws draws) {
    Philox random = new Philox(draws.seed(), STREAM);
    int[] members = circuit.kept().stream().toArray();
    List<List<Integer>> subsets = new ArrayList<>();
    List<Circuit> circuits = new ArrayList<>();
    for (int i = 0; i < draws.count(); i++) {
      List<Integer> removed =
          Arrays.stream(members).filter(member -> random.nextInt(2) == 1).boxed().toList();
      subsets.add(removed);
      BitSet kept = circuit.kept();
      BitSet all = new BitSet();
      all.set(0, size(circuit));
      removed.forEach(kept::clear);
      removed.forEach(all::clear);
      circuits.add(with(circuit, kept));
      circuits.add(with(circuit, all));
    }
    List<double[]> values = runner.run(circuits, ablation);
    List<Loss> out = new ArrayList<>();
    for (int i = 0; i < subsets.size(); i++) {
      double circuitMean = mean(values.get(2 * i));
      out.add(new Loss(subsets.get(i), circuitMean, mean(values.get(2 * i + 1))));
    }
    return out;
  }

  private static int size(Circuit circuit) {
    return switch (circuit) {
      case Circuit.Nodes nodes -> nodes.graph().senders().size();
      case Circuit.Edges edges -> edges.graph().edgeCount();
    };
  }

  private static Circuit with(Circuit circuit, BitSet kept) {
    return switch (circuit) {
      case Circuit.Nodes(CircuitGraph graph, BitSet _) -> new Circuit.Nodes(graph, kept);
      case Circuit.Edges(CircuitGraph graph, BitSet _) -> new Circuit.Edges(graph, kept);
    };
  }

  private static double mean(double[] values) {
    return Arrays.stream(values).average().orElseThrow();
  }
}
