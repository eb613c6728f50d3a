package filigree.test.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import filigree.tensor.DType;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Tensors that lie between guard bytes, at addresses aligned to their elements only: a kernel that
 * writes past an end, or trusts in more alignment than a view of a tensor has, is seen.
 */
final class GuardedMemory implements AutoCloseable {
  private static final int GUARD = 256;
  private static final byte GUARD_BYTE = (byte) 0xA5;

  private final Arena arena = Arena.ofConfined();
  private final Map<String, Slab> slabs = new LinkedHashMap<>();

  private record Slab(MemorySegment whole, long from, Tensor tensor, byte[] before) {
    byte[] bytes() {
      return whole.asSlice(from, tensor.byteSize()).toArray(ValueLayout.JAVA_BYTE);
    }
  }

  /** Lays out an operand. */
  void put(KernelCall.Operand operand, DType computing) {
    DType type = operand.type().orElse(computing);
    long bytes = operand.shape().size() * type.bytes();
    MemorySegment whole = arena.allocate(bytes + 2 * GUARD, 64);
    whole.fill(GUARD_BYTE);
    // One element further for each operand, so that operands differ in alignment.
    long from = GUARD / 2 + (long) (slabs.size() % 16) * type.bytes();
    for (int i = 0; i < operand.values().length; i++) {
      write(whole, type, from + (long) i * type.bytes(), operand.values()[i]);
    }
    Tensor tensor = Tensor.wrap(whole.asSlice(from, bytes), operand.shape(), type);
    slabs.put(operand.name(), new Slab(whole, from, tensor, whole.toArray(ValueLayout.JAVA_BYTE)));
  }

  /** Lets two names stand for one tensor. */
  void share(String name, String other) {
    slabs.put(name, slabs.get(other));
  }

  private static void write(MemorySegment to, DType type, long at, double value) {
    switch (type) {
      case F32 -> to.set(ValueLayout.JAVA_FLOAT_UNALIGNED, at, (float) value);
      case F64 -> to.set(ValueLayout.JAVA_DOUBLE_UNALIGNED, at, value);
      case BF16 ->
          to.set(
              ValueLayout.JAVA_SHORT_UNALIGNED,
              at,
              (short) (Float.floatToRawIntBits((float) value) >>> 16));
      case F16 -> to.set(ValueLayout.JAVA_SHORT_UNALIGNED, at, Float.floatToFloat16((float) value));
      case I32 -> to.set(ValueLayout.JAVA_INT_UNALIGNED, at, (int) value);
      case I64 -> to.set(ValueLayout.JAVA_LONG_UNALIGNED, at, (long) value);
      case I8, U8 -> to.set(ValueLayout.JAVA_BYTE, at, (byte) (int) value);
    }
  }

  Tensor tensor(String name) {
    return slabs.get(name).tensor();
  }

  byte[] bytes(String name) {
    return slabs.get(name).bytes();
  }

  /** Holds an operand to the bytes it had. */
  void requireUnchanged(String what, String name) {
    Slab slab = slabs.get(name);
    byte[] after = slab.whole().toArray(ValueLayout.JAVA_BYTE);
    int at = Arrays.mismatch(after, slab.before());
    assertThat(at).as("%s: a byte of %s that changed", what, name).isEqualTo(-1);
  }

  /** Holds the bytes around all operands to what they were. */
  void requireGuards(String what) {
    slabs.forEach(
        (name, slab) -> {
          byte[] all = slab.whole().toArray(ValueLayout.JAVA_BYTE);
          long end = slab.from() + slab.tensor().byteSize();
          for (int i = 0; i < all.length; i++) {
            if ((i < slab.from() || i >= end) && all[i] != GUARD_BYTE) {
              assertThat(i - slab.from())
                  .as(
                      "%s: offset of a byte written outside of %s, which has %d",
                      what, name, slab.tensor().byteSize())
                  .isBetween(0L, slab.tensor().byteSize() - 1);
            }
          }
        });
  }

  /** The shape of an operand, for messages. */
  Shape shape(String name) {
    return tensor(name).shape();
  }

  @Override
  public void close() {
    arena.close();
  }
}
