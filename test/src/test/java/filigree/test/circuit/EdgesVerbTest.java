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
  /**
   * Layer 0 attends to the previous token where the sequence stands first, layer 1 to the induction
   * target where it stands again.
   */
  @Test
  void inductionModelReadsThePreviousTokenAndThenTheTarget() throws IOException {
    String model = SharedData.require("checkpoints/gpt2-induction").toString();
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    String[] words = {
      "edges", model, "--relation", "induction", "--prefix", ".", "--prompts", "50", "--json"
    };
    int code = Main.run(words, new PrintWriter(out, true), new PrintWriter(err, true));
    assertThat(code).as(err.toString()).isZero();
    JsonNode rows = new ObjectMapper().readTree(out.toString()).path("rows");
    assertThat(rows).hasSize(4);
    JsonNode previous = rows.path(0);
    assertThat(previous.path("group").asText()).isEqualTo("first half");
    assertThat(previous.path("weight_share").path("previous token").asDouble()).isGreaterThan(0.8);
    JsonNode target = rows.path(3);
    assertThat(target.path("group").asText()).isEqualTo("second half");
    assertThat(target.path("weight_share").path("induction target").asDouble()).isGreaterThan(0.9);
    // All edges are open: 14 queries of a prompt's second half have 17 to 30 keys.
    assertThat(target.path("queries").asInt()).isEqualTo(50 * 14);
    assertThat(target.path("edges_per_query").asDouble()).isEqualTo(23.5);
  }
}
