package filigree.bench;

import filigree.tensor.Kernels;
import filigree.tensor.Tensor;
import org.openjdk.jmh.annotations.Benchmark;

/**
 * Softmax of 1,024 rows of 1,024, and cross-entropy of 256 rows of GPT-2's vocabulary.
 *
 * <p>{@code bench/run jmh Softmax}
 */
public class SoftmaxBenchmark extends KernelBenchmark {
  private static final int ROWS = 256;
  private static final int VOCABULARY = 50257;

  private Tensor scores;
  private Tensor gradient;
  private Tensor pattern;
  private Tensor dscores;
  private Tensor logits;
  private Tensor targets;
  private Tensor losses;
  private Tensor logSumExp;
  private Tensor dlosses;
  private Tensor dlogits;

  @Override
  void make() {
    scores = normal(1024, 1024);
    gradient = normal(1024, 1024);
    pattern = empty(1024, 1024);
    dscores = empty(1024, 1024);
    logits = normal(ROWS, VOCABULARY);
    targets = ids(ROWS, VOCABULARY);
    losses = empty(ROWS);
    logSumExp = empty(ROWS);
    dlosses = normal(ROWS);
    dlogits = empty(ROWS, VOCABULARY);
    softmax(kernels());
    crossEntropy(kernels());
  }

  @Override
  void check(Kernels twin) {
    same(twin, this::softmax, 1e-5, pattern);
    same(twin, this::softmaxBackward, 1e-4, dscores);
    same(twin, this::crossEntropy, 1e-5, losses, logSumExp);
    same(twin, this::crossEntropyBackward, 1e-4, dlogits);
  }

  private void softmax(Kernels k) {
    k.softmax(scores, pattern);
  }

  private void softmaxBackward(Kernels k) {
    k.softmaxBackward(pattern, gradient, dscores);
  }

  private void crossEntropy(Kernels k) {
    k.crossEntropy(logits, targets, losses, logSumExp);
  }

  private void crossEntropyBackward(Kernels k) {
    k.crossEntropyBackward(logits, targets, logSumExp, dlosses, dlogits);
  }

  /** Softmax of rows. */
  @Benchmark
  public Tensor softmax() {
    softmax(kernels());
    return pattern;
  }

  /** Its gradient. */
  @Benchmark
  public Tensor softmaxBackward() {
    softmaxBackward(kernels());
    return dscores;
  }

  /** Cross-entropy of rows. */
  @Benchmark
  public Tensor crossEntropy() {
    crossEntropy(kernels());
    return losses;
  }

  /** Its gradient. */
  @Benchmark
  public Tensor crossEntropyBackward() {
    crossEntropyBackward(kernels());
    return dlogits;
  }
}
