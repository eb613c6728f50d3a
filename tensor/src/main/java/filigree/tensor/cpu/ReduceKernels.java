package filigree.tensor.cpu;

import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.TensorException;
import java.util.Arrays;

/** Sums. Parts are cut by shape alone, so that no sum depends on the number of threads. */
final class ReduceKernels {
  private static final int CHUNK = 64 << 10;
  private static final int PARTS = 32;
  private static final long GRAIN = 32 << 10;

  // Rows that a float sum takes before it is added to a double.
  private static final int BLOCK = 64;

  // Of a wide output each task sums some columns. A narrow one has too few for all threads, so its
  // rows are summed in parts, whose totals live until the last is there.
  private static final int COLUMNS = 1024;
  private static final int WIDE = 4 * COLUMNS;

  private final Workers workers;
  private final RowLanes rows;
  private final ElementLanes elements;

  ReduceKernels(Workers workers, Lanes lanes) {
    this.workers = workers;
    this.rows = lanes.rows();
    this.elements = lanes.elements();
  }

  double sumOfSquares(Tensor x) {
    Checks.floats("sumOfSquares", x);
    long address = x.address();
    return sumChunks(x.size(), (from, n) -> rows.sumOfSquares(address + from * Float.BYTES, n));
  }

  private interface Chunk {
    double sum(long from, int n);
  }

  private double sumChunks(long size, Chunk chunk) {
    double[] sums = new double[Math.toIntExact((size + CHUNK - 1) / CHUNK)];
    workers.ranges(
        sums.length,
        1,
        (from, to) -> {
          for (int i = (int) from; i < to; i++) {
            long at = (long) i * CHUNK;
            sums[i] = chunk.sum(at, (int) Math.min(CHUNK, size - at));
          }
        });
    double sum = 0;
    for (double part : sums) {
      sum += part;
    }
    return sum;
  }

  void sumTo(Tensor x, Tensor out) {
    Checks.floats("sumTo", x, out);
    Shape shape = x.shape();
    Shape target = out.shape();
    if (target.rank() > shape.rank() || !Checks.broadcast("sumTo", out, x).equals(shape)) {
      throw new TensorException(
          "sumTo: out has shape %s, which does not broadcast to %s of x".formatted(target, shape));
    }
    long to = out.address();
    if (x.size() == 0) {
      elements.fill(0, to, Math.toIntExact(out.size()));
      return;
    }
    long from = x.address();
    if (x.size() == out.size()) {
      workers.ranges(
          x.size(),
          GRAIN,
          (first, end) ->
              Native.copy(
                  from + first * Float.BYTES,
                  to + first * Float.BYTES,
                  (end - first) * Float.BYTES));
      return;
    }
    Groups groups = Groups.of(shape, target);
    long[] kept = groups.lengths(true);
    long[] summed = groups.lengths(false);
    int last = Math.toIntExact(groups.lastLength());
    if (groups.lastIsKept()) {
      long keptRows = product(kept) / last;
      if (keptRows == 1 && last < WIDE) {
        sumColumns(from, groups, product(summed), last, to);
      } else {
        sumToRows(from, groups, keptRows, product(summed), last, to);
      }
    } else if (product(kept) == 1) {
      Native.putFloat(
          to, (float) sumChunks(x.size(), (at, n) -> rows.sum(from + at * Float.BYTES, n)));
    } else {
      sumRows(from, groups, product(kept), product(summed) / last, last, to);
    }
  }

  /** Each output is the sum of some rows. */
  private void sumRows(long x, Groups groups, long outputs, long parts, int n, long out) {
    workers.ranges(
        outputs,
        Math.max(1, GRAIN / Math.max(1, parts * n)),
        (from, to) -> {
          for (long i = from; i < to; i++) {
            long base = groups.offset(i, true, false);
            double sum = 0;
            for (long part = 0; part < parts; part++) {
              long at = base + groups.offset(part, false, true);
              sum += rows.sum(x + at * Float.BYTES, n);
            }
            Native.putFloat(out + i * Float.BYTES, (float) sum);
          }
        });
  }

