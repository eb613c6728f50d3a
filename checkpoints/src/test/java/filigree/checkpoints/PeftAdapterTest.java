package filigree.checkpoints;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.autograd.Param;
import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import filigree.tensor.provider.Backend;
import filigree.transformer.Adapter;
import filigree.transformer.ModelConfig;
import filigree.transformer.ModelConfig.ParameterSpec;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.function.Predicate;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Adapters in PEFT's layout: names, sizes, there and back, merging, and what is refused. */
class PeftAdapterTest {
  private static final int RANK = 2;
  private static final double SCALE = 4.0 / 3;

  @TempDir Path folder;

  private Workspace memory;

  @BeforeEach
  void open() {
    memory = new Workspace("adapter test");
  }

  @AfterEach
  void close() {
    memory.close();
  }

  private Path base(ObjectNode config) {
    Path base = folder.resolve("base");
    CheckpointWriter.write(
        base,
        new CheckpointWriter.Contents(
            config, Optional.empty(), Fixtures.weights(config, memory), Optional.empty()));
    return base;
  }

  private Map<String, Adapter> adapters(ObjectNode config, Predicate<String> chosen) {
    ModelConfig model = ConfigJson.of("test", config).model();
    Map<String, Adapter> out = new LinkedHashMap<>();
    double next = 1;
    for (ParameterSpec spec : model.parameters()) {
      String name = spec.name();
      if (!name.startsWith("blocks.") || spec.shape().rank() != 2 || !chosen.test(name)) {
        continue;
      }
      double start = next;
      Tensor a =
          Tensor.generate(
              memory, DType.F32, Shape.of(RANK, spec.shape().dim(1)), i -> start + i / 64.0);
      Tensor b =
          Tensor.generate(
              memory, DType.F32, Shape.of(spec.shape().dim(0), RANK), i -> -start - i / 32.0);
      next += 7;
      out.put(name, new Adapter(new Param("A", a), new Param("B", b), SCALE));
    }
    return out;
  }

  private Path write(ObjectNode config, Path base, Map<String, Adapter> adapters) {
    Path out = folder.resolve("adapter");
    ObjectNode gates = Fixtures.object("{\"gates\": \"hard\", \"gate_bias\": 2.5}");
    PeftAdapter.replace(out, new PeftAdapter.Contents(config, base, adapters, Optional.of(gates)));
    return out;
  }

  @ParameterizedTest
  @ValueSource(strings = {"gpt2", "gpt_neox", "llama", "qwen2", "olmo2"})
  void foldersComeBackAsTheyWere(String family) {
    ObjectNode config = Fixtures.object(Fixtures.config(family));
    Path base = base(config);
    for (List<String> ends :
        List.of(
            List.of("attn.q", "attn.k", "attn.v", "attn.o"),
            List.of("attn.v"),
            List.of("attn.k", "mlp.up"),
            List.of("0.attn.q", "1.mlp.down"))) {
      Map<String, Adapter> adapters =
          adapters(config, name -> ends.stream().anyMatch(end -> name.endsWith(end + ".weight")));
      Path written = write(config, base, adapters);
      try (PeftAdapter peft = PeftAdapter.open(written);
          Checkpoint checkpoint = Checkpoint.open(peft.base())) {
        assertThat(peft.gates().orElseThrow().path("gate_bias").asDouble()).isEqualTo(2.5);
        Map<String, Adapter> read = peft.read(checkpoint, memory);
        assertThat(read.keySet()).containsExactlyInAnyOrderElementsOf(adapters.keySet());
        adapters.forEach(
            (name, adapter) -> {
              Adapter found = read.get(name);
              assertThat(found.scale()).isEqualTo(SCALE);
              assertThat(bytes(found.a().value())).as(name).isEqualTo(bytes(adapter.a().value()));
              assertThat(bytes(found.b().value())).as(name).isEqualTo(bytes(adapter.b().value()));
            });
      }
    }
  }

