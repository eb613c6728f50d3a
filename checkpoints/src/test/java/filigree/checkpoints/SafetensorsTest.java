package filigree.checkpoints;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import filigree.tensor.DType;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.SequencedMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SafetensorsTest {
  @TempDir Path folder;

  private final Workspace memory = new Workspace("test");

  @AfterEach
  void free() {
    memory.close();
  }

  @Test
  void everySharedFileHasItsExpectedOutcome() {
    Path shared = SharedData.require("safetensors");
    Map<String, String> sentences =
        Map.of(
            "MetadataIncompleteBuffer", "the end of the file",
            "HeaderTooLarge", "more than the limit of 100000000",
            "HeaderTooSmall", "too few for the 8 bytes",
            "InvalidHeaderLength", "and only 0 follow",
            "TensorInvalidInfo", "does not match");
    int seen = 0;
    for (JsonNode entry : readArray(shared.resolve("manifest.json"))) {
      Path file = shared.resolve(entry.get("file").asText());
      String expected = entry.get("expected").asText();
      seen++;
      if (expected.equals("OK")) {
        Safetensors.open(file).close();
      } else {
        assertThatThrownBy(() -> Safetensors.open(file))
            .isInstanceOf(CheckpointException.class)
            .hasMessageContaining(file.toString())
            .hasMessageContaining(sentences.get(expected));
      }
    }
    assertThat(seen).isEqualTo(9);
  }

  private static JsonNode readArray(Path file) {
    try {
      return Json.parse(Json.readText(file, 1 << 20));
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void readsBothTypesOfTheSharedFile() {
    Path file = SharedData.require("safetensors").resolve("py_two_dtypes.safetensors");
    try (Safetensors open = Safetensors.open(file)) {
      assertThat(open.tensors()).hasSize(2);
      open.tensors()
          .values()
          .forEach(
              stored ->
                  assertThat(open.copy(stored.name(), memory).byteSize())
                      .isEqualTo(stored.byteSize()));
    }
  }

  /** Quotes stand for double quotes, so that the table can be read. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "[]|does not start with '{'",
        "`  {}`|does not start with '{'",
        "{} 1|followed by more than spaces",
        "{}}|not valid JSON",
        "{'a':1}|entry a is not an object",
        "{'a':{'dtype':'F32','shape':[1],'data_offsets':[0,4]|not valid JSON",
        "{'a':{'dtype':'F32','shape':[1],'data_offsets':[0,4]},'a':{}}|Duplicate field 'a'",
        "{'a':{'dtype':'F32','dtype':'F32','shape':[1],'data_offsets':[0,4]}}|Duplicate field",
        "{'a':{'dtype':'F33','shape':[1],'data_offsets':[0,4]}}|unknown dtype F33",
        "{'a':{'dtype':3,'shape':[1],'data_offsets':[0,4]}}|unknown dtype",
        "{'a':{'dtype':'F32','data_offsets':[0,4]}}|lacks one of",
        "{'a':{'dtype':'F32','shape':1,'data_offsets':[0,4]}}|shape that is not an array",
        "{'a':{'dtype':'F32','shape':[-1],'data_offsets':[0,4]}}|whole numbers >= 0",
        "{'a':{'dtype':'F32','shape':[1.0],'data_offsets':[0,4]}}|whole numbers >= 0",
        "{'a':{'dtype':'F32','shape':[[1]],'data_offsets':[0,4]}}|whole numbers >= 0",
        "{'a':{'dtype':'F32','shape':[99999999999999999999],'data_offsets':[0,4]}}|whole numbers",
        "{'a':{'dtype':'F32','shape':[4294967296,4294967296],'data_offsets':[0,4]}}|more than 2^63",
        "{'a':{'dtype':'F32','shape':[4611686018427387904],'data_offsets':[0,4]}}|does not match",
        "{'a':{'dtype':'F32','shape':[1],'data_offsets':[0]}}|has 1 data_offsets",
        "{'a':{'dtype':'F32','shape':[1],'data_offsets':[4,0]}}|takes bytes 4 to 0",
        "{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}}|ends at byte 8, and there are 4",
        "{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,4]}}|takes bytes 0 to 4",
        "{'a':{'dtype':'F4','shape':[1],'data_offsets':[0,1]}}|takes bytes 0 to 1",
        "{'a':{'dtype':'U8','shape':[3],'data_offsets':[0,3]}}|end at byte 3 of the data",
        "{'a':{'dtype':'U8','shape':[3],'data_offsets':[1,4]}}|leave a hole",
        "{'a':{'dtype':'U8','shape':[3],'data_offsets':[0,3]},'b':{'dtype':'U8','shape':[2],'data_offsets':[2,4]}}|overlap",
        "{'__metadata__':{'a':1}}|__metadata__ key a is not a string",
        "{'__metadata__':'a'}|entry __metadata__ is not an object",
        "{}|end at byte 0 of the data, expected 4"
      })
  void refusesWithASentence(String header, String sentence) {
    Path file =
        Fixtures.safetensors(folder.resolve("bad.safetensors"), header.replace('\'', '"'), 4);
    assertThatThrownBy(() -> Safetensors.open(file))
        .isInstanceOf(CheckpointException.class)
        .hasMessageStartingWith(file + ": ")
        .hasMessageContaining(sentence);
  }

  @Test
  void refusesWhatIsNotAFile() {
    assertThatThrownBy(() -> Safetensors.open(folder)).hasMessage(folder + ": this is not a file");
    Path absent = folder.resolve("absent");
    assertThatThrownBy(() -> Safetensors.open(absent))
        .hasMessage(absent + ": there is no such file");
  }

  @Test
  void refusesAHeaderThatIsNotUtf8() {
    byte[] bytes = {3, 0, 0, 0, 0, 0, 0, 0, '{', (byte) 0xC0, '}'};
    Path file = Fixtures.write(folder.resolve("latin.safetensors"), bytes);
    assertThatThrownBy(() -> Safetensors.open(file))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("the header is not UTF-8");
  }

  @Test
  void copiesATensorThatDoesNotStartOnItsAlignment() {
    Path file =
        Fixtures.safetensors(
            folder.resolve("odd.safetensors"),
            """
            {"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},\
            "b":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}}\
            """,
            9);
    try (Safetensors open = Safetensors.open(file)) {
      Tensor tensor = open.map("b", memory);
      assertThat(tensor.address() % 4).isZero();
      assertThat(memory.reservedBytes()).isPositive();
      assertThat(tensor.toFloats()).isEqualTo(open.copy("b", memory).toFloats());
      assertThat(Float.floatToRawIntBits(tensor.toFloats()[0])).isEqualTo(0x05040302);
    }
  }

  @Test
  void mapsAnAlignedTensorWithoutACopy() {
    Path file = writeThree();
    try (Safetensors open = Safetensors.open(file);
        Workspace untouched = new Workspace("untouched")) {
      assertThat(open.map("b", untouched).toFloats()).containsExactly(1, 2, 3, 4, 5, 6);
      assertThat(untouched.reservedBytes()).isZero();
    }
  }

  @Test
  void namesTheTypeThatCannotBeLoaded() {
    Path file =
        Fixtures.safetensors(
            folder.resolve("u64.safetensors"),
            "{\"a\":{\"dtype\":\"U64\",\"shape\":[1],\"data_offsets\":[0,8]}}",
            8);
    try (Safetensors open = Safetensors.open(file)) {
      assertThatThrownBy(() -> open.copy("a", memory))
          .hasMessageContaining("tensor a is stored as U64");
      assertThatThrownBy(() -> open.copy("z", memory))
          .hasMessageContaining("no tensor z among the 1");
    }
  }

  private Path writeThree() {
    SequencedMap<String, Tensor> tensors = new LinkedHashMap<>();
    tensors.put("b", Tensor.of(memory, Shape.of(2, 3), 1, 2, 3, 4, 5, 6));
    tensors.put("a", Tensor.of(memory, DType.F64, Shape.of(), 0.1));
    tensors.put("empty", Tensor.of(memory, Shape.of(0, 4)));
    Path file = folder.resolve("three.safetensors");
    Safetensors.write(file, tensors, Map.of("format", "pt"), Safetensors.IfExists.FAIL);
    return file;
  }

  @Test
  void writesWhatHuggingFaceWouldAndReadsItBack() throws IOException {
    Path file = writeThree();
    String header =
        """
        {"__metadata__":{"format":"pt"},\
        "b":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},\
        "a":{"dtype":"F64","shape":[],"data_offsets":[24,32]},\
        "empty":{"dtype":"F32","shape":[0,4],"data_offsets":[32,32]}}\
        """;
    byte[] bytes = Files.readAllBytes(file);
    int padded = (header.length() + 7) / 8 * 8;
    assertThat(bytes).hasSize(8 + padded + 32);
    assertThat(new String(bytes, 8, padded, StandardCharsets.UTF_8)).startsWith(header);
    assertThat(new String(bytes, 8, padded, StandardCharsets.UTF_8).strip()).isEqualTo(header);
    try (Safetensors open = Safetensors.open(file)) {
      assertThat(open.metadata()).isEqualTo(Map.of("format", "pt"));
      assertThat(open.tensors().keySet()).containsExactly("b", "a", "empty");
      assertThat(open.copy("a", memory).item()).isEqualTo(0.1);
      assertThat(open.copy("empty", memory).shape()).isEqualTo(Shape.of(0, 4));
    }
  }

  @Test
  void overwritesOnlyWhereTold() throws IOException {
    Path file = Fixtures.write(folder.resolve("x.safetensors"), "precious");
    SequencedMap<String, Tensor> none = new LinkedHashMap<>();
    assertThatThrownBy(() -> Safetensors.write(file, none, Map.of(), Safetensors.IfExists.FAIL))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("exists and is not overwritten");
    assertThat(file).hasContent("precious");
    Safetensors.write(file, none, Map.of(), Safetensors.IfExists.REPLACE);
    assertThat(Files.readAllBytes(file)).hasSize(16);
    assertOnly(file);
  }

  @Test
  void aFailedWriteLeavesNothingBehind() throws IOException {
    // A tensor over a file that was cut short: the system's write fails in the middle, as it does
    // on a full disk.
    Path backing = Fixtures.write(folder.resolve("backing"), new byte[1 << 20]);
    Path target = folder.resolve("target.safetensors");
    try (Arena arena = Arena.ofConfined();
        FileChannel channel =
            FileChannel.open(backing, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
      SequencedMap<String, Tensor> tensors = new LinkedHashMap<>();
      tensors.put(
          "a",
          Tensor.wrap(
              channel.map(FileChannel.MapMode.READ_ONLY, 0, 1 << 20, arena),
              Shape.of(1 << 18),
              DType.F32));
      channel.truncate(0);
      assertThatThrownBy(
              () -> Safetensors.write(target, tensors, Map.of(), Safetensors.IfExists.FAIL))
          .isInstanceOf(CheckpointException.class)
          .hasMessageStartingWith(target + ": writing failed after ")
          .hasMessageContaining("of 1048");
    }
    assertOnly(backing);
  }

  private void assertOnly(Path file) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      assertThat(files).containsExactly(file);
    }
  }

  @Test
  void aFileCutShortWhileItIsOpenIsAnErrorNotACrash() throws IOException {
    SequencedMap<String, Tensor> tensors = new LinkedHashMap<>();
    tensors.put("small", Tensor.of(memory, Shape.of(3), 1, 2, 3));
    tensors.put("large", memory.allocate(Shape.of(1 << 20), DType.F32));
    Path file = folder.resolve("cut.safetensors");
    Safetensors.write(file, tensors, Map.of(), Safetensors.IfExists.FAIL);
    // To nothing, so that the first page is gone, and to where the tensor's last page reads as
    // zeros without an error from the system.
    for (long length : new long[] {Files.size(file) - 1, 4096 * 10, 0}) {
      try (Safetensors open = Safetensors.open(file);
          FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
        byte[] whole = Files.readAllBytes(file);
        channel.truncate(length);
        for (String name : tensors.keySet()) {
          assertThatThrownBy(() -> open.copy(name, memory))
              .isInstanceOf(CheckpointException.class)
              .hasMessageContaining(
                  "tensor " + name + " could not be read: the file was cut short");
        }
        Files.write(file, whole);
      }
    }
  }
}