  /** Each row of the output is the sum of some rows: a task sums all of them over some columns. */
  private void sumToRows(long x, Groups groups, long outputs, long count, int n, long out) {
    int pieces = Math.max(1, n / COLUMNS);
    workers.run(
        Math.toIntExact(outputs * pieces),
        (task, scratch) -> {
          int row = task / pieces;
          int piece = task % pieces;
          long column = (long) n * piece / pieces;
          int columns = (int) ((long) n * (piece + 1) / pieces - column);
          scratch.reserve(3L * columns, 2);
          long from = x + (groups.offset(row, true, true) + column) * Float.BYTES;
          long sums = addRows(from, groups, 0, count, columns, scratch);
          long to = out + ((long) row * n + column) * Float.BYTES;
          for (long i = 0; i < columns; i++) {
            double sum = Native.getDouble(sums + i * Double.BYTES);
            Native.putFloat(to + i * Float.BYTES, (float) sum);
          }
        });
  }

  /** The output is one narrow row: the rows are summed in parts. */
  private void sumColumns(long x, Groups groups, long count, int n, long out) {
    int parts = Math.clamp(count / BLOCK, 1, PARTS);
    double[][] totals = new double[parts][];
    workers.run(
        parts,
        (part, scratch) -> {
          scratch.reserve(3L * n, 2);
          long from = count * part / parts;
          long to = count * (part + 1) / parts;
          totals[part] = Native.doubles(addRows(x, groups, from, to, n, scratch), n);
        });
    double[] sum = new double[n];
    for (double[] total : totals) {
      Arrays.setAll(sum, i -> sum[i] + total[i]);
    }
    for (int i = 0; i < n; i++) {
      Native.putFloat(out + (long) i * Float.BYTES, (float) sum[i]);
    }
  }

  private long addRows(long x, Groups groups, long from, long to, int n, Scratch scratch) {
    long block = scratch.take(n);
    long total = scratch.take(2L * n);
    Native.clear(total, (long) n * Double.BYTES);
    for (long first = from; first < to; first += BLOCK) {
      Native.clear(block, (long) n * Float.BYTES);
      for (long r = first; r < Math.min(to, first + BLOCK); r++) {
        elements.axpy(1, x + groups.offset(r, false, false) * Float.BYTES, block, n);
      }
      elements.addToDoubles(block, total, n);
    }
    return total;
  }

  private static long product(long[] lengths) {
    long product = 1;
    for (long length : lengths) {
      product *= length;
    }
    return product;
  }

  /**
   * The axes of x with neighbours of one kind merged, so that kept and summed axes alternate and
   * the last one is a contiguous row.
   */
  private static final class Groups {
    private final long[] dims;
    private final long[] strides;
    private final boolean[] kept;
    private final int count;

    private Groups(long[] dims, long[] strides, boolean[] kept, int count) {
      this.dims = dims;
      this.strides = strides;
      this.kept = kept;
      this.count = count;
    }

    static Groups of(Shape shape, Shape target) {
      long[] full = Strides.of(shape);
      int missing = shape.rank() - target.rank();
      long[] dims = new long[shape.rank() + 1];
      long[] strides = new long[shape.rank() + 1];
      boolean[] kept = new boolean[shape.rank() + 1];
      int count = 0;
      for (int axis = 0; axis < shape.rank(); axis++) {
        if (shape.dim(axis) == 1) {
          continue;
        }
        boolean keep = axis >= missing && target.dim(axis - missing) != 1;
        boolean joins = count > 0 && kept[count - 1] == keep;
        int at = joins ? count - 1 : count++;
        dims[at] = joins ? dims[at] * shape.dim(axis) : shape.dim(axis);
        strides[at] = full[axis];
        kept[at] = keep;
      }
      if (count == 0) {
        dims[0] = 1;
        strides[0] = 1;
        count = 1;
      }
      return new Groups(dims, strides, kept, count);
    }

    boolean lastIsKept() {
      return kept[count - 1];
    }

    long lastLength() {
      return dims[count - 1];
    }

    long[] lengths(boolean which) {
      long[] lengths = new long[count];
      int found = 0;
      for (int i = 0; i < count; i++) {
        if (kept[i] == which) {
          lengths[found++] = dims[i];
        }
      }
      return Arrays.copyOf(lengths, found);
    }

    /**
     * Offset of an index counted over the groups of one kind, without the last group or with it.
     */
    long offset(long index, boolean which, boolean withoutLast) {
      long offset = 0;
      for (int i = count - 1; i >= 0; i--) {
        if (kept[i] == which && !(withoutLast && i == count - 1)) {
          offset += index % dims[i] * strides[i];
          index /= dims[i];
        }
      }
      return offset;
    }
  }
}
