package filigree.test.sparsity;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowable;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.autograd.AdamW;
import filigree.autograd.Gradients;
import filigree.autograd.Param;
import filigree.autograd.Pass;
import filigree.autograd.Site;
import filigree.autograd.Var;
import filigree.checkpoints.Checkpoint;
import filigree.checkpoints.CheckpointWriter;
import filigree.checkpoints.ConfigJson;
import filigree.checkpoints.PeftAdapter;
import filigree.interp.Recorder;
import filigree.sparsity.Constraint;
import filigree.sparsity.GateSettings;
import filigree.sparsity.Lora;
import filigree.sparsity.Metrics;
import filigree.sparsity.Objective;
import filigree.sparsity.RunException;
import filigree.sparsity.Sparsifier;
import filigree.sparsity.SparsifierState;
import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.Memory;
import filigree.tensor.Philox;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import filigree.tensor.provider.Backend;
import filigree.test.TinyModel;
import filigree.transformer.Adapter;
import filigree.transformer.Batch;
import filigree.transformer.Gates;
import filigree.transformer.InitialWeights;
import filigree.transformer.LearningRate;
import filigree.transformer.MemoryPlan;
import filigree.transformer.ModelConfig;
import filigree.transformer.Parameters;
import filigree.transformer.TrainingData;
import filigree.transformer.Transformer;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.SequencedMap;
import java.util.stream.LongStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Low-rank adapters: what they compute, how they are trained, and that the base stays as it is. */
class LoraTest {
  private static final Lora LORA = new Lora(3, 6, Lora.DEFAULT_TARGETS);
  private static final int STEPS = 30;

  private static final String GPT2 =
      """
      {"model_type": "gpt2", "vocab_size": 23, "n_positions": 16, "n_embd": 24, "n_layer": 2,
       "n_head": 3}
      """;
  private static final String LLAMA =
      """
      {"model_type": "llama", "vocab_size": 23, "max_position_embeddings": 16, "hidden_size": 24,
       "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
       "intermediate_size": 40}
      """;
  private static final String GPT_NEOX =
      """
      {"model_type": "gpt_neox", "vocab_size": 23, "max_position_embeddings": 16,
       "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
       "intermediate_size": 40, "rotary_pct": 0.5}
      """;

  @TempDir Path folder;

  private static Kernels kernels;

  @BeforeAll
  static void open() {
    kernels = Backend.CPU.open(2);
  }

  @AfterAll
  static void close() {
    kernels.close();
  }

  // ---------------------------------------------------------------- what they compute

  @Test
  void adaptersThatWereNotTrainedChangeNoBit() {
    try (Workspace memory = new Workspace("lora test")) {
      Transformer base = TinyModel.make(memory, 5);
      Transformer adapted = adapted(base, LORA.adapters(base, memory, 7), memory);
      assertThat(adapted.parameters().adapters()).hasSize(8);
      assertThat(logits(adapted, Gates.dense())).isEqualTo(logits(base, Gates.dense()));
      Gates hard = new Gates.Hard(-0.01);
      assertThat(logits(adapted, hard)).isEqualTo(logits(base, hard));
      // Not trivially so: the same A with another B gives other logits.
      Transformer moved = adapted(base, trained(base, LORA, memory), memory);
      assertThat(logits(moved, Gates.dense())).isNotEqualTo(logits(base, Gates.dense()));
    }
  }

  /** Inputs and results of single heads are computed by other operations than whole layers are. */
  @Test
  void adaptersCountWhereSingleHeadsAreLookedAt() {
    try (Workspace memory = new Workspace("lora test");
        Workspace scratch = new Workspace("pass")) {
      Transformer base = TinyModel.make(memory, 5);
      Transformer moved = adapted(base, trained(base, LORA, memory), memory);
      List<Site> looked =
          moved.sites().stream()
              .filter(site -> site.name().matches(".*(hook_result|hook_[qkv]_input)"))
              .toList();
      assertThat(looked).hasSize(8);
      float[] plain = logits(moved, Gates.dense());
      try (Pass pass = Pass.inference(kernels, scratch).with(new Recorder(looked, memory))) {
        Tensor ids = TinyModel.text(4, 2).batch(1, scratch).ids();
        float[] seen = moved.forward(pass, ids, Gates.dense()).logits().value().toFloats();
        assertThat(difference(seen, plain)).isLessThan(1e-5);
      }
    }
  }

