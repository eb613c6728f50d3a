package filigree.interp.task;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What each task asks, read back from its tokens. */
class TaskFormsTest {
  private static final int COUNT = 60;

  /**
   * A contrast as text.
   *
   * @param clean prompt
   * @param corrupted prompt
   * @param correct answers, joined by commas
   * @param incorrect answers, joined by commas
   */
  private record Read(String clean, String corrupted, String correct, String incorrect) {}

  private static List<Read> read(String spec, ToyCodec codec) {
    return Tasks.named(spec).contrasts(codec, COUNT, 3).stream()
        .map(
            c ->
                new Read(
                    codec.text(c.clean()),
                    codec.text(c.corrupted()),
                    answers(codec, c.correct()),
                    answers(codec, c.incorrect())))
        .toList();
  }

  private static String answers(ToyCodec codec, int... ids) {
    return Arrays.stream(ids).mapToObj(codec::piece).collect(Collectors.joining(","));
  }

  /** The words of a text that are names, in order. */
  private static List<String> names(String text) {
    WordLists words = WordLists.read("ioi.json");
    return Pattern.compile("[A-Z][a-z]+")
        .matcher(text)
        .results()
        .map(result -> result.group())
        .filter(words.list("names")::contains)
        .toList();
  }

  @Test
  void ioiRepeatsOneNameAndAsksForTheOther() {
    assertThat(read("ioi", ToyCodec.words()))
        .allSatisfy(
            read -> {
              List<String> names = names(read.clean());
              assertThat(names).hasSize(3);
              String subject = names.get(2);
              String object = names.get(0).equals(subject) ? names.get(1) : names.get(0);
              assertThat(names.subList(0, 2)).contains(subject).contains(object);
              assertThat(object).isNotEqualTo(subject);
              assertThat(read.correct()).isEqualTo(" " + object);
              assertThat(read.incorrect()).isEqualTo(" " + subject);
              assertThat(names(read.corrupted()))
                  .containsExactly(names.get(0), names.get(1), object);
              assertThat(read.clean()).doesNotContain("{").doesNotContainPattern(" an [^aeiou]");
            });
  }

  @Test
  void ioiIntroducesNamesInBothOrders() {
    assertThat(read("ioi", ToyCodec.words()))
        .extracting(read -> names(read.clean()).indexOf(read.correct().strip()))
        .contains(0, 1);
  }

  @ParameterizedTest
  @CsvSource({"baba,1", "abba,0"})
  void ioiKeepsAnOrder(String templates, int objectAt) {
    assertThat(read("ioi:templates=" + templates, ToyCodec.words()))
        .extracting(read -> names(read.clean()).indexOf(read.correct().strip()))
        .containsOnly(objectAt);
  }

  @Test
  void ioiWithAnotherSecondNameHasThreeNames() {
    assertThat(read("ioi:corruption=s2-random", ToyCodec.words()))
        .allSatisfy(
            read -> {
              List<String> corrupted = names(read.corrupted());
              assertThat(corrupted).doesNotHaveDuplicates();
              assertThat(corrupted.subList(0, 2)).isEqualTo(names(read.clean()).subList(0, 2));
            });
  }

  @Test
  void ioiAbcHasThreeOtherNames() {
    assertThat(read("ioi:corruption=abc", ToyCodec.words()))
        .allSatisfy(
            read ->
                assertThat(names(read.corrupted()))
                    .hasSize(3)
                    .doesNotHaveDuplicates()
                    .doesNotContainAnyElementsOf(names(read.clean())));
  }

  @Test
  void greaterThanSplitsTheHundredEndingsAtTheYear() {
    Pattern form =
        Pattern.compile("The (\\w+) lasted from the year (1[1-7])(\\d\\d) to the year \\2");
    assertThat(read("greater-than", ToyCodec.words()))
        .allSatisfy(
            read -> {
              Matcher matcher = form.matcher(read.clean());
              assertThat(matcher.matches()).isTrue();
              int year = Integer.parseInt(matcher.group(3));
              assertThat(year).isBetween(2, 98);
              assertThat(read.correct()).isEqualTo(endings(year + 1, 99));
              assertThat(read.incorrect()).isEqualTo(endings(0, year));
              assertThat(read.corrupted())
                  .isEqualTo(
                      "The %s lasted from the year %s01 to the year %s"
                          .formatted(matcher.group(1), matcher.group(2), matcher.group(2)));
            });
  }

  private static String endings(int first, int last) {
    return IntStream.rangeClosed(first, last)
        .mapToObj("%02d"::formatted)
        .collect(Collectors.joining(","));
  }

