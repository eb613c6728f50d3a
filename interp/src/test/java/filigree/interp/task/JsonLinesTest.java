package filigree.interp.task;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class JsonLinesTest {
  private static final String GOOD =
      "{\"clean\": \"The cat\", \"corrupted\": \"The cats\", \"correct\": \" is\", \"incorrect\":"
          + " [\" are\", \" were\"]}";

  @TempDir Path folder;

  private Path file(String... lines) throws IOException {
    return Files.writeString(folder.resolve("my.jsonl"), String.join("\n", lines));
  }

  @Test
  void everyLineIsAPairOfPrompts() throws IOException {
    Path file = file(GOOD, "", GOOD.replace("cat", "dog").replace("}", ", \"label\": 3}"), "");
    Task task = Tasks.named(file.toString());
    assertThat(task.name()).isEqualTo(file.toString());
    ToyCodec codec = ToyCodec.words();
    List<Contrast> all = task.contrasts(codec, 100, 1);
    assertThat(all)
        .extracting(c -> codec.text(c.clean()))
        .containsExactlyInAnyOrder("The cat", "The dog");
    assertThat(all)
        .allSatisfy(
            c -> {
              assertThat(codec.text(c.correct())).isEqualTo(" is");
              assertThat(codec.text(c.incorrect())).isEqualTo(" are were");
              assertThat(c.position()).isEqualTo(1);
            });
    assertThat(task.contrasts(codec, 1, 1)).hasSize(1);
  }

  /** GPT-2 reads 1776 as one token, and still can answer 17 with 76. */
  @Test
  void anAnswerThatWouldMergeIsItsOwnToken() throws IOException {
    Path file =
        file(
            "{\"clean\": \"from 12 to 17\", \"corrupted\": \"from 01 to 17\", \"correct\": \"76\","
                + " \"incorrect\": \"03\"}");
    ToyCodec codec = ToyCodec.wordsAndNumbers();
    Contrast only = Tasks.named(file.toString()).contrasts(codec, 1, 1).getFirst();
    assertThat(codec.text(only.correct())).isEqualTo("76");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{'clean': 1|the line is not valid JSON (",
        "[1, 2]|the line is not an object, expected the keys clean, corrupted, correct and"
            + " incorrect",
        "{'clean': 'a'}|the key \"corrupted\" is missing",
        "{'clean': ['a'], 'corrupted': 'b'}|the key \"clean\" is a list, expected a string",
        "{'clean': '', 'corrupted': 'b'}|the key \"clean\" holds \"\", expected text that is not"
            + " empty",
        "{'clean': 'a', 'corrupted': 'b', 'correct': 3}|the key \"correct\" holds 3, expected text"
            + " that is not empty",
        "{'clean': 'a', 'corrupted': 'b', 'correct': 'c', 'incorrect': []}|the key \"incorrect\" is"
            + " an empty list, expected at least one",
      })
  void badLineIsNamed(String line, String message) throws IOException {
    Path file = file(GOOD, "", line.replace('\'', '"'));
    assertThatThrownBy(() -> Tasks.named(file.toString()))
        .isInstanceOf(TaskException.class)
        .hasMessageStartingWith(file + ": line 3: " + message);
  }

  @Test
  void furtherBadLinesAreCounted() throws IOException {
    Path file = file("{}", GOOD, "{}", "[]");
    assertThatThrownBy(() -> Tasks.named(file.toString()))
        .isInstanceOf(TaskException.class)
        .hasMessage(
            file
                + ": line 1: the key \"clean\" is missing (2 more lines are bad, the next is line"
                + " 3)");
  }

  @Test
  void lineMustBeText() throws IOException {
    Path file = folder.resolve("bytes.jsonl");
    Files.write(file, (GOOD + "\n{\"\u00ff\"}").getBytes(StandardCharsets.ISO_8859_1));
    assertThatThrownBy(() -> Tasks.named(file.toString()))
        .isInstanceOf(TaskException.class)
        .hasMessage(file + ": line 2: the line is not UTF-8 text");
  }

  @Test
  void fileMustExistAndHoldALine() throws IOException {
    Path missing = folder.resolve("none.jsonl");
    assertThatThrownBy(() -> Tasks.named(missing.toString()))
        .isInstanceOf(TaskException.class)
        .hasMessageStartingWith(
            missing + ": there is no such file; give the path of a .jsonl file, or a task: ");
    Path empty = file("", " ");
    assertThatThrownBy(() -> Tasks.named(empty.toString()))
        .isInstanceOf(TaskException.class)
        .hasMessageStartingWith(empty + ": there is no line in it, expected objects");
    Path directory = Files.createDirectory(folder.resolve("folder.jsonl"));
    assertThatThrownBy(() -> Tasks.named(directory.toString()))
        .isInstanceOf(TaskException.class)
        .hasMessage(directory + ": this is not a file");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "`The old cat`|` is`|` are`|the clean and the corrupted prompt differ in length for this"
            + " model's tokenizer (2 and 3 tokens); mend or remove the line",
        "`The dog`|` is, no`|` are`|an answer is not one token of its own for this model's"
            + " tokenizer (' is, no' becomes 3 tokens); mend or remove the line",
        "`The dog`|`s are`|` were`|an answer is not one token of its own for this model's tokenizer"
            + " ('s are' merges with the end of the prompt); mend or remove the line",
        "`The cat`|` is`|` are`|both prompts have the same tokens for this model's tokenizer (the"
            + " corruption changes nothing); mend or remove the line",
        "`The dog`|` is`|` is`|a correct and an incorrect answer are the same token for this"
            + " model's tokenizer",
      })
  void lineMustSuitTheTokenizer(String corrupted, String correct, String incorrect, String message)
      throws IOException {
    Path file =
        file(
            GOOD,
            GOOD.replace("The cats", corrupted)
                .replace("\" is\"", "\"" + correct + "\"")
                .replace("[\" are\", \" were\"]", "\"" + incorrect + "\""));
    Task task = Tasks.named(file.toString());
    assertThatThrownBy(() -> task.contrasts(ToyCodec.words(), 1, 1))
        .isInstanceOf(TaskException.class)
        .hasMessageStartingWith(file + ": line 2: " + message);
  }
}
