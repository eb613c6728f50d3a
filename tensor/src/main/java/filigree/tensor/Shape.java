package filigree.tensor;

import java.util.Arrays;

/** The lengths of a tensor's axes, outermost first; elements lie in row-major order. Immutable. */
public final class Shape {
  private static final Shape SCALAR = new Shape(new long[0]);

  private final long[] dims;
  private final long size;

  private Shape(long[] dims) {
    long product = 1;
    for (long dim : dims) {
      if (dim < 0) {
        throw new TensorException("shape " + Arrays.toString(dims) + " has a negative axis");
      }
      try {
        product = Math.multiplyExact(product, dim);
      } catch (ArithmeticException e) {
        throw new TensorException(
            "shape " + Arrays.toString(dims) + " holds more than 2^63 elements", e);
      }
    }
    this.dims = dims;
    this.size = product;
  }

  /**
   * Makes a shape.
   *
   * @param dims axis lengths, outermost first; none for a scalar
   * @return the shape
   * @throws TensorException where a length is negative or the element count overflows
   */
  public static Shape of(long... dims) {
    return dims.length == 0 ? SCALAR : new Shape(dims.clone());
  }

  /**
   * Returns the number of axes.
   *
   * @return 0 for a scalar
   */
  public int rank() {
    return dims.length;
  }

  /**
   * Returns the length of one axis.
   *
   * @param axis the axis; negative counts from the last, -1 being the last
   * @return its length
   */
  public long dim(int axis) {
    return dims[axis(axis)];
  }

  /**
   * Returns the length of one axis as an int.
   *
   * @param axis the axis; negative counts from the last
   * @return its length
   * @throws ArithmeticException where it does not fit
   */
  public int length(int axis) {
    return Math.toIntExact(dim(axis));
  }

  /**
   * Returns the number of elements.
   *
   * @return the product of the axes; 1 for a scalar
   */
  public long size() {
    return size;
  }

  /**
   * Returns the axes.
   *
   * @return a copy
   */
  public long[] dims() {
    return dims.clone();
  }

  /**
   * Returns the elements below the first {@code rank() - 1} axes: the number of rows when the last
   * axis is a row.
   *
   * @return the product of all axes but the last; 1 for a scalar
   */
  public long rows() {
    long product = 1;
    for (int i = 0; i < dims.length - 1; i++) {
      product *= dims[i];
    }
    return product;
  }

  /**
   * Resolves an axis that may be counted from the end.
   *
   * @param axis the axis, from {@code -rank()} to {@code rank() - 1}
   * @return the axis counted from the front
   * @throws TensorException where there is no such axis
   */
  public int axis(int axis) {
    int resolved = axis < 0 ? axis + dims.length : axis;
    if (resolved < 0 || resolved >= dims.length) {
      throw new TensorException("axis " + axis + " does not exist in shape " + this);
    }
    return resolved;
  }

  /**
   * Returns the shape that two shapes broadcast to, by NumPy's rule: aligned at the last axis,
   * equal or one of them 1.
   *
   * @param other the other shape
   * @return the common shape
   * @throws TensorException where they do not broadcast
   */
  public Shape broadcast(Shape other) {
    int rank = Math.max(rank(), other.rank());
    long[] out = new long[rank];
    for (int i = 1; i <= rank; i++) {
      long a = i <= rank() ? dims[dims.length - i] : 1;
      long b = i <= other.rank() ? other.dims[other.dims.length - i] : 1;
      if (a != b && a != 1 && b != 1) {
        throw new TensorException("shapes " + this + " and " + other + " do not broadcast");
      }
      out[rank - i] = a == 1 ? b : a;
    }
    return new Shape(out);
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof Shape shape && Arrays.equals(dims, shape.dims);
  }

  @Override
  public int hashCode() {
    return Arrays.hashCode(dims);
  }

  @Override
  public String toString() {
    return Arrays.toString(dims);
  }
}
