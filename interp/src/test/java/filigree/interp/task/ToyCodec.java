package filigree.interp.task;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;

/** Splits text by a pattern; a piece gets its id when it is first seen. */
public final class ToyCodec implements TokenCodec {
  private final Pattern pattern;
  private final int[] front;
  private final Map<String, Integer> ids = new HashMap<>();
  private final List<String> pieces = new ArrayList<>();

  private ToyCodec(String pattern, List<String> front) {
    this.pattern = Pattern.compile(pattern, Pattern.DOTALL);
    this.front = front.stream().mapToInt(this::id).toArray();
  }

  /**
   * Words and pairs of digits with the space before them, and single characters; nothing before.
   */
  static ToyCodec words() {
    return new ToyCodec(" ?[A-Za-z]+| ?[0-9]{2}|.", List.of());
  }

  /** Words with the space before them, but numbers of any length are one token. */
  static ToyCodec wordsAndNumbers() {
    return new ToyCodec(" ?[A-Za-z]+| ?[0-9]+|.", List.of());
  }

  /** Characters, after a beginning of sequence. */
  public static ToyCodec characters() {
    return new ToyCodec(".", List.of("<s>"));
  }

  /** Knows pieces beforehand. */
  public ToyCodec knowing(String text) {
    encode(text);
    return this;
  }

  private int id(String piece) {
    return ids.computeIfAbsent(
        piece,
        key -> {
          pieces.add(key);
          return pieces.size() - 1;
        });
  }

  @Override
  public int[] encode(String text) {
    Matcher matcher = pattern.matcher(text);
    List<Integer> out = new ArrayList<>();
    while (matcher.find()) {
      out.add(id(matcher.group()));
    }
    return IntStream.concat(IntStream.of(front), out.stream().mapToInt(Integer::intValue))
        .toArray();
  }

  @Override
  public String piece(int id) {
    return pieces.get(id);
  }

  @Override
  public int vocabularySize() {
    return pieces.size();
  }

  /** The text of tokens, with the names of special ones. */
  String text(int... tokens) {
    StringBuilder out = new StringBuilder();
    for (int token : tokens) {
      out.append(piece(token));
    }
    return out.toString();
  }
}
