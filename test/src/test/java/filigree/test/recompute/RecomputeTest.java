package filigree.test.recompute;

import static org.assertj.core.api.Assertions.assertThat;

import filigree.autograd.Gradients;
import filigree.autograd.Op;
import filigree.autograd.Pass;
import filigree.autograd.Var;
import filigree.tensor.Arithmetic;
import filigree.tensor.DType;
import filigree.tensor.Elementwise;
import filigree.tensor.Kernels;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import filigree.tensor.provider.Backend;
import filigree.test.TinyModel;
import filigree.transformer.Batch;
import filigree.transformer.Gates;
import filigree.transformer.MemoryPlan;
import filigree.transformer.ModelConfig;
import filigree.transformer.Parameters;
import filigree.transformer.Recompute;
import filigree.transformer.Transformer;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Blocks that the backward pass runs again: the same bits in less memory. */
class RecomputeTest {
  private static final int LAYERS = 6;

  private static Kernels kernels;

  @BeforeAll
  static void open() {
    kernels = Backend.CPU.open(2);
  }

  @AfterAll
  static void close() {
    kernels.close();
  }

  /** What a step leaves: loss, density, gradients by name, and the most memory in use. */
  private record Step(double loss, double density, Map<String, float[]> gradients, long peak) {}

  private static Transformer model(ModelConfig.Residual residual, Workspace memory) {
    ModelConfig config =
        new ModelConfig(
            new ModelConfig.Sizes(23, TinyModel.TIME, LAYERS, 32),
            residual,
            new ModelConfig.Norm(ModelConfig.NormKind.RMS, 1e-5),
            new ModelConfig.Positions.Learned(),
            new ModelConfig.Attention(2, 2, 16, ModelConfig.Bias.PRESENT),
            new ModelConfig.Mlp(
                ModelConfig.MlpKind.GATED, 64, Elementwise.SILU, ModelConfig.Bias.ABSENT),
            ModelConfig.Head.TIED);
    Parameters.Draw draw = new Parameters.Draw(0.2, 5);
    return new Transformer(config, Parameters.random(config, DType.F32, memory, draw), memory);
  }

  private static Step step(Transformer model, Gates gates, Recompute recompute) {
    try (Workspace scratch = new Workspace("step");
        Pass pass = Pass.recording(kernels, scratch)) {
      Batch batch = TinyModel.text(3, 4).batch(1, scratch);
      Transformer.Output output = model.forward(pass, batch.ids(), gates, recompute);
      Var loss = Transformer.loss(pass, output.logits(), batch);
      Var density = output.density(pass);
      double lossNats = loss.value().item();
      double share = density.value().item();
      Var objective = pass.apply(new Op.Combine(Arithmetic.ADD), loss, density);
      Gradients gradients = pass.backward(objective);
      Map<String, float[]> out = new LinkedHashMap<>();
      gradients.params().forEach((param, g) -> out.put(param.name(), g.toFloats()));
      return new Step(lossNats, share, out, scratch.peakBytes());
    }
  }

  static Stream<Gates> gates() {
    return Stream.of(Gates.dense(), new Gates.Hard(0.5), new Gates.Sampled(0.5, 7, 3));
  }

  @ParameterizedTest
  @MethodSource("gates")
  void gradientsHaveTheSameBits(Gates gates) {
    for (ModelConfig.Residual residual : ModelConfig.Residual.values()) {
      try (Workspace memory = new Workspace("weights")) {
        Transformer model = model(residual, memory);
        Step whole = step(model, gates, Recompute.NOTHING);
        Step blocks = step(model, gates, Recompute.BLOCKS);
        assertThat(blocks.loss()).isEqualTo(whole.loss());
        assertThat(blocks.density()).isEqualTo(whole.density());
        assertThat(whole.gradients()).hasSameSizeAs(model.parameters().all());
        assertThat(blocks.gradients().keySet())
            .containsExactlyElementsOf(whole.gradients().keySet());
        whole
            .gradients()
            .forEach(
                (name, expected) ->
                    assertThat(blocks.gradients().get(name))
                        .as("%s, %s", residual, name)
                        .isEqualTo(expected));
      }
    }
  }

