package filigree.tensor;

import java.lang.foreign.MemorySegment;
import java.util.Map;
import java.util.OptionalLong;
import java.util.TreeMap;

/** One block of memory from the system, and which ranges of it are free. */
final class Slab {
  private final MemorySegment bytes;
  private final TreeMap<Long, Long> holes = new TreeMap<>(); // length by offset; no two touch

  Slab(MemorySegment bytes) {
    this.bytes = bytes;
    clear();
  }

  long address() {
    return bytes.address();
  }

  long length() {
    return bytes.byteSize();
  }

  /** Makes all of it free. */
  void clear() {
    holes.clear();
    holes.put(0L, length());
  }

  /** Finds the smallest hole that holds so many bytes, the first one of equals. */
  OptionalLong find(long wanted) {
    long best = -1;
    long least = Long.MAX_VALUE;
    for (Map.Entry<Long, Long> hole : holes.entrySet()) {
      if (hole.getValue() >= wanted && hole.getValue() < least) {
        best = hole.getKey();
        least = hole.getValue();
      }
    }
    return best < 0 ? OptionalLong.empty() : OptionalLong.of(best);
  }

  /** Takes the front of a hole. */
  MemorySegment take(long offset, long wanted) {
    long length = holes.remove(offset);
    if (length > wanted) {
      holes.put(offset + wanted, length - wanted);
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
    return true;
  }
}
