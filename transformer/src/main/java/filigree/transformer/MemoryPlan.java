package filigree.transformer;

/**
 * What a run keeps and what it computes again.
 *
 * @param recompute what the backward pass runs again
 * @param logitsAtOnce how many logits exist at a time: where a batch has more, they are made,
 *     scored and differentiated by chunks of rows
 */
public record MemoryPlan(Recompute recompute, long logitsAtOnce) {
  /**
   * 64 MiB of float32: 333 rows of 50,304. Each chunk reads the whole head, and widens it where it
   * is stored in 16 bits, so that chunks of few rows would spend their time on that.
   */
  public static final long LOGITS_AT_ONCE = 16L << 20;

  /** Keeps everything. */
  public static final MemoryPlan KEEP_ALL = new MemoryPlan(Recompute.NOTHING, Long.MAX_VALUE);

  /** Keeps the records of all blocks. */
  public static final MemoryPlan KEEP_BLOCKS = new MemoryPlan(Recompute.NOTHING, LOGITS_AT_ONCE);

  /** Keeps the blocks' inputs. */
  public static final MemoryPlan RECOMPUTE_BLOCKS =
      new MemoryPlan(Recompute.BLOCKS, LOGITS_AT_ONCE);

  /** Checks the number. */
  public MemoryPlan {
    if (logitsAtOnce < 1) {
      throw new ModelException("logits at once are " + logitsAtOnce + ", expected 1 or more");
    }
  }

  /** Rows of logits in a chunk. */
  long rowsAtOnce(long vocabulary) {
    return Math.max(1, logitsAtOnce / vocabulary);
  }
}
