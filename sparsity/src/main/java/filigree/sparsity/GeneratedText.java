package filigree.sparsity;

import filigree.tensor.Kernels;
import filigree.tensor.Philox;
import filigree.transformer.Gates;
import filigree.transformer.Generator;
import filigree.transformer.Transformer;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.function.IntConsumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Text that the dense model writes, for distillation: it is spread as the model itself believes
 * text to be, and there is as much of it as one waits for. Sampled at temperature 1.
 *
 * @param documents how many
 */
public record GeneratedText(int documents) {
  /** Documents where none are asked for by number. */
  public static final int DEFAULT_DOCUMENTS = 200;

  private static final int FIRST_TOKENS_STREAM = 0x47454e54;

  /** Checks the number. */
  public GeneratedText {
    if (documents < 1) {
      throw new RunException(
          "--distill-text generated:" + documents + " asks for nothing, expected 1 or more");
    }
  }

  /**
   * Reads an option.
   *
   * @param text {@code generated} or {@code generated:N}
   * @return the choice
   * @throws RunException where it is something else
   */
  public static GeneratedText parse(String text) {
    Matcher matcher = Pattern.compile("generated(?::([0-9]{1,9}))?").matcher(text);
    if (!matcher.matches()) {
      throw new RunException(
          "--distill-text is '%s', expected generated or generated:N with a number of documents"
              .formatted(text));
    }
    return new GeneratedText(
        matcher.group(1) == null ? DEFAULT_DOCUMENTS : Integer.parseInt(matcher.group(1)));
  }

  /**
   * How documents begin and end.
   *
   * @param beginnings documents whose first tokens are those of generated ones; not empty
   * @param tokens the longest document
   * @param ends tokens that end a document
   */
  public record Frame(List<int[]> beginnings, int tokens, Set<Integer> ends) {}

  /**
   * Generates.
   *
   * @param dense the model, run with all gates open
   * @param frame how documents begin and end
   * @param seed chooses everything random; a document depends on it and on its own number only
   * @param kernels the provider
   * @param progress told the number of documents so far
   * @return documents that include their first token
   */
  public List<int[]> draw(
      Transformer dense, Frame frame, long seed, Kernels kernels, IntConsumer progress) {
    Generator generator = new Generator(dense, kernels, Gates.dense());
    Philox random = new Philox(seed, FIRST_TOKENS_STREAM);
    List<int[]> out = new ArrayList<>();
    for (int i = 0; i < documents; i++) {
      int[] from = frame.beginnings().get(random.nextInt(frame.beginnings().size()));
      long own = ((long) random.nextInt() << 32) | (random.nextInt() & 0xffffffffL);
      int[] first = {from[0]};
      int[] rest =
          generator.generate(
              first,
              frame.tokens() - 1,
              new Generator.Sampling(1, 0, 1, own),
              token -> !frame.ends().contains(token));
      int[] document = new int[1 + rest.length];
      document[0] = first[0];
      System.arraycopy(rest, 0, document, 1, rest.length);
      out.add(document);
      progress.accept(i + 1);
    }
    return out;
  }
}
