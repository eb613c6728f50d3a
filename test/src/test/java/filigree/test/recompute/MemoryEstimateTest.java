package filigree.test.recompute;

import static org.assertj.core.api.Assertions.assertThat;

import filigree.autograd.AdamW;
import filigree.autograd.Gradients;
import filigree.autograd.Pass;
import filigree.autograd.Var;
import filigree.tensor.DType;
import filigree.tensor.Elementwise;
import filigree.tensor.Kernels;
import filigree.tensor.Workspace;
import filigree.tensor.provider.Backend;
import filigree.transformer.Batch;
import filigree.transformer.DryRun;
import filigree.transformer.Gates;
import filigree.transformer.MemoryEstimate;
import filigree.transformer.MemoryPlan;
import filigree.transformer.ModelConfig;
import filigree.transformer.Parameters;
import filigree.transformer.Recompute;
import filigree.transformer.Transformer;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** What is said to be needed is what is then taken. */
class MemoryEstimateTest {
  private static final int BATCH = 4;
  private static final int TIME = 96;

  /** The promise; a dry run comes to within the batch itself. */
  private static final double WITHIN = 0.15;

  private static Kernels kernels;

  @BeforeAll
  static void open() {
    kernels = Backend.CPU.open(2);
  }

  @AfterAll
  static void close() {
    kernels.close();
  }

  private static ModelConfig config(
      ModelConfig.Residual residual, ModelConfig.Positions positions) {
    boolean learned = positions instanceof ModelConfig.Positions.Learned;
    ModelConfig.Bias bias = learned ? ModelConfig.Bias.PRESENT : ModelConfig.Bias.ABSENT;
    return new ModelConfig(
        new ModelConfig.Sizes(3000, 2 * TIME, 4, 128),
        residual,
        new ModelConfig.Norm(learned ? ModelConfig.NormKind.LAYER : ModelConfig.NormKind.RMS, 1e-5),
        positions,
        new ModelConfig.Attention(4, learned ? 4 : 2, 32, bias),
        learned
            ? new ModelConfig.Mlp(ModelConfig.MlpKind.PLAIN, 512, Elementwise.GELU_TANH, bias)
            : new ModelConfig.Mlp(ModelConfig.MlpKind.GATED, 384, Elementwise.SILU, bias),
        learned ? ModelConfig.Head.TIED : ModelConfig.Head.UNTIED);
  }

  static Stream<Arguments> runs() {
    MemoryPlan streamed = new MemoryPlan(Recompute.NOTHING, 100_000);
    MemoryPlan least = new MemoryPlan(Recompute.BLOCKS, 100_000);
    List<MemoryPlan> plans = List.of(MemoryPlan.KEEP_ALL, streamed, least);
    List<ModelConfig> configs =
        List.of(
            config(ModelConfig.Residual.PRE_NORM, new ModelConfig.Positions.Learned()),
            config(ModelConfig.Residual.POST_NORM, new ModelConfig.Positions.Rotary(10_000)),
            config(ModelConfig.Residual.PARALLEL, new ModelConfig.Positions.Rotary(10_000)));
    return configs.stream()
        .flatMap(
            config ->
                plans.stream()
                    .flatMap(
                        plan ->
                            Stream.of(MemoryEstimate.Trained.values())
                                .map(trained -> Arguments.of(config, plan, trained))));
  }

  @ParameterizedTest
  @MethodSource("runs")
  void theEstimateIsWhatIsTaken(
      ModelConfig config, MemoryPlan plan, MemoryEstimate.Trained trained) {
    MemoryEstimate estimate =
        MemoryEstimate.of(
            config,
            MemoryEstimate.Weights.widened(config),
            new MemoryEstimate.Task(BATCH, TIME, trained, plan));
    try (Workspace memory = new Workspace("weights");
        Workspace state = new Workspace("optimiser");
        Workspace scratch = new Workspace("step")) {
      Parameters.Draw draw = new Parameters.Draw(0.02, 5);
      Parameters parameters = Parameters.random(config, DType.F32, memory, draw);
      assertClose("weights", estimate.weightBytes(), memory.peakBytes());
      Transformer model = new Transformer(config, parameters, memory);
      run(model, plan, trained, scratch, state);
      assertClose("activations", estimate.activationBytes(), scratch.reservedBytes());
      assertClose("optimiser", estimate.optimiserBytes(), state.reservedBytes());
    }
  }

