package filigree.checkpoints;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** Reads JSON that is hostile until checked: strict UTF-8, no duplicate key, nothing behind it. */
final class Json {
  /** Far above the largest tokenizer.json (34 MB for 262,144 tokens), far below the heap. */
  private static final long MAX_BYTES = 256L << 20;

  // Without canonical field names, names chosen to collide cannot slow down or end the parser.
  private static final JsonFactory FACTORY =
      JsonFactory.builder()
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES)
          .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
          .build();

  /** Also writes: Jackson's pretty printer, so that people can read what is written. */
  static final ObjectMapper MAPPER =
      JsonMapper.builder(FACTORY).enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS).build();

  private Json() {}

  static JsonParser parser(String text) throws IOException {
    return FACTORY.createParser(text);
  }

  /** Parses one value; the caller says where the text comes from. */
  static JsonNode parse(String text) throws JsonProcessingException {
    return MAPPER.readTree(text);
  }

  /** Reads a file that holds one object. */
  static ObjectNode readObject(Path file) {
    try {
      JsonNode node = parse(readText(file, MAX_BYTES));
      if (node instanceof ObjectNode object) {
        return object;
      }
      throw new CheckpointException(file + ": the file does not hold a JSON object");
    } catch (JsonProcessingException e) {
      throw new CheckpointException(
          "%s: line %d is not valid JSON (%s)"
              .formatted(
                  file, e.getLocation() == null ? 1 : e.getLocation().getLineNr(), reason(e)),
          e);
    }
  }

  /** Reads a whole text file, strictly as UTF-8. */
  static String readText(Path file, long maxBytes) {
    try {
      if (!Files.isRegularFile(file)) {
        throw new CheckpointException(
            file + (Files.exists(file) ? ": this is not a file" : ": there is no such file"));
      }
      long bytes = Files.size(file);
      if (bytes > maxBytes) {
        throw new CheckpointException(
            "%s: the file has %d bytes, expected at most %d".formatted(file, bytes, maxBytes));
      }
      return decode(ByteBuffer.wrap(Files.readAllBytes(file)));
    } catch (CharacterCodingException e) {
      throw new CheckpointException(file + ": the file is not UTF-8 text; convert it first", e);
    } catch (IOException e) {
      throw new CheckpointException(file + ": the file could not be read: " + e.getMessage(), e);
    }
  }

  /** Decodes UTF-8 and refuses what is not; a String constructor would put in U+FFFD instead. */
  static String decode(ByteBuffer bytes) throws CharacterCodingException {
    return StandardCharsets.UTF_8.newDecoder().decode(bytes).toString();
  }

  /** The first line of Jackson's explanation, without the location it appends. */
  static String reason(JsonProcessingException e) {
    String message = e.getOriginalMessage();
    return message == null ? "unreadable" : message.lines().findFirst().orElse("unreadable");
  }
}
