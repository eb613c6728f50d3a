package filigree.checkpoints;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

/**
 * Turns GPT-2's {@code vocab.json} and {@code merges.txt} into the {@code tokenizer.json} that says
 * the same, as transformers' {@code GPT2Converter} does.
 */
final class Gpt2Tokenizer {
  static final String VOCABULARY = "vocab.json";
  static final String MERGES = "merges.txt";
  private static final String ADDED = "added_tokens.json";
  private static final String END = "<|endoftext|>";
  private static final long MAX_BYTES = 64L << 20;

  private Gpt2Tokenizer() {}

  static boolean isIn(Path folder) {
    return Files.exists(folder.resolve(VOCABULARY)) && Files.exists(folder.resolve(MERGES));
  }

  static ObjectNode json(Path folder) {
    ObjectNode vocabulary = Json.readObject(folder.resolve(VOCABULARY));
    ObjectNode out = Json.MAPPER.createObjectNode();
    out.put("version", "1.0");
    out.putNull("normalizer");
    ArrayNode added = out.putArray("added_tokens");
    if (vocabulary.has(END)) {
      addToken(added, END, vocabulary.get(END), true);
    }
    if (Files.exists(folder.resolve(ADDED))) {
      for (Map.Entry<String, JsonNode> entry :
          Json.readObject(folder.resolve(ADDED)).properties()) {
        addToken(added, entry.getKey(), entry.getValue(), false);
      }
    }
    byteLevel(out.putObject("pre_tokenizer"));
    byteLevel(out.putObject("post_processor"));
    byteLevel(out.putObject("decoder"));
    ObjectNode model = out.putObject("model");
    model.put("type", "BPE");
    model.putNull("dropout");
    model.putNull("unk_token");
    model.put("continuing_subword_prefix", "");
    model.put("end_of_word_suffix", "");
    model.put("fuse_unk", false);
    model.set("vocab", vocabulary);
    addMerges(model.putArray("merges"), folder.resolve(MERGES));
    return out;
  }

  private static void addToken(ArrayNode added, String content, JsonNode id, boolean special) {
    ObjectNode token = added.addObject();
    token.set("id", id);
    token.put("content", content);
    token.put("single_word", false);
    token.put("lstrip", false);
    token.put("rstrip", false);
    token.put("normalized", special);
    token.put("special", special);
  }

  private static void byteLevel(ObjectNode step) {
    step.put("type", "ByteLevel");
    step.put("add_prefix_space", false);
    step.put("trim_offsets", false);
  }

  /** A pair a line, the most frequent first, after a line with the version. */
  private static void addMerges(ArrayNode merges, Path file) {
    String[] lines = Json.readText(file, MAX_BYTES).split("\n", -1);
    for (int i = 0; i < lines.length; i++) {
      String line =
          lines[i].endsWith("\r") ? lines[i].substring(0, lines[i].length() - 1) : lines[i];
      boolean version = i == 0 && line.startsWith("#version");
      if (version || line.isEmpty()) {
        continue;
      }
      int space = line.indexOf(' ');
      if (space <= 0 || space == line.length() - 1 || line.indexOf(' ', space + 1) >= 0) {
        throw new CheckpointException(
            "%s: line %d is '%s', expected two parts of a token with a space between"
                .formatted(file, i + 1, line));
      }
      merges.add(line);
    }
  }
}
