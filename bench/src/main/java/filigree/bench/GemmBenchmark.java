package filigree.bench;

import filigree.tensor.Kernels;
import filigree.tensor.Tensor;
import filigree.tensor.Transpose;
import java.util.Arrays;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/**
 * A linear map of {@code [rows, in]} to {@code [rows, out]} and its two gradients: the three
 * transpositions that a training step has.
 *
 * <p>{@code bench/run jmh Gemm -p shape=1024x256x256}
 */
public class GemmBenchmark extends KernelBenchmark {
  /** Rows, out, in. */
  @Param({"1024x1024x1024", "1024x256x256", "1024x1024x256", "256x3072x768", "256x50257x768"})
  public String shape;

  private Tensor x;
  private Tensor weight;
  private Tensor y;
  private Tensor dx;
  private Tensor dweight;

  @Override
  void make() {
    int[] sizes = Arrays.stream(shape.split("x")).mapToInt(Integer::parseInt).toArray();
    x = normal(sizes[0], sizes[2]);
    weight = normal(sizes[1], sizes[2]);
    y = empty(sizes[0], sizes[1]);
    dx = empty(sizes[0], sizes[2]);
    dweight = empty(sizes[1], sizes[2]);
    forward(kernels());
  }

  @Override
  void check(Kernels twin) {
    same(twin, this::forward, 1e-5, y);
    same(twin, this::inputGradient, 1e-5, dx);
    same(twin, this::weightGradient, 1e-5, dweight);
  }

  private void forward(Kernels k) {
    k.matmul(1, x, Transpose.NO, weight, Transpose.YES, 0, y);
  }

  private void inputGradient(Kernels k) {
    k.matmul(1, y, Transpose.NO, weight, Transpose.NO, 0, dx);
  }

  private void weightGradient(Kernels k) {
    k.matmul(1, y, Transpose.YES, x, Transpose.NO, 0, dweight);
  }

  /** x W^T. */
  @Benchmark
  public Tensor forward() {
    forward(kernels());
    return y;
  }

  /** dy W. */
  @Benchmark
  public Tensor inputGradient() {
    inputGradient(kernels());
    return dx;
  }

  /** dy^T x. */
  @Benchmark
  public Tensor weightGradient() {
    weightGradient(kernels());
    return dweight;
  }
}
