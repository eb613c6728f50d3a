package filigree.transformer;

import filigree.tensor.Memory;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import java.util.Arrays;
import java.util.List;

/**
 * Sequences of one length with what is to be predicted at each position.
 *
 * @param ids I32 [batch, time]
 * @param targets I32 [batch, time]: the token to be predicted, -1 where nothing is scored
 * @param scored positions with a target
 */
public record Batch(Tensor ids, Tensor targets, long scored) {
  /** Makes a batch in somebody's memory. */
  @FunctionalInterface
  public interface Maker {
    /**
     * Makes the batch.
     *
     * @param memory owns its tensors
     * @return the batch
     */
    Batch make(Memory memory);
  }

  /**
   * Makes a batch from ids and targets.
   *
   * @param ids sequences of one length
   * @param targets as many of the same length; -1 where nothing is scored
   * @param memory owns the tensors
   * @return the batch
   */
  public static Batch of(List<int[]> ids, List<int[]> targets, Memory memory) {
    long scored =
        targets.stream().flatMapToInt(Arrays::stream).filter(target -> target >= 0).count();
    return new Batch(pack(ids, memory), pack(targets, memory), scored);
  }

  /**
   * Makes a batch that predicts the next token everywhere but at the last position.
   *
   * @param windows sequences of one length
   * @param memory owns the tensors
   * @return the batch
   */
  public static Batch nextToken(List<int[]> windows, Memory memory) {
    List<int[]> targets =
        windows.stream()
            .map(
                window -> {
                  int[] next = Arrays.copyOfRange(window, 1, window.length + 1);
                  next[window.length - 1] = -1;
                  return next;
                })
            .toList();
    return of(windows, targets, memory);
  }

  private static Tensor pack(List<int[]> rows, Memory memory) {
    int time = rows.getFirst().length;
    int[] all = new int[rows.size() * time];
    for (int row = 0; row < rows.size(); row++) {
      if (rows.get(row).length != time) {
        throw new ModelException(
            "a batch holds sequences of %d and of %d tokens; they must be equally long"
                .formatted(time, rows.get(row).length));
      }
      System.arraycopy(rows.get(row), 0, all, row * time, time);
    }
    return Tensor.ofInts(memory, Shape.of(rows.size(), time), all);
  }
}
