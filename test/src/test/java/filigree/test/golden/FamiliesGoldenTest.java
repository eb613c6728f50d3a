package filigree.test.golden;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import filigree.autograd.Gradients;
import filigree.autograd.Op;
import filigree.autograd.Param;
import filigree.autograd.Pass;
import filigree.autograd.Site;
import filigree.autograd.Tap;
import filigree.autograd.Var;
import filigree.checkpoints.Checkpoint;
import filigree.checkpoints.CheckpointWriter;
import filigree.checkpoints.ConfigJson;
import filigree.checkpoints.Family;
import filigree.checkpoints.Safetensors;
import filigree.interp.Recorder;
import filigree.tensor.Arithmetic;
import filigree.tensor.AttentionSpec;
import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.Philox;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import filigree.test.Closeness;
import filigree.test.Engine;
import filigree.transformer.Batch;
import filigree.transformer.Gates;
import filigree.transformer.KeyValueCache;
import filigree.transformer.ModelConfig;
import filigree.transformer.Transformer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Predicate;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Tiny models of random weights, one for each option of each family, against the float64 oracle
 * (test/oracle/golden_families.py). No gate of theirs is so near to its threshold that rounding
 * could flip it.
 */
class FamiliesGoldenTest {
  /** Float32 on logits of up to 4. */
  private static final double TOLERANCE = 1e-5;

  private static final Map<Engine, Kernels> OPEN = new EnumMap<>(Engine.class);

  @TempDir private Path parent;

  @BeforeAll
  static void open() {
    for (Engine engine : List.of(Engine.CPU_VECTOR_2, Engine.ND4J_F64)) {
      OPEN.put(engine, engine.open());
    }
  }

  @AfterAll
  static void close() {
    OPEN.values().forEach(Kernels::close);
    OPEN.clear();
  }

  /** A model and its right results. */
  record Example(JsonNode json) {
    String name() {
      return json.path("name").asText();
    }

    Path folder() {
      return Golden.path("families/" + name());
    }

    int[] ids() {
      return Golden.integers(json.path("ids"));
    }

    JsonNode dense() {
      return json.path("results").path(0);
    }

    JsonNode hard() {
      return json.path("results").path(1);
    }

    @Override
    public String toString() {
      return name();
    }
  }

  static Stream<Example> examples() {
    return Golden.each(Golden.read("families.json").path("cases")).map(Example::new);
  }

  @Test
  void everyFamilyAndTypeHasAnExample() {
    Set<Family> families = EnumSet.noneOf(Family.class);
    Set<String> types = new HashSet<>();
    examples()
        .forEach(
            example -> {
              families.add(ConfigJson.read(example.folder().resolve("config.json")).family());
              types.add(example.json().path("dtype").asText());
            });
    assertThat(families).containsExactlyInAnyOrder(Family.values());
    assertThat(types).containsExactlyInAnyOrder("F32", "F16", "BF16", "F64");
  }

  @ParameterizedTest
  @MethodSource("examples")
  void cpuAgreesWithTheOracle(Example example) {
    double worst = holdBoth(example, Engine.CPU_VECTOR_2, TOLERANCE, 1e-5);
    System.out.printf("%s: largest difference of a logit %.1e%n", example, worst);
  }

  /** The file has nine decimals. */
  @ParameterizedTest
  @MethodSource("examples")
  void twinAgreesWithTheOracle(Example example) {
    holdBoth(example, Engine.ND4J_F64, 2e-9, 1e-8);
  }

  private static double holdBoth(
      Example example, Engine engine, double tolerance, double ofExpected) {
    try (GoldenModel model = GoldenModel.at(example.folder(), engine.type())) {
      return holdBoth(model, example, engine, tolerance, ofExpected);
    }
  }

