package filigree.tensor;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Off-heap slabs with a bump pointer and one free list per size.
 *
 * <p>The tensors of a training step have the same sizes in every step, so an exact-size free list
 * finds a fit nearly always and there is nothing to fragment. {@link #reset} forgets all tensors at
 * once and keeps the slabs: after the first step nothing is taken from the system. A tensor used
 * after the reset or close is an error, not a read of someone else's bytes.
 *
 * <p>Not thread-safe: one owner, one thread.
 */
public final class Workspace implements Memory {
  /** Every tensor starts on a cache line, which is also the widest vector register. */
  static final long ALIGNMENT = 64;

  private static final long SLAB_BYTES = 16L << 20;

  private final String name;
  private final long limitBytes;
  private final Arena arena = Arena.ofShared();
  private final List<MemorySegment> slabs = new ArrayList<>();
  private final Map<Long, ArrayDeque<MemorySegment>> free = new HashMap<>();
  private int slab;
  private long offset;
  private long reserved;
  private long live;
  private long peak;
  private Lifetime lifetime = new Lifetime();

  /** Tells the tensors of one round that their bytes were taken away. */
  static final class Lifetime {
    private volatile boolean over;

    boolean isOver() {
      return over;
    }
  }

  /**
   * Makes an empty workspace.
   *
   * @param name what errors call it
   * @param limitBytes the most it may take from the system
   */
  public Workspace(String name, long limitBytes) {
    this.name = name;
    this.limitBytes = limitBytes;
  }

  /**
   * Makes an empty workspace without a limit of its own.
   *
   * @param name what errors call it
   */
  public Workspace(String name) {
    this(name, Long.MAX_VALUE);
  }

  @Override
  public Tensor allocate(Shape shape, DType dtype) {
    long bytes = roundUp(Math.multiplyExact(shape.size(), dtype.bytes()));
    ArrayDeque<MemorySegment> reusable = free.get(bytes);
    MemorySegment segment = reusable != null && !reusable.isEmpty() ? reusable.pop() : carve(bytes);
    live += bytes;
    peak = Math.max(peak, live);
    return new Tensor(shape, dtype, segment, lifetime);
  }

  @Override
  public void release(Tensor tensor) {
    MemorySegment segment = tensor.storage();
    live -= segment.byteSize();
    free.computeIfAbsent(segment.byteSize(), size -> new ArrayDeque<>()).push(segment);
  }

  /** Forgets all tensors and keeps the slabs. */
  public void reset() {
    lifetime.over = true;
    lifetime = new Lifetime();
    free.clear();
    slab = 0;
    offset = 0;
    live = 0;
  }

  @Override
  public long reservedBytes() {
    return reserved;
  }

  /**
   * Returns the most bytes that were in use at once since the workspace was made.
   *
   * @return bytes
   */
  public long peakBytes() {
    return peak;
  }

  @Override
  public void close() {
    lifetime.over = true;
    arena.close();
  }

  private MemorySegment carve(long bytes) {
    while (slab < slabs.size() && offset + bytes > slabs.get(slab).byteSize()) {
      slab++;
      offset = 0;
    }
    if (slab == slabs.size()) {
      long slabBytes = Math.max(SLAB_BYTES, bytes);
      if (reserved + slabBytes > limitBytes) {
        throw new TensorException(
            "%s: %d MiB are reserved and %d MiB more are needed, above the limit of %d MiB; try a smaller batch, a shorter context or a higher --memory"
                .formatted(name, reserved >> 20, slabBytes >> 20, limitBytes >> 20));
      }
      slabs.add(arena.allocate(slabBytes, ALIGNMENT));
      reserved += slabBytes;
    }
    MemorySegment segment = slabs.get(slab).asSlice(offset, bytes);
    offset += bytes;
    return segment;
  }

  private static long roundUp(long bytes) {
    return Math.max(ALIGNMENT, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
  }
}
