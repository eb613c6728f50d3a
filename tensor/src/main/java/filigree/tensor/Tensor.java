package filigree.tensor;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.function.LongToDoubleFunction;
import org.bytedeco.javacpp.DoublePointer;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.Pointer;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

/**
 * A dense row-major array in off-heap memory: shape, element type, storage. Immutable from outside:
 * only kernels write, through {@link #address()} or {@link #array()}. It does not own its bytes;
 * whoever allocated them frees them, and a use after that is a {@link TensorException}.
 */
public final class Tensor {
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
  private static final ValueLayout.OfDouble DOUBLE = ValueLayout.JAVA_DOUBLE_UNALIGNED;
  private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED;
  private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG_UNALIGNED;
  private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED;

  private final Shape shape;
  private final DType dtype;
  private final MemorySegment storage;
  private final Workspace.Lifetime lifetime;
  private INDArray array;

  Tensor(Shape shape, DType dtype, MemorySegment storage, Workspace.Lifetime lifetime) {
    this.shape = shape;
    this.dtype = dtype;
    this.storage = storage;
    this.lifetime = lifetime;
  }

  /**
   * Wraps bytes that somebody else owns, such as a mapped file, without a copy.
   *
   * @param bytes native memory of exactly the shape's size, in little-endian order
   * @param shape the shape
   * @param dtype the element type
   * @return the tensor; it lives as long as the segment's arena
   * @throws TensorException where the sizes differ or the memory is not native
   */
  public static Tensor wrap(MemorySegment bytes, Shape shape, DType dtype) {
    long expected = Math.multiplyExact(shape.size(), dtype.bytes());
    if (!bytes.isNative() || bytes.byteSize() != expected) {
      throw new TensorException(
          "wrap: found %d bytes%s, expected %d native bytes for %s %s"
              .formatted(
                  bytes.byteSize(),
                  bytes.isNative() ? "" : " on the heap",
                  expected,
                  dtype,
                  shape));
    }
    return new Tensor(shape, dtype, bytes, null);
  }

  /**
   * Copies floats into a new tensor.
   *
   * @param memory who owns the new tensor
   * @param shape its shape
   * @param values its elements in row-major order
   * @return an {@link DType#F32} tensor
   */
  public static Tensor of(Memory memory, Shape shape, float... values) {
    Tensor tensor = memory.allocate(shape, DType.F32);
    requireCount(shape, values.length);
    MemorySegment.copy(values, 0, tensor.storage, FLOAT, 0, values.length);
    return tensor;
  }

  /**
   * Copies doubles into a new tensor of either computing type, rounding to nearest.
   *
   * @param memory who owns the new tensor
   * @param dtype {@link DType#F32} or {@link DType#F64}
   * @param shape its shape
   * @param values its elements in row-major order
   * @return the tensor
   */
  public static Tensor of(Memory memory, DType dtype, Shape shape, double... values) {
    requireCount(shape, values.length);
    return generate(memory, dtype, shape, i -> values[(int) i]);
  }

  /**
   * Computes the elements of a new tensor one by one, in order, without an array between.
   *
   * @param memory who owns the new tensor
   * @param dtype {@link DType#F32} or {@link DType#F64}
   * @param shape its shape
   * @param element gives the element at a row-major position
   * @return the tensor
   */
  public static Tensor generate(
      Memory memory, DType dtype, Shape shape, LongToDoubleFunction element) {
    Tensor tensor = memory.allocate(shape, dtype);
    for (long i = 0; i < shape.size(); i++) {
      tensor.set(i, element.applyAsDouble(i));
    }
    return tensor;
  }

  /**
   * Copies integers into a new tensor.
   *
   * @param memory who owns the new tensor
   * @param shape its shape
   * @param values its elements in row-major order
   * @return an {@link DType#I32} tensor
   */
  public static Tensor ofInts(Memory memory, Shape shape, int... values) {
    requireCount(shape, values.length);
    Tensor tensor = memory.allocate(shape, DType.I32);
    MemorySegment.copy(values, 0, tensor.storage, INT, 0, values.length);
    return tensor;
  }

