package filigree.interp.relation;

import filigree.interp.task.TaskException;
import filigree.interp.task.TokenCodec;
import filigree.tensor.Philox;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;

/**
 * A sequence of random different tokens that stands twice (Olsson et al., arXiv 2209.11895). In the
 * second half the target of a query is the token after the same token in the first half, which
 * comes next; the last query, after which nothing comes, is left out. In the first half an
 * induction head finds what it needs if the block before it reads the previous token.
 */
record InductionTargets() implements Relation {
  private static final int STREAM = 0x494e4454;

  /** Longer halves say no more, and prompts shall be quick. */
  private static final int LONGEST_HALF = 24;

  private static final String TARGET = "induction target";
  private static final String PREVIOUS = "previous token";
  private static final String SAME = "same token before";
  private static final String ITSELF = "itself";
  private static final String ELSEWHERE = "elsewhere";
  private static final String FIRST = "first half";
  private static final String SECOND = "second half";

  @Override
  public List<String> kinds() {
    return List.of(TARGET, PREVIOUS, SAME, ELSEWHERE, ITSELF);
  }

  @Override
  public List<String> groups() {
    return List.of(FIRST, SECOND);
  }

  @Override
  public List<Relation.Prompt> prompts(TokenCodec codec, int context, int count, long seed) {
    int[] front = codec.encode("");
    List<Integer> words = codec.wordTokens();
    int half = Math.min(Math.min(LONGEST_HALF, words.size()), (context - front.length) / 2);
    if (half < 3) {
      throw new TaskException(
          "induction: the context of %d tokens and %d different tokens of letters and digits leave %d for a sequence that stands twice, expected 3 or more"
              .formatted(context, words.size(), half));
    }
    Philox random = new Philox(seed, STREAM);
    List<Relation.Prompt> out = new ArrayList<>();
    for (int prompt = 0; prompt < count; prompt++) {
      List<Integer> left = new ArrayList<>(words);
      int[] ids = new int[front.length + 2 * half];
      System.arraycopy(front, 0, ids, 0, front.length);
      for (int i = 0; i < half; i++) {
        Collections.swap(left, i, i + random.nextInt(left.size() - i));
        ids[front.length + i] = left.get(i);
        ids[front.length + half + i] = left.get(i);
      }
      out.add(new Twice(ids, front.length, front.length + half));
    }
    return out;
  }

  /** A prompt: where its halves begin. */
  private record Twice(int[] ids, int first, int second) implements Relation.Prompt {
    @Override
    public Optional<String> group(int query) {
      if (query < first || query == ids.length - 1) {
        return Optional.empty();
      }
      return Optional.of(query < second ? FIRST : SECOND);
    }

    @Override
    public String kind(int query, int key) {
      if (key == query) {
        return ITSELF;
      }
      if (key == query - 1) {
        return PREVIOUS;
      }
      int same = query - (second - first);
      if (query < second || key < same || key > same + 1) {
        return ELSEWHERE;
      }
      return key == same ? SAME : TARGET;
    }
  }
}
