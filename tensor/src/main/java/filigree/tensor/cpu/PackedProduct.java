package filigree.tensor.cpu;

import filigree.tensor.DType;
import filigree.tensor.cpu.TileLanes.Left;
import filigree.tensor.cpu.TileLanes.Sums;

/**
 * A matrix product by panels that fit the caches (Goto and van de Geijn 2008), for matrices B that
 * lie as they are used, [k, n]. There OpenBLAS 0.3.19 packs a few columns of B at a time, a cache
 * line from each of k rows, and loses a third of its rate where B is not in a cache already; whole
 * rows are read at the speed of the memory.
 *
 * <p>Rate against OpenBLAS's over matrices that are not in the caches, one core with AVX-512: 1.0
 * to 1.4 ({@code bench/run products}, docs/performance.md). For a transposed B OpenBLAS is as fast,
 * and packing would have to transpose.
 *
 * <p>Every element of C is summed over k in the same order wherever it lies in a tile, so that
 * results do not depend on how a product is cut.
 */
final class PackedProduct {
  // Right panels stream from the second-level cache, a block of left panels (0.4 MiB) stays
  // in it.
  private static final int DEPTH = 1024;
  private static final int BLOCK_FLOATS = 100 << 10;
  private static final int COLUMNS = 1024;

  // A transposed left matrix of 16 bits is read from the memory in runs of as many columns as a
  // block has rows; below a kilobyte the runs are too short for the memory's prefetcher.
  private static final int NARROW_DEPTH = 256;

  /** Fewer rows or columns leave most of a tile empty. */
  static final int FEWEST = 8;

  private final TileLanes lanes;

  PackedProduct(TileLanes lanes) {
    this.lanes = lanes;
  }

  /** Tells whether this class is for a product, by its form alone. */
  static boolean suits(Product p) {
    return !p.tb()
        && p.alpha() == 1
        && (p.beta() == 0 || p.beta() == 1)
        && p.m() >= FEWEST
        && p.n() >= FEWEST;
  }

  /** Tells whether a product of this class can sum the rows of op(A), {@link Edges#rowSums}. */
  static boolean sumsRows(Product p) {
    return suits(p) && p.ta();
  }

  /** Computes a product in the calling thread. */
  void run(Product p, long a, long b, Edges edges, long c, Scratch scratch) {
    new Run(p, DType.F32, a, new Right.Rows(b), edges, c, scratch).run();
  }

  /**
   * The same without a bias, the left matrix being F32 or BF16.
   *
   * @param panels address of B in panels: for every {@link #panelColumns} columns [k, columns]
   */
  void runPanels(Product p, DType type, long a, long panels, long c, Scratch scratch) {
    new Run(p, type, a, new Right.Panels(panels), Edges.NONE, c, scratch).run();
  }

  /** Returns the columns of a panel of B. */
  int panelColumns() {
    return lanes.columns();
  }

  /** How B lies. */
  private sealed interface Right {
    /** By rows, as a matrix; panels are packed from it. */
    record Rows(long address) implements Right {}

    /** In panels over the whole of k. */
    record Panels(long address) implements Right {}
  }

  private static int roundUp(int length, int multiple) {
    return (length + multiple - 1) / multiple * multiple;
  }

  /** One product. */
  private final class Run {
    private final Product p;
    private final long a;
    private final Right b;
    private final Edges edges;
    private final double[] rowSums;
    private final long c;
    private final DType type;
    private final Left layout;
    private final int deepest;
    private final int block;
    private final float[] left;
    private final long packed;
    private final long start;
    private final long tile;
    private final long tileRow = (long) lanes.columns() * Float.BYTES;

    Run(Product p, DType type, long a, Right b, Edges edges, long c, Scratch scratch) {
      this.p = p;
      this.type = type;
      this.a = a;
      this.b = b;
      this.edges = edges;
      this.rowSums = new double[edges.rowSums() == 0 ? 0 : roundUp(p.m(), lanes.rows())];
      this.c = c;
      this.layout = p.ta() ? Left.COLUMNS : Left.ROWS;
      boolean narrow = type != DType.F32 && p.ta();
      this.deepest = Math.min(narrow ? NARROW_DEPTH : DEPTH, p.k());
      int stride = lanes.leftStride(deepest);
      this.block = Math.max(1, BLOCK_FLOATS / stride) * lanes.rows();
      this.left =
          scratch.left(roundUp(Math.min(block, p.m()), lanes.rows()) / lanes.rows() * stride);
      long panels =
          switch (b) {
            case Right.Rows(long _) ->
                (long) roundUp(Math.min(COLUMNS, p.n()), lanes.columns()) * deepest;
            case Right.Panels(long _) -> 0;
          };
      int tileFloats = lanes.rows() * lanes.columns();
      scratch.reserve(panels + lanes.columns() + tileFloats, 3);
      this.packed = scratch.take(panels);
      this.start = scratch.take(lanes.columns());
      this.tile = scratch.take(tileFloats);
    }

