package filigree.checkpoints;

import static org.assertj.core.api.Assertions.assertThat;

import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import ai.djl.util.Utils;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The tokenizer library works from its own jar, with the network switched off for it. */
class TokenizerLibraryTest {
  @Test
  void encodesWithTheNativeLibraryOfTheJar(@TempDir Path folder) throws IOException {
    assertThat(Utils.isOfflineMode()).as("ai.djl.offline").isTrue();
    Path file =
        Files.writeString(
            folder.resolve("tokenizer.json"),
            """
            {"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
             "normalizer": null, "pre_tokenizer": {"type": "Whitespace"},
             "post_processor": null, "decoder": null,
             "model": {"type": "WordLevel", "vocab": {"a": 0, "lattice": 1, "?": 2},
                       "unk_token": "?"}}
            """);
    try (HuggingFaceTokenizer tokenizer = HuggingFaceTokenizer.newInstance(file)) {
      assertThat(tokenizer.encode("a lattice of", false, false).getIds()).containsExactly(0, 1, 2);
    }
  }
}
