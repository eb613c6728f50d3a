package filigree.bench;

import filigree.tensor.Arithmetic;
import filigree.tensor.Elementwise;
import filigree.tensor.Kernels;
import filigree.tensor.Tensor;
import org.openjdk.jmh.annotations.Benchmark;

/**
 * What lies between the products of an MLP, on 1,024 rows of 1,024: bias and its gradient, tanh
 * GELU, and SwiGLU as the model composes it.
 *
 * <p>{@code bench/run jmh Mlp}
 */
public class MlpBenchmark extends KernelBenchmark {
  private Tensor x;
  private Tensor linear;
  private Tensor bias;
  private Tensor gradient;
  private Tensor y;
  private Tensor product;
  private Tensor dx;
  private Tensor dlinear;
  private Tensor dbias;

  @Override
  void make() {
    x = normal(1024, 1024);
    linear = normal(1024, 1024);
    bias = normal(1024);
    gradient = normal(1024, 1024);
    y = empty(1024, 1024);
    product = empty(1024, 1024);
    dx = empty(1024, 1024);
    dlinear = empty(1024, 1024);
    dbias = empty(1024);
    gelu(kernels());
  }

  @Override
  void check(Kernels twin) {
    same(twin, this::addBias, 1e-6, product);
    same(twin, this::biasGradient, 1e-5, dbias);
    same(twin, this::swiglu, 1e-4, y, product);
    same(twin, this::swigluBackward, 1e-4, dx, dlinear);
    same(twin, this::gelu, 1e-4, y);
    same(twin, this::geluBackward, 1e-4, dx);
  }

  private void addBias(Kernels k) {
    k.combine(Arithmetic.ADD, x, bias, product);
  }

  private void biasGradient(Kernels k) {
    k.sumTo(gradient, dbias);
  }

  private void gelu(Kernels k) {
    k.map(Elementwise.GELU_TANH, x, y);
  }

  private void geluBackward(Kernels k) {
    k.mapBackward(Elementwise.GELU_TANH, x, y, gradient, dx);
  }

  private void swiglu(Kernels k) {
    k.map(Elementwise.SILU, x, y);
    k.combine(Arithmetic.MULTIPLY, y, linear, product);
  }

  private void swigluBackward(Kernels k) {
    k.combine(Arithmetic.MULTIPLY, gradient, y, dlinear);
    k.combine(Arithmetic.MULTIPLY, gradient, linear, dx);
    k.mapBackward(Elementwise.SILU, x, y, dx, dx);
  }

  /** A row added to every row. */
  @Benchmark
  public Tensor addBias() {
    addBias(kernels());
    return product;
  }

  /** The sum of all rows. */
  @Benchmark
  public Tensor biasGradient() {
    biasGradient(kernels());
    return dbias;
  }

  /** GELU in its tanh form. */
  @Benchmark
  public Tensor gelu() {
    gelu(kernels());
    return y;
  }

  /** Its gradient. */
  @Benchmark
  public Tensor geluBackward() {
    geluBackward(kernels());
    return dx;
  }

  /** SiLU of one, times the other. */
  @Benchmark
  public Tensor swiglu() {
    swiglu(kernels());
    return product;
  }

  /** Both gradients. */
  @Benchmark
  public Tensor swigluBackward() {
    swigluBackward(kernels());
    return dx;
  }
}