  @Test
  void llamasNamesArePefts() {
    ObjectNode config = Fixtures.object(Fixtures.LLAMA);
    Path base = base(config);
    Path written = write(config, base, adapters(config, name -> name.contains(".attn.")));
    SequencedMap<String, Tensor> tensors =
        Fixtures.stored(written.resolve("adapter_model.safetensors"), memory);
    assertThat(tensors).hasSize(16);
    String query = "base_model.model.model.layers.1.self_attn.q_proj.";
    assertThat(tensors.get(query + "lora_A.weight").shape()).isEqualTo(Shape.of(RANK, 8));
    assertThat(tensors.get(query + "lora_B.weight").shape()).isEqualTo(Shape.of(8, RANK));
    String key = "base_model.model.model.layers.0.self_attn.k_proj.";
    assertThat(tensors.get(key + "lora_B.weight").shape()).isEqualTo(Shape.of(4, RANK));
    JsonNode json = Json.readObject(written.resolve("adapter_config.json"));
    assertThat(json.path("peft_type").asText()).isEqualTo("LORA");
    assertThat(json.path("task_type").asText()).isEqualTo("CAUSAL_LM");
    assertThat(json.path("r").asInt()).isEqualTo(RANK);
    assertThat(json.path("lora_alpha").asDouble()).isEqualTo(RANK * SCALE);
    assertThat(json.path("target_modules").toString())
        .isEqualTo("[\"k_proj\",\"o_proj\",\"q_proj\",\"v_proj\"]");
    assertThat(json.path("base_model_name_or_path").asText())
        .isEqualTo(base.toAbsolutePath().toString());
    assertThat(json.path("fan_in_fan_out").asBoolean()).isFalse();
    assertThat(json.path("rank_pattern")).isEmpty();
  }

  @Test
  void gpt2sMapsAreStackedInItsModules() {
    ObjectNode config = Fixtures.object(Fixtures.GPT2);
    Map<String, Adapter> adapters = adapters(config, name -> name.contains(".attn."));
    Path written = write(config, base(config), adapters);
    SequencedMap<String, Tensor> tensors =
        Fixtures.stored(written.resolve("adapter_model.safetensors"), memory);
    String module = "base_model.model.transformer.h.1.attn.c_attn.";
    Tensor a = tensors.get(module + "lora_A.weight");
    Tensor b = tensors.get(module + "lora_B.weight");
    assertThat(a.shape()).isEqualTo(Shape.of(3 * RANK, 6));
    assertThat(b.shape()).isEqualTo(Shape.of(18, 3 * RANK));
    Adapter key = adapters.get("blocks.1.attn.k.weight");
    assertThat(a.rows(RANK, 2 * RANK).toDoubles()).isEqualTo(key.a().value().toDoubles());
    for (int row = 0; row < 18; row++) {
      for (int column = 0; column < 3 * RANK; column++) {
        String part = List.of("q", "k", "v").get(row / 6);
        double expected =
            column / RANK == row / 6
                ? adapters
                    .get("blocks.1.attn." + part + ".weight")
                    .b()
                    .value()
                    .get(row % 6 * RANK + column % RANK)
                : 0;
        assertThat(b.get(row * 3L * RANK + column)).isEqualTo(expected);
      }
    }
    JsonNode json = Json.readObject(written.resolve("adapter_config.json"));
    assertThat(json.path("fan_in_fan_out").asBoolean()).isTrue();
    // c_proj alone would be the MLP's as well.
    assertThat(json.path("target_modules").toString()).isEqualTo("[\"attn.c_proj\",\"c_attn\"]");
    assertThat(json.path("r").asInt()).isEqualTo(RANK);
    assertThat(json.path("rank_pattern").toString()).isEqualTo("{\"c_attn\":6}");
    assertThat(json.path("alpha_pattern").path("c_attn").asDouble()).isEqualTo(6 * SCALE);
  }

