package filigree.checkpoints;

import ai.djl.engine.EngineException;
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.OptionalInt;

/**
 * A {@code tokenizer.json}, run by Hugging Face's own tokenizers library through DJL.
 *
 * <p>The native library lies in DJL's jar and is copied once to {@code ~/.djl.ai/tokenizers}, or
 * below the folder in the environment variable or system property {@code ENGINE_CACHE_DIR}. DJL
 * would look for a CUDA build of it on the network and would report each start from a cloud
 * machine; both are switched off here before its first class is loaded. It would also cut texts at
 * 512 tokens and pad; both are switched off too.
 *
 * <p>Safe for use by several threads.
 */
public final class Tokenizer implements AutoCloseable {
  /** Its usual name in a model folder. */
  public static final String FILE = "tokenizer.json";

  static {
    // DJL prefers the environment variables of these names, so that a user's own choice stays.
    System.setProperty("ai.djl.offline", "true");
    System.setProperty("OPT_OUT_TRACKING", "true");
    System.setProperty("RUST_FLAVOR", "cpu");
  }

  private final Path file;
  private final HuggingFaceTokenizer tokenizer;
  private final Map<Integer, String> vocabulary;
  private final int vocabularySize;
  private final OptionalInt bosId;

  private Tokenizer(Path file, HuggingFaceTokenizer tokenizer, Map<Integer, String> vocabulary) {
    this.file = file;
    this.tokenizer = tokenizer;
    this.vocabulary = vocabulary;
    this.vocabularySize =
        vocabulary.keySet().stream().mapToInt(Integer::intValue).max().orElse(-1) + 1;
    this.bosId = findBos();
  }

  /**
   * Opens a tokenizer.
   *
   * @param file a {@code tokenizer.json}
   * @return the tokenizer, to be closed by the caller
   * @throws CheckpointException where the file is not a tokenizer, or the native library cannot be
   *     loaded
   */
  public static Tokenizer open(Path file) {
    return of(file, Json.readObject(file));
  }

  /**
   * Opens a GPT-2 tokenizer of the time before {@code tokenizer.json}: byte-level pairs.
   *
   * @param folder holds {@code vocab.json} and {@code merges.txt}, and in {@code added_tokens.json}
   *     what was added later
   * @return the tokenizer, to be closed by the caller
   * @throws CheckpointException where a file is missing or is not such a file
   */
  static Tokenizer openGpt2(Path folder) {
    return of(folder.resolve(Gpt2Tokenizer.VOCABULARY), Gpt2Tokenizer.json(folder));
  }

  private static Tokenizer of(Path file, ObjectNode json) {
    Map<Integer, String> vocabulary = vocabulary(file, json);
    // Truncation and padding that the file itself asks for are set aside: no token may be lost.
    json.remove("truncation");
    json.remove("padding");
    byte[] bytes = json.toString().getBytes(StandardCharsets.UTF_8);
    Map<String, String> options =
        Map.of(
            "truncation", "do_not_truncate", "padding", "do_not_pad", "addSpecialTokens", "true");
    HuggingFaceTokenizer tokenizer = null;
    try {
      tokenizer = HuggingFaceTokenizer.newInstance(new ByteArrayInputStream(bytes), options);
      return new Tokenizer(file, tokenizer, vocabulary);
    } catch (EngineException | LinkageError e) {
      throw new CheckpointException(
          "the tokenizer's native library could not be loaded (%s); the folder ~/.djl.ai must be writable, or set ENGINE_CACHE_DIR to one that is"
              .formatted(e.getMessage()),
          e);
    } catch (IOException | RuntimeException e) {
      if (tokenizer != null) {
        tokenizer.close();
      }
      throw new CheckpointException(
          "%s: this tokenizer cannot be used: %s".formatted(file, e.getMessage()), e);
    }
  }

  /** Vocabularies are an object (BPE, WordLevel, WordPiece) or a list of pairs (Unigram). */
  private static Map<Integer, String> vocabulary(Path file, ObjectNode json) {
    Map<Integer, String> out = new HashMap<>();
    JsonNode entries = json.path("model").path("vocab");
    if (entries.isObject()) {
      for (Map.Entry<String, JsonNode> entry : entries.properties()) {
        out.put(id(file, entry.getKey(), entry.getValue()), entry.getKey());
      }
    } else if (entries.isArray()) {
      for (int id = 0; id < entries.size(); id++) {
        out.put(id, entries.get(id).path(0).asText());
      }
    } else {
      throw new CheckpointException(file + ": there is no vocabulary under model.vocab");
    }
    for (JsonNode added : json.path("added_tokens")) {
      String content = added.path("content").asText();
      out.put(id(file, content, added.path("id")), content);
    }
    return out;
  }

