package filigree.tensor.cpu.vector;

import static filigree.tensor.cpu.vector.Vectors.BYTES;
import static filigree.tensor.cpu.vector.Vectors.LANES;
import static filigree.tensor.cpu.vector.Vectors.SPECIES;
import static filigree.tensor.cpu.vector.Vectors.first;
import static filigree.tensor.cpu.vector.Vectors.load;
import static filigree.tensor.cpu.vector.Vectors.store;

import filigree.tensor.cpu.Native;
import filigree.tensor.cpu.PanelLanes;
import filigree.tensor.cpu.x86.Isa;
import java.util.Optional;
import jdk.incubator.vector.VectorMask;

/** Panels for AVX-512 and AVX2, where a vector has a few numbers more than a column of a panel. */
final class VectorPanels implements PanelLanes {
  private static final Isa ISA = LANES == 16 ? Isa.AVX512 : Isa.AVX2;
  private static final int ROWS = ISA.rows();
  private static final int COLUMNS = ISA.columns();

  /** Bytes of a column of a panel. */
  private static final long COLUMN = (long) ROWS * Float.BYTES;

  /** Bytes of as many numbers of 16 bits. */
  private static final long STORED = (long) ROWS * Short.BYTES;

  /** Rows of a transposed matrix of 16 bits that are read side by side. */
  private static final int STREAMS = 4;

  /** Returns this, where the registers are as wide. */
  static Optional<PanelLanes> available() {
    return 2 * LANES == COLUMNS ? Optional.of(new VectorPanels()) : Optional.empty();
  }

  @Override
  public Isa isa() {
    return ISA;
  }

  @Override
  public int leftStride(int depth) {
    // The last vector is wider than a panel. Panels begin on cache lines.
    return (depth * ROWS + LANES - 1) / LANES * LANES + LANES;
  }

  @Override
  public void packLeft(long a, int lda, int rows, int depth, long to) {
    long next = (long) lda * Short.BYTES;
    long stride = (long) leftStride(depth) * Float.BYTES;
    int whole = depth / STREAMS * STREAMS;
    for (int p = 0; p < whole; p += STREAMS) {
      packFour(a + p * next, next, rows, to + p * COLUMN, stride);
    }
    for (int p = whole; p < depth; p++) {
      packColumn(a + p * next, rows, to + p * COLUMN, stride);
    }
  }

  /** Deals one row of a transposed matrix to the panels, {@link #ROWS} numbers each. */
  private static void packColumn(long row, int rows, long to, long stride) {
    int i = 0;
    // A whole vector is more than a panel takes: what it writes too much, the next row overwrites.
    for (; i + LANES <= rows; i += ROWS, to += stride, row += STORED) {
      store(VectorWeights.widened(row), to);
    }
    for (; i < rows; i += ROWS, to += stride, row += STORED) {
      widen(row, Math.min(ROWS, rows - i), to);
    }
  }

  /** Four rows at once: more streams of memory bring more than one does. */
  private static void packFour(long row, long next, int rows, long to, long stride) {
    int i = 0;
    for (; i + LANES <= rows; i += ROWS, to += stride, row += STORED) {
      store(VectorWeights.widened(row), to);
      store(VectorWeights.widened(row + next), to + COLUMN);
      store(VectorWeights.widened(row + 2 * next), to + 2 * COLUMN);
      store(VectorWeights.widened(row + 3 * next), to + 3 * COLUMN);
    }
    for (int p = 0; p < STREAMS; p++) {
      packColumn(row + p * next, rows - i, to + p * COLUMN, stride);
    }
  }

  private static void widen(long from, int count, long to) {
    for (int i = 0; i < count; i++) {
      float wide = Native.getBf16(from + (long) i * Short.BYTES);
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

  /** Several rows, for the same reason as in {@link #packFour}. */
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
  public void packRows(long b, int ldb, int rows, int width, long to) {
    long next = (long) ldb * Float.BYTES;
    long row = (long) COLUMNS * Float.BYTES;
    if (width == COLUMNS) {
      for (int i = 0; i < rows; i++, b += next, to += row) {
        store(load(b), to);
        store(load(b + BYTES), to + BYTES);
      }
      return;
    }
    VectorMask<Float> first = first(width);
    VectorMask<Float> second = first(width - LANES);
    for (int i = 0; i < rows; i++, b += next, to += row) {
      store(load(b, first), to, first);
      store(load(b + BYTES, second), to + BYTES, second);
    }
  }
}
