package filigree.checkpoints;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.tensor.DType;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import filigree.transformer.ModelConfig.ParameterSpec;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class CheckpointTest {
  @TempDir Path parent;

  private final Workspace memory = new Workspace("test");

  @AfterEach
  void free() {
    memory.close();
  }

  private Path model(String config) {
    ObjectNode json = Fixtures.object(config);
    Path folder = parent.resolve("model");
    CheckpointWriter.write(
        folder,
        new CheckpointWriter.Contents(
            json, Optional.empty(), Fixtures.weights(json, memory), Optional.empty()));
    return folder;
  }

  /** Rewrites the weights of a folder. */
  private void change(Path folder, Consumer<SequencedMap<String, Tensor>> edit) {
    SequencedMap<String, Tensor> tensors =
        Fixtures.stored(folder.resolve("model.safetensors"), memory);
    edit.accept(tensors);
    Fixtures.save(folder, tensors);
  }

  private Map<String, Tensor> load(Path folder) {
    try (Checkpoint checkpoint = Checkpoint.open(folder)) {
      return checkpoint.weights(memory);
    }
  }

  private static void assertEqual(Map<String, Tensor> found, Map<String, Tensor> expected) {
    assertThat(found.keySet()).containsExactlyInAnyOrderElementsOf(expected.keySet());
    expected.forEach(
        (name, tensor) -> {
          assertThat(found.get(name).shape()).isEqualTo(tensor.shape());
          assertThat(found.get(name).bytes().mismatch(tensor.bytes())).as(name).isEqualTo(-1);
        });
  }

  @ParameterizedTest
  @CsvSource({
    "babyllama, LLAMA, 969216",
    "stories260k, LLAMA, 260032",
    "gpt2-induction, GPT2, 105600",
    "olmo2-golden, OLMO2, 28960"
  })
  void realModelsAreComplete(String name, Family family, long parameters) {
    Path folder = SharedData.require("checkpoints").resolve(name);
    try (Checkpoint checkpoint = Checkpoint.open(folder)) {
      assertThat(checkpoint.family()).isEqualTo(family);
      Map<String, Tensor> weights = checkpoint.weights(memory);
      assertThat(weights.values().stream().mapToLong(Tensor::size).sum()).isEqualTo(parameters);
      for (ParameterSpec spec : checkpoint.config().parameters()) {
        assertThat(weights.get(spec.name()).shape()).as(spec.name()).isEqualTo(spec.shape());
      }
      assertThat(checkpoint.gates()).isEmpty();
      assertThat(checkpoint.configJson().get("model_type").asText()).isEqualTo(family.modelType());
    }
  }

  @Test
  void gpt2MapsAreTransposedAndSplit() {
    Path folder = SharedData.require("checkpoints").resolve("gpt2-induction");
    Map<String, Tensor> stored = Fixtures.stored(folder.resolve("model.safetensors"), memory);
    Map<String, Tensor> weights = load(folder);
    Tensor fused = stored.get("transformer.h.1.attn.c_attn.weight"); // [in 64, query key value 192]
    Tensor fusedBias = stored.get("transformer.h.1.attn.c_attn.bias");
    Tensor up = stored.get("transformer.h.1.mlp.c_fc.weight"); // [in 64, out 256]
    for (int in = 0; in < 64; in++) {
      for (int out = 0; out < 64; out++) {
        int at = out * 64 + in;
        assertThat(weights.get("blocks.1.attn.q.weight").get(at))
            .isEqualTo(fused.get(in * 192 + out));
        assertThat(weights.get("blocks.1.attn.k.weight").get(at))
            .isEqualTo(fused.get(in * 192 + 64 + out));
        assertThat(weights.get("blocks.1.attn.v.weight").get(at))
            .isEqualTo(fused.get(in * 192 + 128 + out));
      }
      assertThat(weights.get("blocks.1.attn.v.bias").get(in)).isEqualTo(fusedBias.get(128 + in));
      for (int out = 0; out < 256; out++) {
        assertThat(weights.get("blocks.1.mlp.up.weight").get(out * 64 + in))
            .isEqualTo(up.get(in * 256 + out));
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"gpt2, transformer.", "gpt_neox, gpt_neox.", "llama, model.", "olmo2, model."})
  void namesMayLackThePrefix(String family, String prefix) {
    Path folder = model(Fixtures.config(family));
    Map<String, Tensor> expected = load(folder);
    change(
        folder,
        tensors -> {
          Map<String, Tensor> copy = new LinkedHashMap<>(tensors);
          tensors.clear();
          copy.forEach((name, tensor) -> tensors.put(name.replace(prefix, ""), tensor));
        });
    assertEqual(load(folder), expected);
  }

  /** Rows of the fused map: query, key and value of the first head, then of the second. */
  @Test
  void neoxMapsAreSplitHeadByHead() {
    Path folder = model(Fixtures.GPT_NEOX); // two heads of four
    Map<String, Tensor> stored = Fixtures.stored(folder.resolve("model.safetensors"), memory);
    Map<String, Tensor> weights = load(folder);
    String fused = "gpt_neox.layers.1.attention.query_key_value.";
    for (int head = 0; head < 2; head++) {
      for (int part = 0; part < 3; part++) {
        String own = "blocks.1.attn." + "qkv".charAt(part);
        for (int row = 0; row < 4; row++) {
          int from = (head * 3 + part) * 4 + row;
          int to = head * 4 + row;
          assertThat(weights.get(own + ".bias").get(to))
              .isEqualTo(stored.get(fused + "bias").get(from));
          assertThat(weights.get(own + ".weight").rows(to, to + 1).toFloats())
              .isEqualTo(stored.get(fused + "weight").rows(from, from + 1).toFloats());
        }
      }
    }
  }

  @Test
  void aTiedHeadHasTheNameOfItsFamily() {
    ObjectNode json = Fixtures.object(Fixtures.GPT_NEOX).put("tie_word_embeddings", true);
    Path folder = model(json.toString());
    Map<String, Tensor> expected = load(folder);
    change(
        folder,
        tensors -> tensors.put("embed_out.weight", tensors.get("gpt_neox.embed_in.weight")));
    assertEqual(load(folder), expected);
    change(folder, tensors -> tensors.put("lm_head.weight", tensors.get("embed_out.weight")));
    assertThatThrownBy(() -> load(folder)).hasMessageContaining("unknown tensors: lm_head.weight");
  }

  @Test
  void oldBuffersArePassedOver() {
    Path gpt2 = model(Fixtures.GPT2);
    change(
        gpt2,
        tensors -> {
          tensors.put("transformer.h.0.attn.bias", Tensor.of(memory, Shape.of(1, 1, 1, 1), 1));
          tensors.put("transformer.h.1.attn.masked_bias", Tensor.of(memory, Shape.of(), -1e4f));
        });
    assertThat(load(gpt2)).hasSize(2 + 2 * 16 + 2);
    AtomicFiles.deleteTree(gpt2);
    Path llama = model(Fixtures.LLAMA);
    change(
        llama,
        tensors ->
            tensors.put(
                "model.layers.1.self_attn.rotary_emb.inv_freq", Tensor.of(memory, Shape.of(1), 1)));
    assertThat(load(llama)).hasSize(1 + 2 * 9 + 2);
    AtomicFiles.deleteTree(llama);
    Path neox = model(Fixtures.GPT_NEOX);
    change(
        neox,
        tensors -> {
          String attention = "gpt_neox.layers.1.attention.";
          tensors.put(attention + "bias", Tensor.of(memory, Shape.of(1, 1, 1, 1), 1));
          tensors.put(attention + "masked_bias", Tensor.of(memory, Shape.of(), -1e9f));
          tensors.put(attention + "rotary_emb.inv_freq", Tensor.of(memory, Shape.of(1), 1));
        });
    assertThat(load(neox)).hasSize(1 + 2 * 16 + 3);
  }

  /** Only what no kernel takes as it lies is copied; vectors are widened. */
  @ParameterizedTest
  @CsvSource({"gpt2", "gpt_neox", "llama", "olmo2", "qwen2"})
  void frozenMatricesStayInTheFile(String family) {
    Path folder = model(Fixtures.config(family));
    change(
        folder, tensors -> tensors.replaceAll((name, tensor) -> Fixtures.rounded(memory, tensor)));
    Map<String, Tensor> widened = load(folder);
    boolean transposed = family.equals("gpt2");
    boolean fused = family.equals("gpt_neox");
    try (Workspace copies = new Workspace("copies");
        Checkpoint checkpoint = Checkpoint.open(folder)) {
      Map<String, Tensor> frozen = checkpoint.frozenWeights(copies);
      assertThat(frozen.keySet()).containsExactlyInAnyOrderElementsOf(widened.keySet());
      long expected = 0;
      for (ParameterSpec spec : checkpoint.config().parameters()) {
        Tensor tensor = frozen.get(spec.name());
        boolean matrix = spec.shape().rank() == 2;
        assertThat(tensor.dtype()).as(spec.name()).isEqualTo(matrix ? DType.BF16 : DType.F32);
        assertThat(tensor.toFloats())
            .as(spec.name())
            .isEqualTo(widened.get(spec.name()).toFloats());
        boolean block = spec.name().startsWith("blocks.");
        boolean attends = spec.name().matches(".*attn[.][qkv][.]weight");
        boolean copied = !matrix || (transposed && block) || (fused && attends);
        expected += copied ? Math.ceilDiv(tensor.byteSize(), 64) * 64 : 0;
      }
      assertThat(copies.peakBytes()).isEqualTo(expected);
    }
  }

  @Test
  void allContradictionsAreInOneError() {
    Path folder = model(Fixtures.LLAMA);
    change(
        folder,
        tensors -> {
          tensors.remove("model.norm.weight");
          tensors.remove("model.layers.0.mlp.up_proj.weight");
          tensors.put("model.layers.0.mlp.extra", Tensor.of(memory, Shape.of(1), 1));
          tensors.put("lm_head.weight", Tensor.of(memory, Shape.of(1), 1));
          tensors.put(
              "model.layers.1.input_layernorm.weight",
              Tensor.ofInts(memory, Shape.of(8), new int[8]));
        });
    assertThatThrownBy(() -> Checkpoint.open(folder))
        .isInstanceOf(CheckpointException.class)
        .hasMessage(
            folder.resolve("model.safetensors")
                + ": the weights do not fit config.json: missing tensors:"
                + " model.layers.0.mlp.up_proj.weight, model.norm.weight; unknown tensors:"
                + " model.layers.0.mlp.extra; tensors that contradict config.json:"
                + " model.layers.1.input_layernorm.weight found I32, expected F32, F16, BF16 or"
                + " F64, lm_head.weight found [1], expected [7, 8]");
  }

  @Test
  void aTiedHeadMayBeStoredAndMustBeEqual() {
    Path folder = model(Fixtures.GPT2);
    Map<String, Tensor> expected = load(folder);
    change(folder, tensors -> tensors.put("lm_head.weight", tensors.get("transformer.wte.weight")));
    assertEqual(load(folder), expected);
    change(
        folder,
        tensors -> tensors.put("lm_head.weight", Tensor.of(memory, Shape.of(7, 6), new float[42])));
    try (Checkpoint checkpoint = Checkpoint.open(folder)) {
      assertThatThrownBy(() -> checkpoint.weights(memory))
          .isInstanceOf(CheckpointException.class)
          .hasMessageContaining(
              "lm_head.weight differs from transformer.wte.weight, although tie_word_embeddings");
    }
  }

  @Test
  void halfPrecisionAndDoubleAreWidened() {
    Path folder = model(Fixtures.GPT2);
    change(
        folder,
        tensors -> {
          // 1.0, -2.0, the smallest subnormal, infinity, a NaN, 0 in each type.
          tensors.put(
              "transformer.h.0.ln_1.weight",
              Fixtures.halves(
                  memory,
                  DType.F16,
                  Shape.of(6),
                  (short) 0x3c00,
                  (short) 0xc000,
                  (short) 1,
                  (short) 0x7c00,
                  (short) 0x7e00,
                  (short) 0));
          tensors.put(
              "transformer.h.0.ln_1.bias",
              Fixtures.halves(
                  memory,
                  DType.BF16,
                  Shape.of(6),
                  (short) 0x3f80,
                  (short) 0xc000,
                  (short) 1,
                  (short) 0x7f80,
                  (short) 0x7fc0,
                  (short) 0));
          tensors.put(
              "transformer.h.0.attn.c_attn.bias",
              Tensor.of(memory, DType.F64, Shape.of(18), ramp(18)));
          tensors.put(
              "transformer.h.0.attn.c_attn.weight",
              Tensor.of(memory, DType.F64, Shape.of(6, 18), ramp(108)));
        });
    Map<String, Tensor> weights = load(folder);
    assertThat(weights.get("blocks.0.norm1.weight").toFloats())
        .containsExactly(1, -2, 0x1p-24f, Float.POSITIVE_INFINITY, Float.NaN, 0);
    assertThat(weights.get("blocks.0.norm1.bias").toFloats())
        .containsExactly(
            1, -2, Float.intBitsToFloat(1 << 16), Float.POSITIVE_INFINITY, Float.NaN, 0);
    assertThat(weights.get("blocks.0.attn.k.bias").toFloats())
        .containsExactly(6.1f, 7.1f, 8.1f, 9.1f, 10.1f, 11.1f);
    assertThat(weights.get("blocks.0.attn.k.weight").rows(0, 1).toFloats())
        .containsExactly(6.1f, 24.1f, 42.1f, 60.1f, 78.1f, 96.1f);
  }

  private static double[] ramp(int size) {
    double[] out = new double[size];
    for (int i = 0; i < size; i++) {
      out[i] = i + 0.1;
    }
    return out;
  }

  @Test
  void aFolderThatIsNotAModelSaysSo() throws IOException {
    Path folder = parent.resolve("model");
    assertThatThrownBy(() -> Checkpoint.open(folder))
        .hasMessage(folder + ": there is no such folder");
    Fixtures.write(folder, "x");
    assertThatThrownBy(() -> Checkpoint.open(folder)).hasMessageContaining("this is not a folder");
    Files.delete(folder);
    Files.createDirectory(folder);
    assertThatThrownBy(() -> Checkpoint.open(folder)).hasMessageContaining("has no config.json");
    Fixtures.write(folder.resolve("config.json"), Fixtures.GPT2);
    assertThatThrownBy(() -> Checkpoint.open(folder))
        .hasMessageContaining("neither model.safetensors nor model.safetensors.index.json");
    Fixtures.write(folder.resolve("pytorch_model.bin"), "x");
    assertThatThrownBy(() -> Checkpoint.open(folder))
        .hasMessageContaining("convert it to safetensors");
  }

  @Test
  void aModelWithoutATokenizerLoadsAndSaysSoWhenTextIsAsked() {
    Path folder = model(Fixtures.GPT2);
    try (Checkpoint checkpoint = Checkpoint.open(folder)) {
      assertThat(checkpoint.tokenizer()).isEmpty();
      assertThatThrownBy(checkpoint::requireTokenizer)
          .isInstanceOf(CheckpointException.class)
          .hasMessageContaining(folder + ": the folder has no tokenizer.json");
    }
  }

  private Path sharded() throws IOException {
    Path folder = model(Fixtures.LLAMA);
    Path single = folder.resolve("model.safetensors");
    SequencedMap<String, Tensor> all = Fixtures.stored(single, memory);
    SequencedMap<String, Tensor> first = new LinkedHashMap<>();
    SequencedMap<String, Tensor> second = new LinkedHashMap<>();
    ObjectNode map = Json.MAPPER.createObjectNode();
    all.forEach(
        (name, tensor) -> {
          boolean early = name.contains("layers.0");
          (early ? first : second).put(name, tensor);
          map.put(name, early ? "m-1.safetensors" : "m-2.safetensors");
        });
    Safetensors.write(
        folder.resolve("m-1.safetensors"), first, Map.of(), Safetensors.IfExists.FAIL);
    Safetensors.write(
        folder.resolve("m-2.safetensors"), second, Map.of(), Safetensors.IfExists.FAIL);
    Files.delete(single);
    ObjectNode index = Json.MAPPER.createObjectNode();
    index.set("weight_map", map);
    Fixtures.write(folder.resolve("model.safetensors.index.json"), index.toString());
    return folder;
  }

  @Test
  void shardsAreRead() throws IOException {
    ObjectNode config = Fixtures.object(Fixtures.LLAMA);
    assertEqual(load(sharded()), Fixtures.weights(config, memory));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "m-1.safetensors|../m-1.safetensors|expected the name of a file in the same folder",
        "m-1.safetensors|/m-1.safetensors|expected the name of a file in the same folder",
        "m-1.safetensors|m-3.safetensors|m-3.safetensors: there is no such file",
        "weight_map|weight|the object weight_map is missing",
        "model.norm.weight|model.form.weight|tensor model.form.weight should be in m-2"
      })
  void anIndexIsCheckedAgainstItsShards(String from, String to, String sentence)
      throws IOException {
    Path folder = sharded();
    Path index = folder.resolve("model.safetensors.index.json");
    Files.writeString(index, Files.readString(index).replace(from, to));
    assertThatThrownBy(() -> Checkpoint.open(folder))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining(sentence);
  }

  @Test
  void aTensorInTwoShardsIsAnError() throws IOException {
    Path folder = sharded();
    Files.copy(
        folder.resolve("m-1.safetensors"),
        folder.resolve("m-2.safetensors"),
        StandardCopyOption.REPLACE_EXISTING);
    assertThatThrownBy(() -> Checkpoint.open(folder)).hasMessageContaining("is also in m-");
  }
}