  private static void run(
      Transformer model,
      MemoryPlan plan,
      MemoryEstimate.Trained trained,
      Workspace scratch,
      Workspace state) {
    int[] text = IntStream.range(0, TIME).map(i -> i * 37 % 3000).toArray();
    boolean training = trained == MemoryEstimate.Trained.ALL;
    try (Pass pass =
        training ? Pass.recording(kernels, scratch) : Pass.inference(kernels, scratch)) {
      Batch batch = Batch.nextToken(List.of(text, text, text, text), scratch);
      Var losses = model.score(pass, batch, Gates.dense(), plan).losses();
      if (training) {
        Gradients gradients = pass.backward(Transformer.mean(pass, losses, batch));
        new AdamW(AdamW.Config.DEFAULT, param -> true, kernels, state)
            .update(gradients, gradients.norm(kernels), 1e-3);
      }
    }
  }

  private static void assertClose(String what, long estimated, long taken) {
    System.out.printf("%s: %d KiB estimated, %d KiB taken%n", what, estimated >> 10, taken >> 10);
    assertThat((double) Math.abs(estimated - taken))
        .as("%s: %d bytes estimated, %d taken", what, estimated, taken)
        .isLessThanOrEqualTo(WITHIN * taken);
  }

  /** No byte of a 7B model is needed to say how much it needs. */
  @Test
  void largeModelsAreEstimatedAtOnce() {
    ModelConfig config =
        new ModelConfig(
            new ModelConfig.Sizes(50304, 2048, 32, 4096),
            new ModelConfig.Norm(ModelConfig.NormKind.RMS, 1e-5),
            new ModelConfig.Positions.Rotary(10_000),
            new ModelConfig.Attention(32, 32, 128, ModelConfig.Bias.ABSENT),
            new ModelConfig.Mlp(
                ModelConfig.MlpKind.GATED, 11008, Elementwise.SILU, ModelConfig.Bias.ABSENT),
            ModelConfig.Head.UNTIED);
    MemoryEstimate.Weights mapped = new MemoryEstimate.Weights(0, 2 * config.parameterCount());
    MemoryEstimate eval =
        MemoryEstimate.of(
            config,
            mapped,
            new MemoryEstimate.Task(1, 64, MemoryEstimate.Trained.NOTHING, MemoryPlan.KEEP_BLOCKS));
    System.out.println("7B eval: " + eval.describe());
    assertThat(eval.totalBytes()).isLessThan(6L << 30);
    // As with adapters: gradients flow through every block, matrices are frozen.
    long vectors =
        DryRun.ofStep(
            config,
            1,
            64,
            (model, batch, kernels, memory) -> {
              try (Pass pass =
                  Pass.recording(kernels, memory)
                      .training(param -> param.value().shape().rank() == 1)) {
                MemoryPlan plan = MemoryPlan.RECOMPUTE_BLOCKS;
                Var losses = model.score(pass, batch, Gates.dense(), plan).losses();
                pass.backward(Transformer.mean(pass, losses, batch));
              }
            });
    System.out.printf("7B, a step with frozen matrices: %d MiB%n", vectors >> 20);
    assertThat(vectors).isLessThan(1L << 30);
    MemoryEstimate train =
        MemoryEstimate.of(
            config,
            MemoryEstimate.Weights.widened(config),
            new MemoryEstimate.Task(1, 64, MemoryEstimate.Trained.ALL, MemoryPlan.KEEP_BLOCKS));
    assertThat(train.totalBytes()).isGreaterThan(100L << 30);
    assertThat(train.describe()).contains("windows of 1 x 64 tokens", "optimiser");
  }
}
