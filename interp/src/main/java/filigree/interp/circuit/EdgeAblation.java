package filigree.interp.circuit;

import filigree.autograd.Pass;
import filigree.autograd.Site;
import filigree.autograd.Tap;
import filigree.autograd.Var;
import filigree.tensor.Arithmetic;
import filigree.tensor.Kernels;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Transpose;
import java.util.BitSet;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * A tap under which each reader reads, of the senders whose edges are not kept, an ablated output:
 * the residual stream of the run less the sum over those senders of (output in this run - ablated
 * output), as a product of a matrix of zeros and ones with the differences. One use, one run.
 *
 * <p>Readers that lose no edge are not touched, so that with all edges kept the run is the plain
 * one, bit by bit.
 */
final class EdgeAblation implements Tap {
  /** What happens at a site. */
  private sealed interface Place {
    /** Heads of a block have written. */
    record HeadsWrote(int layer) implements Place {}

    /** An MLP has written. */
    record MlpWrote(int layer) implements Place {}

    /**
     * Readers read.
     *
     * @param first the first reader's number
     * @param count how many read side by side
     */
    record Reads(int first, int count) implements Place {}

    /** Nothing: the site is wanted for what it makes the model compute. */
    record Passed() implements Place {}
  }

  private final Study study;
  private final CircuitGraph graph;
  private final BitSet kept;
  private final Senders ablated;
  private final Differences differences; // of the run under way less the ablated one
  private final int firstLayer;
  private final Map<Site, Place> places = new LinkedHashMap<>();

  /**
   * Prepares a run.
   *
   * @param differences of the plain run less the ablated one; overwritten
   */
  EdgeAblation(Study study, Circuit.Edges circuit, Senders ablated, Differences differences) {
    this.study = study;
    this.graph = circuit.graph();
    this.kept = circuit.kept();
    this.ablated = ablated;
    this.differences = differences;
    this.firstLayer = firstLayer();
    for (int layer = firstLayer; layer < graph.layers(); layer++) {
      addLayer(layer);
    }
    if (losesAny(graph.logitsReader(), 1)) {
      places.put(Places.lastResidual(graph.layers()), new Place.Reads(graph.logitsReader(), 1));
    }
  }

  private void addLayer(int layer) {
    for (Part part : CircuitGraph.parts(graph.split())) {
      int first = graph.headReader(layer, part);
      if (losesAny(first, graph.heads())) {
        places.putIfAbsent(Places.attentionInput(layer), new Place.Passed());
        places.put(Places.headInput(layer, part), new Place.Reads(first, graph.heads()));
      }
    }
    if (losesAny(graph.mlpReader(layer), 1)) {
      places.put(Places.mlpInput(layer), new Place.Reads(graph.mlpReader(layer), 1));
    }
    places.put(Places.z(layer), new Place.HeadsWrote(layer));
    places.put(Places.mlpOutput(layer), new Place.MlpWrote(layer));
  }

  /** Whether nothing is ablated. */
  boolean isPlain() {
    return kept.cardinality() == graph.edgeCount();
  }

  /** The first block that differs from the plain run; the last where only the logits do. */
  int firstLayer() {
    int lost = kept.nextClearBit(0);
    if (lost >= graph.edgeCount()) {
      return graph.layers() - 1;
    }
    return switch (graph.readers().get(graph.readerOf(lost)).node()) {
      case Node.Head(int layer, int _) -> layer;
      case Node.Mlp(int layer) -> layer;
      case Node.Logits() -> graph.layers() - 1;
      case Node.Input() -> throw new IllegalStateException("the input reads nothing");
    };
  }

  private boolean losesAny(int first, int count) {
    int from = graph.edge(first, 0);
    int last = first + count - 1;
    return kept.nextClearBit(from) <= graph.edge(last, graph.visible(last) - 1);
  }

  @Override
  public boolean wants(Site site) {
    return places.containsKey(site);
  }

  @Override
  public Var see(Pass pass, Site site, Var value) {
    return switch (places.get(site)) {
      case Place.Passed() -> value;
      case Place.HeadsWrote(int layer) -> {
        differences.putHeads(layer, value.value(), ablated.z().get(layer));
        yield value;
      }
      case Place.MlpWrote(int layer) -> {
        differences.putMlp(layer, value.value(), ablated.mlp().get(layer));
        yield value;
      }
      case Place.Reads(int first, int count) ->
          pass.constant(without(pass, value.value(), first, count));
    };
  }

  /** What readers read, less the differences of the senders that they lose. */
  private Tensor without(Pass pass, Tensor value, int first, int count) {
    Kernels kernels = study.kernels();
    int visible = graph.visible(first);
    int blocks = (visible - 1) / (graph.heads() + 1); // whose heads and MLPs are all visible
    int headsToo = (visible - 1) % (graph.heads() + 1) == 0 ? blocks : blocks + 1;
    long row = differences.input().size();
    Tensor sum = pass.make(Shape.of(count, row), value.dtype());
    int[] flat = new int[blocks + 1];
    for (int layer = 0; layer < blocks; layer++) {
      flat[layer + 1] = graph.mlpSender(layer);
    }
    Tensor mask = lost(pass, first, count, flat, value);
    Tensor written = differences.inputAndMlps(blocks);
    kernels.matmul(1, mask, Transpose.NO, written, Transpose.NO, 0, sum);
    pass.scope().release(mask);
    for (int layer = 0; layer < headsToo; layer++) {
      int[] heads = new int[graph.heads()];
      for (int head = 0; head < heads.length; head++) {
        heads[head] = graph.headSender(layer) + head;
      }
      if (losesAnyOf(first, count, heads)) {
        Tensor some = lost(pass, first, count, heads, value);
        Tensor results = differences.heads(layer, pass.scope().memory());
        kernels.matmul(1, some, Transpose.NO, results, Transpose.NO, 1, sum);
        pass.scope().release(results);
        pass.scope().release(some);
      }
    }
    Tensor out = pass.scope().like(value);
    if (value.shape().rank() == 3) {
      kernels.combine(Arithmetic.SUBTRACT, value, sum.reshape(value.shape()), out);
    } else {
      Shape shape = value.shape();
      Shape byReader = Shape.of(count, shape.dim(0), shape.dim(1), shape.dim(3));
      kernels.permute(sum.reshape(byReader), new int[] {1, 2, 0, 3}, out);
      kernels.combine(Arithmetic.SUBTRACT, value, out, out);
    }
    pass.scope().release(sum);
    return out;
  }

  private boolean losesAnyOf(int first, int count, int[] senders) {
    for (int reader = first; reader < first + count; reader++) {
      for (int sender : senders) {
        if (!kept.get(graph.edge(reader, sender))) {
          return true;
        }
      }
    }
    return false;
  }

  /** [readers, senders]: 1 where the edge is not kept. */
  private Tensor lost(Pass pass, int first, int count, int[] senders, Tensor like) {
    double[] out = new double[count * senders.length];
    for (int reader = 0; reader < count; reader++) {
      for (int sender = 0; sender < senders.length; sender++) {
        boolean lost = !kept.get(graph.edge(first + reader, senders[sender]));
        out[reader * senders.length + sender] = lost ? 1 : 0;
      }
    }
    Shape shape = Shape.of(count, senders.length);
    return Tensor.of(pass.scope().memory(), like.dtype(), shape, out);
  }
}
