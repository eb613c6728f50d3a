package filigree.bench;

import filigree.tensor.Kernels;
import filigree.tensor.Tensor;
import org.openjdk.jmh.annotations.Benchmark;

/**
 * Layer and root mean square normalisation of 1,024 rows of 768.
 *
 * <p>{@code bench/run jmh Norm}
 */
public class NormBenchmark extends KernelBenchmark {
  private static final double EPSILON = 1e-5;

  private Tensor x;
  private Tensor weight;
  private Tensor bias;
  private Tensor out;
  private Tensor mean;
  private Tensor inverse;
  private Tensor inverseRms;
  private Tensor gradient;
  private Tensor dx;
  private Tensor dweight;
  private Tensor dbias;

  @Override
  void make() {
    x = normal(1024, 768);
    weight = normal(768);
    bias = normal(768);
    gradient = normal(1024, 768);
    out = empty(1024, 768);
    mean = empty(1024);
    inverse = empty(1024);
    inverseRms = empty(1024);
    dx = empty(1024, 768);
    dweight = empty(768);
    dbias = empty(768);
    layerNorm(kernels());
    rmsNorm(kernels());
  }

  @Override
  void check(Kernels twin) {
    same(twin, this::layerNorm, 1e-4, out, mean, inverse);
    same(twin, this::layerNormBackward, 1e-4, dx, dweight, dbias);
    same(twin, this::rmsNorm, 1e-4, out, inverseRms);
    same(twin, this::rmsNormBackward, 1e-4, dx, dweight);
  }

  private void layerNorm(Kernels k) {
    k.layerNorm(x, weight, bias, EPSILON, out, mean, inverse);
  }

  private void layerNormBackward(Kernels k) {
    k.layerNormBackward(x, weight, mean, inverse, gradient, dx, dweight, dbias);
  }

  private void rmsNorm(Kernels k) {
    k.rmsNorm(x, weight, EPSILON, out, inverseRms);
  }

  private void rmsNormBackward(Kernels k) {
    k.rmsNormBackward(x, weight, inverseRms, gradient, dx, dweight);
  }

  /** Layer normalisation. */
  @Benchmark
  public Tensor layerNorm() {
    layerNorm(kernels());
    return out;
  }

  /** Its gradients with respect to rows, weight and bias. */
  @Benchmark
  public Tensor layerNormBackward() {
    layerNormBackward(kernels());
    return dx;
  }

  /** Root mean square normalisation. */
  @Benchmark
  public Tensor rmsNorm() {
    rmsNorm(kernels());
    return out;
  }

  /** Its gradients with respect to rows and weight. */
  @Benchmark
  public Tensor rmsNormBackward() {
    rmsNormBackward(kernels());
    return dx;
  }
}