  /** Matrices of 16 bits stay in the file, in every layout that a family has. */
  @ParameterizedTest
  @MethodSource("examples")
  void weightsThatStayInTheFileAgreeWithTheOracle(Example example) {
    try (GoldenModel model = GoldenModel.frozen(example.folder())) {
      String type = example.json().path("dtype").asText();
      for (Param param : model.transformer().parameters().all()) {
        boolean kept = type.endsWith("F16") && param.value().shape().rank() == 2;
        assertThat(param.value().dtype().name()).as(param.name()).isEqualTo(kept ? type : "F32");
      }
      holdBoth(model, example, Engine.CPU_VECTOR_2, TOLERANCE, 1e-5);
    }
  }

  private static double holdBoth(
      GoldenModel model, Example example, Engine engine, double tolerance, double ofExpected) {
    GoldenModel.Run dense = model.run(OPEN.get(engine), example.ids(), Gates.dense());
    double worst = hold(example + " dense", example.dense(), dense, tolerance);
    double pairs = example.json().path("pairs").doubleValue();
    for (double[] layer : dense.counts()) {
      for (int at = 0; at < layer.length; at += AttentionSpec.COUNTS) {
        assertThat(layer[at + AttentionSpec.OPEN]).isEqualTo(pairs);
      }
    }
    GoldenModel.Run hard = model.run(OPEN.get(engine), example.ids(), new Gates.Hard(0));
    worst = Math.max(worst, hold(example + " hard", example.hard(), hard, tolerance));
    holdCounts(example, hard, ofExpected);
    return worst;
  }

  private static double hold(String what, JsonNode result, GoldenModel.Run run, double tolerance) {
    double[] expected = Golden.numbers(result.path("logits"));
    Closeness.assertClose(what, expected, run.logits(), tolerance);
    double worst = 0;
    for (int i = 0; i < expected.length; i++) {
      worst = Math.max(worst, Math.abs(expected[i] - run.logits()[i]));
    }
    return worst;
  }

  private static void holdCounts(Example example, GoldenModel.Run run, double tolerance) {
    double pairs = example.json().path("pairs").doubleValue();
    JsonNode result = example.hard();
    assertThat(run.counts()).hasSameSizeAs(result.path("open"));
    for (int layer = 0; layer < run.counts().size(); layer++) {
      double[] counts = run.counts().get(layer);
      for (int head = 0; head < counts.length / AttentionSpec.COUNTS; head++) {
        int at = head * AttentionSpec.COUNTS;
        assertThat(counts[at + AttentionSpec.OPEN])
            .isEqualTo(result.path("open").path(layer).path(head).doubleValue());
        assertThat(counts[at + AttentionSpec.EMPTY_ROWS])
            .isEqualTo(result.path("empty_rows").path(layer).path(head).doubleValue());
      }
      Closeness.assertClose(
          example + " expected",
          new double[] {result.path("expected").path(layer).doubleValue()},
          new double[] {pairs * Arrays.stream(run.expected().get(layer)).sum()},
          tolerance);
    }
  }

  /** A tap that asks for everything: attention and norms go step by step, past every site. */
  @ParameterizedTest
  @MethodSource("examples")
  void lookingChangesNothing(Example example) {
    try (GoldenModel model = GoldenModel.at(example.folder(), Engine.CPU_VECTOR_2.type())) {
      holdWhileLooking(model, example);
    }
    try (GoldenModel model = GoldenModel.frozen(example.folder())) {
      holdWhileLooking(model, example);
    }
  }

  private static void holdWhileLooking(GoldenModel model, Example example) {
    List<Site> seen = new ArrayList<>();
    Tap everything =
        new Tap() {
          @Override
          public boolean wants(Site site) {
            return true;
          }

          @Override
          public Var see(Pass pass, Site site, Var value) {
            seen.add(site);
            return value;
          }
        };
    Kernels kernels = OPEN.get(Engine.CPU_VECTOR_2);
    Optional<Tap> tap = Optional.of(everything);
    GoldenModel.Run run = model.run(kernels, example.ids(), new Gates.Hard(0), tap);
    hold(example + " looked at", example.hard(), run, TOLERANCE);
    holdCounts(example, run, 1e-5);
    assertThat(seen).containsExactlyElementsOf(model.transformer().sites());
  }

