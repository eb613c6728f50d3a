package filigree.test.golden;

import filigree.autograd.Pass;
import filigree.autograd.Tap;
import filigree.checkpoints.Checkpoint;
import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import filigree.test.SharedData;
import filigree.transformer.Gates;
import filigree.transformer.Parameters;
import filigree.transformer.Transformer;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** A checkpoint of the shared data, its weights in one type, and how golden tests run it. */
final class GoldenModel implements AutoCloseable {
  private final Checkpoint checkpoint;
  private final Workspace weights = new Workspace("golden weights");
  private final Workspace scratch = new Workspace("golden run");
  private final Transformer transformer;

  private GoldenModel(Checkpoint checkpoint, Loading loading) {
    this.checkpoint = checkpoint;
    Map<String, Tensor> tensors = loading.weights(checkpoint, weights);
    this.transformer =
        new Transformer(checkpoint.config(), Parameters.of(checkpoint.config(), tensors), weights);
  }

  private interface Loading {
    Map<String, Tensor> weights(Checkpoint checkpoint, Workspace memory);

    static Loading of(DType type) {
      return (checkpoint, memory) -> {
        Map<String, Tensor> out = new LinkedHashMap<>();
        checkpoint
            .storedWeights(memory)
            .forEach((name, tensor) -> out.put(name, widened(tensor, type, memory)));
        return out;
      };
    }
  }

  private static Tensor widened(Tensor tensor, DType type, Workspace memory) {
    return tensor.dtype() == type
        ? tensor
        : Tensor.of(memory, type, tensor.shape(), tensor.toDoubles());
  }

  /** Opens a checkpoint that the project ships, its matrices of 16 bits left in the file. */
  static GoldenModel frozen(Path folder) {
    return new GoldenModel(Checkpoint.open(folder), Checkpoint::frozenWeights);
  }

  /** Opens a checkpoint that the project ships. */
  static GoldenModel at(Path folder, DType type) {
    return new GoldenModel(Checkpoint.open(folder), Loading.of(type));
  }

  /** Opens a checkpoint, or skips the test where the shared data are not there. */
  static GoldenModel open(String name, DType type) {
    return new GoldenModel(
        Checkpoint.open(SharedData.require("checkpoints/" + name)), Loading.of(type));
  }

  Checkpoint checkpoint() {
    return checkpoint;
  }

  Transformer transformer() {
    return transformer;
  }

  /**
   * One run.
   *
   * @param logits [token, vocabulary]
   * @param expected per layer, [head]
   * @param counts per layer, [head, 4]
   */
  record Run(double[] logits, List<double[]> expected, List<double[]> counts) {}

  /** Runs a whole sequence. */
  Run run(Kernels kernels, int[] ids, Gates gates) {
    return run(kernels, ids, gates, Optional.empty());
  }

  /** Runs a whole sequence with somebody looking. */
  Run run(Kernels kernels, int[] ids, Gates gates, Optional<Tap> tap) {
    Pass plain = Pass.inference(kernels, scratch);
    try (Pass pass = tap.isPresent() ? plain.with(tap.get()) : plain) {
      Tensor input = Tensor.ofInts(scratch, Shape.of(1, ids.length), ids);
      return copied(transformer.forward(pass, input, gates));
    }
  }

  /** Copies a run out of its pass. */
  static Run copied(Transformer.Output output) {
    return new Run(
        output.logits().value().toDoubles(),
        output.expected().stream().map(layer -> layer.value().toDoubles()).toList(),
        output.counts().stream().map(layer -> layer.value().toDoubles()).toList());
  }

  @Override
  public void close() {
    scratch.close();
    weights.close();
    checkpoint.close();
  }
}