  @Test
  void drawIsPeftsAndDependsOnTheSeed() {
    try (Workspace memory = new Workspace("lora test")) {
      Transformer base = TinyModel.make(memory, 5);
      Map<String, Adapter> once = LORA.adapters(base, memory, 7);
      Map<String, Adapter> again = LORA.adapters(base, memory, 7);
      Map<String, Adapter> other = LORA.adapters(base, memory, 8);
      Adapter q = once.get("blocks.0.attn.q.weight");
      assertThat(q.scale()).isEqualTo(2);
      assertThat(q.a().value().shape()).isEqualTo(Shape.of(3, 32));
      assertThat(q.b().value().shape()).isEqualTo(Shape.of(32, 3));
      assertThat(q.b().value().toDoubles()).containsOnly(0);
      double bound = 1 / Math.sqrt(32);
      double largest = 0;
      for (double a : q.a().value().toDoubles()) {
        assertThat(Math.abs(a)).isLessThanOrEqualTo(bound);
        largest = Math.max(largest, Math.abs(a));
      }
      assertThat(largest).isGreaterThan(0.9 * bound);
      String name = "blocks.0.attn.q.weight";
      assertThat(bytes(again.get(name).a())).isEqualTo(bytes(once.get(name).a()));
      assertThat(bytes(other.get(name).a())).isNotEqualTo(bytes(once.get(name).a()));
      assertThat(bytes(once.get("blocks.0.attn.k.weight").a()))
          .isNotEqualTo(bytes(once.get(name).a()));
    }
  }

  @Test
  void targetsAreFoundByName() {
    try (Workspace memory = new Workspace("lora test")) {
      Transformer base = TinyModel.make(memory, 5);
      assertThat(found(base, memory, "q", "v"))
          .containsExactly(
              "blocks.0.attn.q.weight",
              "blocks.0.attn.v.weight",
              "blocks.1.attn.q.weight",
              "blocks.1.attn.v.weight");
      assertThat(found(base, memory, "blocks.1.mlp.*"))
          .containsExactly("blocks.1.mlp.up.weight", "blocks.1.mlp.down.weight");
      assertThat(found(base, memory, "blocks.0.attn.o.weight"))
          .containsExactly("blocks.0.attn.o.weight");
      assertThat(found(base, memory, "*")).hasSize(12);
      assertThatThrownBy(() -> found(base, memory, "q", "c_attn"))
          .isInstanceOf(RunException.class)
          .hasMessage(
              "--lora-targets: 'c_attn' names no linear map of this model; it has attn.q, attn.k,"
                  + " attn.v, attn.o, mlp.up, mlp.down in each of its blocks");
      assertThatThrownBy(() -> new Lora(33, 1, List.of("q")).adapters(base, memory, 1))
          .hasMessageContaining("--lora is 33")
          .hasMessageContaining("32 at most");
      assertThatThrownBy(() -> new Lora(0, 1, List.of("q"))).hasMessageContaining("--lora is 0");
      assertThatThrownBy(() -> new Lora(1, -1, List.of("q")))
          .hasMessageContaining("--lora-alpha is -1.0");
    }
  }

  private static List<String> found(Transformer base, Memory memory, String... targets) {
    return List.copyOf(new Lora(1, 1, List.of(targets)).adapters(base, memory, 1).keySet());
  }

  @Test
  void gradientsAgreeWithCentralDifferences() {
    try (Kernels oracle = Backend.ND4J.open(1);
        Workspace memory = new Workspace("lora test");
        Workspace scratch = new Workspace("lora pass")) {
      ModelConfig config = TinyModel.make(memory, 5).config();
      Parameters.Draw draw = new Parameters.Draw(0.1, 3);
      Transformer base =
          new Transformer(config, Parameters.random(config, DType.F64, memory, draw), memory);
      Lora lora = new Lora(2, 4, List.of("*"));
      Transformer model = adapted(base, trained(base, lora, memory), memory);
      Map<Param, Tensor> gradients = new LinkedHashMap<>();
      try (Pass pass = Pass.recording(oracle, scratch).training(lora::includes)) {
        Gradients found = pass.backward(objective(pass, model, scratch));
        assertThat(found.params().keySet()).allMatch(lora::includes);
        found.params().forEach((param, g) -> gradients.put(param, g.copy(memory)));
      }
      assertThat(gradients).hasSize(24);
      double h = 1e-5;
      gradients.forEach(
          (param, gradient) -> {
            double[] direction = gaussians(new Philox(11, 1), param.value().size());
            Tensor step = Tensor.of(memory, DType.F64, param.value().shape(), direction);
            double expected = 0;
            for (int i = 0; i < direction.length; i++) {
              expected += direction[i] * gradient.get(i);
            }
            oracle.accumulate(h, step, param.value());
            double above = value(oracle, model, scratch);
            oracle.accumulate(-2 * h, step, param.value());
            double below = value(oracle, model, scratch);
            oracle.accumulate(h, step, param.value());
            assertThat((above - below) / (2 * h))
                .as(param.name())
                .isCloseTo(expected, within(1e-7 * Math.max(1, Math.abs(expected))));
            assertThat(Math.abs(expected)).as(param.name()).isGreaterThan(1e-9);
          });
    }
  }

