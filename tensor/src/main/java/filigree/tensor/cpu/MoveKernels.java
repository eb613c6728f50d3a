package filigree.tensor.cpu;

import filigree.tensor.DType;
import filigree.tensor.Rotation;
import filigree.tensor.Shape;
import filigree.tensor.ShapeSpec;
import filigree.tensor.Tensor;
import filigree.tensor.TensorException;
import java.util.Arrays;

/** Kernels that move elements: permutations, boxes, rows by id, and the rotary embedding. */
final class MoveKernels {
  private static final long GRAIN_BYTES = 64 << 10;
  private static final int TILE = 32;

  private final Workers workers;
  private final ElementLanes elements;
  private final RowLanes rows;

  MoveKernels(Workers workers, Lanes lanes) {
    this.workers = workers;
    this.elements = lanes.elements();
    this.rows = lanes.rows();
  }

  void permute(Tensor x, int[] axes, Tensor out) {
    Shape shape = x.shape();
    int rank = shape.rank();
    boolean[] seen = new boolean[rank];
    for (int axis : axes) {
      if (axis < 0 || axis >= rank || seen[axis]) {
        throw notPermutation(axes, shape);
      }
      seen[axis] = true;
    }
    if (axes.length != rank) {
      throw notPermutation(axes, shape);
    }
    long[] dims = new long[rank];
    long[] strides = new long[rank];
    long[] own = Strides.of(shape);
    for (int i = 0; i < rank; i++) {
      dims[i] = shape.dim(axes[i]);
      strides[i] = own[axes[i]];
    }
    Checks.type("permute", "out", out, x.dtype());
    Checks.shape("permute", "out", out, Shape.of(dims));
    if (x.size() > 0) {
      new Permutation(dims, strides, x.dtype().bytes()).run(x.address(), out.address());
    }
  }

  private static TensorException notPermutation(int[] axes, Shape shape) {
    return new TensorException(
        "permute: %s is not an order of the axes of %s".formatted(Arrays.toString(axes), shape));
  }

  /** Reads x with given strides (in elements) along the axes of the output. */
  private final class Permutation {
    private final long[] dims;
    private final long[] strides;
    private final int bytes;
    private int axes;

    Permutation(long[] dims, long[] strides, int bytes) {
      this.dims = dims;
      this.strides = strides;
      this.bytes = bytes;
      merge();
    }

    // Neighbours in out that are neighbours in x too become one axis; axes of length 1 go.
    private void merge() {
      for (int axis = 0; axis < dims.length; axis++) {
        if (dims[axis] == 1) {
          continue;
        }
        if (axes > 0 && strides[axes - 1] == strides[axis] * dims[axis]) {
          dims[axes - 1] *= dims[axis];
          strides[axes - 1] = strides[axis];
        } else {
          dims[axes] = dims[axis];
          strides[axes] = strides[axis];
          axes++;
        }
      }
    }

    void run(long x, long out) {
      if (axes == 0 || axes == 1) {
        Native.copy(x, out, (axes == 0 ? 1 : dims[0]) * bytes);
      } else if (strides[axes - 1] == 1) {
        copyRows(x, out);
      } else {
        transpose(x, out);
      }
    }

    private void copyRows(long x, long out) {
      long length = dims[axes - 1] * bytes;
      long count = 1;
      for (int axis = 0; axis < axes - 1; axis++) {
        count *= dims[axis];
      }
      workers.ranges(
          count,
          Math.max(1, GRAIN_BYTES / length),
          (from, to) -> {
            for (long r = from; r < to; r++) {
              long at = Strides.offset(r, dims, strides, axes - 1) * bytes;
              Native.copy(x + at, out + r * length, length);
            }
          });
    }

