package filigree.autograd;

import filigree.tensor.Memory;
import filigree.tensor.Tensor;
import java.util.Map;
import java.util.TreeMap;

/**
 * The bytes of a pass's values, and for how long they are needed. A buffer is given back when no
 * value in it may be asked for any more and no recorded rule will read it.
 *
 * <p>Several values may lie in one buffer (a reshaped value does, and a value that a tap takes out
 * of one graph and puts into another), so they are found by address.
 */
final class Buffers {
  /** The bytes of one tensor that this pass made, or of one that it was given. */
  static final class Buffer {
    private final Tensor whole;
    private boolean owned;
    private int values;
    private int rules;

    private Buffer(Tensor whole, boolean owned) {
      this.whole = whole;
      this.owned = owned;
    }
  }

  private final Memory memory;
  private final TreeMap<Long, Buffer> byAddress = new TreeMap<>();

  Buffers(Memory memory) {
    this.memory = memory;
  }

  /** Notes a tensor that an operation made. */
  Buffer made(Tensor tensor) {
    Buffer buffer = new Buffer(tensor, true);
    byAddress.put(tensor.address(), buffer);
    return buffer;
  }

  /** Finds the buffer that a tensor lies in; one that this pass did not make it never frees. */
  Buffer holding(Tensor tensor) {
    Map.Entry<Long, Buffer> entry = byAddress.floorEntry(tensor.address());
    boolean inside =
        entry != null && tensor.address() < entry.getKey() + entry.getValue().whole.byteSize();
    return inside ? entry.getValue() : new Buffer(tensor, false);
  }

  /** A value in the buffer may be asked for. */
  void open(Buffer buffer) {
    buffer.values++;
  }

  /** It may not any more. */
  void close(Buffer buffer) {
    buffer.values--;
    freeIfUnused(buffer);
  }

  /** A rule will read the buffer. */
  void keepFor(Call call) {
    call.reads.forEach(buffer -> buffer.rules++);
  }

  /** The rule is done. */
  void doneWith(Call call) {
    for (Buffer buffer : call.reads) {
      buffer.rules--;
      freeIfUnused(buffer);
    }
  }

  /**
   * Hands the bytes of a value to the only rule that will still read them, to be written over.
   *
   * @return whether they are the caller's now
   */
  boolean handOver(Buffer buffer, Tensor value) {
    boolean last = buffer.owned && buffer.values == 0 && buffer.rules == 1;
    if (!last || value.byteSize() != buffer.whole.byteSize()) {
      return false;
    }
    forget(buffer);
    return true;
  }

  /**
   * Gives up the bytes of a value to another pass in the same memory.
   *
   * @return whether they are the other's now; they are not where they never were this pass's, or
   *     where the value is only a part of them
   */
  boolean surrender(Buffer buffer, Tensor value) {
    if (!owns(buffer) || value.byteSize() != buffer.whole.byteSize()) {
      return false;
    }
    forget(buffer);
    return true;
  }

  boolean owns(Buffer buffer) {
    return buffer.owned;
  }

  void clear() {
    byAddress.clear();
  }

  private void freeIfUnused(Buffer buffer) {
    if (buffer.owned && buffer.values == 0 && buffer.rules == 0) {
      forget(buffer);
      memory.release(buffer.whole);
    }
  }

  private void forget(Buffer buffer) {
    buffer.owned = false;
    byAddress.remove(buffer.whole.address());
  }
}