  private static Var objective(Pass pass, Transformer model, Workspace scratch) {
    Batch batch = TinyModel.text(4, 2).batch(1, scratch);
    Transformer.Output output = model.forward(pass, batch.ids(), Gates.dense());
    return Transformer.loss(pass, output.logits(), batch);
  }

  private static double value(Kernels oracle, Transformer model, Workspace scratch) {
    try (Pass pass = Pass.inference(oracle, scratch)) {
      return objective(pass, model, scratch).value().item();
    }
  }

  // ---------------------------------------------------------------- training

  private static final class Killed extends RuntimeException {
    private static final long serialVersionUID = 1L;
  }

  /** Keeps the states of a run as files do; may stop it. */
  private static final class Diary implements Sparsifier.Listener {
    final List<Metrics> steps = new ArrayList<>();
    final Map<Long, SparsifierState> states = new LinkedHashMap<>();
    final List<Parameters> best = new ArrayList<>();
    final Workspace memory;
    final long killedAt;

    Diary(Workspace memory, long killedAt) {
      this.memory = memory;
      this.killedAt = killedAt;
    }

    @Override
    public void step(Metrics metrics) {
      if (metrics.step() == killedAt) {
        throw new Killed();
      }
      steps.add(metrics);
    }

    @Override
    public void best(Sparsifier.Candidate candidate, Parameters weights, GateSettings settings) {
      best.add(weights.copy(memory, LORA::includes));
    }

    @Override
    public void state(SparsifierState state) {
      SequencedMap<String, Tensor> copies = new LinkedHashMap<>();
      state.tensors().forEach((name, tensor) -> copies.put(name, tensor.copy(memory)));
      states.put(steps.getLast().step(), SparsifierState.read(copies, state.numbers()));
    }

    @Override
    public void notice(String sentence) {}
  }

  private static Sparsifier make(Transformer dense) {
    return make(dense, LORA);
  }

  private static Sparsifier make(Transformer dense, Lora lora) {
    Sparsifier.Settings settings =
        new Sparsifier.Settings(
            STEPS,
            LearningRate.constant(1e-2, 5),
            new Constraint.Config(0.05, 5, 0.2, 1, 0.5, 1e-4, 1e3),
            new Objective.Weights(1, 0.5),
            OptionalDouble.of(1),
            10,
            new Sparsifier.Measuring(3, 2, 10),
            lora,
            MemoryPlan.KEEP_ALL,
            Sparsifier.Control.NONE,
            Sparsifier.Choices.NONE,
            7);
    TrainingData validation = TinyModel.text(99, 4);
    List<Batch.Maker> batches =
        LongStream.rangeClosed(1, 3)
            .mapToObj(step -> (Batch.Maker) to -> validation.batch(step, to))
            .toList();
    return new Sparsifier(
        dense, batches, settings, new AdamW.Config(0.9, 0.95, 1e-8, 0.1, 1), kernels);
  }

  @Test
  void trainingChangesAdaptersOnly() {
    try (Workspace memory = new Workspace("lora test")) {
      Transformer dense = TinyModel.make(memory, 5);
      Map<String, byte[]> before = new LinkedHashMap<>();
      dense.parameters().all().forEach(param -> before.put(param.name(), bytes(param)));
      Diary diary = new Diary(memory, -1);
      try (Sparsifier sparsifier = make(dense)) {
        sparsifier.run(TinyModel.text(1, 4), diary);
      }
      dense
          .parameters()
          .all()
          .forEach(p -> assertThat(bytes(p)).as(p.name()).isEqualTo(before.get(p.name())));
      assertThat(diary.steps.getLast().ce()).isLessThan(diary.steps.getFirst().ce());
      assertThat(diary.states.get(30L).tensors().keySet())
          .as("student, average and both moments of A and B of 8 maps")
          .hasSize(4 * 2 * 8)
          .allMatch(name -> name.endsWith(".lora_A") || name.endsWith(".lora_B"));
      for (Parameters best : diary.best) {
        assertThat(best.adapters()).hasSize(8);
        best.all()
            .forEach(
                param ->
                    assertThat(param)
                        .as("frozen weights are shared, not copied")
                        .isSameAs(dense.parameters().get(param.name())));
      }
      assertThatThrownBy(
              () -> make(adapted(dense, LORA.adapters(dense, memory, 1), memory)).close())
          .isInstanceOf(RunException.class)
          .hasMessageContaining("merge");
    }
  }