    /** Exchanges the axis along which x is contiguous and the last axis of out, tile by tile. */
    private void transpose(long x, long out) {
      int inner = axes - 1;
      int outer = 0;
      while (strides[outer] != 1) {
        outer++;
      }
      long[] outStrides = new long[axes];
      long stride = 1;
      for (int axis = axes - 1; axis >= 0; axis--) {
        outStrides[axis] = stride;
        stride *= dims[axis];
      }
      long[] restDims = new long[axes];
      long[] restX = new long[axes];
      long[] restOut = new long[axes];
      int rest = 0;
      long count = 1;
      for (int axis = 0; axis < axes; axis++) {
        if (axis != inner && axis != outer) {
          restDims[rest] = dims[axis];
          restX[rest] = strides[axis];
          restOut[rest++] = outStrides[axis];
          count *= dims[axis];
        }
      }
      int restAxes = rest;
      int fixedOuter = outer;
      long bands = (dims[outer] + TILE - 1) / TILE;
      workers.ranges(
          count * bands,
          Math.max(1, GRAIN_BYTES / (TILE * dims[inner] * bytes)),
          (from, to) -> {
            for (long i = from; i < to; i++) {
              long first = i % bands * TILE;
              long last = Math.min(first + TILE, dims[fixedOuter]);
              long atX = x + Strides.offset(i / bands, restDims, restX, restAxes) * bytes;
              long atOut = out + Strides.offset(i / bands, restDims, restOut, restAxes) * bytes;
              band(
                  atX + first * bytes,
                  strides[inner] * bytes,
                  atOut + first * outStrides[fixedOuter] * bytes,
                  outStrides[fixedOuter] * bytes,
                  last - first);
            }
          });
    }

    private void band(long x, long stepX, long out, long stepOut, long width) {
      long length = dims[axes - 1];
      for (long first = 0; first < length; first += TILE) {
        long last = Math.min(first + TILE, length);
        for (long j = 0; j < width; j++) {
          long to = out + j * stepOut;
          long from = x + j * bytes;
          for (long i = first; i < last; i++) {
            move(from + i * stepX, to + i * bytes);
          }
        }
      }
    }

    private void move(long from, long to) {
      switch (bytes) {
        case 4 -> Native.putFloat(to, Native.getFloat(from));
        case 8 -> Native.putLong(to, Native.getLong(from));
        case 2 -> Native.putShort(to, Native.getShort(from));
        default -> Native.putByte(to, Native.getByte(from));
      }
    }
  }

  void copyAlong(Tensor x, long fromX, Tensor out, long fromOut, int axis, long length) {
    Checks.type("copyAlong", "out", out, x.dtype());
    Shape a = x.shape();
    Shape b = out.shape();
    int along = a.axis(axis);
    boolean fits = a.rank() == b.rank();
    for (int i = 0; fits && i < a.rank(); i++) {
      fits = i == along || a.dim(i) == b.dim(i);
    }
    if (!fits) {
      throw new TensorException(
          "copyAlong: x %s and out %s differ in another axis than %d".formatted(a, b, along));
    }
    range("x", a, along, fromX, length);
    range("out", b, along, fromOut, length);
    long inner = x.dtype().bytes();
    for (int i = along + 1; i < a.rank(); i++) {
      inner *= a.dim(i);
    }
    long outer = 1;
    for (int i = 0; i < along; i++) {
      outer *= a.dim(i);
    }
    long bytes = length * inner;
    if (bytes == 0) {
      return;
    }
    long stepX = a.dim(along) * inner;
    long stepOut = b.dim(along) * inner;
    long from = x.address() + fromX * inner;
    long to = out.address() + fromOut * inner;
    workers.ranges(
        outer,
        Math.max(1, GRAIN_BYTES / bytes),
        (first, last) -> {
          for (long i = first; i < last; i++) {
            Native.copy(from + i * stepX, to + i * stepOut, bytes);
          }
        });
  }

  private static void range(String name, Shape shape, int axis, long from, long length) {
    if (from < 0 || length < 0 || from > shape.dim(axis) - length) {
      throw new TensorException(
          "copyAlong: %d indices from %d do not fit axis %d of %s %s"
              .formatted(length, from, axis, name, shape));
    }
  }

  void gather(Tensor table, Tensor ids, Tensor out) {
    DType stored = table.dtype();
    boolean widens = (stored == DType.BF16 || stored == DType.F16) && out.dtype() == DType.F32;
    if (!widens) {
      Checks.type("gather", "out", out, stored);
    }
    ShapeSpec.check("gather").that("table", table, "entries width");
    Checks.shape("gather", "out", out, withWidth(ids.shape(), table.shape().dim(1)));
    Checks.ids("gather", "id", ids, 0, table.shape().dim(0));
    long columns = table.shape().dim(1);
    long width = columns * stored.bytes();
    long widthOut = columns * out.dtype().bytes();
    DType type = out.dtype();
    long from = table.address();
    long to = out.address();
    long id = ids.address();
    workers.ranges(
        ids.size(),
        Math.max(1, GRAIN_BYTES / Math.max(1, width)),
        (first, last) -> {
          for (long i = first; i < last; i++) {
            long row = Native.getInt(id + i * Integer.BYTES);
            Casts.run(stored, from + row * width, type, to + i * widthOut, 0, columns);
          }
        });
  }