  /** As PEFT itself trains them: one A for query, key and value, and no zeros in B. */
  @Test
  void foreignAdaptersOfStackedModulesAreRead() throws IOException {
    ObjectNode config = Fixtures.object(Fixtures.GPT2);
    Path base = base(config);
    Path written = Files.createDirectory(folder.resolve("foreign"));
    SequencedMap<String, Tensor> tensors = new LinkedHashMap<>();
    String module = "base_model.model.transformer.h.0.attn.c_attn.";
    tensors.put(
        module + "lora_A.weight", Tensor.generate(memory, DType.F32, Shape.of(2, 6), i -> i + 1));
    tensors.put(
        module + "lora_B.weight",
        Tensor.generate(memory, DType.F32, Shape.of(18, 2), i -> 100 + i));
    Safetensors.write(
        written.resolve("adapter_model.safetensors"),
        tensors,
        Map.of("format", "pt"),
        Safetensors.IfExists.FAIL);
    Fixtures.write(
        written.resolve("adapter_config.json"),
        """
        {"peft_type": "LORA", "r": 2, "lora_alpha": 8, "base_model_name_or_path": "../base",
         "use_rslora": true, "target_modules": ["c_attn"], "unheard_of": 1}
        """);
    try (PeftAdapter peft = PeftAdapter.open(written);
        Checkpoint checkpoint = Checkpoint.open(peft.base())) {
      assertThat(peft.gates()).isEmpty();
      Map<String, Adapter> read = peft.read(checkpoint, memory);
      assertThat(read.keySet())
          .containsExactly(
              "blocks.0.attn.q.weight", "blocks.0.attn.k.weight", "blocks.0.attn.v.weight");
      Adapter key = read.get("blocks.0.attn.k.weight");
      assertThat(key.scale()).isEqualTo(8 / Math.sqrt(2));
      assertThat(key.rank()).isEqualTo(2);
      assertThat(key.b().value().get(0)).isEqualTo(112);
    }
    assertThat(base).exists();
  }

  @ParameterizedTest
  @CsvSource({"gpt2,F32", "gpt_neox,F32", "llama,F32", "llama,BF16", "gpt2,F16", "gpt_neox,F64"})
  void mergedWeightsAreTheSumsInTheBasesType(String family, DType dtype) {
    ObjectNode config = Fixtures.object(Fixtures.config(family));
    Map<String, Tensor> weights = Fixtures.weights(config, memory);
    Path base = folder.resolve("base");
    try (Kernels kernels = Backend.CPU.open(1)) {
      weights.replaceAll(
          (name, tensor) -> {
            Tensor out = memory.allocate(tensor.shape(), dtype);
            kernels.cast(tensor, out);
            return out;
          });
      CheckpointWriter.write(
          base, new CheckpointWriter.Contents(config, Optional.empty(), weights, Optional.empty()));
      Map<String, Adapter> adapters = adapters(config, name -> !name.contains(".attn.k"));
      Path out = folder.resolve("merged");
      try (Checkpoint checkpoint = Checkpoint.open(base)) {
        JsonNode gates = Fixtures.object("{\"gates\": \"hard\", \"gate_bias\": 1}");
        List<String> files =
            CheckpointWriter.merge(
                out,
                new CheckpointWriter.Merged(
                    checkpoint, adapters, Optional.of(gates), kernels, bytes -> {}),
                new CheckpointWriter.Shards(600));
        assertThat(files).hasSizeGreaterThan(1);
      }
      try (Checkpoint merged = Checkpoint.open(out)) {
        assertThat(merged.gates().orElseThrow().path("gates").asText()).isEqualTo("hard");
        Map<String, Tensor> found = merged.storedWeights(memory);
        weights.forEach(
            (name, weight) -> {
              Tensor sum = found.get(name);
              assertThat(sum.dtype()).isEqualTo(dtype);
              Adapter adapter = adapters.get(name);
              if (adapter == null) {
                assertThat(bytes(sum)).as(name).isEqualTo(bytes(weight));
                return;
              }
              double unit = dtype == DType.BF16 ? 0x1p-8 : dtype == DType.F16 ? 0x1p-11 : 0x1p-22;
              for (long i = 0; i < weight.size(); i++) {
                double expected = weight.get(i) + product(adapter, weight.shape().dim(1), i);
                assertThat(Math.abs(sum.get(i) - expected))
                    .as("%s at %d: %s, expected %s", name, i, sum.get(i), expected)
                    .isLessThanOrEqualTo(2 * unit * Math.max(Math.abs(expected), 1000));
              }
            });
      }
    }
  }