  private static void requireCount(Shape shape, long found) {
    if (found != shape.size()) {
      throw new TensorException(
          "found %d values, expected %d for shape %s".formatted(found, shape.size(), shape));
    }
  }

  /**
   * Returns the shape.
   *
   * @return the shape
   */
  public Shape shape() {
    return shape;
  }

  /**
   * Returns the element type.
   *
   * @return the element type
   */
  public DType dtype() {
    return dtype;
  }

  /**
   * Returns the number of elements.
   *
   * @return the shape's size
   */
  public long size() {
    return shape.size();
  }

  /**
   * Returns the bytes of the elements.
   *
   * @return bytes
   */
  public long byteSize() {
    return shape.size() * dtype.bytes();
  }

  /**
   * Returns the same elements under another shape, without a copy.
   *
   * @param other a shape of the same size
   * @return a view
   * @throws TensorException where the sizes differ
   */
  public Tensor reshape(Shape other) {
    if (other.size() != shape.size()) {
      throw new TensorException(
          "reshape: %s holds %d elements, %s holds %d"
              .formatted(shape, shape.size(), other, other.size()));
    }
    return other.equals(shape) ? this : new Tensor(other, dtype, storage, lifetime);
  }

  /**
   * Returns a range of the first axis, without a copy.
   *
   * @param from the first index kept
   * @param to one past the last index kept
   * @return a view
   * @throws TensorException where the range is not inside the axis
   */
  public Tensor rows(long from, long to) {
    if (from < 0 || to < from || to > shape.dim(0)) {
      throw new TensorException("rows: %d to %d of shape %s".formatted(from, to, shape));
    }
    long[] dims = shape.dims();
    long stride = dims[0] == 0 ? 0 : shape.size() / dims[0] * dtype.bytes();
    dims[0] = to - from;
    return new Tensor(
        Shape.of(dims), dtype, storage.asSlice(from * stride, (to - from) * stride), lifetime);
  }

  /**
   * Reads one element, widened.
   *
   * @param index its row-major position
   * @return its value
   */
  public double get(long index) {
    alive();
    return switch (dtype) {
      case F32 -> storage.getAtIndex(FLOAT, index);
      case F64 -> storage.getAtIndex(DOUBLE, index);
      case BF16 -> Float.intBitsToFloat(storage.getAtIndex(SHORT, index) << 16);
      case F16 -> Float.float16ToFloat(storage.getAtIndex(SHORT, index));
      case I32 -> storage.getAtIndex(INT, index);
      case I64 -> storage.getAtIndex(LONG, index);
      case I8 -> storage.get(ValueLayout.JAVA_BYTE, index);
      case U8 -> storage.get(ValueLayout.JAVA_BYTE, index) & 0xff;
    };
  }

  /**
   * Reads the only element.
   *
   * @return its value
   * @throws TensorException where there is not exactly one
   */
  public double item() {
    if (shape.size() != 1) {
      throw new TensorException("item: shape " + shape + " does not hold one element");
    }
    return get(0);
  }

  /**
   * Copies the elements out.
   *
   * @return the elements in row-major order
   */
  public float[] toFloats() {
    alive();
    if (dtype == DType.F32) {
      return storage.asSlice(0, byteSize()).toArray(FLOAT);
    }
    float[] out = new float[Math.toIntExact(size())];
    for (int i = 0; i < out.length; i++) {
      out[i] = (float) get(i);
    }
    return out;
  }

  /**
   * Copies the elements out, widened.
   *
   * @return the elements in row-major order
   */
  public double[] toDoubles() {
    double[] out = new double[Math.toIntExact(size())];
    for (int i = 0; i < out.length; i++) {
      out[i] = get(i);
    }
    return out;
  }

