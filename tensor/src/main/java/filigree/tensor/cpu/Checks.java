package filigree.tensor.cpu;

import filigree.tensor.DType;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.TensorException;
import filigree.tensor.Transpose;
import java.util.Arrays;

/** Checks that kernels make at entry, before anything is written. */
final class Checks {
  private Checks() {}

  /** Holds tensors to the type that this provider computes in. */
  static void floats(String kernel, Tensor... tensors) {
    for (Tensor tensor : tensors) {
      if (tensor.dtype() != DType.F32) {
        throw new TensorException(
            tensor.dtype() == DType.F64
                ? kernel + ": the cpu provider computes in F32, found F64; use --backend nd4j"
                : kernel + ": found " + tensor.dtype() + ", expected F32; cast it first");
      }
    }
  }

  static void type(String kernel, String name, Tensor tensor, DType expected) {
    if (tensor.dtype() != expected) {
      throw new TensorException(
          "%s: %s is %s, expected %s".formatted(kernel, name, tensor.dtype(), expected));
    }
  }

  static void sameShape(String kernel, String nameA, Tensor a, String nameB, Tensor b) {
    if (!a.shape().equals(b.shape())) {
      throw new TensorException(
          "%s: %s has shape %s, but %s has %s"
              .formatted(kernel, nameA, a.shape(), nameB, b.shape()));
    }
  }

  /** Returns the shape that two operands broadcast to. */
  static Shape broadcast(String kernel, Tensor a, Tensor b) {
    try {
      return a.shape().broadcast(b.shape());
    } catch (TensorException e) {
      throw new TensorException(kernel + ": " + e.getMessage(), e);
    }
  }

  static void shape(String kernel, String name, Tensor tensor, Shape expected) {
    if (!tensor.shape().equals(expected)) {
      throw new TensorException(
          "%s: %s has shape %s, expected %s".formatted(kernel, name, tensor.shape(), expected));
    }
  }

  static void rank(String kernel, String name, Tensor tensor, int least) {
    if (tensor.shape().rank() < least) {
      throw new TensorException(
          "%s: %s has shape %s, expected %d axes at least"
              .formatted(kernel, name, tensor.shape(), least));
    }
  }

  /** Holds a tensor to as many elements as there are rows. */
  static void perRow(String kernel, String name, Tensor tensor, long rows) {
    if (tensor.size() != rows) {
      throw new TensorException(
          "%s: %s has shape %s, expected one element for each of %d rows"
              .formatted(kernel, name, tensor.shape(), rows));
    }
  }

  static void perColumn(String kernel, String name, Tensor tensor, long columns) {
    shape(kernel, name, tensor, Shape.of(columns));
  }

  /** Weights may lie as they were stored. */
  static void weights(String kernel, Tensor b) {
    switch (b.dtype()) {
      case F32, BF16, F16 -> {}
      case F64, I32, I64, I8, U8 -> floats(kernel, b);
    }
  }

  /** Holds the operands of a linear map to each other. */
  static void affine(Tensor a, Tensor b, Transpose tb, Tensor bias, Tensor out) {
    floats("affine", a, bias, out);
    weights("affine", b);
    rank("affine", "a", a, 2);
    long k = a.shape().dim(-1);
    perColumn("affine", "bias", bias, bias.size());
    long n = bias.size();
    shape("affine", "b", b, tb == Transpose.YES ? Shape.of(n, k) : Shape.of(k, n));
    long[] dims = a.shape().dims();
    dims[dims.length - 1] = n;
    shape("affine", "out", out, Shape.of(dims));
  }

  /** Holds the operands of a linear map's gradients to each other. */
  static void affineBackward(Tensor gradient, Tensor x, Tensor weight, Tensor bias) {
    String kernel = "affineBackward";
    floats(kernel, gradient, x, weight, bias);
    rank(kernel, "gradient", gradient, 1);
    long[] dims = gradient.shape().dims();
    rank(kernel, "x", x, 1);
    dims[dims.length - 1] = x.shape().dim(-1);
    shape(kernel, "x", x, Shape.of(dims));
    long out = gradient.shape().dim(-1);
    shape(kernel, "weight", weight, Shape.of(out, x.shape().dim(-1)));
    perColumn(kernel, "bias", bias, out);
  }

  /** Returns the length of the last axis, as loops over rows count it. */
  static int columns(String kernel, Tensor tensor) {
    rank(kernel, "x", tensor, 1);
    return tensor.shape().length(-1);
  }

  /**
   * Holds ids to {@code [from, to)}.
   *
   * @throws TensorException that names the first bad id and its place
   */
  static void ids(String kernel, String name, Tensor ids, int from, long to) {
    type(kernel, name, ids, DType.I32);
    long address = ids.address();
    for (long i = 0; i < ids.size(); i++) {
      int id = Native.getInt(address + i * Integer.BYTES);
      if (id < from || id >= to) {
        throw new TensorException(
            "%s: %s%s is %d, expected %d to %d"
                .formatted(kernel, name, place(ids.shape(), i), id, from, to - 1));
      }
    }
  }

  private static String place(Shape shape, long index) {
    long[] place = new long[shape.rank()];
    for (int axis = place.length - 1; axis >= 0; axis--) {
      place[axis] = index % shape.dim(axis);
      index /= shape.dim(axis);
    }
    return Arrays.toString(place);
  }
}
