package filigree.checkpoints;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.checkpoints.CheckpointWriter.Contents;
import filigree.tensor.DType;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import filigree.transformer.InitialWeights;
import filigree.transformer.ModelConfig;
import filigree.transformer.ModelConfig.ParameterSpec;
import filigree.transformer.Parameters;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class CheckpointWriterTest {
  @TempDir Path parent;

  private final Workspace memory = new Workspace("test");

  @AfterEach
  void free() {
    memory.close();
  }

  private Contents contents(String config) {
    ObjectNode json = Fixtures.object(config);
    return new Contents(json, Optional.empty(), Fixtures.weights(json, memory), Optional.empty());
  }

  private Contents scaled(String config, float first) {
    Contents contents = contents(config);
    Map<String, Tensor> weights = new LinkedHashMap<>(contents.weights());
    float[] values = new float[(int) weights.get("norm.weight").size()];
    Arrays.fill(values, first);
    weights.put("norm.weight", Tensor.of(memory, Shape.of(values.length), values));
    return new Contents(contents.config(), Optional.empty(), weights, Optional.empty());
  }

  private double normOf(Path folder) {
    try (Checkpoint checkpoint = Checkpoint.open(folder)) {
      return checkpoint.weights(memory).get("norm.weight").get(0);
    }
  }

  private void assertOnly(Path... expected) throws IOException {
    try (Stream<Path> files = Files.list(parent)) {
      assertThat(files).containsExactlyInAnyOrder(expected);
    }
  }

  /** The files of Hugging Face's own writer and ours are the same, byte for byte. */
  @ParameterizedTest
  @ValueSource(strings = {"babyllama", "stories260k", "gpt2-induction", "olmo2-golden"})
  void aRealModelReadAndWrittenIsTheSame(String name) throws IOException {
    Path source = SharedData.require("checkpoints").resolve(name);
    Path copy = parent.resolve("copy");
    try (Checkpoint checkpoint = Checkpoint.open(source)) {
      CheckpointWriter.write(
          copy,
          new Contents(
              checkpoint.configJson(),
              Optional.empty(),
              checkpoint.weights(memory),
              Optional.of(source)));
    }
    assertThat(copy.resolve("model.safetensors"))
        .hasSameBinaryContentAs(source.resolve("model.safetensors"));
    if (!name.equals("olmo2-golden")) { // which has none
      assertThat(copy.resolve("tokenizer.json"))
          .hasSameBinaryContentAs(source.resolve("tokenizer.json"));
    }
    assertThat(Json.readObject(copy.resolve("config.json")))
        .isEqualTo(Json.readObject(source.resolve("config.json")));
    assertOnly(copy);
  }

  @ParameterizedTest
  @ValueSource(strings = {Fixtures.GPT2, Fixtures.LLAMA})
  void aNewModelComesBackBitForBit(String config) {
    Contents contents = contents(config);
    // The bits of a signalling NaN and of minus zero.
    Tensor strange =
        Tensor.ofInts(
            memory,
            contents.weights().get("blocks.1.attn.k.weight").shape(),
            filled((int) contents.weights().get("blocks.1.attn.k.weight").size()));
    contents
        .weights()
        .put("blocks.1.attn.k.weight", Tensor.wrap(strange.bytes(), strange.shape(), DType.F32));
    Path folder = parent.resolve("a/b/model");
    CheckpointWriter.write(folder, contents);
    try (Checkpoint checkpoint = Checkpoint.open(folder)) {
      Map<String, Tensor> read = checkpoint.weights(memory);
      contents
          .weights()
          .forEach(
              (name, tensor) ->
                  assertThat(read.get(name).bytes().mismatch(tensor.bytes()))
                      .as(name)
                      .isEqualTo(-1));
      assertThat(checkpoint.configJson()).isEqualTo(contents.config());
    }
  }

  private static int[] filled(int size) {
    int[] out = new int[size];
    for (int i = 0; i < size; i++) {
      out[i] = i % 2 == 0 ? 0x7f800001 + i : 0x80000000;
    }
    return out;
  }

  @Test
  void settingsGoUnderTheirOwnKeyAndTheTypeIsRight() {
    ObjectNode config = Fixtures.object(Fixtures.GPT2);
    config.put("torch_dtype", "float16");
    Path folder = parent.resolve("model");
    CheckpointWriter.write(
        folder,
        new Contents(
            config,
            Optional.of(Fixtures.object("{\"gates\": [1, 2]}")),
            Fixtures.weights(config, memory),
            Optional.empty()));
    try (Checkpoint checkpoint = Checkpoint.open(folder)) {
      assertThat(checkpoint.gates()).contains(Fixtures.object("{\"gates\": [1, 2]}"));
      ObjectNode written = checkpoint.configJson();
      assertThat(written.get("torch_dtype").asText()).isEqualTo("float32");
      assertThat(written.get("architectures")).isEqualTo(config.get("architectures"));
    }
  }

  @Test
  void nothingIsOverwritten() throws IOException {
    Path folder = Files.createDirectory(parent.resolve("model"));
    CheckpointWriter.write(folder, scaled(Fixtures.GPT2, 1));
    assertThatThrownBy(() -> CheckpointWriter.write(folder, scaled(Fixtures.GPT2, 2)))
        .isInstanceOf(CheckpointException.class)
        .hasMessage(folder + ": the folder is not empty and is not overwritten; choose another");
    assertThat(normOf(folder)).isEqualTo(1);
    assertOnly(folder);
    Path file = Fixtures.write(parent.resolve("file"), "x");
    assertThatThrownBy(() -> CheckpointWriter.write(file, scaled(Fixtures.GPT2, 2)))
        .hasMessageContaining("a file is in the way");
  }

  @Test
  void incompleteWeightsAreRefusedInOneError() throws IOException {
    Contents contents = contents(Fixtures.LLAMA);
    Map<String, Tensor> weights = new LinkedHashMap<>(contents.weights());
    weights.remove("head.weight");
    weights.put("strange", weights.get("norm.weight"));
    weights.put("norm.weight", Tensor.ofInts(memory, Shape.of(8), new int[8]));
    Path folder = parent.resolve("model");
    assertThatThrownBy(
            () ->
                CheckpointWriter.write(
                    folder,
                    new Contents(contents.config(), Optional.empty(), weights, Optional.empty())))
        .isInstanceOf(CheckpointException.class)
        .hasMessage(
            folder
                + ": the weights do not fit the config: missing parameters: head.weight; unknown"
                + " parameters: strange; parameters that contradict the config: norm.weight found"
                + " I32 [8], expected F32, F64, BF16 or F16 [8]");
    assertOnly();
  }

  private static List<String> names(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.map(file -> file.getFileName().toString()).sorted().toList();
    }
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 700, 1500, 1_000_000})
  void shardsHoldWhatOneFileHolds(long maxBytes) throws IOException {
    Contents contents = contents(Fixtures.GPT_NEOX);
    Path folder = parent.resolve("model");
    CheckpointWriter.write(folder, contents, new CheckpointWriter.Shards(maxBytes));
    List<String> names = names(folder);
    long total = 0;
    for (Tensor tensor : contents.weights().values()) {
      total += tensor.byteSize();
    }
    if (maxBytes > total) {
      assertThat(names).containsExactly("config.json", "model.safetensors");
    } else {
      int shards = names.size() - 2;
      assertThat(shards).isGreaterThan(1);
      assertThat(names)
          .contains("model.safetensors.index.json")
          .contains("model-%05d-of-%05d.safetensors".formatted(1, shards))
          .contains("model-%05d-of-%05d.safetensors".formatted(shards, shards));
      ObjectNode index = Json.readObject(folder.resolve("model.safetensors.index.json"));
      assertThat(index.at("/weight_map").size()).isEqualTo(1 + 2 * 12 + 3);
      assertThat(index.at("/metadata/total_size").asLong()).isEqualTo(total);
      for (String name : names) {
        if (name.endsWith(".safetensors")) {
          try (Safetensors file = Safetensors.open(folder.resolve(name))) {
            long bytes = file.tensors().values().stream().mapToLong(StoredTensor::byteSize).sum();
            assertThat(bytes <= maxBytes || file.tensors().size() == 1).isTrue();
          }
        }
      }
    }
    try (Checkpoint checkpoint = Checkpoint.open(folder)) {
      Map<String, Tensor> read = checkpoint.storedWeights(memory);
      contents
          .weights()
          .forEach(
              (name, tensor) ->
                  assertThat(read.get(name).bytes().mismatch(tensor.bytes())).isEqualTo(-1));
    }
    // In the place of the shards, whatever their number.
    CheckpointWriter.replace(folder, contents, new CheckpointWriter.Shards(2000));
    CheckpointWriter.replace(folder, contents);
    assertThat(names(folder)).containsExactly("config.json", "model.safetensors");
    assertOnly(folder);
  }

  /** Drawn tensor by tensor, as Parameters.random draws them in memory; bfloat16 is rounded. */
  @ParameterizedTest
  @CsvSource({"gpt2, F32", "gpt2, BF16", "gpt_neox, F32", "gpt_neox, BF16", "olmo, BF16"})
  void initialWeightsAreThoseOfTheSeed(String family, DType type) {
    ObjectNode config = Fixtures.object(Fixtures.config(family));
    ModelConfig model = ConfigJson.of("test", config).model();
    Parameters.Draw draw = new Parameters.Draw(0.02, 9);
    List<Long> progress = new ArrayList<>();
    Path folder = parent.resolve("model");
    List<String> files =
        CheckpointWriter.initialise(
            folder,
            new CheckpointWriter.Initial(
                config, new InitialWeights(model, draw), type, Optional.empty(), progress::add),
            new CheckpointWriter.Shards(400));
    assertThat(files).hasSizeGreaterThan(1).allSatisfy(f -> assertThat(folder.resolve(f)).exists());
    assertThat(progress).isSorted().endsWith(model.parameterCount() * type.bytes());
    Map<String, Tensor> expected = Parameters.random(model, DType.F32, memory, draw).tensors();
    try (Checkpoint checkpoint = Checkpoint.open(folder)) {
      assertThat(checkpoint.configJson().get("torch_dtype").asText())
          .isEqualTo(type == DType.F32 ? "float32" : "bfloat16");
      Map<String, Tensor> weights = checkpoint.weights(memory);
      expected.forEach(
          (name, tensor) -> {
            for (long i = 0; i < tensor.size(); i++) {
              double exact = tensor.get(i);
              double rounding = type == DType.F32 ? 0 : Math.abs(exact) * 0x1p-8;
              assertThat(weights.get(name).get(i)).isBetween(exact - rounding, exact + rounding);
            }
          });
    }
  }

  @Test
  void partsOfOneTensorAreOfOneType() {
    Contents contents = contents(Fixtures.GPT2);
    Map<String, Tensor> weights = new LinkedHashMap<>(contents.weights());
    weights.put("blocks.0.attn.k.bias", Tensor.of(memory, DType.F64, Shape.of(6), new double[6]));
    assertThatThrownBy(
            () ->
                CheckpointWriter.write(
                    parent.resolve("model"),
                    new Contents(contents.config(), Optional.empty(), weights, Optional.empty())))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining(
            "transformer.h.0.attn.c_attn.bias is made of parts of the types [F32, F64]");
  }

  /** Every type, in every layout, with a signalling NaN and a minus zero; the config says which. */
  @ParameterizedTest
  @CsvSource({
    "gpt2, BF16, bfloat16", "gpt2, F16, float16", "gpt2, F64, float64",
    "gpt_neox, BF16, bfloat16", "gpt_neox, F16, float16", "gpt_neox, F64, float64",
    "gpt_neox, F32, float32", "qwen2, BF16, bfloat16", "olmo2, F64, float64"
  })
  void everyTypeComesBackBitForBit(String family, DType type, String torchName) {
    ObjectNode config = Fixtures.object(Fixtures.config(family)).put("torch_dtype", "float8");
    Map<String, Tensor> weights = new LinkedHashMap<>();
    int next = 0;
    for (ParameterSpec spec : ConfigJson.of("test", config).model().parameters()) {
      byte[] bits = new byte[(int) spec.shape().size() * type.bytes()];
      for (int i = 0; i < bits.length; i++) {
        bits[i] = (byte) (next++ * 37); // every bit pattern of the upper bytes comes
      }
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment bytes = arena.allocate(bits.length, 8).copyFrom(MemorySegment.ofArray(bits));
        weights.put(spec.name(), Tensor.wrap(bytes, spec.shape(), type).copy(memory));
      }
    }
    Path folder = parent.resolve("model");
    CheckpointWriter.write(
        folder, new Contents(config, Optional.empty(), weights, Optional.empty()));
    try (Checkpoint checkpoint = Checkpoint.open(folder)) {
      assertThat(checkpoint.configJson().get("torch_dtype").asText()).isEqualTo(torchName);
      Map<String, Tensor> read = checkpoint.storedWeights(memory);
      assertThat(read.keySet()).containsExactlyInAnyOrderElementsOf(weights.keySet());
      weights.forEach(
          (name, tensor) -> {
            assertThat(read.get(name).dtype()).isEqualTo(type);
            assertThat(read.get(name).bytes().mismatch(tensor.bytes())).as(name).isEqualTo(-1);
          });
    }
  }

  @Test
  void replacingLeavesTheNewOneOnly() throws IOException {
    Path folder = parent.resolve("model");
    CheckpointWriter.replace(folder, scaled(Fixtures.LLAMA, 1));
    Fixtures.write(folder.resolve("tokenizer_config.json"), "{}");
    Contents next = scaled(Fixtures.LLAMA, 2);
    CheckpointWriter.replace(
        folder, new Contents(next.config(), Optional.empty(), next.weights(), Optional.of(folder)));
    assertThat(normOf(folder)).isEqualTo(2);
    assertThat(folder.resolve("tokenizer_config.json")).hasContent("{}");
    assertOnly(folder);
  }

  @Test
  void replacingRefusesAFolderOfOtherThings() throws IOException {
    Path folder = Files.createDirectory(parent.resolve("photos"));
    Fixtures.write(folder.resolve("cat"), "x");
    assertThatThrownBy(() -> CheckpointWriter.replace(folder, scaled(Fixtures.LLAMA, 1)))
        .hasMessageContaining("the folder is not empty");
    assertThat(folder.resolve("cat")).exists();
  }

  @Test
  void aKillBetweenTheRenamesIsRecovered() throws IOException {
    Path folder = parent.resolve("model");
    CheckpointWriter.write(folder, scaled(Fixtures.LLAMA, 1));
    Path previous = parent.resolve("model.previous");
    Files.move(folder, previous);
    assertThatThrownBy(() -> Checkpoint.open(folder)).hasMessageContaining(previous.toString());
    CheckpointWriter.recover(folder);
    assertThat(normOf(folder)).isEqualTo(1);
    assertOnly(folder);
  }

  @Test
  void aKillBeforeTheOldOneIsGoneIsRecovered() throws IOException {
    Path folder = parent.resolve("model");
    CheckpointWriter.write(folder, scaled(Fixtures.LLAMA, 2));
    Files.createDirectory(parent.resolve("model.previous"));
    CheckpointWriter.recover(folder);
    assertThat(normOf(folder)).isEqualTo(2);
    assertOnly(folder);
  }

  @Test
  void halfWrittenFoldersOfDeadProcessesAreRemoved() throws IOException {
    Path folder = parent.resolve("model");
    CheckpointWriter.write(folder, scaled(Fixtures.LLAMA, 1));
    // No process can have this number: the kernel's limit is 2^22.
    Fixtures.write(
        Files.createDirectory(parent.resolve(".model.999999999-1.tmp")).resolve("x"), "x");
    Path alive =
        Files.createDirectory(
            parent.resolve(".model." + ProcessHandle.current().pid() + "-999.tmp"));
    Path other = Files.createDirectory(parent.resolve(".models.999999999-1.tmp"));
    CheckpointWriter.recover(folder);
    assertOnly(folder, alive, other);
  }

  @Test
  void aFailedReplacementKeepsTheOldOne() throws IOException {
    Path folder = parent.resolve("model");
    CheckpointWriter.write(folder, scaled(Fixtures.LLAMA, 1));
    Contents broken = scaled(Fixtures.LLAMA, 2);
    Map<String, Tensor> weights = new LinkedHashMap<>(broken.weights());
    weights.remove("norm.weight");
    assertThatThrownBy(
            () ->
                CheckpointWriter.replace(
                    folder,
                    new Contents(broken.config(), Optional.empty(), weights, Optional.empty())))
        .isInstanceOf(CheckpointException.class);
    assertThat(normOf(folder)).isEqualTo(1);
    assertOnly(folder);
  }
}
