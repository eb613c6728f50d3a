package filigree.interp.task;

import java.util.List;
import java.util.stream.IntStream;

/** A model's tokenizer, as tasks see it. */
public interface TokenCodec {
  /**
   * Splits a text into tokens as the model reads texts.
   *
   * @param text any text
   * @return ids, with what the model expects in front of every text, such as a beginning of
   *     sequence; for an empty text that alone
   */
  int[] encode(String text);

  /**
   * Returns the text that a token stands for inside a longer text.
   *
   * @param id a token
   * @return its text, with its leading space; a special token's name
   */
  String piece(int id);

  /**
   * Returns the number of tokens that the model knows.
   *
   * @return the highest id plus 1
   */
  int vocabularySize();

  /**
   * Returns the tokens that are letters and digits of ASCII, perhaps after a space: neither names
   * of special tokens nor single bytes nor characters that a small model never saw.
   *
   * @return ids, ascending
   */
  default List<Integer> wordTokens() {
    return IntStream.range(0, vocabularySize())
        .filter(
            id -> {
              String text = piece(id).strip();
              return !text.isEmpty()
                  && text.chars().allMatch(c -> c < 128 && Character.isLetterOrDigit(c));
            })
        .boxed()
        .toList();
  }
}
