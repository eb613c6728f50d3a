package filigree.tensor.nd4j;

import filigree.tensor.DType;
import filigree.tensor.Tensor;
import java.util.function.Consumer;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.DoublePointer;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.ShortPointer;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

/**
 * How the bytes of tensors and the arrays of ND4J meet. On the processor an array is a view of the
 * tensor's bytes. On a GPU it cannot be: a buffer made from a pointer is copied to the device when
 * it is made, later writes stay there, and its type is taken from ND4J's default instead of the
 * argument (constructor of ND4J's BaseCudaDataBuffer). There every operand is copied in, and every
 * result back out.
 *
 * <p>ND4J has one backend in a process, so this choice is one too.
 */
final class Bridge {
  private static volatile boolean copying;

  private Bridge() {}

  /** Whether arrays are copies. */
  static boolean isCopying() {
    return copying;
  }

  /** Sets whether arrays are copies: once, when ND4J has started, and in tests. */
  static void copying(boolean copies) {
    copying = copies;
  }

  /**
   * The elements as they lie, for reading: types in which ND4J does not compute appear as integers
   * of the same width, so that no bit changes.
   */
  static INDArray elements(Tensor tensor) {
    return copying ? copyIn(tensor) : view(tensor);
  }

  /** Changes the elements as they lie. */
  static void update(Tensor tensor, Consumer<INDArray> change) {
    INDArray elements = elements(tensor);
    change.accept(elements);
    if (copying) {
      copyOut(elements, tensor);
    }
  }

  /** Sets all elements of a tensor, which may be empty. */
  static void fill(Tensor tensor, double value) {
    if (tensor.size() > 0) {
      update(tensor, elements -> elements.assign(value));
    }
  }

  private static INDArray view(Tensor tensor) {
    return switch (tensor.dtype()) {
      case F32, F64, I32, I64 -> tensor.array();
      case BF16, F16 -> wrap(new ShortPointer(new Address(tensor)), tensor, DataType.INT16);
      case I8, U8 -> wrap(new BytePointer(new Address(tensor)), tensor, DataType.INT8);
    };
  }

  private static INDArray wrap(Pointer pointer, Tensor tensor, DataType type) {
    Pointer whole = pointer.capacity(tensor.size());
    return Nd4j.create(Nd4j.createBuffer(whole, tensor.size(), type), tensor.shape().dims());
  }

  private static INDArray copyIn(Tensor tensor) {
    Address at = new Address(tensor);
    int size = Math.toIntExact(tensor.size());
    INDArray copy =
        switch (tensor.dtype()) {
          case F32 -> {
            float[] values = new float[size];
            new FloatPointer(at).get(values);
            yield Nd4j.createFromArray(values);
          }
          case F64 -> {
            double[] values = new double[size];
            new DoublePointer(at).get(values);
            yield Nd4j.createFromArray(values);
          }
          case I32 -> {
            int[] values = new int[size];
            new IntPointer(at).get(values);
            yield Nd4j.createFromArray(values);
          }
          case I64 -> {
            long[] values = new long[size];
            new LongPointer(at).get(values);
            yield Nd4j.createFromArray(values);
          }
          case BF16, F16 -> {
            short[] values = new short[size];
            new ShortPointer(at).get(values);
            yield Nd4j.createFromArray(values);
          }
          case I8, U8 -> {
            byte[] values = new byte[size];
            new BytePointer(at).get(values);
            yield Nd4j.createFromArray(values);
          }
        };
    return tensor.shape().rank() == 0 ? copy : copy.reshape(tensor.shape().dims());
  }

  /** Writes an array's elements in row-major order over a tensor's, rounding float64 to float32. */
  static void copyOut(INDArray from, Tensor tensor) {
    Address at = new Address(tensor);
    INDArray dense = from.dup('c');
    switch (tensor.dtype()) {
      case F32 -> {
        float[] values = dense.data().asFloat();
        new FloatPointer(at).put(values, 0, values.length);
      }
      case F64 -> {
        double[] values = dense.data().asDouble();
        new DoublePointer(at).put(values, 0, values.length);
      }
      case I32 -> {
        int[] values = dense.data().asInt();
        new IntPointer(at).put(values, 0, values.length);
      }
      case I64 -> {
        long[] values = dense.data().asLong();
        new LongPointer(at).put(values, 0, values.length);
      }
      case BF16, F16 -> {
        int[] values = dense.data().asInt();
        for (int i = 0; i < values.length; i++) {
          new ShortPointer(at).put(i, (short) values[i]);
        }
      }
      case I8, U8 -> {
        int[] values = dense.data().asInt();
        for (int i = 0; i < values.length; i++) {
          new BytePointer(at).put(i, (byte) values[i]);
        }
      }
    }
  }

  /** Copies numbers into a float64 array of another shape. */
  static INDArray wide(Tensor tensor, long... shape) {
    // Not castTo: of a float64 array it returns the array itself, and a change would go through.
    return !copying && (tensor.dtype() == DType.F32 || tensor.dtype() == DType.F64)
        ? Nd4j.createUninitialized(DataType.DOUBLE, shape).assign(tensor.array().reshape(shape))
        : Nd4j.createFromArray(tensor.toDoubles()).reshape(shape);
  }

  /** Rounds a float64 result to a tensor of as many elements. */
  static void store(INDArray value, Tensor out) {
    if (copying) {
      copyOut(value, out);
    } else {
      out.array().reshape(value.shape()).assign(value);
    }
  }

  /** A JavaCPP pointer to a tensor's bytes that owns nothing. */
  static final class Address extends Pointer {
    Address(Tensor tensor) {
      this.address = tensor.address();
      this.limit = tensor.size();
      this.capacity = tensor.size();
    }
  }
}