  @Test
  void greaterThanNeedsYearsOfTwoTokens() {
    assertThatThrownBy(
            () -> Tasks.named("greater-than").contrasts(ToyCodec.wordsAndNumbers(), 5, 1))
        .isInstanceOf(TaskException.class)
        .hasMessageContaining(
            "because a year is not the token of its century and the token of its last two digits"
                + " (for example ")
        .hasMessageContaining("becomes 1 tokens); only tokenizers with a token for every pair");
  }

  @Test
  void docstringAsksForTheThirdDescribedParameter() {
    Pattern form =
        Pattern.compile(
            "\\ndef (\\w+)\\(self, (\\w+), (\\w+), (\\w+), (\\w+), (\\w+), (\\w+)\\):\\n"
                + " {4}\"\"\"\\w+ \\w+ \\w+\\n\\n"
                + " {4}:param (\\w+): \\w+ \\w+\\n {4}:param (\\w+): \\w+ \\w+\\n {4}:param");
    for (String corruption : List.of("random-random", "random-doc", "random-answer")) {
      assertThat(read("docstring:corruption=" + corruption, ToyCodec.words()))
          .allSatisfy(
              read -> {
                Matcher clean = form.matcher(read.clean());
                Matcher corrupted = form.matcher(read.corrupted());
                assertThat(clean.matches() && corrupted.matches()).isTrue();
                assertThat(clean.group(8)).isEqualTo(clean.group(4));
                assertThat(clean.group(9)).isEqualTo(clean.group(5));
                assertThat(read.correct()).isEqualTo(" " + clean.group(6));
                assertThat(List.of(read.incorrect().split(","))).doesNotContain(read.correct());
                boolean sameDefinition = clean.group(6).equals(corrupted.group(6));
                boolean sameDescription = clean.group(8).equals(corrupted.group(8));
                assertThat(sameDefinition).isEqualTo(corruption.equals("random-doc"));
                assertThat(sameDescription).isEqualTo(corruption.equals("random-answer"));
              });
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      value = {
        "simple;The (\\w+)",
        "nounpp;The (\\w+) (?:behind|beside|near) the \\w+",
        "within-rc;The \\w+ that the (\\w+)",
      })
  void agreementChangesTheNumberOfTheSubjectAlone(String structure, String form) {
    assertThat(read("agreement:structure=" + structure, ToyCodec.words()))
        .allSatisfy(
            read -> {
              Matcher clean = Pattern.compile(form).matcher(read.clean());
              Matcher corrupted = Pattern.compile(form).matcher(read.corrupted());
              assertThat(clean.matches() && corrupted.matches()).isTrue();
              assertThat(read.corrupted())
                  .isEqualTo(
                      new StringBuilder(read.clean())
                          .replace(clean.start(1), clean.end(1), corrupted.group(1))
                          .toString());
              boolean plural = List.of(" do", " go", " have", " are").contains(read.correct());
              String many = plural ? clean.group(1) : corrupted.group(1);
              String one = plural ? corrupted.group(1) : clean.group(1);
              assertThat(many).isIn(one + "s", one.replace("man", "men"));
            });
  }

  @ParameterizedTest
  @CsvSource({"units,10", "tens,9", "hundreds,8"})
  void additionReadsADigitAtItsPlace(String digit, int position) {
    ToyCodec codec = ToyCodec.characters();
    for (String carry : List.of("yes", "no")) {
      List<Contrast> all =
          Tasks.named("addition:carry=" + carry + ",digit=" + digit).contrasts(codec, COUNT, 1);
      assertThat(all)
          .allSatisfy(
              c -> {
                String clean = codec.text(c.clean()).substring(3);
                String corrupted = codec.text(c.corrupted()).substring(3);
                assertThat(clean).matches("\\d\\d\\+\\d\\d=\\?{5}");
                assertThat(
                        IntStream.range(0, 11).filter(i -> clean.charAt(i) != corrupted.charAt(i)))
                    .hasSize(1);
                assertThat(c.position()).isEqualTo(1 + position);
                assertThat(codec.text(c.correct())).isEqualTo(digit(clean, position));
                assertThat(codec.text(c.incorrect())).isEqualTo(digit(corrupted, position));
                boolean carries = clean.charAt(1) + clean.charAt(4) - 2 * '0' >= 10;
                assertThat(carries).isEqualTo(carry.equals("yes"));
              });
    }
  }

  private static String digit(String problem, int position) {
    int sum = Integer.parseInt(problem.substring(0, 2)) + Integer.parseInt(problem.substring(3, 5));
    return "%05d".formatted(sum).substring(position - 6, position - 5);
  }

  @ParameterizedTest
  @CsvSource({"units,1,4", "tens,0,3"})
  void additionChangesTheNumbersWhereAsked(String change, int first, int second) {
    ToyCodec codec = ToyCodec.characters();
    assertThat(Tasks.named("addition:digit=tens,change=" + change).contrasts(codec, COUNT, 1))
        .extracting(c -> Arrays.mismatch(c.clean(), c.corrupted()) - 1)
        .containsOnly(first, second);
  }

  @ParameterizedTest
  @ValueSource(strings = {"induction", "copy"})
  void whatFollowedBeforeFollowsAgain(String name) {
    ToyCodec codec = ToyCodec.characters().knowing("abcdefghijklmnopqrstuvwxyz.,! ");
    Task task = Tasks.named(name + ":length=8");
    assertThat(task.contrasts(codec, COUNT, 1))
        .allSatisfy(
            c -> {
              String clean = codec.text(c.clean());
              assertThat(clean).matches("<s>[a-z]+");
              String shown = clean.substring(3);
              String last = shown.substring(shown.length() - 1);
              int before = shown.indexOf(last);
              assertThat(before).isBetween(0, 6);
              assertThat(shown.substring(before + 1, before + 2))
                  .isEqualTo(codec.text(c.correct()));
              assertThat(shown.substring(8))
                  .isEqualTo(name.equals("copy") ? shown.substring(0, before + 1) : last);
              assertThat(shown).doesNotContain(codec.text(c.incorrect()));
              assertThat(codec.text(c.corrupted()))
                  .isEqualTo(
                      "<s>"
                          + shown.substring(0, before + 1)
                          + codec.text(c.incorrect())
                          + shown.substring(before + 2));
            });
  }

  @Test
  void repetitionNeedsTokensEnough() {
    assertThatThrownBy(
            () ->
                Tasks.named("copy:length=4")
                    .contrasts(ToyCodec.characters().knowing("ab12 ?"), 3, 1))
        .isInstanceOf(TaskException.class)
        .hasMessage(
            "copy:length=4 needs 5 different tokens made of letters and digits, and this tokenizer"
                + " has 4; make the option length smaller");
  }

  /** Characters that two answers share are given away, and the next one is asked for. */
  @Test
  void storiesAskForTheFirstCharacterThatDiffers() {
    assertThat(read("story-possessives", ToyCodec.characters()))
        .allSatisfy(
            read -> {
              assertThat(read.clean()).startsWith("<s>").endsWith(" h");
              assertThat(read.corrupted()).hasSameSizeAs(read.clean()).endsWith(" h");
              assertThat(List.of(read.correct(), read.incorrect()))
                  .containsExactlyInAnyOrder("e", "i");
            });
    assertThat(read("story-possessives", ToyCodec.words()))
        .extracting(Read::correct)
        .containsOnly(" her", " his");
  }

  @ParameterizedTest
  @ValueSource(strings = {"story-names", "story-words"})
  void storiesRepeatAWord(String name) {
    assertThat(read(name, ToyCodec.words()))
        .allSatisfy(
            read -> {
              assertThat(read.clean()).contains(read.correct().strip());
              assertThat(read.clean()).doesNotContainPattern("\\b" + read.incorrect().strip());
              assertThat(read.corrupted()).contains(read.incorrect().strip());
            });
  }

  @Test
  void storyPronounsBeginSentencesWithACapital() {
    assertThat(read("story-pronouns", ToyCodec.words()))
        .allSatisfy(
            read ->
                assertThat(read.correct())
                    .matches(read.clean().endsWith(".") ? " (She|He)" : " (she|he)"));
  }

  @Test
  void storyNumberTellsTwoFromOne() {
    assertThat(read("story-number", ToyCodec.words()))
        .allSatisfy(
            read -> {
              boolean two = read.clean().contains(" and ");
              assertThat(read.correct().equals(" They")).isEqualTo(two);
              assertThat(read.incorrect().equals(" They")).isEqualTo(!two);
            });
  }

  @Test
  void storyAgreementTellsWasFromWere() {
    assertThat(read("story-agreement", ToyCodec.words()))
        .allSatisfy(
            read ->
                assertThat(read.clean().endsWith("s")).isEqualTo(read.correct().equals(" were")));
  }

  @Test
  void tokenizerWithoutTheLettersIsToldSo() {
    TokenCodec digits =
        new TokenCodec() {
          @Override
          public int[] encode(String text) {
            return text.chars().map(c -> Character.isDigit(c) ? c - '0' : 10).toArray();
          }

          @Override
          public String piece(int id) {
            return id < 10 ? Integer.toString(id) : "?";
          }

          @Override
          public int vocabularySize() {
            return 11;
          }
        };
    assertThatThrownBy(() -> Tasks.named("story-agreement").contrasts(digits, 5, 1))
        .isInstanceOf(TaskException.class)
        .hasMessageContaining(
            "because the tokenizer has no tokens for all of a prompt's characters")
        .hasMessageContaining("is read as '???");
  }
}
