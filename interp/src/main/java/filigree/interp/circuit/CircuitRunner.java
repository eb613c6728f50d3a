package filigree.interp.circuit;

import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;

/**
 * Runs a model on the clean prompts with everything outside of a circuit ablated: the outputs of
 * nodes, or what is read over edges.
 */
public final class CircuitRunner {
  private final Study study;

  /**
   * Makes a runner.
   *
   * @param study model and prompts
   */
  public CircuitRunner(Study study) {
    this.study = study;
  }

  /**
   * Returns model and prompts.
   *
   * @return the study
   */
  public Study study() {
    return study;
  }

  /**
   * Runs one circuit, and tells nobody: whoever runs one at a time knows how many there are.
   *
   * @param circuit what is kept
   * @param ablation what stands in for the rest
   * @return the metric of every prompt
   */
  public double[] run(Circuit circuit, Ablation ablation) {
    return run(List.of(circuit), ablation, Progress.ignored()).getFirst();
  }

  /**
   * Runs several circuits, which share the runs that they are compared with.
   *
   * @param circuits what is kept in each
   * @param ablation what stands in for the rest
   * @return for each, the metric of every prompt
   */
  public List<double[]> run(List<? extends Circuit> circuits, Ablation ablation) {
    return run(circuits, ablation, study::tell);
  }

  private List<double[]> run(
      List<? extends Circuit> circuits, Ablation ablation, Progress progress) {
    study.prepare(ablation);
    List<double[]> out = new ArrayList<>();
    circuits.forEach(circuit -> out.add(new double[study.promptCount()]));
    long[] done = {0};
    study.forEach(
        pair -> {
          Senders ablated = study.ablated(pair, ablation);
          for (int i = 0; i < circuits.size(); i++) {
            Circuit circuit = circuits.get(i);
            double[] values = study.remembered(() -> run(pair, circuit, ablated));
            Study.put(pair, values, out.get(i));
            progress.at(++done[0], (long) study.batchCount() * circuits.size());
          }
        });
    return out;
  }

  /** Runs one batch. */
  double[] run(Pair pair, Circuit circuit, Senders ablated) {
    return switch (circuit) {
      case Circuit.Nodes(CircuitGraph graph, BitSet kept) -> {
        BitSet patched = new BitSet();
        patched.set(0, graph.senders().size());
        patched.andNot(kept);
        NodePatch patch = new NodePatch(graph, pair.clean(), ablated, patched);
        yield patched.isEmpty()
            ? study.run(pair, Study.Start.at(0, pair.clean()), List.of())
            : NodePatch.run(study, pair, patch);
      }
      case Circuit.Edges edges -> {
        Differences differences =
            Differences.of(study, pair.clean().senders(), ablated, study.kept());
        EdgeAblation tap = new EdgeAblation(study, edges, ablated, differences);
        Study.Start start = Study.Start.at(tap.isPlain() ? 0 : tap.firstLayer(), pair.clean());
        double[] values = study.run(pair, start, tap.isPlain() ? List.of() : List.of(tap));
        differences.release(study.kept());
        yield values;
      }
    };
  }
}
