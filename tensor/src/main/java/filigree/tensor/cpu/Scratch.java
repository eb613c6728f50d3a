package filigree.tensor.cpu;

import java.lang.foreign.Arena;
import java.util.Optional;

/**
 * Memory that one worker may use within one task: taken piece by piece, all given back when its
 * next task begins. It grows to the largest task seen and then stays, so that a training step takes
 * nothing from the system after the first.
 */
final class Scratch implements AutoCloseable {
  private static final long ALIGNMENT = 64;

  private Arena arena;
  private long base;
  private long capacity;
  private long used;
  private Optional<Scratch> second = Optional.empty();

  /**
   * Makes room for a whole task; pieces taken before are gone.
   *
   * @param floats how many floats the task will take, over all its pieces
   * @param pieces how many pieces
   */
  @SuppressWarnings("MustBeClosedChecker") // kept for the next task; close() closes it
  void reserve(long floats, int pieces) {
    long bytes = floats * Float.BYTES + pieces * ALIGNMENT;
    if (bytes > capacity) {
      release();
      arena = Arena.ofShared();
      base = arena.allocate(bytes, ALIGNMENT).address();
      capacity = bytes;
    }
    used = 0;
  }

  /**
   * Takes the next piece.
   *
   * @param floats its length
   * @return its address, on a cache line
   */
  long take(long floats) {
    long bytes = (floats * Float.BYTES + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (used + bytes > capacity) {
      throw new IllegalStateException("scratch of " + capacity + " bytes was reserved too small");
    }
    long address = base + used;
    used += bytes;
    return address;
  }

  /** Returns a second one of this worker, for a task that calls what takes scratch itself. */
  Scratch second() {
    if (second.isEmpty()) {
      second = Optional.of(new Scratch());
    }
    return second.get();
  }

  @Override
  public void close() {
    second.ifPresent(Scratch::close);
    release();
  }

  private void release() {
    if (arena != null) {
      arena.close();
      arena = null;
      capacity = 0;
    }
  }
}
