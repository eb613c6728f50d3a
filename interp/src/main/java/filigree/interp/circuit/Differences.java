package filigree.interp.circuit;

import filigree.tensor.Arithmetic;
import filigree.tensor.Kernels;
import filigree.tensor.Memory;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Transpose;
import java.util.ArrayList;
import java.util.List;

/**
 * What the senders write in one run less what they write in another, each as one long row of batch
 * x time x width numbers. Rows of heads are made of their z when they are asked for, block by
 * block, so that never all of them exist at once.
 */
final class Differences {
  private final Study study;
  private final Tensor flat; // [1 + layers, row]: input, then the MLPs
  private final List<Tensor> z; // [batch, time, heads, headDim]

  private Differences(Study study, Tensor flat, List<Tensor> z) {
    this.study = study;
    this.flat = flat;
    this.z = z;
  }

  /** One run less another. */
  static Differences of(Study study, Senders run, Senders less, Memory memory) {
    Kernels kernels = study.kernels();
    int layers = run.z().size();
    long row = run.input().size();
    Tensor flat = memory.allocate(Shape.of(layers + 1, row), run.input().dtype());
    subtract(kernels, run.input(), less.input(), flat.rows(0, 1));
    List<Tensor> z = new ArrayList<>();
    for (int layer = 0; layer < layers; layer++) {
      subtract(
          kernels, run.mlp().get(layer), less.mlp().get(layer), flat.rows(layer + 1, layer + 2));
      Tensor heads = memory.allocate(run.z().get(layer).shape(), run.input().dtype());
      kernels.combine(Arithmetic.SUBTRACT, run.z().get(layer), less.z().get(layer), heads);
      z.add(heads);
    }
    return new Differences(study, flat, z);
  }

  private static void subtract(Kernels kernels, Tensor run, Tensor less, Tensor row) {
    kernels.combine(Arithmetic.SUBTRACT, run, less, row.reshape(run.shape()));
  }

  /** Gives the memory back, which is that in which this was made. */
  void release(Memory memory) {
    memory.release(flat);
    z.forEach(memory::release);
  }

  /** The same differences, those of a block's heads replaced by what they are in another run. */
  void putHeads(int layer, Tensor run, Tensor less) {
    study.kernels().combine(Arithmetic.SUBTRACT, run, less, z.get(layer));
  }

  /** The same for an MLP. */
  void putMlp(int layer, Tensor run, Tensor less) {
    subtract(study.kernels(), run, less, flat.rows(layer + 1, layer + 2));
  }

  /** [1 + layers, row]: the input and the MLPs before a block. */
  Tensor inputAndMlps(int beforeLayer) {
    return flat.rows(0, beforeLayer + 1);
  }

  /** Differences of z, [batch, time, heads, headDim]. */
  Tensor z(int layer) {
    return z.get(layer);
  }

  /** [1, row]. */
  Tensor input() {
    return flat.rows(0, 1);
  }

  /** [1, row]. */
  Tensor mlp(int layer) {
    return flat.rows(layer + 1, layer + 2);
  }

  /** [heads, row]: what a block's heads write; to be released by the caller. */
  Tensor heads(int layer, Memory memory) {
    return results(study, z.get(layer), layer, memory);
  }

  /**
   * What heads write to the residual stream, from their z.
   *
   * @param z [batch, time, heads, headDim]
   * @return [heads, batch x time x width], to be released by the caller
   */
  static Tensor results(Study study, Tensor z, int layer, Memory memory) {
    Tensor map = study.headMap(layer);
    long tokens = z.shape().dim(0) * z.shape().dim(1);
    long heads = z.shape().dim(2);
    long headDim = z.shape().dim(3);
    long width = map.shape().dim(2);
    Shape turned = Shape.of(heads, z.shape().dim(0), z.shape().dim(1), headDim);
    Tensor byHead = memory.allocate(turned, z.dtype());
    study.kernels().permute(z, new int[] {2, 0, 1, 3}, byHead);
    Tensor out = memory.allocate(Shape.of(heads, tokens * width), z.dtype());
    study
        .kernels()
        .matmul(
            1,
            byHead.reshape(Shape.of(heads, tokens, headDim)),
            Transpose.NO,
            map,
            Transpose.NO,
            0,
            out.reshape(Shape.of(heads, tokens, width)));
    memory.release(byHead);
    return out;
  }
}
