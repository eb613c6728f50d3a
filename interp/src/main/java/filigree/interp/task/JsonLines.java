package filigree.interp.task;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import filigree.tensor.Philox;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * A task that a user wrote: a line for each pair of prompts, an object with the strings {@code
 * clean} and {@code corrupted} and with {@code correct} and {@code incorrect}, each a string or a
 * list of strings, with their leading spaces. Other keys are passed over, and so are blank lines.
 *
 * @param file the file
 * @param lines what stands in it
 */
record JsonLines(Path file, List<Line> lines) implements Task {
  private static final int STREAM = 0x4c494e45;

  private static final JsonMapper MAPPER =
      JsonMapper.builder()
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  /**
   * A pair of prompts and where it stands.
   *
   * @param number of the line, from 1
   * @param draft its prompts and answers
   */
  record Line(int number, Draft draft) {}

  /** What is wrong with lines: the first in words, the others by number. */
  private static final class Faults {
    private final List<Integer> numbers = new ArrayList<>();
    private String first = "";

    void add(int number, String what) {
      first = numbers.isEmpty() ? what : first;
      numbers.add(number);
    }

    void raise(Path file) {
      if (!numbers.isEmpty()) {
        String others =
            numbers.size() == 1
                ? ""
                : " (%d more lines are bad, the next is line %d)"
                    .formatted(numbers.size() - 1, numbers.get(1));
        throw new TaskException(
            "%s: line %d: %s%s".formatted(file, numbers.getFirst(), first, others));
      }
    }
  }

  /** Why a line is no pair of prompts. */
  private static final class BadLine extends Exception {
    private static final long serialVersionUID = 1;

    BadLine(String message) {
      super(message);
    }
  }

  /**
   * Reads a file.
   *
   * @throws TaskException where it cannot be read, holds no line, or a line is not what it should
   *     be
   */
  static Task read(Path file) {
    List<Line> lines = new ArrayList<>();
    Faults faults = new Faults();
    int number = 0;
    for (byte[] bytes : split(bytes(file))) {
      number++;
      try {
        String text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
        if (!text.isBlank()) {
          lines.add(new Line(number, draft(text)));
        }
      } catch (CharacterCodingException e) {
        faults.add(number, "the line is not UTF-8 text");
      } catch (BadLine e) {
        faults.add(number, e.getMessage());
      }
    }
    faults.raise(file);
    if (lines.isEmpty()) {
      throw new TaskException(
          file
              + ": there is no line in it, expected objects with the keys clean, corrupted, correct"
              + " and incorrect");
    }
    return new JsonLines(file, List.copyOf(lines));
  }

  private static byte[] bytes(Path file) {
    if (!Files.isRegularFile(file)) {
      throw new TaskException(
          Files.exists(file)
              ? file + ": this is not a file"
              : "%s: there is no such file; give the path of a .jsonl file, or a task: %s"
                  .formatted(file, String.join(", ", Tasks.names())));
    }
    try {
      return Files.readAllBytes(file);
    } catch (IOException e) {
      throw new TaskException(
          "%s: the file cannot be read (%s); check its permissions".formatted(file, e));
    }
  }

  private static List<byte[]> split(byte[] bytes) {
    List<byte[]> out = new ArrayList<>();
    int from = 0;
    for (int i = 0; i <= bytes.length; i++) {
      if (i == bytes.length || bytes[i] == '\n') {
        out.add(Arrays.copyOfRange(bytes, from, i));
        from = i + 1;
      }
    }
    return out;
  }

  private static Draft draft(String text) throws BadLine {
    JsonNode node;
    try {
      node = MAPPER.readTree(text);
    } catch (JsonProcessingException e) {
      throw new BadLine(
          "the line is not valid JSON (%s)"
              .formatted(e.getOriginalMessage().lines().findFirst().orElse("no details")));
    }
    if (!node.isObject()) {
      throw new BadLine(
          "the line is not an object, expected the keys clean, corrupted, correct and incorrect");
    }
    return new Draft(
        string(node, "clean"),
        string(node, "corrupted"),
        new Draft.Whole(strings(node, "correct"), strings(node, "incorrect")));
  }

  private static String string(JsonNode node, String key) throws BadLine {
    List<String> one = strings(node, key);
    if (!node.get(key).isTextual()) {
      throw new BadLine("the key \"%s\" is a list, expected a string".formatted(key));
    }
    return one.getFirst();
  }

  private static List<String> strings(JsonNode node, String key) throws BadLine {
    JsonNode value = node.get(key);
    if (value == null) {
      throw new BadLine("the key \"%s\" is missing".formatted(key));
    }
    List<String> out = new ArrayList<>();
    for (JsonNode item : value.isArray() ? value : List.of(value)) {
      if (!item.isTextual() || item.textValue().isEmpty()) {
        throw new BadLine(
            "the key \"%s\" holds %s, expected text that is not empty".formatted(key, item));
      }
      out.add(item.textValue());
    }
    if (out.isEmpty()) {
      throw new BadLine("the key \"%s\" is an empty list, expected at least one".formatted(key));
    }
    return out;
  }

  @Override
  public String name() {
    return file.toString();
  }

  @Override
  public String description() {
    return "Pairs of prompts from a file.";
  }

  @Override
  public String source() {
    return file.toString();
  }

  /** Every line is checked, also those that are not drawn, so that a seed hides no fault. */
  @Override
  public List<Contrast> contrasts(TokenCodec codec, int count, long seed) {
    DrawnTask.requirePositive(name(), count);
    List<Contrast> all = new ArrayList<>();
    Faults faults = new Faults();
    for (Line line : lines) {
      switch (Posed.of(line.draft(), codec)) {
        case Posed.Asked asked -> all.add(asked.contrast());
        case Posed.Refused why ->
            faults.add(
                line.number(),
                "%s for this model's tokenizer (%s); mend or remove the line"
                    .formatted(why.reason(), why.example()));
      }
    }
    faults.raise(file);
    return Pick.several(new Philox(seed, STREAM), all, Math.min(count, all.size()));
  }
}