  @Test
  void interruptedRunEndsAsTheUndisturbedOne() {
    try (Workspace memory = new Workspace("lora test")) {
      Transformer dense = TinyModel.make(memory, 5);
      Diary undisturbed = new Diary(memory, -1);
      Sparsifier.Result expected;
      try (Sparsifier sparsifier = make(dense)) {
        expected = sparsifier.run(TinyModel.text(1, 4), undisturbed);
      }
      Diary killed = new Diary(memory, 25);
      try (Sparsifier sparsifier = make(dense)) {
        assertThat(catchThrowable(() -> sparsifier.run(TinyModel.text(1, 4), killed)))
            .isInstanceOf(Killed.class);
      }
      Diary resumed = new Diary(memory, -1);
      Sparsifier.Result found;
      try (Sparsifier sparsifier = make(dense)) {
        sparsifier.restore(killed.states.get(20L));
        found = sparsifier.run(TinyModel.text(1, 4), resumed);
      }
      assertThat(found).usingRecursiveComparison().isEqualTo(expected);
      SparsifierState last = undisturbed.states.get(30L);
      SparsifierState lastResumed = resumed.states.get(30L);
      assertThat(lastResumed.numbers()).isEqualTo(last.numbers());
      last.tensors()
          .forEach(
              (name, tensor) ->
                  assertThat(bytes(lastResumed.tensors().get(name)))
                      .as(name)
                      .isEqualTo(bytes(tensor)));
      String moved = "student/blocks.0.attn.q.lora_B";
      assertThat(bytes(last.tensors().get(moved)))
          .isNotEqualTo(bytes(undisturbed.states.get(20L).tensors().get(moved)));
    }
  }

  @Test
  void stateOfAnotherRunIsRefused() {
    try (Workspace memory = new Workspace("lora test")) {
      Transformer dense = TinyModel.make(memory, 5);
      Diary diary = new Diary(memory, 15);
      try (Sparsifier sparsifier = make(dense, LORA)) {
        assertThat(catchThrowable(() -> sparsifier.run(TinyModel.text(1, 4), diary)))
            .isInstanceOf(Killed.class);
      }
      SparsifierState saved = diary.states.get(10L);
      try (Sparsifier narrower = make(dense, new Lora(2, 6, Lora.DEFAULT_TARGETS));
          Sparsifier fewer = make(dense, new Lora(3, 6, List.of("q")));
          Sparsifier more = make(dense, new Lora(3, 6, List.of("*")))) {
        assertThatThrownBy(() -> narrower.restore(saved))
            .isInstanceOf(RunException.class)
            .hasMessageContaining("student/blocks.0.attn.q.lora_A of shape [3, 32]");
        assertThatThrownBy(() -> fewer.restore(saved))
            .isInstanceOf(RunException.class)
            .hasMessageContaining("student/blocks.0.attn.k.lora_A, which this run does not train");
        assertThatThrownBy(() -> more.restore(saved))
            .isInstanceOf(RunException.class)
            .hasMessageContaining("no tensor student/blocks.0.mlp.up.lora_A");
      }
    }
  }

  /** Weights as a 7B checkpoint has them: BF16, read by the kernels and never widened whole. */
  @Test
  void frozenMapsMayBeBfloat16() {
    try (Workspace memory = new Workspace("lora test")) {
      Transformer wide = TinyModel.make(memory, 5);
      Map<String, Tensor> weights = wide.parameters().tensors();
      weights.replaceAll(
          (name, tensor) -> {
            if (!name.startsWith("blocks.") || tensor.shape().rank() != 2) {
              return tensor;
            }
            Tensor narrow = memory.allocate(tensor.shape(), DType.BF16);
            kernels.cast(tensor, narrow);
            return narrow;
          });
      Transformer dense =
          new Transformer(wide.config(), Parameters.of(wide.config(), weights), memory);
      Map<String, byte[]> before = new LinkedHashMap<>();
      weights.forEach((name, tensor) -> before.put(name, bytes(tensor)));
      Diary diary = new Diary(memory, -1);
      try (Sparsifier sparsifier = make(dense)) {
        sparsifier.run(TinyModel.text(1, 4), diary);
      }
      assertThat(diary.steps.getLast().ce()).isLessThan(diary.steps.getFirst().ce());
      weights.forEach((name, t) -> assertThat(bytes(t)).as(name).isEqualTo(before.get(name)));
      Adapter trained = diary.best.getLast().adapters().get("blocks.0.attn.q.weight");
      assertThat(trained.a().value().dtype()).isEqualTo(DType.F32);
    }
  }

