package filigree.interp.task;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class TasksTest {
  static List<String> names() {
    return Tasks.names();
  }

  static ToyCodec codecFor(String task) {
    String letters = "abcdefghijklmnopqrstuvwxyz";
    return switch (task) {
      case "addition", "induction", "copy" -> ToyCodec.characters().knowing(letters);
      default -> ToyCodec.words();
    };
  }

  @Test
  void thereAreThirteen() {
    assertThat(Tasks.names())
        .containsExactly(
            "induction",
            "copy",
            "ioi",
            "greater-than",
            "docstring",
            "agreement",
            "addition",
            "story-names",
            "story-pronouns",
            "story-possessives",
            "story-agreement",
            "story-number",
            "story-words");
  }

  @ParameterizedTest
  @MethodSource("names")
  void aSeedDecidesThePrompts(String name) {
    Task task = Tasks.named(name);
    List<Contrast> first = task.contrasts(codecFor(name), 20, 5);
    assertThat(first).hasSize(20);
    assertThat(text(task.contrasts(codecFor(name), 20, 5))).isEqualTo(text(first));
    assertThat(text(task.contrasts(codecFor(name), 20, 6))).isNotEqualTo(text(first));
  }

  @ParameterizedTest
  @MethodSource("names")
  void noPromptComesTwice(String name) {
    List<Contrast> all = Tasks.named(name).contrasts(codecFor(name), 50, 1);
    Set<String> different = new HashSet<>(text(all));
    assertThat(different).hasSameSizeAs(all);
  }

  @ParameterizedTest
  @MethodSource("names")
  void everyTaskIsDescribed(String name) {
    Task task = Tasks.named(name);
    assertThat(task.description()).endsWith(".");
    assertThat(task.source()).isNotBlank();
    assertThat(task.name()).startsWith(name);
    assertThat(Tasks.named(task.name()).name()).isEqualTo(task.name());
  }

  @ParameterizedTest
  @MethodSource("names")
  void someMustBeAskedFor(String name) {
    assertThatThrownBy(() -> Tasks.named(name).contrasts(codecFor(name), 0, 1))
        .isInstanceOf(TaskException.class)
        .hasMessageEndingWith(": 0 prompts are asked for, expected at least 1");
  }

  /** The corruption decides the answer, so something before the answer is different. */
  @ParameterizedTest
  @MethodSource("names")
  void promptsDifferBeforeTheAnswerIsRead(String name) {
    assertThat(Tasks.named(name).contrasts(codecFor(name), 20, 2))
        .allSatisfy(
            c -> {
              int first = Arrays.mismatch(c.clean(), c.corrupted());
              assertThat(first).isBetween(0, c.position());
            });
  }

  @Test
  void entriesListTheOptions() {
    assertThat(Tasks.all()).extracting(Tasks.Entry::name).isEqualTo(Tasks.names());
    assertThat(Tasks.all())
        .filteredOn(entry -> entry.name().equals("addition"))
        .extracting(Tasks.Entry::options)
        .containsExactly("digit=units|tens|hundreds, carry=any|yes|no, change=any|units|tens");
    assertThat(Tasks.all())
        .filteredOn(entry -> entry.name().equals("greater-than"))
        .extracting(Tasks.Entry::options)
        .containsExactly("");
  }

  @Test
  void nameHoldsEveryOption() {
    assertThat(Tasks.named("ioi:templates=abba").name())
        .isEqualTo("ioi:corruption=s2-io,templates=abba");
    assertThat(Tasks.named("copy:length=7").name()).isEqualTo("copy:length=7");
    assertThat(Tasks.named("greater-than").name()).isEqualTo("greater-than");
  }

  @Test
  void unknownNameIsToldTheNearest() {
    assertThatThrownBy(() -> Tasks.named("story-name"))
        .isInstanceOf(TaskException.class)
        .hasMessageStartingWith(
            "there is no task 'story-name'; the nearest are story-names, story-number, story-words;"
                + " all are induction, copy, ioi,")
        .hasMessageEndingWith("story-words, or the path of a .jsonl file");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '"',
      value = {
        "ioi:corruption=none|task 'ioi': corruption is 'none', expected abc|",
        "addition:digit=thousands|task 'addition': digit is 'thousands', expected units|",
        "induction:length=1|task 'induction': length is '1', expected 2 to 4096|",
        "induction:length=many|task 'induction': length is 'many', expected 2 to 4096|",
        "greater-than:noun=war|task 'greater-than' has no options, found 'noun'; remove it|",
        "copy:size=3|task 'copy' has no option 'size'; its options are length=2 to 4096|",
        "ioi:abba|task 'ioi': 'abba' is not an option; write ioi:option=value,option=value|",
        "ioi:=abba|task 'ioi': '=abba' is not an option; write ioi:option=value,option=value|",
        "ioi:templates=|task 'ioi': 'templates=' is not an option; write ioi:option=value,|",
        "copy:length=3,length=4|task 'copy': the option 'length' is given twice; keep one|",
        "addition:digit=units,change=tens|task 'addition': a change of tens never changes|",
      })
  void badOptionsAreToldWhatIsValid(String spec, String message) {
    assertThatThrownBy(() -> Tasks.named(spec))
        .isInstanceOf(TaskException.class)
        .hasMessageStartingWith(message);
  }

  @ParameterizedTest
  @ValueSource(strings = {"ioi", "greater-than", "agreement", "addition"})
  void whatATokenizerCannotExpressIsAnError(String name) {
    ToyCodec codec = name.equals("addition") ? ToyCodec.words() : ToyCodec.characters();
    assertThatThrownBy(() -> Tasks.named(name).contrasts(codec, 5, 1))
        .isInstanceOf(TaskException.class)
        .hasMessageStartingWith(Tasks.named(name).name())
        .hasMessageContaining("cannot be posed to this model's tokenizer: of ")
        .hasMessageContaining(" because ")
        .hasMessageContaining("(for example ");
  }

  private static List<String> text(List<Contrast> contrasts) {
    return contrasts.stream()
        .map(
            c ->
                Arrays.toString(c.clean())
                    + Arrays.toString(c.corrupted())
                    + c.position()
                    + Arrays.toString(c.correct())
                    + Arrays.toString(c.incorrect()))
        .toList();
  }
}
