package filigree.interp.task;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.junit.jupiter.api.Test;

class PosedTest {
  private final ToyCodec words = ToyCodec.words();
  private final ToyCodec characters = ToyCodec.characters();

  private static Draft first(String clean, String corrupted, List<String> answers) {
    return new Draft(clean, corrupted, new Draft.FirstDifference(answers.get(0), answers.get(1)));
  }

  private static void refused(Posed posed, String reason, String example) {
    assertThat(posed).isEqualTo(new Posed.Refused(reason, example));
  }

  private static Contrast asked(Posed posed) {
    assertThat(posed).isInstanceOf(Posed.Asked.class);
    return ((Posed.Asked) posed).contrast();
  }

  @Test
  void whatAnswersShareIsGivenAway() {
    Contrast c = asked(Posed.of(first("Tom saw", "Tim saw", List.of(" Tom", " Tim")), characters));
    assertThat(characters.text(c.clean())).isEqualTo("<s>Tom saw T");
    assertThat(characters.text(c.corrupted())).isEqualTo("<s>Tim saw T");
    assertThat(characters.text(c.correct())).isEqualTo("o");
    assertThat(characters.text(c.incorrect())).isEqualTo("i");
    assertThat(c.position()).isEqualTo(c.clean().length - 1);
  }

  @Test
  void oneAnswerMustNotBeginWithTheOther() {
    refused(
        Posed.of(first("Sara saw", "Lily saw", List.of(" Sara", " Sarah")), characters),
        "the two answers do not part at a token of their own",
        "' Sara' and ' Sarah'");
  }

  @Test
  void answersMustNotChangeThePromptsTokens() {
    refused(
        Posed.of(first("The cat", "The dog", List.of("s", "alog")), words),
        "the two answers do not part at a token of their own",
        "'s' and 'alog'");
  }

  @Test
  void promptsMustBeEquallyLong() {
    refused(
        Posed.of(first("Tom saw", "Timmy saw", List.of(" a", " b")), characters),
        "the clean and the corrupted prompt differ in length",
        "9 and 11 tokens");
  }

  @Test
  void corruptionMustReachTheTokens() {
    refused(
        Posed.of(first("Tom saw", "Tom saw", List.of(" a", " b")), characters),
        "both prompts have the same tokens",
        "the corruption changes nothing");
  }

  @Test
  void digitsAreReadInTheirPlace() {
    Draft draft = new Draft("12+34=??", "13+34=??", new Draft.InPlace(7, '6', '7'));
    Contrast c = asked(Posed.of(draft, characters));
    assertThat(c.position()).isEqualTo(8);
    assertThat(characters.text(c.clean())).isEqualTo("<s>12+34=??");
    assertThat(characters.text(c.correct())).isEqualTo("6");
    assertThat(characters.text(c.incorrect())).isEqualTo("7");
    refused(
        Posed.of(draft, words),
        "not every character is one token",
        "'12+34=??' becomes 6 tokens, expected 8");
  }
}
