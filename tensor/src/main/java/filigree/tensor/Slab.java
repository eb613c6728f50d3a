package filigree.tensor;

import filigree.tensor.os.LinuxMemory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/** One block of memory from the system, and which ranges of it are free. */
final class Slab implements AutoCloseable {
  // With slabs at page starts the small kernels of a generated token are slower: its attention
  // takes 0.5 ms instead of 0.3 (docs/performance.md, Memory). An odd number of cache lines.
  private static final long INTO_PAGE = 17 * 64;

  private final Optional<Arena> arena;
  private final MemorySegment bytes;
  private final TreeMap<Long, Long> holes = new TreeMap<>(); // length by offset; no two touch
  private long longest;
  private boolean touched;

  private Slab(Optional<Arena> arena, MemorySegment bytes) {
    this.arena = arena;
    this.bytes = bytes;
    clear();
  }

  /** Takes a block from the system; empty where it has none. */
  @SuppressWarnings({"MustBeClosedChecker", "restricted"}) // closed by close()
  static Optional<Slab> real(long length, long alignment) {
    if (!LinuxMemory.isHere()) {
      Arena arena = Arena.ofShared();
      return Optional.of(new Slab(Optional.of(arena), arena.allocate(length, alignment)));
    }
    // From malloc, slabs would lie between small blocks, and in small pages.
    return LinuxMemory.map(length + INTO_PAGE)
        .map(
            pages -> {
              LinuxMemory.preferHugePages(pages);
              // All of it now: Linux would fill what is left of a large page in its own time.
              pages.fill((byte) 0);
              Arena arena = Arena.ofShared();
              MemorySegment owned = pages.reinterpret(arena, ignored -> LinuxMemory.unmap(pages));
              return new Slab(Optional.of(arena), owned.asSlice(INTO_PAGE, length, alignment));
            });
  }

  /** A block that has an address and a length and no bytes: a read of it throws. */
  @SuppressWarnings("restricted")
  static Slab imaginary(long address, long length) {
    try (Arena over = Arena.ofConfined()) {
      return new Slab(
          Optional.empty(), MemorySegment.ofAddress(address).reinterpret(length, over, null));
    }
  }

  long address() {
    return bytes.address();
  }

  long length() {
    return bytes.byteSize();
  }

  boolean isEmpty() {
    return longest == length();
  }

  /** Whether anything was taken since it was cleared. */
  boolean isTouched() {
    return touched;
  }

  /** Makes all of it free. */
  void clear() {
    touched = false;
    holes.clear();
    holes.put(0L, length());
    longest = length();
  }

  boolean fits(long wanted) {
    return longest >= wanted;
  }

  /** Takes the front of the smallest hole that is long enough, the first one of equals. */
  MemorySegment take(long wanted) {
    long offset = -1;
    long length = Long.MAX_VALUE;
    for (Map.Entry<Long, Long> hole : holes.entrySet()) {
      if (hole.getValue() >= wanted && hole.getValue() < length) {
        offset = hole.getKey();
        length = hole.getValue();
      }
    }
    touched = true;
    holes.remove(offset);
    if (length > wanted) {
      holes.put(offset + wanted, length - wanted);
    }
    if (length == longest) {
      longest = 0;
      holes.values().forEach(hole -> longest = Math.max(longest, hole));
    }
    return bytes.asSlice(offset, wanted);
  }

  /** Frees a range and joins it with free neighbours; says whether it was taken. */
  boolean give(MemorySegment range) {
    long offset = range.address() - address();
    long length = range.byteSize();
    Map.Entry<Long, Long> before = holes.floorEntry(offset);
    Map.Entry<Long, Long> after = holes.ceilingEntry(offset);
    boolean overlaps =
        (before != null && before.getKey() + before.getValue() > offset)
            || (after != null && after.getKey() < offset + length);
    if (overlaps) {
      return false;
    }
    if (after != null && after.getKey() == offset + length) {
      length += holes.remove(after.getKey());
    }
    if (before != null && before.getKey() + before.getValue() == offset) {
      offset = before.getKey();
      length += before.getValue();
    }
    holes.put(offset, length);
    longest = Math.max(longest, length);
    return true;
  }

  @Override
  public void close() {
    arena.ifPresent(Arena::close);
  }
}
