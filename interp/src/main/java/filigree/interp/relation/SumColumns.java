package filigree.interp.relation;

import filigree.interp.task.TaskException;
import filigree.interp.task.TokenCodec;
import filigree.tensor.Philox;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Columns of two-digit addition {@code dd+dd=?????} (arXiv 2512.05865, Figure 1). The queries are
 * the last three question marks, at which hundreds, tens and units of the sum are read. A column's
 * own digits are those of the two numbers that stand in it; the hundreds, where no digits stand,
 * have those of the tens. A column's carry is what comes out of the next lower one.
 */
record SumColumns() implements Relation {
  private static final int STREAM = 0x53554d43;
  private static final int TOKENS = 11;
  private static final int HUNDREDS = 8;
  private static final int TENS = 9;
  private static final int UNITS = 10;
  private static final int NUMBERS = 100;

  private static final String OWN = "own digits";
  private static final String LOWER = "lower digits";
  private static final String ELSEWHERE = "elsewhere";
  private static final String ITSELF = "itself";

  @Override
  public List<String> kinds() {
    return List.of(OWN, LOWER, ELSEWHERE, ITSELF);
  }

  @Override
  public List<String> groups() {
    return List.of(
        "units",
        "tens without carry",
        "tens with carry",
        "hundreds without carry",
        "hundreds with carry");
  }

  @Override
  public List<Relation.Prompt> prompts(TokenCodec codec, int context, int count, long seed) {
    if (context < TOKENS) {
      throw new TaskException(
          "addition: a problem has %d tokens, and the model's context is %d"
              .formatted(TOKENS, context));
    }
    Philox random = new Philox(seed, STREAM);
    List<Relation.Prompt> out = new ArrayList<>();
    while (out.size() < count) {
      int a = random.nextInt(NUMBERS);
      int b = random.nextInt(NUMBERS);
      String text = "%02d+%02d=?????".formatted(a, b);
      int[] ids = codec.encode(text);
      if (ids.length != TOKENS) {
        throw new TaskException(
            "addition: '%s' becomes %d tokens, expected one for each of its %d characters, as in the model of filigree demo"
                .formatted(text, ids.length, TOKENS));
      }
      out.add(new Sum(ids, a, b));
    }
    return out;
  }

  /** A problem. */
  private record Sum(int[] ids, int a, int b) implements Relation.Prompt {
    @Override
    public Optional<String> group(int query) {
      boolean toTens = a % 10 + b % 10 >= 10;
      boolean toHundreds = a + b >= NUMBERS;
      return switch (query) {
        case UNITS -> Optional.of("units");
        case TENS -> Optional.of(toTens ? "tens with carry" : "tens without carry");
        case HUNDREDS -> Optional.of(toHundreds ? "hundreds with carry" : "hundreds without carry");
        default -> Optional.empty();
      };
    }

    @Override
    public String kind(int query, int key) {
      if (key == query) {
        return ITSELF;
      }
      boolean tens = key == 0 || key == 3;
      boolean units = key == 1 || key == 4;
      boolean own = query == UNITS ? units : tens;
      return own ? OWN : units ? LOWER : ELSEWHERE;
    }
  }
}
