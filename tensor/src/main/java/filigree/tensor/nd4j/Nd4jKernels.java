package filigree.tensor.nd4j;

import filigree.tensor.AdamWStep;
import filigree.tensor.Arithmetic;
import filigree.tensor.AttentionSpec;
import filigree.tensor.DType;
import filigree.tensor.Elementwise;
import filigree.tensor.Gate;
import filigree.tensor.Kernels;
import filigree.tensor.Rotation;
import filigree.tensor.Tensor;
import filigree.tensor.TensorException;
import filigree.tensor.Transpose;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.Properties;
import org.nd4j.linalg.factory.Nd4j;

/**
 * The slow, correct kernels: every primitive composed of INDArray operations, as its formula reads,
 * on whatever ND4J backend is on the class path. The fast kernels are compared with these, and in
 * {@link DType#F64} they are what gradients are checked against.
 *
 * <p>All arithmetic is in float64, also for {@link DType#F32} tensors, whose results are rounded
 * once when they are stored. Only ND4J operations that were measured to be right are used; what is
 * avoided, and why, stands where it would have been used. Weights in {@link DType#BF16} and {@link
 * DType#F16} are read by {@link #cast}, {@link #matmul} (b), {@link #gather} (table), {@link
 * #permute} and {@link #copyAlong}.
 *
 * <p>May be called from several threads, each of which then has its own scratch memory.
 */
public final class Nd4jKernels implements Kernels {
  private static final String VERSION_FILE = "/META-INF/maven/org.nd4j/nd4j-api/pom.properties";

  private final String description;
  private final Scratch scratch = new Scratch();
  private final Elements elements = new Elements(scratch);
  private final Layout layout = new Layout(scratch);
  private final Rows rows = new Rows(scratch);
  private final Lookup lookup = new Lookup(scratch);
  private final Losses loss = new Losses(scratch);
  private final Attention attention = new Attention(scratch);

  /**
   * Starts ND4J, which unpacks its native libraries at the first start on a machine (seconds).
   *
   * @throws TensorException where the ND4J backend of this build cannot run here
   */
  public Nd4jKernels() {
    description = "nd4j: ND4J %s, %s".formatted(version(), Start.run());
  }

  @Override
  public String name() {
    return "nd4j";
  }

  @Override
  public String description() {
    return description;
  }

  @Override
  public boolean computes(DType dtype) {
    return dtype.computes();
  }

  @Override
  public void fill(Tensor out, double value) {
    elements.fill(out, value);
  }

  @Override
  public void cast(Tensor from, Tensor out) {
    layout.cast(from, out);
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
    elements.sumTo(x, out);
  }

  @Override
  public double sumOfSquares(Tensor x) {
    return elements.sumOfSquares(x);
  }

  @Override
  public void matmul(
      double alpha, Tensor a, Transpose ta, Tensor b, Transpose tb, double beta, Tensor out) {
    elements.matmul(alpha, a, ta, b, tb, beta, out);
  }

  @Override
  public void affine(Tensor a, Tensor b, Transpose tb, Tensor bias, Tensor out) {
    elements.affine(a, b, tb, bias, out);
  }

  @Override
  public void affineBackward(Tensor gradient, Tensor x, double beta, Tensor weight, Tensor bias) {
    elements.affineBackward(gradient, x, beta, weight, bias);
  }

  @Override
  public void permute(Tensor x, int[] axes, Tensor out) {
    layout.permute(x, axes, out);
  }

  @Override
  public void copyAlong(Tensor x, long fromX, Tensor out, long fromOut, int axis, long length) {
    layout.copyAlong(x, fromX, out, fromOut, axis, length);
  }

  @Override
  public void softmax(Tensor x, Tensor out) {
    rows.softmax(x, out);
  }

  @Override
  public void softmaxBackward(Tensor y, Tensor gradient, Tensor out) {
    rows.softmaxBackward(y, gradient, out);
  }

  @Override
  public void maskCausal(Tensor scores, int window, double value) {
    attention.maskCausal(scores, window, value);
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
    rows.layerNorm(x, weight, bias, epsilon, out, mean, inverse);
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
    rows.layerNormBackward(x, weight, mean, inverse, gradient, dx, dweight, dbias);
  }

  @Override
  public void rmsNorm(Tensor x, Tensor weight, double epsilon, Tensor out, Tensor inverse) {
    rows.rmsNorm(x, weight, epsilon, out, inverse);
  }

  @Override
  public void rmsNormBackward(
      Tensor x, Tensor weight, Tensor inverse, Tensor gradient, Tensor dx, Tensor dweight) {
    rows.rmsNormBackward(x, weight, inverse, gradient, dx, dweight);
  }

  @Override
  public void rotary(Tensor x, Tensor cos, Tensor sin, int offset, Rotation direction, Tensor out) {
    rows.rotary(x, cos, sin, offset, direction, out);
  }

  @Override
  public void gather(Tensor table, Tensor ids, Tensor out) {
    lookup.gather(table, ids, out);
  }

  @Override
  public void scatterAdd(Tensor ids, Tensor gradient, Tensor table) {
    lookup.scatterAdd(ids, gradient, table);
  }

  @Override
  public void crossEntropy(Tensor logits, Tensor targets, Tensor losses, Tensor logSumExp) {
    loss.crossEntropy(logits, targets, losses, logSumExp);
  }

  @Override
  public void crossEntropyBackward(
      Tensor logits, Tensor targets, Tensor logSumExp, Tensor gradient, Tensor out) {
    loss.crossEntropyBackward(logits, targets, logSumExp, gradient, out);
  }

  @Override
  public void divergence(Tensor student, Tensor teacher, Tensor divergence) {
    loss.divergence(student, teacher, divergence);
  }

  @Override
  public void divergenceBackward(Tensor student, Tensor teacher, Tensor gradient, Tensor out) {
    loss.divergenceBackward(student, teacher, gradient, out);
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
    attention.forward(spec, q, k, v, out, logSumExp, expected, counts);
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
    attention.backward(spec, q, k, v, out, logSumExp, dout, dexpected, dq, dk, dv);
  }

  @Override
  public void adamw(
      AdamWStep step, Tensor parameter, Tensor gradient, Tensor mean, Tensor variance) {
    elements.adamw(step, parameter, gradient, mean, variance);
  }

  @Override
  public void close() {
    scratch.close();
  }

  /** Bytes of scratch memory, for tests that it does not grow. */
  long scratchBytes() {
    return scratch.bytes();
  }

  private static String version() {
    try (InputStream file = Nd4j.class.getResourceAsStream(VERSION_FILE)) {
      Properties properties = new Properties();
      if (file != null) {
        properties.load(file);
      }
      return properties.getProperty("version", "of unknown version");
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
