package filigree.test.recompute;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import filigree.autograd.AutogradException;
import filigree.autograd.Gradients;
import filigree.autograd.Op;
import filigree.autograd.Param;
import filigree.autograd.Pass;
import filigree.autograd.Var;
import filigree.tensor.DType;
import filigree.tensor.Elementwise;
import filigree.tensor.Kernels;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import filigree.tensor.provider.Backend;
import filigree.test.Closeness;
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
import java.util.function.Predicate;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** A loss whose logits never exist at once is the loss, with its gradients. */
class StreamedHeadTest {
  private static final int VOCABULARY = 2000;
  private static final int TIME = 40;
  private static final long LOGITS_BYTES = 2L * TIME * VOCABULARY * Float.BYTES;

  /** Seven rows at a time: the last chunk has three of the eighty. */
  private static final MemoryPlan CHUNKS = new MemoryPlan(Recompute.NOTHING, 7 * VOCABULARY + 5);

  private static boolean isNoHead(Param param) {
    return !param.name().equals("head.weight") && !param.name().equals("embed.weight");
  }

  private static Kernels kernels;

  @BeforeAll
  static void open() {
    kernels = Backend.CPU.open(2);
  }

  @AfterAll
  static void close() {
    kernels.close();
  }

  private record Step(double loss, Map<String, double[]> gradients, long peak) {}

  private static Transformer model(ModelConfig.Head head, Workspace memory) {
    ModelConfig config =
        new ModelConfig(
            new ModelConfig.Sizes(VOCABULARY, TIME, 1, 16),
            new ModelConfig.Norm(ModelConfig.NormKind.LAYER, 1e-5),
            new ModelConfig.Positions.Learned(),
            new ModelConfig.Attention(2, 2, 8, ModelConfig.Bias.PRESENT),
            new ModelConfig.Mlp(
                ModelConfig.MlpKind.PLAIN, 32, Elementwise.GELU_TANH, ModelConfig.Bias.PRESENT),
            head);
    Parameters.Draw draw = new Parameters.Draw(0.3, 5);
    return new Transformer(config, Parameters.random(config, DType.F32, memory, draw), memory);
  }

  private static Step step(Transformer model, MemoryPlan plan, Predicate<Param> trained) {
    try (Workspace scratch = new Workspace("step");
        Pass pass = Pass.recording(kernels, scratch).training(trained)) {
      int[] text = IntStream.range(0, TIME).map(i -> i * 37 % VOCABULARY).toArray();
      int[] other = IntStream.range(0, TIME).map(i -> i * 91 % VOCABULARY).toArray();
      Batch batch = Batch.nextToken(List.of(text, other), scratch);
      Var losses = model.score(pass, batch, Gates.dense(), plan).losses();
      Var loss = Transformer.mean(pass, losses, batch);
      double lossNats = loss.value().item();
      Gradients gradients = pass.backward(loss);
      Map<String, double[]> out = new LinkedHashMap<>();
      gradients.params().forEach((param, g) -> out.put(param.name(), g.toDoubles()));
      return new Step(lossNats, out, scratch.peakBytes());
    }
  }

  private static void assertSame(Step whole, Step chunks) {
    assertThat(Math.abs(chunks.loss() - whole.loss())).isLessThan(1e-5);
    assertThat(chunks.gradients().keySet()).containsExactlyElementsOf(whole.gradients().keySet());
    whole
        .gradients()
        .forEach(
            (name, expected) ->
                Closeness.assertClose(name, expected, chunks.gradients().get(name), 1e-5));
  }

  @ParameterizedTest
  @EnumSource
  void aTrainedHeadHasItsGradient(ModelConfig.Head head) {
    try (Workspace memory = new Workspace("weights")) {
      Transformer model = model(head, memory);
      Step whole = step(model, MemoryPlan.KEEP_BLOCKS, param -> true);
      Step chunks = step(model, CHUNKS, param -> true);
      assertSame(whole, chunks);
      assertThat(whole.gradients()).hasSameSizeAs(model.parameters().all());
      assertThat(chunks.peak()).isLessThan(whole.peak() - LOGITS_BYTES / 2);
    }
  }

  @ParameterizedTest
  @EnumSource
  void aFrozenHeadLetsGradientsThrough(ModelConfig.Head head) {
    try (Workspace memory = new Workspace("weights")) {
      Transformer model = model(head, memory);
      Step whole = step(model, MemoryPlan.KEEP_BLOCKS, StreamedHeadTest::isNoHead);
      Step chunks = step(model, CHUNKS, StreamedHeadTest::isNoHead);
      assertSame(whole, chunks);
      assertThat(chunks.gradients()).isNotEmpty().doesNotContainKey("embed.weight");
      assertThat(chunks.peak()).isLessThan(whole.peak() - LOGITS_BYTES / 2);
    }
  }

  @Test
  void theOrderOfAFrozenHeadIsNoneForATrainedOne() {
    try (Workspace memory = new Workspace("weights");
        Workspace scratch = new Workspace("step");
        Pass pass = Pass.recording(kernels, scratch)) {
      Var hidden = pass.variable(Tensor.of(memory, Shape.of(1, 2), 1, 2));
      Var head = pass.variable(Tensor.of(memory, Shape.of(3, 2), 1, 2, 3, 4, 5, 6));
      Var target = pass.constant(Tensor.ofInts(memory, Shape.of(1), 2));
      Op op = new Op.HeadCrossEntropy(1, Op.HeadCrossEntropy.Order.FORWARD);
      Var loss = pass.apply(op, hidden, head, target);
      assertThatThrownBy(() -> pass.backward(loss))
          .isInstanceOf(AutogradException.class)
          .hasMessageContaining("a head that is trained");
    }
  }
}
