package filigree.test.circuit;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import filigree.cli.Main;
import filigree.test.SharedData;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import org.junit.jupiter.api.Test;

/** The verb on a model whose attention is known. */
class EdgesVerbTest {
  /** Its makers say: layer 0 attends to the previous token, layer 1 to the induction target. */
  @Test
  void inductionModelReadsThePreviousTokenAndThenTheTarget() throws IOException {
    String model = SharedData.require("checkpoints/gpt2-induction").toString();
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    String[] words = {"edges", model, "--relation", "induction", "--prompts", "50", "--json"};
    int code = Main.run(words, new PrintWriter(out, true), new PrintWriter(err, true));
    assertThat(code).as(err.toString()).isZero();
    JsonNode rows = new ObjectMapper().readTree(out.toString()).path("rows");
    assertThat(rows).hasSize(2);
    assertThat(rows.path(0).path("weight_share").path("previous token").asDouble())
        .isGreaterThan(0.9);
    assertThat(rows.path(1).path("weight_share").path("induction target").asDouble())
        .isGreaterThan(0.95);
    // All edges are open: 16 queries of each prompt with 17 to 32 keys.
    assertThat(rows.path(1).path("queries").asInt()).isEqualTo(50 * 16);
    assertThat(rows.path(1).path("edges_per_query").asDouble()).isEqualTo(24.5);
  }
}