  /** Kept are the inputs of the blocks and what one block makes, instead of what all of them do. */
  @Test
  void lessMemoryIsUsed() {
    try (Workspace memory = new Workspace("weights")) {
      Transformer model = model(ModelConfig.Residual.PRE_NORM, memory);
      long gradients =
          model.parameters().all().stream().mapToLong(param -> param.value().byteSize()).sum();
      long whole = step(model, Gates.dense(), Recompute.NOTHING).peak() - gradients;
      long blocks = step(model, Gates.dense(), Recompute.BLOCKS).peak() - gradients;
      System.out.printf("activations: %d KiB, recomputed %d KiB%n", whole >> 10, blocks >> 10);
      assertThat(blocks).isLessThan(whole / 2);
    }
  }

  /** As adapters are trained: matrices stored in 16 bits and frozen, blocks run again. */
  @Test
  void gradientsFlowThroughBlocksOfStoredWeights() {
    try (Workspace memory = new Workspace("weights")) {
      Transformer exact = model(ModelConfig.Residual.PRE_NORM, memory);
      Map<String, Tensor> stored = new LinkedHashMap<>();
      Map<String, Tensor> widened = new LinkedHashMap<>();
      exact
          .parameters()
          .tensors()
          .forEach(
              (name, tensor) -> {
                boolean matrix = tensor.shape().rank() == 2;
                Tensor half = memory.allocate(tensor.shape(), matrix ? DType.BF16 : DType.F32);
                kernels.cast(tensor, half);
                Tensor wide = memory.allocate(tensor.shape(), DType.F32);
                kernels.cast(half, wide);
                stored.put(name, half);
                widened.put(name, wide);
              });
      Step expected = step(with(exact, widened, memory), MemoryPlan.KEEP_ALL);
      for (MemoryPlan plan :
          List.of(MemoryPlan.KEEP_ALL, new MemoryPlan(Recompute.BLOCKS, 7 * 23))) {
        Step found = step(with(exact, stored, memory), plan);
        assertThat(Math.abs(found.loss() - expected.loss())).isLessThan(1e-5);
        assertThat(found.gradients().keySet())
            .isNotEmpty()
            .containsExactlyElementsOf(expected.gradients().keySet());
        expected
            .gradients()
            .forEach(
                (name, g) ->
                    assertThat(found.gradients().get(name))
                        .as(name)
                        .usingComparatorWithPrecision(1e-4f)
                        .containsExactly(g));
      }
    }
  }

  private static Transformer with(
      Transformer model, Map<String, Tensor> weights, Workspace memory) {
    return new Transformer(model.config(), Parameters.of(model.config(), weights), memory);
  }

  /** Trains vectors alone. */
  private static Step step(Transformer model, MemoryPlan plan) {
    try (Workspace scratch = new Workspace("step");
        Pass pass =
            Pass.recording(kernels, scratch).training(param -> param.value().shape().rank() == 1)) {
      Batch batch = TinyModel.text(3, 4).batch(1, scratch);
      Transformer.Scored output = model.score(pass, batch, new Gates.Sampled(0.5, 7, 3), plan);
      Var loss = Transformer.mean(pass, output.losses(), batch);
      double lossNats = loss.value().item();
      Map<String, float[]> out = new LinkedHashMap<>();
      pass.backward(loss).params().forEach((param, g) -> out.put(param.name(), g.toFloats()));
      return new Step(lossNats, 0, out, scratch.peakBytes());
    }
  }

  @Test
  void everythingIsGivenBack() {
    try (Workspace memory = new Workspace("weights");
        Workspace scratch = new Workspace("steps")) {
      Transformer model = model(ModelConfig.Residual.PRE_NORM, memory);
      long first = 0;
      for (int i = 0; i < 3; i++) {
        try (Pass pass = Pass.recording(kernels, scratch)) {
          Batch batch = TinyModel.text(3, 4).batch(1, scratch);
          Transformer.Output output =
              model.forward(pass, batch.ids(), Gates.dense(), Recompute.BLOCKS);
          pass.backward(Transformer.loss(pass, output.logits(), batch));
        }
        first = first == 0 ? scratch.peakBytes() : first;
        assertThat(scratch.peakBytes()).isEqualTo(first);
      }
    }
  }
}
