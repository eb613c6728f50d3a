package filigree.interp.circuit;

import filigree.autograd.Scope;
import filigree.tensor.Kernels;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Transpose;
import java.util.Optional;

/**
 * Products of senders' differences with readers' gradients, as the gradients of one backward pass
 * arrive, last block first: for each pair of a reading and a writing block one matrix product
 * [senders, batch x time x width] x [batch x time x width, readers].
 */
final class EdgeProducts {
  private final Kernels kernels;
  private final CircuitGraph graph;
  private final Differences differences;
  private final double weight;
  private final double[] scores;
  private Optional<Tensor> waiting =
      Optional.empty(); // an MLP's gradient, until its block's heads'
  private int waitingLayer;

  EdgeProducts(
      Study study, CircuitGraph graph, Differences differences, double weight, double[] scores) {
    this.kernels = study.kernels();
    this.graph = graph;
    this.differences = differences;
    this.weight = weight;
    this.scores = scores;
  }

  /** [batch, time, width] at the logits, which read everything. */
  void logits(Scope scope, Tensor gradient) {
    Tensor row = gradient.reshape(Shape.of(1, gradient.size()));
    sweep(scope, row, new int[] {graph.logitsReader()}, graph.layers());
  }

  /**
   * [batch, time, width] at an MLP. What it reads of earlier blocks waits for the heads of its
   * block, which read the same senders.
   */
  void mlp(Scope scope, int layer, Tensor gradient) {
    Tensor row = gradient.reshape(Shape.of(1, gradient.size()));
    int[] reader = {graph.mlpReader(layer)};
    if (graph.isSequential()) {
      headsOf(scope, row, reader, layer);
    }
    flush(scope);
    Tensor copy = scope.like(row);
    kernels.cast(row, copy);
    waiting = Optional.of(copy);
    waitingLayer = layer;
    if (layer == 0) {
      flush(scope); // heads of the first block see only the input, and may get no gradient
    }
  }

  private void flush(Scope scope) {
    if (waiting.isPresent()) {
      sweep(scope, waiting.get(), new int[] {graph.mlpReader(waitingLayer)}, waitingLayer);
      scope.release(waiting.get());
      waiting = Optional.empty();
    }
  }

  /** [batch, time, heads, width] at the heads of a block. */
  void heads(Scope scope, int layer, int first, Tensor gradient) {
    int heads = graph.heads();
    long row = gradient.size() / heads;
    boolean both = waiting.isPresent() && waitingLayer == layer;
    int[] readers = new int[both ? heads + 1 : heads];
    Tensor rows = scope.make(Shape.of(readers.length, row), gradient.dtype());
    Shape shape = gradient.shape();
    Shape turned = Shape.of(heads, shape.dim(0), shape.dim(1), shape.dim(3));
    kernels.permute(gradient, new int[] {2, 0, 1, 3}, rows.rows(0, heads).reshape(turned));
    for (int head = 0; head < heads; head++) {
      readers[head] = first + head;
    }
    if (both) {
      kernels.cast(waiting.get(), rows.rows(heads, heads + 1));
      scope.release(waiting.get());
      waiting = Optional.empty();
      readers[heads] = graph.mlpReader(layer);
    }
    sweep(scope, rows, readers, layer);
    scope.release(rows);
  }

  /** All senders before a block. */
  private void sweep(Scope scope, Tensor gradients, int[] readers, int beforeLayer) {
    for (int layer = 0; layer < beforeLayer; layer++) {
      headsOf(scope, gradients, readers, layer);
    }
    Tensor flat = differences.inputAndMlps(beforeLayer);
    Tensor products = product(scope, flat, gradients);
    for (int sender = 0; sender <= beforeLayer; sender++) {
      int number = sender == 0 ? 0 : graph.mlpSender(sender - 1);
      add(products, sender, number, readers);
    }
    scope.release(products);
  }

  private void headsOf(Scope scope, Tensor gradients, int[] readers, int layer) {
    Tensor written = differences.heads(layer, scope.memory());
    Tensor products = product(scope, written, gradients);
    for (int head = 0; head < graph.heads(); head++) {
      add(products, head, graph.headSender(layer) + head, readers);
    }
    scope.release(products);
    scope.release(written);
  }

  private Tensor product(Scope scope, Tensor senders, Tensor readers) {
    Shape shape = Shape.of(senders.shape().dim(0), readers.shape().dim(0));
    Tensor out = scope.make(shape, readers.dtype());
    kernels.matmul(1, senders, Transpose.NO, readers, Transpose.YES, 0, out);
    return out;
  }

  private void add(Tensor products, int row, int sender, int[] readers) {
    for (int reader = 0; reader < readers.length; reader++) {
      double product = products.get((long) row * readers.length + reader);
      scores[graph.edge(readers[reader], sender)] += weight * product;
    }
  }
}
