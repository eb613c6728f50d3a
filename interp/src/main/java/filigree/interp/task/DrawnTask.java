package filigree.interp.task;

import filigree.tensor.Philox;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * A task whose prompts are drawn at random as text; those that a tokenizer cannot express are drawn
 * again.
 *
 * @param name with all options
 * @param description one sentence
 * @param source a publication
 * @param advice what to try with a tokenizer that cannot express the task
 * @param drafts draws one
 */
record DrawnTask(String name, String description, String source, String advice, Drafts drafts)
    implements Task {
  private static final int STREAM = 0x5441534b;

  /** Draws for each prompt that is wanted: rare tokens may leave one draft in dozens. */
  private static final int DRAWS_PER_PROMPT = 60;

  /** A tokenizer for which so many drafts in a row fail cannot express the task. */
  private static final int FRUITLESS_DRAWS = 3_000;

  /** Draws drafts. */
  @FunctionalInterface
  interface Drafts {
    /**
     * Draws one.
     *
     * @param random the only source of chance
     * @return a draft, perhaps one that was drawn before
     */
    Draft draw(Philox random);
  }

  @Override
  public List<Contrast> contrasts(TokenCodec codec, int count, long seed) {
    requirePositive(name, count);
    Philox random = new Philox(seed, STREAM);
    List<Contrast> out = new ArrayList<>();
    Set<Draft> seen = new HashSet<>();
    Map<String, List<String>> refused = new LinkedHashMap<>();
    long draws = 0;
    while (out.size() < count
        && draws < (out.isEmpty() ? FRUITLESS_DRAWS : (long) DRAWS_PER_PROMPT * count)) {
      draws++;
      Draft draft = drafts.draw(random);
      if (!seen.add(draft)) {
        continue;
      }
      switch (Posed.of(draft, codec)) {
        case Posed.Asked asked -> out.add(asked.contrast());
        case Posed.Refused why ->
            refused.computeIfAbsent(why.reason(), key -> new ArrayList<>()).add(why.example());
      }
    }
    if (out.isEmpty()) {
      throw new TaskException(impossible(refused));
    }
    return List.copyOf(out);
  }

  static void requirePositive(String name, int count) {
    if (count < 1) {
      throw new TaskException(
          "%s: %d prompts are asked for, expected at least 1".formatted(name, count));
    }
  }

  private String impossible(Map<String, List<String>> refused) {
    Map.Entry<String, List<String>> most =
        refused.entrySet().stream()
            .max((a, b) -> Integer.compare(a.getValue().size(), b.getValue().size()))
            .orElseThrow();
    int all = refused.values().stream().mapToInt(List::size).sum();
    return "%s cannot be posed to this model's tokenizer: of %,d prompts that were tried all fail, for %,d of them because %s (for example %s); %s"
        .formatted(
            name, all, most.getValue().size(), most.getKey(), most.getValue().getFirst(), advice);
  }
}