  private static int id(Path file, String token, JsonNode id) {
    if (!id.isInt() || id.intValue() < 0 || id.intValue() == Integer.MAX_VALUE) {
      throw new CheckpointException(
          "%s: token %s has the id %s, expected a whole number".formatted(file, token, id));
    }
    return id.intValue();
  }

  /** What the post-processor puts before a text, seen by trying. */
  private OptionalInt findBos() {
    int[] plain = encodeWithoutSpecialTokens("a");
    int[] special = encode("a");
    boolean inFront =
        special.length > plain.length
            && Arrays.equals(special, 1, 1 + plain.length, plain, 0, plain.length);
    return inFront ? OptionalInt.of(special[0]) : OptionalInt.empty();
  }

  /**
   * Splits a text into tokens, with the special tokens that the file's post-processor adds: a
   * beginning of sequence for Llama models, none for GPT-2. A special token's name inside the text,
   * such as {@code <|endoftext|>}, becomes that token, as in Hugging Face's tokenizers.
   *
   * @param text any text, of any length
   * @return the ids
   * @throws CheckpointException where the text holds half of a surrogate pair
   */
  public int[] encode(String text) {
    requireWellFormed(text);
    return ints(tokenizer.encode(text, true, false).getIds());
  }

  /**
   * Splits a text into tokens and adds nothing.
   *
   * @param text any text, of any length
   * @return the ids
   * @throws CheckpointException where the text holds half of a surrogate pair
   */
  public int[] encodeWithoutSpecialTokens(String text) {
    requireWellFormed(text);
    return ints(tokenizer.encode(text, false, false).getIds());
  }

  /** The native library would replace it without a word. */
  private static void requireWellFormed(String text) {
    int position = Surrogates.firstUnpaired(text);
    if (position >= 0) {
      throw new CheckpointException(
          "text: character %d is U+%04X, half of a surrogate pair, which is not text"
              .formatted(position, (int) text.charAt(position)));
    }
  }

  /**
   * Joins tokens to a text, without special tokens.
   *
   * @param ids the ids
   * @return the text; bytes that are not UTF-8 come out as U+FFFD
   * @throws CheckpointException where an id is not in the vocabulary
   */
  public String decode(int... ids) {
    for (int id : ids) {
      token(id);
    }
    return tokenizer.decode(Arrays.stream(ids).asLongStream().toArray(), true);
  }

  /**
   * Returns a token as the vocabulary writes it, such as {@code Ġthe} or {@code <0x0A>}.
   *
   * @param id its id
   * @return the string, unique to the id
   * @throws CheckpointException where the id is not in the vocabulary
   */
  public String token(int id) {
    String token = vocabulary.get(id);
    if (token == null) {
      throw new CheckpointException(
          "%s: there is no token %d, expected one of the %d from 0 on"
              .formatted(file, id, vocabularySize));
    }
    return token;
  }

  /**
   * Returns the text that a token stands for inside a longer text, for display.
   *
   * @param id its id
   * @return the text, with its leading space; a special token's name; U+FFFD for parts of
   *     characters
   * @throws CheckpointException where the id is not in the vocabulary
   */
  public String piece(int id) {
    token(id);
    // Decoders drop the space in front of the first token, so it is the second of two that counts.
    String one = tokenizer.decode(new long[] {id}, false);
    String two = tokenizer.decode(new long[] {id, id}, false);
    return two.startsWith(one) ? two.substring(one.length()) : one;
  }

  /**
   * Returns the number of ids, added tokens included. A model's own vocabulary is often larger.
   *
   * @return the highest id plus 1
   */
  public int vocabularySize() {
    return vocabularySize;
  }

  /**
   * Returns what {@link #encode} puts in front of every text.
   *
   * @return the id of the beginning of a sequence, or empty where nothing is put there
   */
  public OptionalInt bosId() {
    return bosId;
  }

  private static int[] ints(long[] ids) {
    return Arrays.stream(ids).mapToInt(Math::toIntExact).toArray();
  }

  @Override
  public void close() {
    tokenizer.close();
  }
}
