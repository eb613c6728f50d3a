package filigree.tensor.cpu;

import filigree.tensor.Shape;

/**
 * How to walk two operands that broadcast against each other: rows along which each operand either
 * advances by one element or stays, with neighbouring axes merged into as long rows as possible.
 * [4, 256, 768] + [768] is 1024 rows of 768; equal shapes are one row.
 */
final class Broadcast {
  private final long[] dims;
  private final long[] stridesA;
  private final long[] stridesB;
  private final int axes;

  private Broadcast(long[] dims, long[] stridesA, long[] stridesB, int axes) {
    this.dims = dims;
    this.stridesA = stridesA;
    this.stridesB = stridesB;
    this.axes = axes;
  }

  static Broadcast of(Shape a, Shape b, Shape out) {
    long[] fullA = Strides.broadcast(a, out);
    long[] fullB = Strides.broadcast(b, out);
    long[] dims = new long[Math.max(1, out.rank())];
    long[] stridesA = new long[dims.length];
    long[] stridesB = new long[dims.length];
    int axes = 0;
    for (int axis = 0; axis < out.rank(); axis++) {
      long dim = out.dim(axis);
      if (dim == 1) {
        continue;
      }
      boolean joins =
          axes > 0
              && stridesA[axes - 1] == fullA[axis] * dim
              && stridesB[axes - 1] == fullB[axis] * dim;
      int at = joins ? axes - 1 : axes++;
      dims[at] = joins ? dims[at] * dim : dim;
      stridesA[at] = fullA[axis];
      stridesB[at] = fullB[axis];
    }
    if (axes == 0) {
      dims[0] = 1;
      stridesA[0] = 1;
      stridesB[0] = 1;
      axes = 1;
    }
    return new Broadcast(dims, stridesA, stridesB, axes);
  }

  long columns() {
    return dims[axes - 1];
  }

  long rows() {
    long rows = 1;
    for (int axis = 0; axis < axes - 1; axis++) {
      rows *= dims[axis];
    }
    return rows;
  }

  /** 1 where a advances along a row, 0 where it stays. */
  long stepA() {
    return stridesA[axes - 1];
  }

  /** 1 where b advances along a row, 0 where it stays. */
  long stepB() {
    return stridesB[axes - 1];
  }

  long offsetA(long row) {
    return Strides.offset(row, dims, stridesA, axes - 1);
  }

  long offsetB(long row) {
    return Strides.offset(row, dims, stridesB, axes - 1);
  }
}
