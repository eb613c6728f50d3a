package filigree.interp.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Base64;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ReportedAttentionTest {
  @TempDir Path temp;

  private ReportedAttention read(String attention) {
    return ReportedAttention.read(RunFixture.in(temp).with("attention.json", attention).folder())
        .orElseThrow();
  }

  @Test
  void weightsArePackedAsLowerTrianglesLayerByLayer() {
    ReportedAttention.Prompt prompt = read(RunFixture.ATTENTION).prompts().getFirst();
    ByteBuffer packed =
        ByteBuffer.wrap(Base64.getDecoder().decode(prompt.weights().get("dense")))
            .order(ByteOrder.LITTLE_ENDIAN);
    double[] expected = {1, 0.5, 0.5, 0.2, 0.3, 0.5, 1, 0.1, 0.9, 0, 0, 1};

    assertThat(packed.capacity()).isEqualTo(2 * expected.length);
    for (double weight : expected) {
      assertThat((packed.getShort() & 0xFFFF) / 65_535.0).isCloseTo(weight, within(1e-5));
    }
  }

  @Test
  void gatesArePackedAsOneBitPerCausalPair() {
    ReportedAttention.Prompt prompt = read(RunFixture.ATTENTION).prompts().getFirst();

    // Layer 0: query 2 reads key 0, pair 3 of 6. Layer 1: query 2 reads key 2, pair 5 of 6.
    assertThat(Base64.getDecoder().decode(prompt.gates().orElseThrow()))
        .containsExactly(1 << 3, 1 << (6 + 5 - 8));
  }

  @Test
  void folderWithoutAttentionHasNone() {
    assertThat(ReportedAttention.read(RunFixture.in(temp).folder())).isEmpty();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "[0.5, 0.5, 0] | [0.5, 0.5, 0.1] | dense[0][0][1][2]: found 0.1, expected 0, as the key",
        "[0.5, 0.5, 0] | [0.5, 1.5, 0] | dense[0][0][1][1]: found 1.5, expected a share from 0",
        "[0.5, 0.5, 0] | [0.5] | dense[0][0][1]: found 1 keys, expected 3 keys, or 2 up to the",
        "[0.5, 0.5, 0], | '' | dense[0][0]: found 2 queries, expected 3, one per token",
        "[[[0], [0, 0], [0.75, 0, 0]]], | '' | sparse: found 1 layers, expected 2 as in",
        "[[], [], [0]] | [[], [2], [0]] | gates[0][0][1]: found 2.0, expected indices of keys",
        "[[0.333], [0.333]] | [[0.333]] | edges.sparse: found another shape, expected 2 layers",
        "'\"models\": [\"dense\", \"sparse\"]' | '\"models\": []' | models: found no model",
        "'[\"1\", \"+\", \"2\"]' | [] | prompts[0].tokens: found no tokens, expected a list",
      })
  void wrongShapeOrValueIsLocated(String part, String replacement, String message) {
    assertThat(RunFixture.ATTENTION).contains(part);

    assertThatThrownBy(() -> read(RunFixture.ATTENTION.replace(part, replacement)))
        .isInstanceOf(ReportException.class)
        .hasMessageContaining(message)
        .hasMessageEndingWith("; write attention.json again or remove it.");
  }

  @Test
  void brokenJsonIsLocated() {
    assertThatThrownBy(() -> read("{\"models\": [\"dense\",\n"))
        .isInstanceOf(ReportException.class)
        .hasMessageContaining("attention.json: found text that is not the expected JSON at line");
  }
}
