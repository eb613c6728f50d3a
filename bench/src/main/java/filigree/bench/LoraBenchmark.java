package filigree.bench;

import filigree.autograd.AdamW;
import filigree.checkpoints.Checkpoint;
import filigree.sparsity.Constraint;
import filigree.sparsity.GateSettings;
import filigree.sparsity.Lora;
import filigree.sparsity.Metrics;
import filigree.sparsity.Objective;
import filigree.sparsity.Sparsifier;
import filigree.sparsity.SparsifierState;
import filigree.tensor.Kernels;
import filigree.tensor.Philox;
import filigree.tensor.Workspace;
import filigree.tensor.provider.Backend;
import filigree.transformer.Batch;
import filigree.transformer.LearningRate;
import filigree.transformer.MemoryPlan;
import filigree.transformer.ModelConfig;
import filigree.transformer.Parameters;
import filigree.transformer.TrainingData;
import filigree.transformer.Transformer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.OptionalDouble;

/**
 * Times steps of post-training with LoRA and distillation on a model folder, whose weights may be
 * larger than the memory, against the time of their arithmetic:
 *
 * <pre>
 *   bench/run lora MODEL --rank 16 --context 64 --batch-size 1 --steps 3 --threads 2
 * </pre>
 *
 * <p>The multiply-adds of a step are those of the weights' products: the teacher's forward run, the
 * student's, and the gradients of the student's activations; the weights are frozen and have none.
 * Adapters (a thousandth of it), attention between so few tokens and everything else count as
 * nothing. They are divided by the rate of a 1024 x 1024 product that is measured before every
 * step. Tokens are random.
 *
 * <p>Check: the loss is finite.
 */
public final class LoraBenchmark {
  private LoraBenchmark() {}

  /**
   * Runs the benchmark.
   *
   * @param args see the class
   */
  public static void main(String[] args) {
    Arguments arguments = Arguments.of(args, "");
    int steps = arguments.number("steps", 3);
    int threads = arguments.number("threads", Runtime.getRuntime().availableProcessors());
    int time = arguments.number("context", 64);
    int batch = arguments.number("batch-size", 1);
    int rank = arguments.number("rank", 16);
    try (Kernels kernels = Backend.CPU.open(threads);
        Checkpoint checkpoint = Checkpoint.open(Path.of(arguments.words().getFirst()));
        Workspace memory = new Workspace("weights")) {
      ModelConfig config = checkpoint.config();
      Transformer dense =
          new Transformer(config, Parameters.of(config, checkpoint.frozenWeights(memory)), memory);
      TrainingData data = random(config.sizes().vocabulary(), batch, time);
      Clock clock = new Clock(kernels);
      try (Sparsifier sparsifier =
          new Sparsifier(
              dense,
              List.of(to -> data.batch(0, to)),
              settings(steps, rank),
              AdamW.Config.DEFAULT,
              kernels)) {
        sparsifier.run(data, clock);
      }
      double operations = 2.0 * multiplyAdds(config) * batch * time;
      double[] ratios = new double[steps];
      for (int i = 0; i < steps; i++) {
        double arithmetic = operations / clock.rates.get(i);
        ratios[i] = clock.seconds.get(i) / arithmetic;
        System.out.printf(
            Locale.ROOT,
            "step %d: %.2f s, %.2f s of arithmetic at %.0f GFLOP/s, ratio %.2f%n",
            i + 1,
            clock.seconds.get(i),
            arithmetic,
            clock.rates.get(i) / 1e9,
            ratios[i]);
      }
      Arrays.sort(ratios);
      System.out.printf(
          Locale.ROOT,
          "median ratio %.2f; %.3f TFLOP a step, %d threads%n",
          GemmRate.median(ratios),
          operations / 1e12,
          threads);
    } catch (IllegalStateException e) {
      System.err.println("lora: " + e.getMessage());
      System.exit(1);
    }
  }

  /** Of one token: three times the elements of all matrices that it is multiplied by. */
  private static long multiplyAdds(ModelConfig config) {
    long matrices =
        config.parameters().stream()
            .filter(spec -> spec.name().startsWith("blocks.") && spec.shape().rank() == 2)
            .mapToLong(spec -> spec.shape().size())
            .sum();
    long head = (long) config.sizes().vocabulary() * config.sizes().width();
    return 3 * (matrices + head);
  }

  private static TrainingData random(int vocabulary, int batch, int time) {
    return (step, to) -> {
      Philox random = new Philox(step, 1);
      List<int[]> windows = new ArrayList<>();
      for (int row = 0; row < batch; row++) {
        int[] window = new int[time];
        Arrays.setAll(window, i -> random.nextInt(vocabulary));
        windows.add(window);
      }
      return Batch.nextToken(windows, to);
    };
  }

  /** Nothing is measured on held-out text between steps, which would be timed with them. */
  private static Sparsifier.Settings settings(int steps, int rank) {
    int never = Integer.MAX_VALUE;
    return new Sparsifier.Settings(
        steps + 1L, // the last step measures the result, and is not timed
        LearningRate.constant(1e-4, 1),
        new Constraint.Config(0.01, 10, 0.04, 1, 0.1, 1e-3, 10),
        new Objective.Weights(0, 1),
        OptionalDouble.of(2),
        100,
        new Sparsifier.Measuring(never, 1, never),
        new Lora(rank, Lora.defaultAlpha(rank), Lora.DEFAULT_TARGETS),
        MemoryPlan.KEEP_BLOCKS,
        Sparsifier.Control.NONE,
        Sparsifier.Choices.NONE,
        1);
  }

  /** Times from the end of what comes before a step to its end. */
  private static final class Clock implements Sparsifier.Listener {
    private static final int REPEATS = 10;

    private final Kernels kernels;
    private final List<Double> seconds = new ArrayList<>();
    private final List<Double> rates = new ArrayList<>();
    private long began;

    Clock(Kernels kernels) {
      this.kernels = kernels;
    }

    @Override
    public void best(Sparsifier.Candidate candidate, Parameters weights, GateSettings gates) {
      start(); // the start was measured; the first step follows
    }

    @Override
    public void step(Metrics metrics) {
      seconds.add((System.nanoTime() - began) / 1e9);
      if (!Double.isFinite(metrics.ce())) {
        throw new IllegalStateException(
            "the loss of step %d is not finite".formatted(metrics.step()));
      }
      start();
    }

    private void start() {
      rates.add(GemmRate.measure(kernels, REPEATS).flops());
      began = System.nanoTime();
    }

    @Override
    public void state(SparsifierState state) {}

    @Override
    public void notice(String sentence) {
      System.err.println(sentence);
    }
  }
}