    void run() {
      for (int j = 0; j < p.n(); j += COLUMNS) {
        int columns = Math.min(COLUMNS, p.n() - j);
        for (int q = 0; q < p.k(); q += deepest) {
          int depth = Math.min(deepest, p.k() - q);
          if (b instanceof Right.Rows(long rows)) {
            long from = rows + ((long) q * p.ldb() + j) * Float.BYTES;
            lanes.packRight(from, p.ldb(), columns, depth, packed);
          }
          blocks(j, columns, q, depth);
        }
      }
      for (int i = 0; i < p.m() && edges.rowSums() != 0; i++) {
        Native.putFloat(edges.rowSums() + (long) i * Float.BYTES, (float) rowSums[i]);
      }
    }

    /** The right panel of some columns, from the depth q on. */
    private long panel(int j, int column, int q, int depth) {
      return switch (b) {
        case Right.Rows(long _) -> packed + (long) column * depth * Float.BYTES;
        case Right.Panels(long panels) ->
            panels + ((long) (j + column) * p.k() + (long) q * lanes.columns()) * Float.BYTES;
      };
    }

    private void blocks(int j, int columns, int q, int depth) {
      long fromA = a + (p.ta() ? (long) q * p.lda() : q) * type.bytes();
      long row = (p.ta() ? 1L : p.lda()) * type.bytes();
      boolean fresh = q == 0 && p.beta() == 0;
      for (int i = 0; i < p.m(); i += block) {
        int rows = Math.min(block, p.m() - i);
        lanes.packLeft(layout, type, fromA + i * row, p.lda(), rows, depth, left);
        if (rowSums.length > 0 && j == 0) {
          sumRows(i, rows, depth);
        }
        for (int column = 0; column < columns; column += lanes.columns()) {
          int width = Math.min(lanes.columns(), columns - column);
          begin(j + column, fresh ? width : 0);
          strip(i, rows, j + column, width, panel(j, column, q, depth), depth, fresh);
        }
      }
    }

    /** While the packed rows are in the cache. */
    private void sumRows(int i, int rows, int depth) {
      int stride = lanes.leftStride(depth);
      for (int row = 0, at = 0; row < rows; row += lanes.rows(), at += stride) {
        lanes.addRowSums(left, at, depth, rowSums, i + row);
      }
    }

    /** Puts what the sums of some columns begin with into one row: the bias, or zeros. */
    private void begin(int j, int biased) {
      for (int column = 0; column < lanes.columns(); column++) {
        boolean has = edges.bias() != 0 && column < biased;
        float value = has ? Native.getFloat(edges.bias() + (long) (j + column) * Float.BYTES) : 0;
        Native.putFloat(start + (long) column * Float.BYTES, value);
      }
    }

    /** The tiles of one right panel. */
    private void strip(int i, int rows, int j, int width, long panel, int depth, boolean fresh) {
      long next = (long) p.ldc() * Float.BYTES;
      int stride = lanes.leftStride(depth);
      for (int row = 0, at = 0; row < rows; row += lanes.rows(), at += stride) {
        int height = Math.min(lanes.rows(), rows - row);
        long to = c + p.at(i + row, j);
        if (fresh && height == lanes.rows() && width == lanes.columns()) {
          lanes.multiply(layout, left, at, panel, depth, new Sums(start, to, next));
        } else {
          // By a tile of our own: C holds earlier sums, or at its edge there is no room for a whole
          // tile.
          lanes.multiply(layout, left, at, panel, depth, new Sums(start, tile, tileRow));
          if (fresh) {
            copy(to, next, height, width);
          } else {
            lanes.add(tile, to, next, height, width);
          }
        }
      }
    }

    private void copy(long to, long next, int rows, int width) {
      for (int i = 0; i < rows; i++) {
        Native.copy(tile + i * tileRow, to + i * next, (long) width * Float.BYTES);
      }
    }
  }
}
