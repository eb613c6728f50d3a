package filigree.transformer;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Documents cut into consecutive windows of at most the context's length. Every document stands on
 * its own, and the first token of a window is read but not scored, since nothing precedes it.
 */
public final class Windows {
  private final List<int[]> windows;

  private Windows(List<int[]> windows) {
    this.windows = windows;
  }

  /**
   * Cuts documents.
   *
   * @param documents token ids
   * @param context tokens per window; a document's last window may be shorter
   * @return windows of one or more tokens, in order
   */
  public static Windows cut(List<int[]> documents, int context) {
    if (context < 2) {
      throw new ModelException(
          "a window of %d tokens scores nothing; use a --context of 2 or more".formatted(context));
    }
    List<int[]> windows = new ArrayList<>();
    for (int[] document : documents) {
      for (int from = 0; from < document.length; from += context) {
        windows.add(Arrays.copyOfRange(document, from, Math.min(document.length, from + context)));
      }
    }
    return new Windows(windows);
  }

  /**
   * Returns the windows.
   *
   * @return token ids of each
   */
  public List<int[]> all() {
    return windows;
  }

  /**
   * Counts the scored tokens.
   *
   * @return the sum over windows of their length less 1
   */
  public long scored() {
    return windows.stream().mapToLong(window -> window.length - 1).sum();
  }

  /**
   * Groups the windows by length, each group in order, so that a batch needs no padding. Windows of
   * a single token score nothing but are kept: their edge to themselves counts.
   *
   * @param size most windows in a batch
   * @return makers of batches
   */
  public List<Batch.Maker> batches(int size) {
    Map<Integer, List<List<int[]>>> byLength = new LinkedHashMap<>();
    for (int[] window : windows) {
      List<List<int[]>> groups =
          byLength.computeIfAbsent(window.length, length -> new ArrayList<>());
      if (groups.isEmpty() || groups.getLast().size() == size) {
        groups.add(new ArrayList<>());
      }
      groups.getLast().add(window);
    }
    return byLength.values().stream()
        .flatMap(List::stream)
        .map(group -> (Batch.Maker) memory -> Batch.nextToken(group, memory))
        .toList();
  }
}
