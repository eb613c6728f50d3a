package filigree.test.golden;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.test.Engine;
import filigree.test.SharedData;
import filigree.transformer.Gates;
import filigree.transformer.Generator;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Greedy continuation against the oracle, token by token. On the way the two best logits are never
 * nearer than 0.04 and no gate lies within 2e-5 of its threshold, so float32 must give the same
 * ids.
 */
class GenerationGoldenTest {
  private static final JsonNode FILE = Golden.read("generation-stories260k.json");

  /** One line of the file. */
  record Example(JsonNode golden) {
    Gates gates() {
      return golden.path("gates").asText().equals("dense")
          ? Gates.dense()
          : new Gates.Hard(golden.path("gate_bias").doubleValue());
    }

    int[] ids() {
      return Golden.integers(golden.path("ids"));
    }

    @Override
    public String toString() {
      return golden.path("gates").asText() + " " + golden.path("gate_bias");
    }
  }

  static Stream<Example> examples() {
    return Golden.each(FILE.path("cases")).map(Example::new);
  }

  @Test
  void roundingCannotChangeAToken() {
    assertThat(examples())
        .hasSize(2)
        .allSatisfy(
            example -> {
              assertThat(example.golden().path("near_pairs").intValue()).isZero();
              assertThat(example.golden().path("min_margin").doubleValue()).isGreaterThan(1e-3);
            });
  }

  @ParameterizedTest
  @MethodSource("examples")
  void greedyTokensAreTheOracles(Example example) {
    try (GoldenModel model = GoldenModel.open("stories260k", DType.F32);
        Kernels kernels = Engine.CPU_VECTOR_2.open()) {
      var tokenizer = model.checkpoint().requireTokenizer();
      int[] prompt = tokenizer.encode(FILE.path("prompt").asText());
      assertThat(prompt).containsExactly(Golden.integers(FILE.path("prompt_ids")));
      Generator generator = new Generator(model.transformer(), kernels, example.gates());
      int most = FILE.path("max_tokens").intValue();
      for (int time = 0; time < 2; time++) {
        List<Integer> told = new ArrayList<>();
        int[] ids = generator.generate(prompt, most, Generator.Sampling.GREEDY, id -> told.add(id));
        assertThat(ids).containsExactly(example.ids());
        assertThat(told).containsExactlyElementsOf(IntStream.of(ids).boxed().toList());
        int[] all = IntStream.concat(IntStream.of(prompt), IntStream.of(ids)).toArray();
        assertThat(tokenizer.decode(all)).isEqualTo(example.golden().path("text").asText());
      }
    }
  }

  /** From the command line: text in, text out. */
  @ParameterizedTest
  @MethodSource("examples")
  void verbContinuesTheText(Example example) {
    JsonNode found =
        EvalGoldenTest.json(
            "generate",
            SharedData.require("checkpoints/stories260k").toString(),
            "--prompt",
            FILE.path("prompt").asText(),
            "--max-tokens",
            FILE.path("max_tokens").asText(),
            "--gates",
            example.golden().path("gates").asText(),
            "--gate-bias",
            example.golden().path("gate_bias").asText(),
            "--json");
    assertThat(Golden.integers(found.path("ids"))).containsExactly(example.ids());
    assertThat(found.path("text")).isEqualTo(example.golden().path("continuation"));
  }
}