  /** What single heads add to the residual stream adds up, with the bias, to what all add. */
  @ParameterizedTest
  @MethodSource("examples")
  void headResultsAndBiasAreTheOutput(Example example) {
    try (GoldenModel model = GoldenModel.at(example.folder(), DType.F64);
        Workspace kept = new Workspace("results")) {
      ModelConfig config = model.transformer().config();
      String output =
          config.residual() == ModelConfig.Residual.POST_NORM
              ? "blocks.1.attn.hook_out"
              : "blocks.1.hook_attn_out";
      Site result = new Site("blocks.1.attn.hook_result");
      Recorder recorder = new Recorder(List.of(result, new Site(output)), kept);
      Kernels kernels = OPEN.get(Engine.ND4J_F64);
      model.run(kernels, example.ids(), Gates.dense(), Optional.of(recorder));
      double[] whole = recorder.at(new Site(output)).toDoubles();
      double[] shares = recorder.at(result).toDoubles();
      int width = config.sizes().width();
      int heads = config.attention().heads();
      double[] sum = new double[whole.length];
      for (int i = 0; i < shares.length; i++) {
        sum[i / (heads * width) * width + i % width] += shares[i];
      }
      if (config.attention().outputBias() == ModelConfig.Bias.PRESENT) {
        Tensor bias = model.transformer().parameters().get("blocks.1.attn.o.bias").value();
        for (int i = 0; i < sum.length; i++) {
          sum[i] += bias.get(i % width);
        }
      }
      Closeness.assertClose(example + " results", whole, sum, 1e-12);
    }
  }

  /** Copies for single heads change what is computed only where a tap changes a copy. */
  @ParameterizedTest
  @MethodSource("examples")
  void eachHeadReadsACopyOfItsOwn(Example example) {
    try (GoldenModel model = GoldenModel.at(example.folder(), DType.F64);
        Workspace kept = new Workspace("inputs")) {
      int head = model.transformer().config().attention().heads() - 1;
      Recorder plain = new Recorder(List.of(Z), kept);
      Kernels kernels = OPEN.get(Engine.ND4J_F64);
      model.run(kernels, example.ids(), Gates.dense(), Optional.of(plain));
      Recorder changed = new Recorder(List.of(Z), kept);
      Tap tap = new OtherInput(head, changed);
      model.run(kernels, example.ids(), Gates.dense(), Optional.of(tap));
      double[] before = plain.at(Z).toDoubles();
      double[] after = changed.at(Z).toDoubles();
      int dim = model.transformer().config().attention().headDim();
      boolean normedTogether =
          model.transformer().config().attention().qkNorm() == ModelConfig.QkNorm.WHOLE;
      double[] largest = new double[head + 1];
      for (int i = 0; i < before.length; i++) {
        int which = i / dim % (head + 1);
        largest[which] = Math.max(largest[which], Math.abs(after[i] - before[i]));
      }
      assertThat(largest[head]).isGreaterThan(1e-6);
      if (!normedTogether) {
        assertThat(Arrays.stream(largest, 0, head).max().orElse(0)).isLessThan(1e-12);
      }
    }
  }

  private static final Site Z = new Site("blocks.1.attn.hook_z");

  /** Turns the sign of what one head of block 1 reads. */
  private record OtherInput(int head, Recorder recorder) implements Tap {
    @Override
    public boolean wants(Site site) {
      return site.name().equals("blocks.1.hook_attn_in") || recorder.wants(site);
    }