  /**
   * Copies integer elements out.
   *
   * @return the elements in row-major order
   * @throws TensorException where the type is not {@link DType#I32}
   */
  public int[] toInts() {
    alive();
    if (dtype != DType.I32) {
      throw new TensorException("toInts: found " + dtype + ", expected I32");
    }
    return storage.asSlice(0, byteSize()).toArray(INT);
  }

  /**
   * Copies the tensor into other memory.
   *
   * @param memory who owns the copy
   * @return the copy
   */
  public Tensor copy(Memory memory) {
    alive();
    Tensor out = memory.allocate(shape, dtype);
    MemorySegment.copy(storage, 0, out.storage, 0, byteSize());
    return out;
  }

  /**
   * Returns the bytes for reading, for instance to write them to a file.
   *
   * @return a read-only view of exactly {@link #byteSize()} bytes, little-endian
   */
  public MemorySegment bytes() {
    alive();
    return storage.asSlice(0, byteSize()).asReadOnly();
  }

  /**
   * Returns the address of the first element: for kernels, which check shapes before they use it.
   *
   * @return a native address, aligned to the element size at least
   * @throws TensorException where the memory was reset or closed
   */
  public long address() {
    alive();
    return storage.address();
  }

  /**
   * Returns the elements as an ND4J array over the same bytes, made at the first call (about 7
   * microseconds): for the {@code nd4j} provider, which may write through it.
   *
   * @return a row-major array of this shape that does not own the bytes
   * @throws TensorException where ND4J has no such type here or the tensor is empty
   */
  public INDArray array() {
    alive();
    if (array == null) {
      if (shape.size() == 0) {
        throw new TensorException("array: ND4J cannot wrap the empty shape " + shape);
      }
      long size = shape.size();
      Address at = new Address(storage.address(), size);
      array =
          switch (dtype) {
            case F32 -> wrap(new FloatPointer(at).capacity(size), DataType.FLOAT);
            case F64 -> wrap(new DoublePointer(at).capacity(size), DataType.DOUBLE);
            case I32 -> wrap(new IntPointer(at).capacity(size), DataType.INT32);
            case I64 -> wrap(new LongPointer(at).capacity(size), DataType.INT64);
            case BF16, F16, I8, U8 ->
                throw new TensorException("array: " + dtype + " is storage only, cast it first");
          };
    }
    return array;
  }

  private INDArray wrap(Pointer pointer, DataType type) {
    return Nd4j.create(Nd4j.createBuffer(pointer, shape.size(), type), shape.dims());
  }

  /** The bytes for the workspace that made them. */
  MemorySegment storage() {
    return storage;
  }

  private void set(long index, double value) {
    switch (dtype) {
      case F32 -> storage.setAtIndex(FLOAT, index, (float) value);
      case F64 -> storage.setAtIndex(DOUBLE, index, value);
      case I32 -> storage.setAtIndex(INT, index, (int) value);
      case BF16, F16, I64, I8, U8 ->
          throw new TensorException("of: cannot make a tensor of " + dtype + " from doubles");
    }
  }

  private void alive() {
    if (lifetime != null && lifetime.isOver()) {
      throw new TensorException(
          "a tensor of shape "
              + shape
              + " was used after its pass was closed; copy it to longer-lived memory first");
    }
  }

  @Override
  public String toString() {
    StringBuilder text = new StringBuilder("Tensor ").append(dtype).append(' ').append(shape);
    if (lifetime == null || !lifetime.isOver()) {
      text.append(" [");
      for (int i = 0; i < Math.min(6, size()); i++) {
        text.append(i == 0 ? "" : ", ").append(get(i));
      }
      text.append(size() > 6 ? ", ...]" : "]");
    }
    return text.toString();
  }

  /** A JavaCPP pointer at a given address that owns nothing. */
  private static final class Address extends Pointer {
    Address(long address, long capacity) {
      this.address = address;
      this.limit = capacity;
      this.capacity = capacity;
    }
  }
}
