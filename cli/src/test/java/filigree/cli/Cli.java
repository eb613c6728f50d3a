package filigree.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** The command line in this process, and a tiny model for it. */
final class Cli {
  private static final ObjectMapper MAPPER = new ObjectMapper();
  private static final String LETTERS = "abcdefghijklmnopqrstuvwxyz .";

  private Cli() {}

  /** What a run printed and how it ended. */
  record Run(int code, String out, String err) {
    JsonNode json() throws IOException {
      assertThat(code).as(err).isZero();
      assertThat(out.trim().lines()).hasSize(1);
      return MAPPER.readTree(out);
    }

    /** Bad input: exit code 2, nothing on standard output, one sentence with these words. */
    void isRefused(String... words) {
      assertThat(code).as(err).isEqualTo(Main.BAD_USE);
      assertThat(out).isEmpty();
      List<String> lines =
          err.lines()
              .filter(line -> !line.startsWith("backend:") && !line.startsWith("memory:"))
              .toList();
      assertThat(lines).as(err).hasSize(1);
      assertThat(lines.getFirst()).startsWith("filigree: ").contains(words);
    }
  }

  /** Runs a verb in this process. */
  static Run run(Object... args) {
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    String[] words = Arrays.stream(args).map(Object::toString).toArray(String[]::new);
    int code = Main.run(words, new PrintWriter(out, true), new PrintWriter(err, true));
    return new Run(code, out.toString(), err.toString());
  }

  /** The config of a model of two layers that reads letters, its tokenizer beside it. */
  static Path tinyConfig(Path folder) throws IOException {
    Path config = folder.resolve("config.json");
    Files.writeString(
        config,
        """
        {"model_type": "llama", "hidden_size": 16, "intermediate_size": 24,
         "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
         "vocab_size": 28, "max_position_embeddings": 16, "rms_norm_eps": 1e-5,
         "hidden_act": "silu", "tie_word_embeddings": true, "initializer_range": 0.1}
        """);
    List<String> entries = new ArrayList<>();
    for (int i = 0; i < LETTERS.length(); i++) {
      entries.add("\"%c\": %d".formatted(LETTERS.charAt(i), i));
    }
    Files.writeString(
        folder.resolve("tokenizer.json"),
        """
        {"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
         "normalizer": null, "post_processor": null, "decoder": {"type": "Fuse"},
         "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "."},
                           "behavior": "Isolated", "invert": false},
         "model": {"type": "WordLevel", "unk_token": ".", "vocab": {%s}}}
        """
            .formatted(String.join(", ", entries)));
    return config;
  }
}
