package filigree.tensor.cpu.vector;

import static filigree.tensor.cpu.vector.Vectors.BYTES;
import static filigree.tensor.cpu.vector.Vectors.LANES;
import static filigree.tensor.cpu.vector.Vectors.SPECIES;
import static filigree.tensor.cpu.vector.Vectors.ZERO;
import static filigree.tensor.cpu.vector.Vectors.first;
import static filigree.tensor.cpu.vector.Vectors.load;
import static filigree.tensor.cpu.vector.Vectors.splat;
import static filigree.tensor.cpu.vector.Vectors.store;

import filigree.tensor.DType;
import filigree.tensor.cpu.Native;
import filigree.tensor.cpu.PanelLanes;
import filigree.tensor.cpu.x86.NativeTiles;
import java.util.Optional;
import jdk.incubator.vector.FloatVector;

/** Panels for AVX-512: a row of a right panel is two vectors, a left one has 12 rows of 16. */
final class VectorPanels implements PanelLanes {
  private static final int ROWS = NativeTiles.ROWS;
  private static final int COLUMNS = NativeTiles.COLUMNS;

  /** Numbers that are summed in float32 before they go to a sum in float64. */
  private static final int SUMMED = 128;

  /** Rows of a transposed matrix of 16 bits that are read side by side. */
  private static final int STREAMS = 4;

  /** Returns this, where the registers are as wide. */
  static Optional<PanelLanes> available() {
    return 2 * LANES == COLUMNS ? Optional.of(new VectorPanels()) : Optional.empty();
  }

  @Override
  public int leftStride(int depth) {
    // The last vector is wider than a panel. Panels begin on cache lines.
    return (depth * ROWS + LANES - 1) / LANES * LANES + LANES;
  }

  @Override
  public void packLeft(DType type, long a, int lda, int rows, int depth, long to) {
    boolean wide = type == DType.F32;
    long next = (long) lda * type.bytes();
    long stride = (long) leftStride(depth) * Float.BYTES;
    long column = ROWS * (long) Float.BYTES;
    int whole = wide ? 0 : depth / STREAMS * STREAMS;
    for (int p = 0; p < whole; p += STREAMS) {
      packFourBf16(a + p * next, next, rows, to + p * column, stride);
    }
    for (int p = whole; p < depth; p++) {
      if (wide) {
        packColumn(a + p * next, rows, to + p * column, stride);
      } else {
        packColumnBf16(a + p * next, rows, to + p * column, stride);
      }
    }
  }

  /** Deals one row of a transposed matrix to the panels, {@link #ROWS} numbers each. */
  private static void packColumn(long row, int rows, long to, long stride) {
    int i = 0;
    // A whole vector is more than a panel takes: what it writes too much, the next row overwrites.
    for (; i + LANES <= rows; i += ROWS, to += stride, row += ROWS * Float.BYTES) {
      store(load(row), to);
    }
    for (; i < rows; i += ROWS, to += stride, row += ROWS * Float.BYTES) {
      store(load(row, first(rows - i)), to);
    }
  }

  private static void packColumnBf16(long row, int rows, long to, long stride) {
    int i = 0;
    for (; i + LANES <= rows; i += ROWS, to += stride, row += ROWS * Short.BYTES) {
      store(VectorWeights.widened(row), to);
    }
    for (; i < rows; i += ROWS, to += stride, row += ROWS * Short.BYTES) {
      widen(row, Math.min(ROWS, rows - i), to);
    }
  }

  /** Four rows at once: more streams of memory bring more than one does. */
  private static void packFourBf16(long row, long next, int rows, long to, long stride) {
    int i = 0;
    long column = ROWS * (long) Float.BYTES;
    for (; i + LANES <= rows; i += ROWS, to += stride, row += ROWS * Short.BYTES) {
      store(VectorWeights.widened(row), to);
      store(VectorWeights.widened(row + next), to + column);
      store(VectorWeights.widened(row + 2 * next), to + 2 * column);
      store(VectorWeights.widened(row + 3 * next), to + 3 * column);
    }
    for (int p = 0; p < STREAMS; p++) {
      packColumnBf16(row + p * next, rows - i, to + p * column, stride);
    }
  }

  private static void widen(long from, int count, long to) {
    for (int i = 0; i < count; i++) {
      float wide = Float.intBitsToFloat(Native.getShort(from + i * 2L) << Short.SIZE);
      Native.putFloat(to + (long) i * Float.BYTES, wide);
    }
  }

  @Override
  public void widenRows(long a, int lda, int rows, int depth, long to) {
    long from = (long) lda * Short.BYTES;
    long next = (long) depth * Float.BYTES;
    for (int i = 0; i < rows; i += ROWS) {
      widenSideBySide(a + i * from, from, Math.min(ROWS, rows - i), depth, to + i * next, next);
    }
  }

  /** Several rows, for the same reason as in {@link #packFourBf16}. */
  private static void widenSideBySide(long a, long nextA, int rows, int depth, long to, long next) {
    int whole = SPECIES.loopBound(depth);
    for (int p = 0; p < whole; p += LANES, a += BYTES / 2, to += BYTES) {
      for (int i = 0; i < rows; i++) {
        store(VectorWeights.widened(a + i * nextA), to + i * next);
      }
    }
    for (int i = 0; i < rows; i++) {
      widen(a + i * nextA, depth - whole, to + i * next);
    }
  }

  @Override
  public void packRight(long b, int ldb, int columns, int depth, long to) {
    long panel = (long) depth * COLUMNS * Float.BYTES;
    // Row by row, since B is read from memory, and long runs of it arrive sooner than short ones.
    for (int p = 0; p < depth; p++) {
      packRightRow(
          b + (long) p * ldb * Float.BYTES, columns, to + (long) p * COLUMNS * Float.BYTES, panel);
    }
  }

  private static void packRightRow(long row, int columns, long to, long panel) {
    int j = 0;
    for (; j + COLUMNS <= columns; j += COLUMNS, row += 2 * BYTES, to += panel) {
      store(load(row), to);
      store(load(row + BYTES), to + BYTES);
    }
    if (j < columns) {
      packRightEnd(row, columns - j, to);
    }
  }

  private static void packRightEnd(long row, int columns, long to) {
    store(load(row, first(columns)), to);
    if (columns > LANES) {
      store(load(row + BYTES, first(columns - LANES)), to + BYTES);
    } else {
      store(ZERO, to + BYTES);
    }
  }

  @Override
  public void addRowSums(long panel, int rows, int depth, double[] sums, int to) {
    float[] block = new float[LANES];
    long column = ROWS * (long) Float.BYTES;
    for (int first = 0; first < depth; first += SUMMED) {
      sumBlock(panel + first * column, Math.min(depth - first, SUMMED), block);
      for (int i = 0; i < rows; i++) {
        sums[to + i] += block[i];
      }
    }
  }

  private static void sumBlock(long panel, int count, float[] block) {
    long column = ROWS * (long) Float.BYTES;
    // Not the constant: the compiler would make an object of every sum.
    FloatVector even = splat(0);
    FloatVector odd = splat(0);
    int p = 0;
    // A whole vector is more than a panel has rows; the rest is not looked at.
    for (; p + 1 < count; p += 2, panel += 2 * column) {
      even = even.add(load(panel));
      odd = odd.add(load(panel + column));
    }
    if (p < count) {
      even = even.add(load(panel));
    }
    even.add(odd).intoArray(block, 0);
  }
}
