package filigree.test.golden;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import filigree.cli.Main;
import filigree.test.SharedData;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.assertj.core.data.Offset;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * {@code filigree eval} on real text, from the command line to the printed object, against the
 * oracle. The cases of 40 documents are too slow to run here; docs/results.md shows their commands
 * and results.
 */
class EvalGoldenTest {
  private static final ObjectMapper MAPPER = new ObjectMapper();

  /** Most documents of a case that is quick. */
  private static final int QUICK = 8;

  /** One line of eval.json. */
  record Example(JsonNode golden) {
    String text(String key) {
      return golden.path(key).asText();
    }

    double number(String key) {
      return golden.path(key).doubleValue();
    }

    boolean dense() {
      return text("gates").equals("dense");
    }

    boolean quick() {
      return golden.path("limit").intValue() <= QUICK;
    }

    @Override
    public String toString() {
      return "%s, %s documents, context %s, %s %s"
          .formatted(
              text("checkpoint"), text("limit"), text("context"), text("gates"), text("gate_bias"));
    }
  }

  static Stream<Example> all() {
    return Golden.each(Golden.read("eval.json").path("cases")).map(Example::new);
  }

  static Stream<Example> quick() {
    return all().filter(Example::quick);
  }

  /** The split is by size alone, and nothing falls between. */
  @Test
  void slowCasesAreThoseOfFortyDocuments() {
    assertThat(quick()).hasSize(9);
    assertThat(all().filter(example -> !example.quick()))
        .hasSize(4)
        .allMatch(example -> example.text("limit").equals("40"));
  }

  @ParameterizedTest
  @MethodSource("quick")
  void evalAgreesWithTheOracle(Example example) {
    Path model = SharedData.require("checkpoints/" + example.text("checkpoint"));
    Path text = SharedData.require(Golden.read("eval.json").path("data").asText());
    JsonNode found =
        json(
            "eval",
            model.toString(),
            "--data",
            text.toString(),
            "--limit",
            example.text("limit"),
            "--context",
            example.text("context"),
            "--gates",
            example.text("gates"),
            "--gate-bias",
            example.text("gate_bias"),
            "--threads",
            "2",
            "--json");
    assertThat(found.path("tokens").longValue())
        .isEqualTo(example.golden().path("tokens").asLong());
    assertThat(found.path("documents")).isEqualTo(example.golden().path("documents"));
    assertThat(found.path("ce").doubleValue()).isCloseTo(example.number("ce"), within(1e-5));
    assertThat(found.path("perplexity").doubleValue())
        .isCloseTo(example.number("perplexity"), within(1e-4));
    double pairs = example.number("causal_pairs");
    double queries = example.number("queries");
    if (example.dense()) {
      // The file says what hard gates would open; the density of a dense model as such is 1.
      assertThat(found.path("density").doubleValue()).isEqualTo(1);
      assertThat(found.path("expected_density").doubleValue()).isEqualTo(1);
      assertThat(found.path("edges_per_query").doubleValue())
          .isCloseTo(pairs / queries, within(1e-9));
      assertThat(found.path("empty_rows").longValue()).isZero();
    } else {
      // A few gates lie within rounding of their threshold: README of the oracle.
      double few = 8;
      assertThat(found.path("density").doubleValue())
          .isCloseTo(example.number("density"), within(1e-6));
      assertThat(found.path("density").doubleValue() * pairs)
          .isCloseTo(example.number("open"), within(few));
      assertThat(found.path("expected_density").doubleValue())
          .isCloseTo(example.number("expected_density"), within(1e-6));
      assertThat(found.path("edges_per_query").doubleValue())
          .isCloseTo(example.number("edges_per_query"), within(few / queries));
      assertThat(found.path("empty_rows").doubleValue())
          .isCloseTo(example.number("empty_rows"), within(few));
    }
  }

  private static Offset<Double> within(double tolerance) {
    return Offset.offset(tolerance);
  }

  /** Runs a verb that must succeed and print one JSON object. */
  static JsonNode json(String... args) {
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    int exit = Main.run(args, new PrintWriter(out, true), new PrintWriter(err, true));
    assertThat(exit).as(err.toString()).isZero();
    try {
      return MAPPER.readTree(out.toString());
    } catch (IOException e) {
      throw new UncheckedIOException(out.toString(), e);
    }
  }
}
