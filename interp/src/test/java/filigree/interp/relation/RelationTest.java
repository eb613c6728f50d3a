package filigree.interp.relation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import filigree.interp.AttentionMaps;
import filigree.interp.task.TaskException;
import filigree.interp.task.TokenCodec;
import filigree.interp.task.ToyCodec;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class RelationTest {
  private static final int ADDITION_TOKENS = 11;

  /** Digits, signs, and a mark before every text. */
  private static TokenCodec letters() {
    return ToyCodec.characters().knowing("abcdefghijklmnopqrstuvwxyz");
  }

  /** Characters without a mark before them. */
  private static final TokenCodec DIGITS =
      new TokenCodec() {
        private static final String SYMBOLS = "0123456789+=?";

        @Override
        public int[] encode(String text) {
          return text.chars().map(SYMBOLS::indexOf).toArray();
        }

        @Override
        public String piece(int id) {
          return SYMBOLS.substring(id, id + 1);
        }

        @Override
        public int vocabularySize() {
          return SYMBOLS.length();
        }
      };

  private static Relation.Prompt sum(int a, int b) {
    int[] wanted = DIGITS.encode("%02d+%02d=?????".formatted(a, b));
    return Relation.named("addition").prompts(DIGITS, ADDITION_TOKENS, 40_000, 1).stream()
        .filter(prompt -> Arrays.equals(prompt.ids(), wanted))
        .findFirst()
        .orElseThrow();
  }

  private static List<String> kinds(Relation.Prompt prompt, int query) {
    return IntStream.rangeClosed(0, query).mapToObj(key -> prompt.kind(query, key)).toList();
  }

  @Test
  void columnsOfASumOwnTheirDigits() {
    Relation.Prompt prompt = sum(36, 28);
    assertThat(kinds(prompt, 10))
        .containsExactly(
            "elsewhere",
            "own digits",
            "elsewhere",
            "elsewhere",
            "own digits",
            "elsewhere",
            "elsewhere",
            "elsewhere",
            "elsewhere",
            "elsewhere",
            "itself");
    assertThat(kinds(prompt, 9).subList(0, 5))
        .containsExactly("own digits", "lower digits", "elsewhere", "own digits", "lower digits");
    assertThat(kinds(prompt, 8)).isEqualTo(kinds(sum(43, 59), 8));
    assertThat(kinds(prompt, 8).subList(0, 5)).isEqualTo(kinds(prompt, 9).subList(0, 5));
  }

  @Test
  void carriesAreThoseIntoTheColumn() {
    assertThat(groups(sum(53, 21)))
        .containsExactly("hundreds without carry", "tens without carry", "units");
    assertThat(groups(sum(36, 28)))
        .containsExactly("hundreds without carry", "tens with carry", "units");
    assertThat(groups(sum(61, 47)))
        .containsExactly("hundreds with carry", "tens without carry", "units");
    assertThat(groups(sum(43, 59)))
        .containsExactly("hundreds with carry", "tens with carry", "units");
  }

  private static List<String> groups(Relation.Prompt prompt) {
    return IntStream.range(0, prompt.ids().length)
        .mapToObj(prompt::group)
        .flatMap(Optional::stream)
        .toList();
  }

  @Test
  void inductionTargetFollowedTheSameToken() {
    for (Relation.Prompt prompt : Relation.named("induction").prompts(letters(), 21, 5, 7)) {
      int[] ids = prompt.ids();
      assertThat(ids).hasSize(21); // the mark and ten letters twice
      assertThat(prompt.group(0)).isEmpty();
      for (int query = 1; query < 11; query++) {
        assertThat(prompt.group(query)).contains("first half");
        assertThat(kinds(prompt, query)).doesNotContain("induction target", "same token before");
      }
      assertThat(prompt.group(20)).isEmpty();
      for (int query = 11; query < 20; query++) {
        assertThat(prompt.group(query)).contains("second half");
        int target = kinds(prompt, query).indexOf("induction target");
        assertThat(ids[target - 1]).isEqualTo(ids[query]);
        assertThat(target).isLessThan(query);
        assertThat(kinds(prompt, query))
            .containsOnlyOnce("induction target", "previous token", "itself", "same token before");
      }
    }
  }

  @Test
  void sameSeedGivesTheSamePrompts() {
    Relation relation = Relation.named("induction");
    List<int[]> once = ids(relation.prompts(letters(), 21, 4, 3));
    assertThat(ids(relation.prompts(letters(), 21, 4, 3)))
        .usingRecursiveComparison()
        .isEqualTo(once);
    assertThat(ids(relation.prompts(letters(), 21, 4, 4)))
        .usingRecursiveComparison()
        .isNotEqualTo(once);
  }

  private static List<int[]> ids(List<Relation.Prompt> prompts) {
    return prompts.stream().map(Relation.Prompt::ids).toList();
  }

  @Test
  void countsEdgesAndAttentionOfAllHeads() {
    Relation relation = Relation.named("induction");
    Relation.Prompt prompt = relation.prompts(letters(), 7, 1, 1).getFirst();
    // The mark and three letters twice; queries 4 and 5 have their targets at 2 and 3.
    int[][] first = {{0}, {}, {}, {}, {2, 4}, {3, 5}, {6}};
    int[][] second = {{0}, {}, {}, {}, {}, {3}, {}};
    RelationTally tally = new RelationTally(relation, 1);
    tally.add(
        prompt,
        new AttentionMaps(
            new double[][][][] {{weights(first, 0.5), weights(second, 0.25)}},
            new int[][][][] {{first, second}},
            new int[7]));
    assertThat(tally.rows()).hasSize(2);
    RelationTally.Row row = tally.rows().getLast();
    assertThat(row.group()).isEqualTo("second half");
    assertThat(row.queries()).isEqualTo(2);
    assertThat(row.edges())
        .isEqualTo(
            Map.of(
                "induction target", 1.5,
                "itself", 1.0,
                "previous token", 0.0,
                "same token before", 0.0,
                "elsewhere", 0.0));
    assertThat(row.edgesPerQuery()).isEqualTo(2.5, within(1e-15));
    assertThat(row.edgeShare("induction target")).isEqualTo(0.6, within(1e-15));
    assertThat(row.weightShare("induction target")).isEqualTo(1.25 / 2.25, within(1e-15));
  }

  private static double[][] weights(int[][] open, double weight) {
    double[][] out = new double[open.length][];
    for (int query = 0; query < open.length; query++) {
      out[query] = new double[query + 1];
      for (int key : open[query]) {
        out[query][key] = weight;
      }
    }
    return out;
  }

  @Test
  void aLayerWithoutOpenEdgesHasNoShares() {
    Relation relation = Relation.named("induction");
    Relation.Prompt prompt = relation.prompts(letters(), 7, 1, 1).getFirst();
    RelationTally tally = new RelationTally(relation, 1);
    int[][] none = new int[7][0];
    tally.add(
        prompt,
        new AttentionMaps(
            new double[][][][] {{weights(none, 0)}}, new int[][][][] {{none}}, new int[7]));
    assertThat(tally.rows().getFirst().edgeShare("itself")).isNaN();
  }

  @Test
  void whatCannotBePosedIsOneSentence() {
    assertThatThrownBy(() -> Relation.named("additon"))
        .isInstanceOf(TaskException.class)
        .hasMessage("there is no relation 'additon', expected addition or induction");
    assertThatThrownBy(() -> Relation.named("addition").prompts(DIGITS, 8, 1, 1))
        .isInstanceOf(TaskException.class)
        .hasMessageContaining("11 tokens, and the model's context is 8");
    assertThatThrownBy(() -> Relation.named("addition").prompts(letters(), 32, 1, 1))
        .isInstanceOf(TaskException.class)
        .hasMessageContaining("12 tokens, expected one for each of its 11 characters");
    assertThatThrownBy(() -> Relation.named("induction").prompts(letters(), 5, 1, 1))
        .isInstanceOf(TaskException.class)
        .hasMessageContaining("leave 2 for a sequence that stands twice");
  }
}