    @Override
    public Var see(Pass pass, Site site, Var value) {
      if (recorder.wants(site)) {
        return recorder.see(pass, site, value);
      }
      Shape shape = value.shape();
      double[] signs = new double[shape.length(2)];
      Arrays.fill(signs, 1);
      signs[head] = -1;
      Shape perHead = Shape.of(signs.length, 1);
      Tensor factor = Tensor.of(pass.scope().memory(), value.value().dtype(), perHead, signs);
      return pass.apply(new Op.Combine(Arithmetic.MULTIPLY), value, pass.constant(factor));
    }
  }

  /** Reading in parts through a cache is reading at once, windows and noise included. */
  @ParameterizedTest
  @MethodSource("examples")
  void tokenByTokenIsTheWholeSequence(Example example) {
    Engine engine = Engine.CPU_VECTOR_2;
    Kernels kernels = OPEN.get(engine);
    int[] ids = example.ids();
    try (GoldenModel model = GoldenModel.at(example.folder(), engine.type())) {
      ModelConfig config = model.transformer().config();
      int vocabulary = config.sizes().vocabulary();
      for (Gates gates : List.of(Gates.dense(), new Gates.Hard(0), new Gates.Sampled(0.5, 11, 4))) {
        GoldenModel.Run whole = model.run(kernels, ids, gates);
        double open = 0;
        try (Workspace kept = new Workspace("cache");
            Workspace scratch = new Workspace("part")) {
          KeyValueCache cache = new KeyValueCache(config, engine.type(), ids.length, kept);
          int from = 0;
          for (int to : new int[] {4, 5, 6, 13, 14, ids.length}) {
            try (Pass pass = Pass.inference(kernels, scratch)) {
              Tensor next =
                  Tensor.ofInts(scratch, Shape.of(1, to - from), Arrays.copyOfRange(ids, from, to));
              GoldenModel.Run run =
                  GoldenModel.copied(model.transformer().next(pass, next, gates, cache));
              double[] last =
                  Arrays.copyOfRange(whole.logits(), (to - 1) * vocabulary, to * vocabulary);
              Closeness.assertClose(example + " to " + to, last, run.logits(), TOLERANCE);
              open += sum(run.counts());
            }
            from = to;
          }
        }
        assertThat(open).as("%s %s", example, gates).isEqualTo(sum(whole.counts()));
      }
    }
  }

  private static double sum(List<double[]> counts) {
    return counts.stream().flatMapToDouble(Arrays::stream).sum();
  }

  /**
   * The loss of the whole model along a random direction of all its weights, in float64: the
   * gradient against a central difference, with kernels fused and step by step.
   */
  @ParameterizedTest
  @MethodSource("examples")
  void gradientsAgreeWithDifferences(Example example) {
    Kernels kernels = OPEN.get(Engine.ND4J_F64);
    try (GoldenModel model = GoldenModel.at(example.folder(), DType.F64);
        Workspace memory = new Workspace("directions");
        Workspace scratch = new Workspace("gradient")) {
      Map<Param, Tensor> directions = new LinkedHashMap<>();
      Philox random = new Philox(5, 1);
      for (Param param : model.transformer().parameters().all()) {
        directions.put(
            param,
            Tensor.generate(memory, DType.F64, param.value().shape(), i -> random.nextGaussian()));
      }
      for (Predicate<String> looks :
          List.<Predicate<String>>of(
              name -> false,
              name -> name.endsWith("hook_scale"),
              name -> name.endsWith("hook_attn_in"),
              name -> name.endsWith("hook_k_input"),
              name -> name.endsWith("hook_result"))) {
        double slope = slope(model, kernels, scratch, example.ids(), looks, directions);
        double step = 1e-6; // along thousands of weights at once
        double[] losses = new double[2];
        for (int side = 0; side < 2; side++) {
          double factor = side == 0 ? step : -step;
          directions.forEach((param, d) -> kernels.accumulate(factor, d, param.value()));
          try (Pass pass = Pass.inference(kernels, scratch)) {
            losses[side] = loss(model, pass, scratch, example.ids()).value().item();
          }
          directions.forEach((param, d) -> kernels.accumulate(-factor, d, param.value()));
        }
        double difference = (losses[0] - losses[1]) / (2 * step);
        assertThat(Math.abs(slope - difference))
            .as("%s: slope %s, difference %s", example, slope, difference)
            .isLessThan(1e-7 * Math.max(1, Math.abs(slope)));
      }
    }
  }

