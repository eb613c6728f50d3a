package filigree.bench;

import filigree.tensor.AttentionSpec;
import filigree.tensor.Gate;
import filigree.tensor.Kernels;
import filigree.tensor.NoiseKey;
import filigree.tensor.Tensor;
import java.util.Arrays;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/**
 * Causal attention with every gate open, with sampled gates and with hard ones, of which half are
 * open or, after post-training, few: forward and backward.
 *
 * <p>{@code bench/run jmh Attention -p gate=sampled -p shape=1x1024x4x64}
 */
public class AttentionBenchmark extends KernelBenchmark {
  /** Batch, time, heads, length of a head. */
  @Param({"8x128x4x64", "1x1024x4x64", "2x128x12x64"})
  public String shape;

  /** {@code open}, {@code sampled}, {@code hard} or {@code few}: one in 160 open. */
  @Param({"open", "sampled", "hard", "few"})
  public String gate;

  private AttentionSpec spec;
  private Tensor q;
  private Tensor k;
  private Tensor v;
  private Tensor out;
  private Tensor logSumExp;
  private Tensor expected;
  private Tensor counts;
  private Tensor dout;
  private Tensor dexpected;
  private Tensor dq;
  private Tensor dk;
  private Tensor dv;

  @Override
  void make() {
    int[] sizes = Arrays.stream(shape.split("x")).mapToInt(Integer::parseInt).toArray();
    int batch = sizes[0];
    int time = sizes[1];
    int heads = sizes[2];
    int length = sizes[3];
    Gate chosen =
        switch (gate) {
          case "open" -> Gate.open();
          case "sampled" -> new Gate.Sampled(0, new NoiseKey(1, 1, 0));
          case "hard" -> new Gate.Hard(0);
          case "few" -> new Gate.Hard(-2.5);
          default -> throw new IllegalArgumentException("there is no gate " + gate);
        };
    spec = new AttentionSpec(heads, heads, length, 1 / Math.sqrt(length), chosen);
    q = normal(batch, time, heads, length);
    k = normal(batch, time, heads, length);
    v = normal(batch, time, heads, length);
    dout = normal(batch, time, heads, length);
    out = empty(batch, time, heads, length);
    logSumExp = empty(batch, heads, time);
    expected = empty(batch, heads);
    dexpected = normal(batch, heads);
    counts = counts(batch, heads, AttentionSpec.COUNTS);
    dq = empty(batch, time, heads, length);
    dk = empty(batch, time, heads, length);
    dv = empty(batch, time, heads, length);
    forward(kernels());
  }

  /** A gate whose logit rounds to the other side of 0 is one wrong edge of many. */
  @Override
  void check(Kernels twin) {
    same(twin, this::forward, 1e-2, out, logSumExp, expected);
    same(twin, this::backward, 1e-2, dq, dk, dv);
  }

  private void forward(Kernels kernels) {
    kernels.attention(spec, q, k, v, out, logSumExp, expected, counts);
  }

  private void backward(Kernels kernels) {
    kernels.attentionBackward(spec, q, k, v, out, logSumExp, dout, dexpected, dq, dk, dv);
  }

  /** Output, normaliser, density and counts. */
  @Benchmark
  public Tensor forward() {
    forward(kernels());
    return out;
  }

  /** All three gradients. */
  @Benchmark
  public Tensor backward() {
    backward(kernels());
    return dq;
  }
}