  // ---------------------------------------------------------------- files

  @ParameterizedTest
  @ValueSource(strings = {GPT2, LLAMA, GPT_NEOX})
  void mergedModelComputesWhatTheAdaptedOneDoes(String json) throws IOException {
    ObjectNode config = (ObjectNode) new ObjectMapper().readTree(json);
    ModelConfig model = ConfigJson.of("test", config).model();
    Path baseFolder = folder.resolve("base");
    CheckpointWriter.initialise(
        baseFolder,
        new CheckpointWriter.Initial(
            config,
            new InitialWeights(model, new Parameters.Draw(0.1, 3)),
            DType.F32,
            Optional.empty(),
            bytes -> {}),
        CheckpointWriter.Shards.ONE);
    Path adapterFolder = folder.resolve("adapter");
    Path mergedFolder = folder.resolve("merged");
    try (Workspace memory = new Workspace("lora test")) {
      float[] expected;
      try (Checkpoint base = Checkpoint.open(baseFolder)) {
        Transformer dense =
            new Transformer(model, Parameters.of(model, base.weights(memory)), memory);
        Lora lora = new Lora(3, 5, List.of("q", "v", "o", "mlp.up"));
        Map<String, Adapter> adapters = trained(dense, lora, memory);
        Transformer adapted = adapted(dense, adapters, memory);
        expected = logits(adapted, Gates.dense());
        assertThat(difference(expected, logits(dense, Gates.dense()))).isGreaterThan(0.01);
        PeftAdapter.replace(
            adapterFolder,
            new PeftAdapter.Contents(config, baseFolder, adapters, Optional.empty()));
        try (PeftAdapter peft = PeftAdapter.open(adapterFolder)) {
          Map<String, Adapter> read = peft.read(base, memory);
          assertThat(logits(adapted(dense, read, memory), Gates.dense())).isEqualTo(expected);
          CheckpointWriter.merge(
              mergedFolder,
              new CheckpointWriter.Merged(base, read, peft.gates().map(g -> g), kernels, n -> {}),
              CheckpointWriter.Shards.ONE);
        }
      }
      try (Checkpoint merged = Checkpoint.open(mergedFolder)) {
        Transformer own =
            new Transformer(model, Parameters.of(model, merged.weights(memory)), memory);
        assertThat(difference(logits(own, Gates.dense()), expected)).isLessThan(1e-5);
      }
    }
  }

  // ---------------------------------------------------------------- helpers

  private static Transformer adapted(
      Transformer base, Map<String, Adapter> adapters, Memory memory) {
    return new Transformer(base.config(), base.parameters().with(adapters), memory);
  }

  /** Adapters whose B is not zero. */
  private static Map<String, Adapter> trained(Transformer base, Lora lora, Memory memory) {
    Map<String, Adapter> out = new LinkedHashMap<>();
    Philox random = new Philox(21, 1);
    lora.adapters(base, memory, 7)
        .forEach(
            (name, adapter) -> {
              Tensor b = adapter.b().value();
              double[] values = gaussians(random, b.size());
              for (int i = 0; i < values.length; i++) {
                values[i] *= 0.1;
              }
              Tensor drawn = Tensor.of(memory, b.dtype(), b.shape(), values);
              out.put(
                  name,
                  new Adapter(adapter.a(), new Param(adapter.b().name(), drawn), adapter.scale()));
            });
    return out;
  }

  private static double[] gaussians(Philox random, long count) {
    double[] out = new double[Math.toIntExact(count)];
    for (int i = 0; i < out.length; i++) {
      out[i] = random.nextGaussian();
    }
    return out;
  }

  private static float[] logits(Transformer model, Gates gates) {
    try (Workspace scratch = new Workspace("logits");
        Pass pass = Pass.inference(kernels, scratch)) {
      Batch batch = TinyModel.text(4, 2).batch(1, scratch);
      return model.forward(pass, batch.ids(), gates).logits().value().toFloats();
    }
  }

  private static double difference(float[] a, float[] b) {
    assertThat(a).hasSameSizeAs(b);
    double out = 0;
    for (int i = 0; i < a.length; i++) {
      out = Math.max(out, Math.abs(a[i] - b[i]));
    }
    return out;
  }

  private static byte[] bytes(Param param) {
    return bytes(param.value());
  }

  private static byte[] bytes(Tensor tensor) {
    return tensor.bytes().toArray(ValueLayout.JAVA_BYTE);
  }
}
