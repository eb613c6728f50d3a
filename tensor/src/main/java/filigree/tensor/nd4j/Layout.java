package filigree.tensor.nd4j;

import static filigree.tensor.nd4j.Scratch.store;
import static filigree.tensor.nd4j.Scratch.wide;

import filigree.tensor.DType;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import org.bytedeco.javacpp.ShortPointer;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.indexing.INDArrayIndex;
import org.nd4j.linalg.indexing.NDArrayIndex;

/** Kernels that move elements or change their type, and compute nothing. */
record Layout(Scratch scratch) {

  void cast(Tensor from, Tensor out) {
    Entry.of("cast")
        .require(
            from.size() == out.size(),
            "from has shape %s and out has shape %s, expected the same size",
            from.shape(),
            out.shape())
        .require(
            switch (out.dtype()) {
              case F32, F64, BF16, F16 -> true;
              case I32, I64, I8, U8 -> false;
            },
            "out is %s, expected F32, F64, BF16 or F16",
            out.dtype());
    if (out.size() == 0) {
      return;
    }
    switch (out.dtype()) {
      case F32 -> castTo(DataType.FLOAT, from, out);
      case F64 -> castTo(DataType.DOUBLE, from, out);
      case BF16, F16, I32, I64, I8, U8 -> narrow(from, out);
    }
  }

  private void castTo(DataType type, Tensor from, Tensor out) {
    try (var _ = scratch.open()) {
      switch (from.dtype()) {
        // Straight from the integers: a detour through float64 would round I64 twice.
        case F32, F64, I32, I64 ->
            Bridge.update(
                out,
                elements ->
                    elements
                        .reshape(out.size())
                        .assign(Bridge.elements(from).reshape(from.size()).castTo(type)));
        case BF16, F16, I8, U8 -> store(wide(from, from.size()), out);
      }
    }
  }

  /** To 16 bits by the rounding of the Java language: ND4J's own conversions round badly. */
  private static void narrow(Tensor from, Tensor out) {
    short[] bits = new short[Math.toIntExact(out.size())];
    for (int i = 0; i < bits.length; i++) {
      float value =
          from.dtype() == DType.I64
              ? HalfPrecision.roundToOdd(
                  from.bytes().getAtIndex(ValueLayout.JAVA_LONG_UNALIGNED, i))
              : HalfPrecision.roundToOdd(from.get(i));
      bits[i] =
          out.dtype() == DType.BF16 ? HalfPrecision.toBFloat16(value) : Float.floatToFloat16(value);
    }
    new ShortPointer(new Bridge.Address(out)).put(bits, 0, bits.length);
  }

  void permute(Tensor x, int[] axes, Tensor out) {
    int rank = x.shape().rank();
    int[] sorted = axes.clone();
    Arrays.sort(sorted);
    boolean eachOnce = axes.length == rank;
    for (int i = 0; eachOnce && i < rank; i++) {
      eachOnce = sorted[i] == i;
    }
    Entry.of("permute")
        .require(
            eachOnce,
            "axes are %s, expected each axis of %s once",
            Arrays.toString(axes),
            x.shape())
        .exactly("out", out, x.dtype());
    long[] expected = Arrays.stream(axes).mapToLong(axis -> x.shape().dim(axis)).toArray();
    Entry.of("permute").shape("out", out, Shape.of(expected));
    if (out.size() == 0) {
      return;
    }
    try (var _ = scratch.open()) {
      INDArray from = Bridge.elements(x);
      Bridge.update(out, elements -> elements.assign(rank < 2 ? from : from.permute(axes)));
    }
  }

  void copyAlong(Tensor x, long fromX, Tensor out, long fromOut, int axis, long length) {
    Entry entry = Entry.of("copyAlong").exactly("out", out, x.dtype()).rankAtLeast("x", x, 1);
    int along = x.shape().axis(axis);
    Shape box = with(x.shape(), along, length);
    entry
        .require(
            out.shape().rank() == x.shape().rank() && with(out.shape(), along, length).equals(box),
            "x has shape %s and out has shape %s, expected equal axes but axis %d",
            x.shape(),
            out.shape(),
            along)
        .require(
            inside(fromX, length, x.shape().dim(along)),
            "indices %d to %d are not inside axis %d of x, %s",
            fromX,
            fromX + length,
            along,
            x.shape())
        .require(
            inside(fromOut, length, out.shape().dim(along)),
            "indices %d to %d are not inside axis %d of out, %s",
            fromOut,
            fromOut + length,
            along,
            out.shape());
    if (box.size() == 0) {
      return;
    }
    try (var _ = scratch.open()) {
      INDArray from = box(Bridge.elements(x), fromX, along, length);
      Bridge.update(out, elements -> box(elements, fromOut, along, length).assign(from));
    }
  }

  private static boolean inside(long from, long length, long axis) {
    return from >= 0 && length >= 0 && length <= axis && from <= axis - length;
  }

  private static Shape with(Shape shape, int axis, long length) {
    long[] dims = shape.dims();
    dims[axis] = Math.max(length, 0);
    return Shape.of(dims);
  }

  private static INDArray box(INDArray elements, long from, int axis, long length) {
    INDArrayIndex[] indices = NDArrayIndex.allFor(elements);
    indices[axis] = NDArrayIndex.interval(from, from + length);
    return elements.get(indices);
  }
}
