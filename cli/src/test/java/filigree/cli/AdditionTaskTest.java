package filigree.cli;

import static org.assertj.core.api.Assertions.assertThat;

import filigree.interp.task.Contrast;
import filigree.interp.task.Tasks;
import filigree.interp.task.TokenCodec;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The task of one digit of a sum asks exactly what the demo's model was trained to answer. */
class AdditionTaskTest {
  private static final TokenCodec CODEC =
      new TokenCodec() {
        @Override
        public int[] encode(String text) {
          return Addition.encode(text);
        }

        @Override
        public String piece(int id) {
          return Addition.labels(new int[] {id})[0];
        }

        @Override
        public int vocabularySize() {
          return Addition.SYMBOLS.length();
        }
      };

  @ParameterizedTest
  @CsvSource({"units,10,4", "tens,9,3", "hundreds,8,2"})
  void answersAreThoseOfTheDemo(String digit, int position, int place) {
    List<Contrast> all = Tasks.named("addition:digit=" + digit).contrasts(CODEC, 100, 1);
    assertThat(all)
        .hasSize(100)
        .allSatisfy(
            c -> {
              assertThat(c.clean()).hasSize(Addition.TOKENS);
              assertThat(c.position()).isEqualTo(position);
              assertThat(c.correct()).containsExactly(answer(c.clean(), place));
              assertThat(c.incorrect()).containsExactly(answer(c.corrupted(), place));
            });
  }

  private static int answer(int[] problem, int place) {
    int a = 10 * problem[0] + problem[1];
    int b = 10 * problem[3] + problem[4];
    assertThat(problem).containsExactly(Addition.problem(a, b));
    return Addition.encode(Addition.answer(a, b))[place];
  }
}