  void scatterAdd(Tensor ids, Tensor gradient, Tensor table) {
    Checks.floats("scatterAdd", gradient, table);
    ShapeSpec.check("scatterAdd").that("table", table, "entries width");
    int width = table.shape().length(1);
    Checks.shape("scatterAdd", "gradient", gradient, withWidth(ids.shape(), width));
    Checks.ids("scatterAdd", "id", ids, 0, table.shape().dim(0));
    long from = gradient.address();
    long to = table.address();
    long id = ids.address();
    long count = ids.size();
    // Threads take columns, so that all rows of one id are added by one thread in their order.
    workers.ranges(
        width,
        Math.max(16, GRAIN_BYTES / Float.BYTES / Math.max(1, count)),
        (first, last) -> {
          for (long i = 0; i < count; i++) {
            long row = Native.getInt(id + i * Integer.BYTES);
            elements.axpy(
                1,
                from + (i * width + first) * Float.BYTES,
                to + (row * width + first) * Float.BYTES,
                (int) (last - first));
          }
        });
  }

  private static Shape withWidth(Shape ids, long width) {
    long[] dims = Arrays.copyOf(ids.dims(), ids.rank() + 1);
    dims[ids.rank()] = width;
    return Shape.of(dims);
  }

  void rotary(Tensor x, Tensor cos, Tensor sin, int offset, Rotation direction, Tensor out) {
    Checks.floats("rotary", x, cos, sin, out);
    ShapeSpec.Check check =
        ShapeSpec.check("rotary")
            .that("x", x, "batch time heads headDim")
            .that("out", out, "batch time heads headDim")
            .that("cos", cos, "positions pairs")
            .that("sin", sin, "positions pairs");
    int time = check.length("time");
    int heads = check.length("heads");
    int headDim = check.length("headDim");
    int pairs = check.length("pairs");
    if (offset < 0 || (long) offset + time > check.length("positions")) {
      throw new TensorException(
          "rotary: positions %d to %d are not among the %d of cos"
              .formatted(offset, offset + time - 1, check.length("positions")));
    }
    if (2 * pairs > headDim) {
      throw new TensorException(
          "rotary: %d pairs need more than the %d elements of a head".formatted(pairs, headDim));
    }
    float sign =
        switch (direction) {
          case FORWARD -> 1;
          case INVERSE -> -1;
        };
    long xs = x.address();
    long outs = out.address();
    long cosines = cos.address();
    long sines = sin.address();
    long row = (long) headDim * Float.BYTES;
    long rotated = 2L * pairs * Float.BYTES;
    workers.ranges(
        (long) check.length("batch") * time,
        Math.max(1, GRAIN_BYTES / Math.max(1, heads * row)),
        (from, to) -> {
          for (long i = from; i < to; i++) {
            long angle = (offset + i % time) * pairs * Float.BYTES;
            for (long at = i * heads * row; at < (i + 1) * heads * row; at += row) {
              rows.rotate(xs + at, cosines + angle, sines + angle, sign, outs + at, pairs);
              if (rotated < row && xs != outs) {
                Native.copy(xs + at + rotated, outs + at + rotated, row - rotated);
              }
            }
          }
        });
  }

  void cast(Tensor from, Tensor out) {
    if (from.size() != out.size()) {
      throw new TensorException(
          "cast: out has shape %s of %d elements, but from has %s of %d"
              .formatted(out.shape(), out.size(), from.shape(), from.size()));
    }
    if (!Casts.writes(out.dtype())) {
      throw new TensorException("cast: out is " + out.dtype() + ", expected F32, F64, BF16 or F16");
    }
    DType source = from.dtype();
    DType target = out.dtype();
    long a = from.address();
    long b = out.address();
    workers.ranges(
        from.size(),
        GRAIN_BYTES / 8,
        (first, last) -> Casts.run(source, a, target, b, first, last));
  }
}
