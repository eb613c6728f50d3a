package filigree.test.golden;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import filigree.tensor.NoiseKey;
import filigree.tensor.Philox;
import java.util.Arrays;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Philox against Random123's published answers and against the oracle's implementation. */
class PhiloxGoldenTest {
  static Stream<JsonNode> answers() {
    JsonNode file = Golden.read("philox.json");
    return Stream.concat(Golden.each(file.path("published")), Golden.each(file.path("computed")));
  }

  @ParameterizedTest
  @MethodSource("answers")
  void blocksAreThePublishedOnes(JsonNode answer) {
    int[] counter = words(answer.path("counter"));
    int[] key = words(answer.path("key"));
    int[] out = new int[4];
    Philox.block(counter[0], counter[1], counter[2], counter[3], key[0], key[1], out);
    assertThat(hexadecimal(out)).isEqualTo(answer.path("result").asText());
  }

  @Test
  void publishedAnswersAreThere() {
    assertThat(Golden.read("philox.json").path("published")).hasSize(3);
  }

  /** What a gate's noise is drawn from, word by word, so that other engines can repeat a run. */
  @Test
  void gateNoiseIsAPureFunctionOfItsPlace() {
    NoiseKey noise = new NoiseKey(0x123456789abcdef0L, 0x1_0000_0002L, 3);
    int[] derived = new int[4];
    Philox.block(2, 1, 0x46494c47, 0, 0x9abcdef0, 0x12345678, derived);
    assertThat(noise.streamKey()).containsExactly(derived[0], derived[1]);
    int batch = 5;
    int head = 7;
    int query = 11;
    int quad = 13;
    int[] words = new int[4];
    Philox.block(quad, query, head | 3 << 16, batch, derived[0], derived[1], words);
    float[] uniforms = new float[4];
    noise.uniforms(batch, head, query, quad, uniforms);
    for (int i = 0; i < 4; i++) {
      assertThat(uniforms[i]).isEqualTo(((words[i] >>> 9) + 0.5f) / (1 << 23));
    }
  }

  @Test
  void uniformNumbersNeverReachTheEnds() {
    assertThat(NoiseKey.uniform(0)).isEqualTo(0x1p-24f);
    assertThat(NoiseKey.uniform(-1)).isEqualTo(1 - 0x1p-24f).isLessThan(1);
    assertThat(NoiseKey.uniform(0x80000000)).isEqualTo(0.5f + 0x1p-24f);
  }

  /** The sequential stream is blocks of a counter, so that it can be continued anywhere. */
  @Test
  void sequentialStreamCountsBlocks() {
    Philox stream = new Philox(0x1122334455667788L, 9);
    int[] block = new int[4];
    for (int counter = 0; counter < 3; counter++) {
      Philox.block(counter, 0, 9, 0x53455121, 0x55667788, 0x11223344, block);
      for (int word : block) {
        assertThat(stream.nextInt()).isEqualTo(word);
      }
    }
  }

  private static int[] words(JsonNode text) {
    return Arrays.stream(text.asText().split(" "))
        .mapToInt(word -> Integer.parseUnsignedInt(word, 16))
        .toArray();
  }

  private static String hexadecimal(int[] words) {
    return Arrays.stream(words).mapToObj("%08x"::formatted).collect(Collectors.joining(" "));
  }
}
