package filigree.test.circuit;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import filigree.cli.Main;
import filigree.test.SharedData;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The verb on a model whose circuit is known. */
class CircuitVerbTest {
  @Test
  void inductionTakesAtMostEightOfFifteenEdges(@TempDir Path temp) throws IOException {
    Path model = SharedData.require("checkpoints/gpt2-induction");
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    String[] words = {
      "circuit",
      model.toString(),
      "--task",
      "induction",
      "--method",
      "eap-ig",
      "--level",
      "edge",
      "--out",
      temp.resolve("found").toString(),
      "--json"
    };
    int code = Main.run(words, new PrintWriter(out, true), new PrintWriter(err, true));
    assertThat(code).as(err.toString()).isZero();
    JsonNode json = new ObjectMapper().readTree(out.toString());
    assertThat(json.path("total").asInt()).isEqualTo(15);
    assertThat(json.path("k_at_90").asInt()).isBetween(4, 8);
    assertThat(json.path("explained_effect").asDouble()).isGreaterThanOrEqualTo(0.9);
    assertThat(json.path("accuracy").asDouble()).isGreaterThan(0.9);
  }
}
