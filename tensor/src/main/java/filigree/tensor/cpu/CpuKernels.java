package filigree.tensor.cpu;

import filigree.tensor.AdamWStep;
import filigree.tensor.Arithmetic;
import filigree.tensor.AttentionSpec;
import filigree.tensor.DType;
import filigree.tensor.Elementwise;
import filigree.tensor.Gate;
import filigree.tensor.Kernels;
import filigree.tensor.Rotation;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.TensorException;
import filigree.tensor.Transpose;

/**
 * The default provider: float32 on the processor. Matrix products come from own panels ({@link
 * PackedProduct}) or ND4J's OpenBLAS, see {@link Gemm}; all else is loops over rows in the Vector
 * API, or plain Java without it, on a fixed pool of threads.
 *
 * <p>Results do not depend on scheduling: the same inputs and the same number of threads give the
 * same bits. ND4J itself is not started.
 *
 * <p>Any thread may call; calls of several threads take turns.
 */
public final class CpuKernels implements Kernels {
  private final Workers workers;
  private final Lanes lanes;
  private final ElementKernels elements;
  private final ReduceKernels reduce;
  private final MoveKernels move;
  private final Gemm gemm;
  private final SoftmaxKernels softmax;
  private final NormKernels norms;
  private final AttentionKernels attention;

  /**
   * Makes the provider and starts its threads.
   *
   * @param threads how many threads work, the calling one included
   * @param choice which inner loops
   * @throws TensorException where OpenBLAS or the chosen loops are missing
   */
  public CpuKernels(int threads, LaneChoice choice) {
    if (threads < 1) {
      throw new TensorException("cpu: found " + threads + " threads, expected 1 at least");
    }
    lanes = Lanes.of(choice);
    startOpenBlas();
    workers = new Workers(threads);
    elements = new ElementKernels(workers, lanes);
    reduce = new ReduceKernels(workers, lanes);
    move = new MoveKernels(workers, lanes);
    gemm = new Gemm(workers, lanes);
    softmax = new SoftmaxKernels(workers, lanes);
    norms = new NormKernels(workers, lanes);
    attention = new AttentionKernels(workers, lanes);
  }

  /**
   * Makes the provider with the best inner loops that this JVM has.
   *
   * @param threads how many threads work, the calling one included
   */
  public CpuKernels(int threads) {
    this(threads, LaneChoice.AUTO);
  }

  // Here, because what the static block of OpenBlas throws is an Error, and another one each time.
  private static void startOpenBlas() {
    try {
      OpenBlas.singleThreaded();
    } catch (LinkageError e) {
      Throwable cause = e;
      while (cause.getCause() != null) {
        cause = cause.getCause();
      }
      throw new TensorException(
          ("backend cpu: OpenBLAS could not be loaded (%s); put the classes of"
                  + " org.bytedeco:openblas and its jar with the classifier of this platform on the"
                  + " class path")
              .formatted(cause.toString().lines().findFirst().orElse("")),
          e);
    }
  }

  @Override
  public String name() {
    return "cpu";
  }

  @Override
  public String description() {
    return "cpu: %d thread%s, %s, %s %s, %s"
        .formatted(
            workers.count(),
            workers.count() == 1 ? "" : "s",
            gemm.description(),
            System.getProperty("os.name"),
            System.getProperty("os.arch"),
            lanes.description());
  }

  @Override
  public boolean computes(DType dtype) {
    return dtype == DType.F32;
  }

  @Override
  public void fill(Tensor out, double value) {
    elements.fill(out, value);
  }

  @Override
  public void cast(Tensor from, Tensor out) {
    move.cast(from, out);
  }

  @Override
  public void map(Elementwise function, Tensor x, Tensor out) {
    elements.map(function, x, out);
  }

  @Override
  public void mapBackward(Elementwise function, Tensor x, Tensor y, Tensor gradient, Tensor out) {
    elements.mapBackward(function, x, y, gradient, out);
  }

  @Override
  public void combine(Arithmetic op, Tensor a, Tensor b, Tensor out) {
    elements.combine(op, a, b, out);
  }

  @Override
  public void accumulate(double alpha, Tensor x, Tensor y) {
    elements.accumulate(alpha, x, y);
  }

  @Override
  public void scale(double alpha, Tensor x, Tensor out) {
    elements.scale(alpha, x, out);
  }

  @Override
  public void clip(double limit, Tensor x, Tensor out) {
    elements.clip(limit, x, out);
  }

  @Override
  public void clipBackward(double limit, Tensor x, Tensor gradient, Tensor out) {
    elements.clipBackward(limit, x, gradient, out);
  }

  @Override
  public void sumTo(Tensor x, Tensor out) {
    reduce.sumTo(x, out);
  }

  @Override
  public double sumOfSquares(Tensor x) {
    return reduce.sumOfSquares(x);
  }

  @Override
  public void matmul(
      double alpha, Tensor a, Transpose ta, Tensor b, Transpose tb, double beta, Tensor out) {
    gemm.matmul(alpha, a, ta, b, tb, beta, out);
  }

