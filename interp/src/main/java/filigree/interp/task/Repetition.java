package filigree.interp.task;

import filigree.tensor.Philox;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;

/**
 * Random tokens that repeat: what followed a token before follows it again. The corrupted prompt
 * has another token in the place of what followed.
 *
 * <p>Elhage et al., "A mathematical framework for transformer circuits" (2021); Olsson et al.,
 * "In-context learning and induction heads" (arXiv 2209.11895).
 *
 * @param name with all options
 * @param kind what repeats
 * @param length different tokens before the repetition
 */
record Repetition(String name, Kind kind, int length) implements Task {
  private static final int STREAM = 0x52455054;
  private static final Options.Range LENGTHS = new Options.Range(2, 4096);

  /** Enough for the period of an induction head, and short enough for small contexts. */
  private static final int USUAL_LENGTH = 10;

  private static final int DRAWS_PER_PROMPT = 60;

  /** What repeats. */
  enum Kind {
    /** One token of the sequence, at the end: ... A B ... A is followed by B. */
    INDUCTION("One of several random tokens stands again; what followed it before follows again."),
    /** The sequence from its beginning up to a random place. */
    COPY("A sequence of random tokens begins again; its next token follows.");

    private final String description;

    Kind(String description) {
      this.description = description;
    }
  }

  static Task induction(Options options) {
    return task(Kind.INDUCTION, options);
  }

  static Task copy(Options options) {
    return task(Kind.COPY, options);
  }

  private static Task task(Kind kind, Options options) {
    int length = options.number("length", LENGTHS, USUAL_LENGTH);
    return new Repetition(options.canonicalName(), kind, length);
  }

  @Override
  public String description() {
    return kind.description;
  }

  @Override
  public String source() {
    return "Elhage et al. 2021; Olsson et al., arXiv 2209.11895";
  }

  @Override
  public List<Contrast> contrasts(TokenCodec codec, int count, long seed) {
    DrawnTask.requirePositive(name, count);
    int[] front = codec.encode("");
    List<Integer> tokens = codec.wordTokens();
    if (tokens.size() < length + 1) {
      throw new TaskException(
          "%s needs %d different tokens made of letters and digits, and this tokenizer has %d; make the option length smaller"
              .formatted(name, length + 1, tokens.size()));
    }
    Philox random = new Philox(seed, STREAM);
    List<Contrast> out = new ArrayList<>();
    Set<List<Integer>> seen = new HashSet<>();
    for (long draw = 0; out.size() < count && draw < (long) DRAWS_PER_PROMPT * count; draw++) {
      List<Integer> drawn = Pick.several(random, tokens, length + 1);
      int asked = 1 + random.nextInt(length - 1);
      List<Integer> prompt = new ArrayList<>(drawn.subList(0, length));
      switch (kind) {
        case INDUCTION -> prompt.add(drawn.get(asked - 1));
        case COPY -> prompt.addAll(drawn.subList(0, asked));
      }
      if (seen.add(prompt)) {
        out.add(contrast(front, prompt, asked, drawn.getLast()));
      }
    }
    return List.copyOf(out);
  }

  private static Contrast contrast(int[] front, List<Integer> prompt, int asked, int other) {
    int[] clean =
        IntStream.concat(IntStream.of(front), prompt.stream().mapToInt(Integer::intValue))
            .toArray();
    int[] corrupted = clean.clone();
    corrupted[front.length + asked] = other;
    return new Contrast(
        clean, corrupted, clean.length - 1, new int[] {prompt.get(asked)}, new int[] {other});
  }
}
