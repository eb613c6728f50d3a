package filigree.checkpoints;

import static org.assertj.core.api.Assertions.assertThat;

import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.lifecycle.AfterContainer;
import net.jqwik.api.lifecycle.BeforeContainer;

/** Whatever is done to a file, opening and reading it succeeds or fails with a sentence. */
class SafetensorsPropertyTest {
  private static final String HEADER =
      """
      {"__metadata__":{"format":"pt"},\
      "a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},\
      "b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},\
      "c":{"dtype":"I64","shape":[],"data_offsets":[32,40]}}\
      """;

  private static final List<String> FRAGMENTS =
      List.of(
          "-1",
          "0",
          "1e3",
          "18446744073709551616",
          "9223372036854775807",
          "null",
          "true",
          "[",
          "]",
          "{",
          "}",
          "\"",
          ",",
          ":",
          "\"a\"",
          "\"F64\"",
          "\"shape\"",
          "\"\\ud800\"",
          "\\",
          "\u0000",
          "\u00e9",
          "[[[[[[[[",
          "[0,0]",
          "4294967296,4294967296",
          " ",
          "");

  private static Path folder;

  enum Change {
    FLIP,
    CUT,
    LENGTH,
    EDIT,
    APPEND
  }

  record Mutation(Change change, long seed) {}

  @BeforeContainer
  static void makeFolder() throws IOException {
    folder = Files.createTempDirectory("filigree-properties");
  }

  @AfterContainer
  static void removeFolder() {
    AtomicFiles.deleteTree(folder);
  }

  @Provide
  Arbitrary<List<Mutation>> mutations() {
    Arbitrary<Mutation> one =
        Combinators.combine(
                Arbitraries.of(Change.class), Arbitraries.longs().between(0, Long.MAX_VALUE))
            .as(Mutation::new);
    return one.list().ofMinSize(1).ofMaxSize(3);
  }

  @Property(tries = 1000, seed = "1")
  void aChangedFileOpensOrFailsWithASentence(@ForAll("mutations") List<Mutation> mutations)
      throws IOException {
    byte[] bytes =
        Files.readAllBytes(Fixtures.safetensors(folder.resolve("x.safetensors"), HEADER, 40));
    for (Mutation mutation : mutations) {
      bytes = apply(mutation, bytes);
    }
    Path file = Fixtures.write(folder.resolve("x.safetensors"), bytes);
    try (Safetensors open = Safetensors.open(file);
        Workspace memory = new Workspace("property", 1 << 26)) {
      long total = 0;
      for (StoredTensor stored : open.tensors().values()) {
        total += stored.byteSize();
        if (stored.type().dtype().isPresent()) {
          Tensor tensor = open.copy(stored.name(), memory);
          assertThat(tensor.byteSize()).isEqualTo(stored.byteSize());
        }
      }
      assertThat(total).isLessThan(bytes.length);
    } catch (CheckpointException e) {
      assertThat(e).hasMessageStartingWith(file + ": ");
    }
  }

  private static byte[] apply(Mutation mutation, byte[] bytes) {
    Random random = new Random(mutation.seed());
    if (bytes.length < 9) {
      return bytes;
    }
    return switch (mutation.change()) {
      case FLIP -> {
        byte[] out = bytes.clone();
        for (int i = 0; i <= random.nextInt(4); i++) {
          out[random.nextInt(out.length)] ^= (byte) (1 << random.nextInt(8));
        }
        yield out;
      }
      case CUT -> Arrays.copyOf(bytes, random.nextInt(bytes.length));
      case APPEND -> Arrays.copyOf(bytes, bytes.length + random.nextInt(9));
      case LENGTH -> {
        long length =
            random.nextBoolean() ? random.nextLong() : random.nextInt(2 * bytes.length) - 8L;
        byte[] out = bytes.clone();
        ByteBuffer.wrap(out).order(ByteOrder.LITTLE_ENDIAN).putLong(length);
        yield out;
      }
      case EDIT -> edit(bytes, random);
    };
  }

  /**
   * Replaces a piece of the header and keeps its length field right, to reach the deeper checks.
   */
  private static byte[] edit(byte[] bytes, Random random) {
    long length = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getLong();
    if (length <= 0 || length > bytes.length - 8) {
      return bytes;
    }
    int from = 8 + random.nextInt((int) length);
    int to = Math.min(from + random.nextInt(5), 8 + (int) length);
    byte[] inserted =
        FRAGMENTS.get(random.nextInt(FRAGMENTS.size())).getBytes(StandardCharsets.UTF_8);
    ByteBuffer out =
        ByteBuffer.allocate(bytes.length - (to - from) + inserted.length)
            .order(ByteOrder.LITTLE_ENDIAN);
    out.put(bytes, 0, from).put(inserted).put(bytes, to, bytes.length - to);
    out.putLong(0, length - (to - from) + inserted.length);
    return out.array();
  }
}
