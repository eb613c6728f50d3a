package filigree.tensor.nd4j;

import filigree.tensor.DType;
import filigree.tensor.Shape;
import filigree.tensor.ShapeSpec;
import filigree.tensor.Tensor;
import filigree.tensor.TensorException;

/**
 * What a kernel checks before it writes anything: types and shapes of its tensors, each named in
 * the error. The first floating tensor sets the type of the call.
 */
final class Entry {
  private final String kernel;
  private final ShapeSpec.Check shapes;
  private String firstName;
  private DType type;

  private Entry(String kernel) {
    this.kernel = kernel;
    this.shapes = ShapeSpec.check(kernel);
  }

  /** Starts the checks of one call. */
  static Entry of(String kernel) {
    return new Entry(kernel);
  }

  /** Requires F32 or F64, the same in the whole call. */
  Entry floating(String name, Tensor tensor) {
    if (!tensor.dtype().computes()) {
      throw fail("%s is %s, expected F32 or F64; cast it first", name, tensor.dtype());
    }
    if (type == null) {
      type = tensor.dtype();
      firstName = name;
    } else if (type != tensor.dtype()) {
      throw fail("%s is %s, but %s is %s", name, tensor.dtype(), firstName, type);
    }
    return this;
  }

  /** Requires the axes of a {@link ShapeSpec} and a floating type. */
  Entry floating(String name, Tensor tensor, String axes) {
    shapes.that(name, tensor, axes);
    return floating(name, tensor);
  }

  /** Requires the type of the call, or a storage type: weights that are widened when read. */
  Entry weights(String name, Tensor tensor) {
    return switch (tensor.dtype()) {
      case BF16, F16 -> this;
      case F32, F64, I32, I64, I8, U8 -> floating(name, tensor);
    };
  }

  /** Requires one type, whatever else the call computes in. */
  Entry exactly(String name, Tensor tensor, DType expected) {
    if (tensor.dtype() != expected) {
      throw fail("%s is %s, expected %s", name, tensor.dtype(), expected);
    }
    return this;
  }

  /** Requires the axes of a {@link ShapeSpec}. */
  Entry axes(String name, Tensor tensor, String axes) {
    shapes.that(name, tensor, axes);
    return this;
  }

  /** Requires a shape. */
  Entry shape(String name, Tensor tensor, Shape expected) {
    if (!tensor.shape().equals(expected)) {
      throw fail("%s has shape %s, expected %s", name, tensor.shape(), expected);
    }
    return this;
  }

  /** Requires one element for each row of another tensor, under any shape. */
  Entry onePerRow(String name, Tensor tensor, Tensor rows) {
    if (tensor.size() != rows.shape().rows()) {
      throw fail(
          "%s has shape %s, expected one element for each of the %d rows of %s",
          name, tensor.shape(), rows.shape().rows(), rows.shape());
    }
    return this;
  }

  /** Requires a number of axes. */
  Entry rankAtLeast(String name, Tensor tensor, int rank) {
    if (tensor.shape().rank() < rank) {
      throw fail("%s has shape %s, expected at least %d axes", name, tensor.shape(), rank);
    }
    return this;
  }

  /** Requires whatever else a kernel needs. */
  @SuppressWarnings("AnnotateFormatMethod") // not worth a dependency for one annotation
  Entry require(boolean condition, String format, Object... arguments) {
    if (!condition) {
      throw fail(format, arguments);
    }
    return this;
  }

  @SuppressWarnings("AnnotateFormatMethod") // as above
  private TensorException fail(String format, Object... arguments) {
    return new TensorException(kernel + ": " + format.formatted(arguments));
  }
}
