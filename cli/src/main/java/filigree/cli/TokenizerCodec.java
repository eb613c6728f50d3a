package filigree.cli;

import filigree.checkpoints.Tokenizer;
import filigree.interp.task.TokenCodec;
import java.util.HashMap;
import java.util.Map;

/** The tokenizer of a checkpoint as tasks see it; for one thread. */
public final class TokenizerCodec implements TokenCodec {
  private final Tokenizer tokenizer;
  private final int vocabulary;

  /** Decoding crosses into native code; tasks ask for the same few pieces again and again. */
  private final Map<Integer, String> pieces = new HashMap<>();

  /**
   * Wraps a tokenizer.
   *
   * @param tokenizer stays the caller's
   * @param vocabulary tokens that the model knows; ids that only the model or only the tokenizer
   *     has are not counted
   */
  public TokenizerCodec(Tokenizer tokenizer, int vocabulary) {
    this.tokenizer = tokenizer;
    this.vocabulary = Math.min(vocabulary, tokenizer.vocabularySize());
  }

  @Override
  public int[] encode(String text) {
    return tokenizer.encode(text);
  }

  @Override
  public String piece(int id) {
    return pieces.computeIfAbsent(id, tokenizer::piece);
  }

  @Override
  public int vocabularySize() {
    return vocabulary;
  }
}
