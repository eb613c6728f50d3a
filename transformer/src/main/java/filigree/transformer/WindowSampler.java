package filigree.transformer;

import filigree.tensor.Memory;
import filigree.tensor.Philox;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Windows of text in random order: every epoch cuts all documents into consecutive windows and
 * shuffles them. The first window of a document starts at its beginning, as in evaluation; the
 * last, shorter one is moved back to end with the document, so that no text is left out. Documents
 * shorter than a window are joined, in order, until a window is full.
 */
public final class WindowSampler implements TrainingData {
  private static final int SHUFFLE_STREAM = 0x534846;

  private final List<int[]> windows;
  private final int batchSize;
  private final long seed;
  private long orderedEpoch = -1;
  private int[] order;

  /**
   * Cuts the documents.
   *
   * @param documents token ids
   * @param context tokens per window
   * @param batchSize windows per batch
   * @param seed chooses the order
   * @throws ModelException where all documents together do not fill a window
   */
  public WindowSampler(List<int[]> documents, int context, int batchSize, long seed) {
    this.windows = cut(documents, context);
    this.batchSize = batchSize;
    this.seed = seed;
    if (windows.isEmpty()) {
      long tokens = documents.stream().mapToLong(document -> document.length).sum();
      throw new ModelException(
          "the training text has %d tokens, fewer than one window of %d; use more text or a shorter --context"
              .formatted(tokens, context));
    }
  }

  /**
   * Returns the number of windows in an epoch.
   *
   * @return at least 1
   */
  public int windowCount() {
    return windows.size();
  }

  @Override
  public Batch batch(long step, Memory memory) {
    List<int[]> chosen = new ArrayList<>(batchSize);
    long at = (step - 1) * batchSize;
    for (int i = 0; i < batchSize; i++, at++) {
      int[] order = order(at / windows.size());
      chosen.add(windows.get(order[(int) (at % windows.size())]));
    }
    return Batch.nextToken(chosen, memory);
  }

  private int[] order(long epoch) {
    if (epoch != orderedEpoch) {
      order = new int[windows.size()];
      Arrays.setAll(order, i -> i);
      new Philox(seed + (epoch << 32), SHUFFLE_STREAM).shuffle(order);
      orderedEpoch = epoch;
    }
    return order;
  }

  private static List<int[]> cut(List<int[]> documents, int context) {
    List<int[]> out = new ArrayList<>();
    int[] joined = new int[context];
    int filled = 0;
    for (int[] document : documents) {
      if (document.length >= context) {
        for (int from = 0; from < document.length; from += context) {
          int start = Math.min(from, document.length - context);
          out.add(Arrays.copyOfRange(document, start, start + context));
        }
      } else {
        for (int token : document) {
          joined[filled++] = token;
          if (filled == context) {
            out.add(joined.clone());
            filled = 0;
          }
        }
      }
    }
    return out;
  }
}