  @Override
  public void affine(Tensor a, Tensor b, Transpose tb, Tensor bias, Tensor out) {
    gemm.affine(a, b, tb, bias, out);
  }

  @Override
  public void affineBackward(Tensor gradient, Tensor x, double beta, Tensor weight, Tensor bias) {
    if (!gemm.affineBackward(gradient, x, beta, weight, bias)) {
      Tensor g = gradient.reshape(Shape.of(gradient.shape().rows(), gradient.shape().dim(-1)));
      Tensor rows = x.reshape(Shape.of(x.shape().rows(), x.shape().dim(-1)));
      gemm.matmul(1, g, Transpose.YES, rows, Transpose.NO, beta, weight);
      reduce.sumTo(gradient, bias);
    }
  }

  @Override
  public void permute(Tensor x, int[] axes, Tensor out) {
    move.permute(x, axes, out);
  }

  @Override
  public void copyAlong(Tensor x, long fromX, Tensor out, long fromOut, int axis, long length) {
    move.copyAlong(x, fromX, out, fromOut, axis, length);
  }

  @Override
  public void softmax(Tensor x, Tensor out) {
    softmax.softmax(x, out);
  }

  @Override
  public void softmaxBackward(Tensor y, Tensor gradient, Tensor out) {
    softmax.softmaxBackward(y, gradient, out);
  }

  @Override
  public void maskCausal(Tensor scores, int window, double value) {
    softmax.maskCausal(scores, window, value);
  }

  @Override
  public void layerNorm(
      Tensor x,
      Tensor weight,
      Tensor bias,
      double epsilon,
      Tensor out,
      Tensor mean,
      Tensor inverse) {
    norms.layerNorm(x, weight, bias, epsilon, out, mean, inverse);
  }

  @Override
  public void layerNormBackward(
      Tensor x,
      Tensor weight,
      Tensor mean,
      Tensor inverse,
      Tensor gradient,
      Tensor dx,
      Tensor dweight,
      Tensor dbias) {
    norms.layerNormBackward(x, weight, mean, inverse, gradient, dx, dweight, dbias);
  }

  @Override
  public void rmsNorm(Tensor x, Tensor weight, double epsilon, Tensor out, Tensor inverse) {
    norms.rmsNorm(x, weight, epsilon, out, inverse);
  }

  @Override
  public void rmsNormBackward(
      Tensor x, Tensor weight, Tensor inverse, Tensor gradient, Tensor dx, Tensor dweight) {
    norms.rmsNormBackward(x, weight, inverse, gradient, dx, dweight);
  }

  @Override
  public void rotary(Tensor x, Tensor cos, Tensor sin, int offset, Rotation direction, Tensor out) {
    move.rotary(x, cos, sin, offset, direction, out);
  }

  @Override
  public void gather(Tensor table, Tensor ids, Tensor out) {
    move.gather(table, ids, out);
  }

  @Override
  public void scatterAdd(Tensor ids, Tensor gradient, Tensor table) {
    move.scatterAdd(ids, gradient, table);
  }

  @Override
  public void crossEntropy(Tensor logits, Tensor targets, Tensor losses, Tensor logSumExp) {
    softmax.crossEntropy(logits, targets, losses, logSumExp);
  }

  @Override
  public void crossEntropyBackward(
      Tensor logits, Tensor targets, Tensor logSumExp, Tensor gradient, Tensor out) {
    softmax.crossEntropyBackward(logits, targets, logSumExp, gradient, out);
  }

  @Override
  public void divergence(Tensor student, Tensor teacher, Tensor divergence) {
    softmax.divergence(student, teacher, divergence);
  }

  @Override
  public void divergenceBackward(Tensor student, Tensor teacher, Tensor gradient, Tensor out) {
    softmax.divergenceBackward(student, teacher, gradient, out);
  }

  @Override
  public void gate(Gate gate, Tensor z, Tensor out) {
    attention.gate(gate, z, out);
  }

  @Override
  public void gateBackward(Gate gate, Tensor z, Tensor gradient, Tensor out) {
    attention.gateBackward(gate, z, gradient, out);
  }

  @Override
  public void attention(
      AttentionSpec spec,
      Tensor q,
      Tensor k,
      Tensor v,
      Tensor out,
      Tensor logSumExp,
      Tensor expected,
      Tensor counts) {
    attention.attention(spec, q, k, v, out, logSumExp, expected, counts);
  }

  @Override
  public void attentionBackward(
      AttentionSpec spec,
      Tensor q,
      Tensor k,
      Tensor v,
      Tensor out,
      Tensor logSumExp,
      Tensor dout,
      Tensor dexpected,
      Tensor dq,
      Tensor dk,
      Tensor dv) {
    attention.attentionBackward(spec, q, k, v, out, logSumExp, dout, dexpected, dq, dk, dv);
  }

  @Override
  public void adamw(
      AdamWStep step, Tensor parameter, Tensor gradient, Tensor mean, Tensor variance) {
    elements.adamw(step, parameter, gradient, mean, variance);
  }

  @Override
  public void close() {
    gemm.close();
    workers.close();
  }
}
