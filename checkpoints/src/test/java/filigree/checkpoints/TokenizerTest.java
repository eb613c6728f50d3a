package filigree.checkpoints;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class TokenizerTest {
  /** Letters, with truncation to 2 and padding to 9 asked for, which must not happen. */
  private static final String LETTERS =
      """
      {"version": "1.0",
       "truncation": {"max_length": 2, "strategy": "LongestFirst", "stride": 0,
                      "direction": "Right"},
       "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null,
                   "pad_id": 0, "pad_type_id": 0, "pad_token": "a"},
       "added_tokens": [{"id": 3, "content": "<s>", "single_word": false, "lstrip": false,
                         "rstrip": false, "normalized": false, "special": true}],
       "normalizer": null,
       "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "."}, "behavior": "Isolated",
                         "invert": false},
       "post_processor": {"type": "TemplateProcessing",
         "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                    {"Sequence": {"id": "A", "type_id": 0}}],
         "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
         "special_tokens": {"<s>": {"id": "<s>", "ids": [3], "tokens": ["<s>"]}}},
       "decoder": {"type": "Fuse"},
       "model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "?": 2}, "unk_token": "?"}}
      """;

  @TempDir Path folder;

  @ParameterizedTest
  @CsvSource({"gpt2, 50257", "gpt-neox-20b, 50277"})
  void difficultStringsHaveTheirKnownIds(String name, int vocabulary) throws IOException {
    Path tokenizers = SharedData.require("tokenizers");
    try (Tokenizer tokenizer = Tokenizer.open(tokenizers.resolve(name + "/tokenizer.json"))) {
      assertThat(tokenizer.vocabularySize()).isEqualTo(vocabulary);
      holdToGolden(tokenizer, name);
    }
  }

  private static void holdToGolden(Tokenizer tokenizer, String name) throws IOException {
    Path golden = SharedData.require("tokenizers").resolve("golden/" + name + ".jsonl");
    List<String> lines = Files.readAllLines(golden);
    assertThat(lines).hasSize(47);
    assertThat(tokenizer.bosId()).isEmpty();
    for (String line : lines) {
      JsonNode json = Json.parse(line);
      String text = json.get("text").asText();
      int[] expected =
          IntStream.range(0, json.get("ids").size())
              .map(i -> json.get("ids").get(i).asInt())
              .toArray();
      assertThat(tokenizer.encode(text)).as(text).isEqualTo(expected);
      assertThat(tokenizer.encodeWithoutSpecialTokens(text)).isEqualTo(expected);
      assertThat(tokenizer.decode(expected)).isEqualTo(text);
    }
    assertThat(tokenizer.decode(tokenizer.encode("a\0b"))).isEqualTo("a\0b");
  }

  /** What there was before tokenizer.json, and only for GPT-2. */
  @Test
  void gpt2FromItsVocabularyAndMerges() throws IOException {
    Path source = SharedData.require("tokenizers").resolve("gpt2");
    try (Tokenizer old = Tokenizer.openGpt2(source);
        Tokenizer current = Tokenizer.open(source.resolve("tokenizer.json"))) {
      holdToGolden(old, "gpt2");
      assertThat(old.vocabularySize()).isEqualTo(50257);
      String text = "A page<|endoftext|> and  another\n\n1234567 don't 'LL \u00e9\ud83d\ude00";
      assertThat(old.encode(text)).isEqualTo(current.encode(text)).contains(50256);
      assertThat(old.decode(old.encode(text))).isEqualTo(current.decode(current.encode(text)));
    }
  }

  @Test
  void vocabularyAndMergesOfASmallModel() {
    Fixtures.write(folder.resolve("vocab.json"), "{\"a\": 0, \"b\": 1, \"ab\": 2}");
    Fixtures.write(folder.resolve("merges.txt"), "#version: 0.2\na b\n");
    Fixtures.write(folder.resolve("added_tokens.json"), "{\"<x>\": 3}");
    assertThat(Gpt2Tokenizer.isIn(folder)).isTrue();
    try (Tokenizer tokenizer = Tokenizer.openGpt2(folder)) {
      assertThat(tokenizer.encode("aab<x>ba")).containsExactly(0, 2, 3, 1, 0);
    }
    Fixtures.write(folder.resolve("merges.txt"), "#version: 0.2\na b c\n");
    assertThatThrownBy(() -> Tokenizer.openGpt2(folder))
        .isInstanceOf(CheckpointException.class)
        .hasMessage(
            folder.resolve("merges.txt")
                + ": line 2 is 'a b c', expected two parts of a token with a space between");
  }

  @Test
  void gpt2TokensAndPieces() {
    Path file = SharedData.require("tokenizers").resolve("gpt2/tokenizer.json");
    try (Tokenizer tokenizer = Tokenizer.open(file)) {
      assertThat(tokenizer.token(995)).isEqualTo("\u0120world");
      assertThat(tokenizer.piece(995)).isEqualTo(" world");
      assertThat(tokenizer.piece(50256)).isEqualTo("<|endoftext|>");
      assertThat(tokenizer.decode(50256, 995)).isEqualTo(" world");
      assertThat(tokenizer.piece(127)).isEqualTo("\ufffd");
    }
  }

  /** The first number was counted independently; the second is this code's own, kept to notice. */
  @ParameterizedTest
  @CsvSource({"babyllama, 53458", "stories260k, 27096"})
  void storiesComeBackAndHaveTheKnownNumberOfScoredTokens(String model, long expected) {
    Path data = SharedData.require("corpora/tinystories-valid.jsonl");
    Path file = SharedData.require("checkpoints").resolve(model + "/tokenizer.json");
    List<String> documents = Corpus.of(data).documents();
    long scored = 0;
    try (Tokenizer tokenizer = Tokenizer.open(file)) {
      assertThat(tokenizer.bosId()).hasValue(1);
      for (String document : documents) {
        assertThat(tokenizer.decode(tokenizer.encode(document))).isEqualTo(document);
      }
      for (String document : documents.subList(0, 40)) {
        int tokens = tokenizer.encode(document).length;
        int windows = (tokens + 255) / 256;
        scored += tokens - windows;
      }
    }
    assertThat(scored).isEqualTo(expected);
  }

  @Test
  void sentencePiecesShowTheirSpace() {
    Path file = SharedData.require("checkpoints").resolve("stories260k/tokenizer.json");
    try (Tokenizer tokenizer = Tokenizer.open(file)) {
      assertThat(tokenizer.token(357)).isEqualTo("\u2581mom");
      assertThat(tokenizer.piece(357)).isEqualTo(" mom");
      assertThat(tokenizer.piece(13)).isEqualTo("\n");
      assertThat(tokenizer.piece(1)).isEqualTo("<s>");
    }
  }

  @Test
  void nothingIsCutOrPadded() {
    Path file = Fixtures.write(folder.resolve("tokenizer.json"), LETTERS);
    try (Tokenizer tokenizer = Tokenizer.open(file)) {
      assertThat(tokenizer.bosId()).hasValue(3);
      assertThat(tokenizer.encode("ab")).containsExactly(3, 0, 1);
      assertThat(tokenizer.encode("")).containsExactly(3);
      assertThat(tokenizer.encodeWithoutSpecialTokens("abz")).containsExactly(0, 1, 2);
      assertThat(tokenizer.encode("ab".repeat(5000))).hasSize(10_001);
      assertThat(tokenizer.vocabularySize()).isEqualTo(4);
      assertThat(tokenizer.decode(3, 0, 1)).isEqualTo("ab");
    }
  }

  @Test
  void unknownIdsAndHalfCharactersAreErrors() {
    Path file = Fixtures.write(folder.resolve("tokenizer.json"), LETTERS);
    try (Tokenizer tokenizer = Tokenizer.open(file)) {
      assertThatThrownBy(() -> tokenizer.decode(0, 4))
          .isInstanceOf(CheckpointException.class)
          .hasMessage(file + ": there is no token 4, expected one of the 4 from 0 on");
      assertThatThrownBy(() -> tokenizer.token(-1)).hasMessageContaining("there is no token -1");
      assertThatThrownBy(() -> tokenizer.encode("a\ud83d"))
          .isInstanceOf(CheckpointException.class)
          .hasMessage("text: character 1 is U+D83D, half of a surrogate pair, which is not text");
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{}",
        "{\"model\": {\"vocab\": {\"a\": \"b\"}}}",
        "{\"model\": {\"vocab\": {\"a\": -1}}}",
        "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}}}",
        "{\"model\": {\"type\": \"None\", \"vocab\": {\"a\": 0}}}",
        "[]",
        "not JSON"
      })
  void aFileThatIsNoTokenizerIsNamed(String text) {
    Path file = Fixtures.write(folder.resolve("tokenizer.json"), text);
    assertThatThrownBy(() -> Tokenizer.open(file))
        .isInstanceOf(CheckpointException.class)
        .hasMessageStartingWith(file + ": ");
  }
}
