package filigree.bench;

import filigree.tensor.AdamWStep;
import filigree.tensor.Kernels;
import filigree.tensor.Tensor;
import org.openjdk.jmh.annotations.Benchmark;

/**
 * The update of one matrix of GPT-2's MLP, 3,072 x 768, and the sum of squares for its norm.
 *
 * <p>{@code bench/run jmh AdamW}
 */
public class AdamWBenchmark extends KernelBenchmark {
  private static final AdamWStep STEP = new AdamWStep(10, 1e-4, 0.9, 0.95, 1e-8, 0.1, 1);

  private Tensor initial;
  private Tensor parameter;
  private Tensor gradient;
  private Tensor mean;
  private Tensor variance;
  private Tensor squares;

  @Override
  void make() {
    initial = normal(3072, 768);
    gradient = normal(3072, 768);
    parameter = empty(3072, 768);
    mean = empty(3072, 768);
    variance = empty(3072, 768);
    squares = empty(1);
    fromTheStart(kernels());
  }

  @Override
  void check(Kernels twin) {
    same(twin, this::fromTheStart, 1e-5, parameter, mean, variance);
    same(twin, k -> k.fill(squares, k.sumOfSquares(gradient)), 1e-6, squares);
  }

  /** Two steps, so that both moments are read. */
  private void fromTheStart(Kernels k) {
    k.cast(initial, parameter);
    k.fill(mean, 0);
    k.fill(variance, 0);
    k.adamw(STEP, parameter, gradient, mean, variance);
    k.adamw(STEP, parameter, gradient, mean, variance);
  }

  /** One update in place. */
  @Benchmark
  public Tensor adamw() {
    kernels().adamw(STEP, parameter, gradient, mean, variance);
    return parameter;
  }

  /** What clipping by the norm reads. */
  @Benchmark
  public double sumOfSquares() {
    return kernels().sumOfSquares(gradient);
  }
}