  private static double product(Adapter adapter, long width, long i) {
    double sum = 0;
    for (int k = 0; k < RANK; k++) {
      sum +=
          adapter.b().value().get(i / width * RANK + k)
              * adapter.a().value().get(k * width + i % width);
    }
    return SCALE * sum;
  }

  @Test
  void whatCannotBeReadIsRefusedInOneSentence() throws IOException {
    ObjectNode config = Fixtures.object(Fixtures.LLAMA);
    Path base = base(config);
    Path written = write(config, base, adapters(config, name -> name.contains(".attn.q")));
    Path file = written.resolve("adapter_config.json");
    String good = Files.readString(file);
    refused(file, good.replace("\"LORA\"", "\"IA3\""), "'peft_type' is \"IA3\"", "LORA");
    refused(
        file, good.replace("\"use_dora\" : false", "\"use_dora\" : true"), "'use_dora' is true");
    refused(file, good.replace("\"bias\" : \"none\"", "\"bias\" : \"all\""), "'bias' is \"all\"");
    refused(
        file,
        good.replace("\"modules_to_save\" : null", "\"modules_to_save\" : [\"lm_head\"]"),
        "modules_to_save");
    refused(
        file,
        good.replace("\"init_lora_weights\" : true", "\"init_lora_weights\" : \"pissa_niter_4\""),
        "pissa_niter_4",
        "base model");
    refused(file, good.replace("\"r\" : 2", "\"r\" : 0"), "'r' is 0");
    refused(file, good.replace("\"r\" : 2", "\"r\" : 3"), "lora_A", "[2, 8]", "[3, 8]");
    refused(
        file,
        good.replace(base.toAbsolutePath().toString(), "someone/their-model"),
        "'someone/their-model' is not a folder on this machine",
        "base_model_name_or_path");
    refused(
        file,
        good.replace("\"rank_pattern\" : { }", "\"rank_pattern\" : {\"(a+)+\": 2}"),
        "rank_pattern",
        "names of modules");
    refused(file, "{", "not valid JSON");
    Fixtures.write(file, good);

    Path weights = written.resolve("adapter_model.safetensors");
    SequencedMap<String, Tensor> tensors = Fixtures.stored(weights, memory);
    String name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
    Tensor half = tensors.remove(name);
    rewrite(weights, tensors);
    refused(file, good, "lora_B.weight is there without", name);
    tensors.put(name, half);
    tensors.put("base_model.model.lm_head.lora_A.weight", half);
    rewrite(weights, tensors);
    refused(file, good, "unknown tensors: base_model.model.lm_head.lora_A.weight");
    Files.delete(weights);
    refused(file, good, "adapter_model.safetensors", "no such file");
  }

  private static void rewrite(Path file, SequencedMap<String, Tensor> tensors) {
    Safetensors.write(file, tensors, Map.of("format", "pt"), Safetensors.IfExists.REPLACE);
  }

  private void refused(Path file, String json, String... words) {
    Fixtures.write(file, json);
    assertThatThrownBy(
            () -> {
              try (PeftAdapter peft = PeftAdapter.open(file.getParent());
                  Checkpoint checkpoint = Checkpoint.open(peft.base())) {
                peft.read(checkpoint, memory);
              }
            })
        .isInstanceOf(CheckpointException.class)
        .hasMessageContainingAll(words);
  }

  @Test
  void otherFoldersAreNotReplaced() throws IOException {
    ObjectNode config = Fixtures.object(Fixtures.LLAMA);
    Path base = base(config);
    Map<String, Adapter> adapters = adapters(config, name -> name.contains(".attn.q"));
    assertThatThrownBy(
            () ->
                PeftAdapter.replace(
                    base, new PeftAdapter.Contents(config, base, adapters, Optional.empty())))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("not overwritten");
    Path written = write(config, base, adapters);
    Path again = write(config, base, adapters);
    assertThat(again).isEqualTo(written);
    try (var files = Files.list(folder)) {
      assertThat(files.map(path -> path.getFileName().toString()))
          .containsExactlyInAnyOrder("base", "adapter");
    }
  }

  private static byte[] bytes(Tensor tensor) {
    return tensor.bytes().toArray(ValueLayout.JAVA_BYTE);
  }
}
