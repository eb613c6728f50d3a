package filigree.test.sparsity;

import static org.assertj.core.api.Assertions.assertThat;

import filigree.autograd.AdamW;
import filigree.sparsity.Constraint;
import filigree.sparsity.GateSettings;
import filigree.sparsity.Lora;
import filigree.sparsity.Metrics;
import filigree.sparsity.Objective;
import filigree.sparsity.Sparsifier;
import filigree.sparsity.SparsifierMemory;
import filigree.sparsity.SparsifierState;
import filigree.tensor.DType;
import filigree.tensor.Elementwise;
import filigree.tensor.Kernels;
import filigree.tensor.Workspace;
import filigree.tensor.provider.Backend;
import filigree.transformer.Batch;
import filigree.transformer.LearningRate;
import filigree.transformer.MemoryEstimate;
import filigree.transformer.MemoryPlan;
import filigree.transformer.ModelConfig;
import filigree.transformer.Parameters;
import filigree.transformer.TrainingData;
import filigree.transformer.Transformer;
import java.util.Collections;
import java.util.List;
import java.util.OptionalDouble;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** What post-training is said to need is what it then takes. */
class SparsifierMemoryTest {
  private static final int BATCH = 4;
  private static final int TIME = 96;
  private static final int VOCABULARY = 3000;

  /** The promise. */
  private static final double WITHIN = 0.15;

  private static final ModelConfig CONFIG =
      new ModelConfig(
          new ModelConfig.Sizes(VOCABULARY, 2 * TIME, 4, 128),
          new ModelConfig.Norm(ModelConfig.NormKind.RMS, 1e-5),
          new ModelConfig.Positions.Rotary(10_000),
          new ModelConfig.Attention(4, 2, 32, ModelConfig.Bias.ABSENT),
          new ModelConfig.Mlp(
              ModelConfig.MlpKind.GATED, 384, Elementwise.SILU, ModelConfig.Bias.ABSENT),
          ModelConfig.Head.UNTIED);

  static Stream<Arguments> runs() {
    MemoryPlan streamed = new MemoryPlan(MemoryPlan.KEEP_BLOCKS.recompute(), 100_000);
    return Stream.of(
            Sparsifier.Trained.ALL,
            Sparsifier.Trained.ATTENTION,
            new Lora(8, Lora.defaultAlpha(8), Lora.DEFAULT_TARGETS))
        .flatMap(
            trained ->
                Stream.of(
                    Arguments.of(trained, new Objective.Weights(0, 1), MemoryPlan.KEEP_BLOCKS, 1),
                    Arguments.of(
                        trained, new Objective.Weights(0, 1), MemoryPlan.RECOMPUTE_BLOCKS, 1),
                    Arguments.of(trained, new Objective.Weights(1, 0), streamed, 1),
                    Arguments.of(
                        trained, new Objective.Weights(1, 0), MemoryPlan.KEEP_BLOCKS, 4 * BATCH)));
  }

  @ParameterizedTest
  @MethodSource("runs")
  void theEstimateIsWhatIsTaken(
      Sparsifier.Trainables trained, Objective.Weights weights, MemoryPlan plan, int measured) {
    MemoryEstimate estimate =
        SparsifierMemory.of(
            CONFIG,
            MemoryEstimate.Weights.widened(CONFIG),
            new SparsifierMemory.Task(BATCH, TIME, measured, trained, weights, plan));
    Sparsifier.Settings settings =
        new Sparsifier.Settings(
            2,
            LearningRate.constant(1e-3, 1),
            new Constraint.Config(0.05, 5, 0.2, 1, 0.5, 1e-4, 1e3),
            weights,
            OptionalDouble.of(1),
            10,
            new Sparsifier.Measuring(1, 2, 1),
            trained,
            plan,
            Sparsifier.Control.NONE,
            Sparsifier.Choices.NONE,
            7);
    try (Workspace memory = new Workspace("weights");
        Kernels kernels = Backend.CPU.open(2)) {
      Parameters parameters =
          Parameters.random(CONFIG, DType.F32, memory, new Parameters.Draw(0.02, 5));
      Transformer dense = new Transformer(CONFIG, parameters, memory);
      int[] text = IntStream.range(0, TIME).map(i -> i * 37 % VOCABULARY).toArray();
      TrainingData data = (step, to) -> Batch.nextToken(List.of(text, text, text, text), to);
      List<Batch.Maker> held =
          List.of(to -> Batch.nextToken(Collections.nCopies(measured, text), to));
      try (Sparsifier sparsifier =
          new Sparsifier(dense, held, settings, AdamW.Config.DEFAULT, kernels)) {
        sparsifier.run(data, new Silent());
        long taken =
            MemoryEstimate.Weights.widened(CONFIG).residentBytes() + sparsifier.reservedBytes();
        System.out.printf(
            "%s, %d measured: %d KiB estimated, %d KiB taken%n",
            settings.trained(), measured, estimate.totalBytes() >> 10, taken >> 10);
        assertThat((double) Math.abs(estimate.totalBytes() - taken))
            .as("%d bytes estimated, %d taken", estimate.totalBytes(), taken)
            .isLessThanOrEqualTo(WITHIN * taken);
      }
    }
  }

  private static final class Silent implements Sparsifier.Listener {
    @Override
    public void step(Metrics metrics) {}

    @Override
    public void best(Sparsifier.Candidate candidate, Parameters weights, GateSettings gates) {}

    @Override
    public void state(SparsifierState state) {}

    @Override
    public void notice(String sentence) {}
  }
}