  private static double slope(
      GoldenModel model,
      Kernels kernels,
      Workspace scratch,
      int[] ids,
      Predicate<String> looks,
      Map<Param, Tensor> directions) {
    Tap tap =
        new Tap() {
          @Override
          public boolean wants(Site site) {
            return looks.test(site.name());
          }

          @Override
          public Var see(Pass pass, Site site, Var value) {
            return value;
          }
        };
    try (Pass pass = Pass.recording(kernels, scratch).with(tap)) {
      Gradients gradients = pass.backward(loss(model, pass, scratch, ids));
      double slope = 0;
      for (Map.Entry<Param, Tensor> entry : directions.entrySet()) {
        double[] gradient = gradients.of(entry.getKey()).orElseThrow().toDoubles();
        double[] direction = entry.getValue().toDoubles();
        for (int i = 0; i < gradient.length; i++) {
          slope += gradient[i] * direction[i];
        }
      }
      return slope;
    }
  }

  private static Var loss(GoldenModel model, Pass pass, Workspace scratch, int[] ids) {
    Batch batch = Batch.nextToken(List.of(ids), scratch);
    return Transformer.loss(
        pass, model.transformer().forward(pass, batch.ids(), Gates.dense()).logits(), batch);
  }

  /** Tensor by tensor and bit by bit, in the type of the file; and the config both ways. */
  @ParameterizedTest
  @MethodSource("examples")
  void aFolderReadAndWrittenIsTheSame(Example example) {
    Path copy = parent.resolve("copy");
    try (Workspace memory = new Workspace("weights");
        Checkpoint checkpoint = Checkpoint.open(example.folder())) {
      Map<String, Tensor> weights = checkpoint.storedWeights(memory);
      DType type = DType.valueOf(example.json().path("dtype").asText());
      assertThat(weights.values()).allSatisfy(tensor -> assertThat(tensor.dtype()).isEqualTo(type));
      CheckpointWriter.write(
          copy,
          new CheckpointWriter.Contents(
              checkpoint.configJson(), Optional.empty(), weights, Optional.empty()));
      assertThat(ConfigJson.read(copy.resolve("config.json")).json())
          .isEqualTo(checkpoint.configJson());
      assertThat(ConfigJson.of("x", checkpoint.family().config(checkpoint.config())).model())
          .isEqualTo(checkpoint.config());
      assertThat(checkpoint.keysPassedOver()).isEmpty();
      assertThat(checkpoint.config().parameterCount())
          .isEqualTo(checkpoint.tensors().stream().mapToLong(t -> t.shape().size()).sum());
      Map<String, Tensor> before = stored(example.folder(), memory);
      Map<String, Tensor> after = stored(copy, memory);
      assertThat(after.keySet()).containsExactlyElementsOf(before.keySet());
      before.forEach(
          (name, tensor) -> {
            assertThat(after.get(name).dtype()).as(name).isEqualTo(tensor.dtype());
            assertThat(after.get(name).shape()).as(name).isEqualTo(tensor.shape());
            assertThat(after.get(name).bytes().mismatch(tensor.bytes())).as(name).isEqualTo(-1);
          });
    }
  }

  private static Map<String, Tensor> stored(Path folder, Workspace memory) {
    Map<String, Tensor> out = new LinkedHashMap<>();
    try (Safetensors file = Safetensors.open(folder.resolve("model.safetensors"))) {
      file.tensors().keySet().forEach(name -> out.put(name, file.copy(name, memory)));
    }
    return out;
  }
}
