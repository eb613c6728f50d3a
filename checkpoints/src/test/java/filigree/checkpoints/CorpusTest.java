package filigree.checkpoints;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class CorpusTest {
  @TempDir Path folder;

  private Corpus lines(String text) {
    return Corpus.of(Fixtures.write(folder.resolve("x.jsonl"), text));
  }

  @Test
  void readsLines() {
    Corpus corpus =
        lines("{\"text\": \"one\\n\"}\r\n\n{\"id\": 3, \"text\": \"zw\u00f6lf \ud83e\udd99\"}");
    assertThat(corpus.documents()).containsExactly("one\n", "zw\u00f6lf \ud83e\udd99");
    assertThat(corpus.documents(1)).containsExactly("one\n");
    try (Stream<String> stream = corpus.stream()) {
      assertThat(stream.count()).isEqualTo(2);
    }
  }

  @Test
  void readsATextAsOneDocument() {
    Path file = Fixtures.write(folder.resolve("x.txt"), "one\n\ntwo\n");
    assertThat(Corpus.of(file).documents()).containsExactly("one\n\ntwo\n");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{'text': 'a'|line 2: the line is not valid JSON",
        "{'text': 'a'} {}|line 2: the line is not valid JSON",
        "{'text': 'a', 'text': 'b'}|line 2: the line is not valid JSON (Duplicate",
        "['a']|line 2: expected an object with the key \"text\"",
        "{'Text': 'a'}|line 2: the key \"text\" is missing",
        "{'text': null}|line 2: the key \"text\" is not a string",
        "{'text': ''}|line 2: the document is empty; remove it",
        "{'text': '\\ud83d'}|line 2: the document holds half of a surrogate pair"
      })
  void namesTheLine(String line, String sentence) {
    Corpus corpus = lines("{\"text\": \"fine\"}\n" + line.replace('\'', '"') + "\n");
    assertThat(corpus.documents(1)).containsExactly("fine");
    assertThatThrownBy(corpus::documents)
        .isInstanceOf(CheckpointException.class)
        .hasMessageStartingWith(corpus.file() + ": ")
        .hasMessageContaining(sentence);
  }

  @Test
  void namesTheLineThatIsNotUtf8() {
    byte[] bytes =
        "{\"text\": \"a\"}\n{\"text\": \"\u00e9\"}".getBytes(StandardCharsets.ISO_8859_1);
    Path file = Fixtures.write(folder.resolve("x.jsonl"), bytes);
    assertThatThrownBy(() -> Corpus.of(file).documents())
        .hasMessage(file + ": line 2: the line is not UTF-8 text");
    Path text = Fixtures.write(folder.resolve("x.txt"), new byte[] {(byte) 0xff});
    assertThatThrownBy(() -> Corpus.of(text).documents()).hasMessageContaining("is not UTF-8 text");
  }

  @Test
  void refusesFilesWithoutDocuments() {
    Path absent = folder.resolve("absent.jsonl");
    assertThatThrownBy(() -> Corpus.of(absent)).hasMessage(absent + ": there is no such file");
    Path other = Fixtures.write(folder.resolve("x.csv"), "a");
    assertThatThrownBy(() -> Corpus.of(other)).hasMessageContaining("ends in .jsonl");
    Corpus empty = lines("\n\n");
    assertThatThrownBy(empty::documents).hasMessageContaining("the file holds no document");
    Path text = Fixtures.write(folder.resolve("x.txt"), "");
    assertThatThrownBy(() -> Corpus.of(text).documents())
        .hasMessageContaining("the document is empty");
  }
}
