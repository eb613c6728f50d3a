package filigree.tensor.cpu;

import filigree.tensor.Shape;

/** How far apart, in elements, neighbours along each axis lie. */
final class Strides {
  private Strides() {}

  static long[] of(Shape shape) {
    long[] strides = new long[shape.rank()];
    long stride = 1;
    for (int axis = strides.length - 1; axis >= 0; axis--) {
      strides[axis] = stride;
      stride *= shape.dim(axis);
    }
    return strides;
  }

  /** Strides of a shape along the axes of the shape it broadcasts to: 0 where it repeats. */
  static long[] broadcast(Shape shape, Shape to) {
    long[] own = of(shape);
    long[] strides = new long[to.rank()];
    int missing = to.rank() - shape.rank();
    for (int axis = missing; axis < strides.length; axis++) {
      strides[axis] = shape.dim(axis - missing) == 1 ? 0 : own[axis - missing];
    }
    return strides;
  }

  /** The offset of element {@code index}, counted in row-major order of the first axes. */
  static long offset(long index, long[] dims, long[] strides, int axes) {
    long offset = 0;
    for (int axis = axes - 1; axis >= 0; axis--) {
      offset += index % dims[axis] * strides[axis];
      index /= dims[axis];
    }
    return offset;
  }
}
