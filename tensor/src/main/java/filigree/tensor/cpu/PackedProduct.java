package filigree.tensor.cpu;

import filigree.tensor.DType;
import filigree.tensor.cpu.Lookahead.Region;
import filigree.tensor.cpu.x86.NativeTiles;
import filigree.tensor.cpu.x86.NativeTiles.Operands;
import java.util.List;
import java.util.Optional;

/**
 * A matrix product by panels that fit the caches (Goto and van de Geijn, Anatomy of
 * High-Performance Matrix Multiplication, 2008): a block of rows of A stays in the second-level
 * cache, panels of a tile's columns of B pass through the first, and {@link NativeTiles} computes
 * one tile of C after the other.
 *
 * <p>The first tile that reads a panel packs it, and every tile asks the memory for a part of what
 * will be packed next ({@link Lookahead}): most products of a training step read matrices that are
 * in no cache, and what they wait for memory is what they lose. Rows of A are read where they lie,
 * and where B lies transposed, a few panels of it are turned before their tiles.
 *
 * <p>Every element of C is summed over k in the same order wherever it lies in a tile, so that
 * results do not depend on how a product is cut.
 */
final class PackedProduct {
  /** Longer sums are cut into parts of equal length. */
  private static final int DEPTH = 512;

  // For a transposed A: its blocks have more rows then, which are read in runs as long; and of a B
  // whose rows are a power of two apart, few may stay in the cache until they are packed.
  private static final int TRANSPOSED_DEPTH = 256;

  /** A block of A, 0.4 MiB. */
  private static final int BLOCK_FLOATS = 100 << 10;

  /** Panels of B that are asked for, or turned, at a time: a quarter of a MiB. */
  private static final int CHUNK_FLOATS = 64 << 10;

  // Where A has several blocks, so much of B is kept packed for all of them; and where a sum is cut
  // into parts, so much of C is still in the cache when the next part is added.
  private static final int COLUMNS = 1024;

  /** Fewer rows or columns leave most of a tile empty. */
  static final int FEWEST = 8;

  private final PanelLanes lanes;
  private final NativeTiles tiles;
  private final int tileRows;
  private final int tileColumns;
  private final Transposition transposition;

  PackedProduct(PanelLanes lanes, NativeTiles tiles) {
    this.lanes = lanes;
    this.tiles = tiles;
    this.tileRows = tiles.rows();
    this.tileColumns = tiles.columns();
    this.transposition = new Transposition(tiles);
  }

  /** Says by what products are computed. */
  String description() {
    return "products in " + tiles.isa() + " code of its own";
  }

  /** Returns what copies matrices transposed. */
  Transposition transposition() {
    return transposition;
  }

  /** Tells whether this class is for a product, by its form alone. */
  static boolean suits(Product p) {
    return p.alpha() == 1 && (p.beta() == 0 || p.beta() == 1) && p.m() >= FEWEST && p.n() >= FEWEST;
  }

  /** Tells whether a product of this class can sum the rows of op(A), {@link Edges#rowSums}. */
  static boolean sumsRows(Product p) {
    return suits(p) && p.ta();
  }

  /** Computes a product in the calling thread. */
  void run(Product p, long a, long b, Edges edges, long c, Scratch scratch) {
    new Run(p, DType.F32, a, Right.MATRIX, b, edges, c, scratch).run();
  }

  /**
   * The same without a bias, the left matrix being F32 or BF16.
   *
   * @param panels address of B in panels: for every {@link #panelColumns} columns [k, columns]
   */
  void runPanels(Product p, DType type, long a, long panels, long c, Scratch scratch) {
    new Run(p, type, a, Right.PANELS, panels, Edges.NONE, c, scratch).run();
  }

  /** Returns the columns of a panel of B. */
  int panelColumns() {
    return tileColumns;
  }

  /** How B lies. */
  private enum Right {
    /** As a matrix; panels are packed from it. */
    MATRIX,
    /** In panels over the whole of k. */
    PANELS
  }

  private static int roundUp(int length, int multiple) {
    return divideUp(length, multiple) * multiple;
  }

  private static int divideUp(int length, int by) {
    return (length + by - 1) / by;
  }

  /** One product. */
  private final class Run {
    private final Product p;
    private final long a;
    private final Right right;
    private final long b;
    private final Edges edges;
    private final double[] rowSums;
    private final long c;
    private final DType type;
    private final int deepest;
    private final int block;
    private final int chunk;
    private final int columns;
    private final long left;
    private final long packed;
    private final long start;
    private final long sums;
    private final Lookahead lookahead = new Lookahead();
    private final Operands operands = new Operands();

    Run(Product p, DType type, long a, Right right, long b, Edges edges, long c, Scratch scratch) {
      this.p = p;
      this.right = right;
      this.type = type;
      this.a = a;
      this.b = b;
      this.edges = edges;
      this.rowSums = new double[edges.rowSums() == 0 ? 0 : p.m()];
      this.c = c;
      int parts = divideUp(p.k(), p.ta() ? TRANSPOSED_DEPTH : DEPTH);
      this.deepest = Math.min(p.k(), roundUp(divideUp(p.k(), parts), tiles.transposed()));
      this.block = Math.max(1, BLOCK_FLOATS / deepest / tileRows) * tileRows;
      int panels = Math.max(1, CHUNK_FLOATS / deepest / tileColumns);
      this.chunk = panels * tileColumns;
      this.columns = Math.min(COLUMNS, p.n());
      long leftFloats = leftFloats(Math.min(block, p.m()));
      int kept = Math.min(oneBlock() ? chunk : columns, p.n());
      long rightFloats = right == Right.PANELS ? 0 : (long) roundUp(kept, tileColumns) * deepest;
      scratch.reserve(leftFloats + rightFloats + tileColumns + tileRows, 4);
      this.left = scratch.take(leftFloats);
      this.packed = scratch.take(rightFloats);
      this.start = scratch.take(tileColumns);
      this.sums = scratch.take(tileRows);
    }

    private long leftFloats(int rows) {
      return p.ta()
          ? (long) divideUp(rows, tileRows) * lanes.leftStride(deepest)
          : type == DType.F32 ? 0 : (long) rows * deepest;
    }

    private boolean oneBlock() {
      return p.m() <= block;
    }

    void run() {
      for (int j = 0; j < p.n(); j += columns) {
        for (int q = 0; q < p.k(); q += deepest) {
          blocks(new Part(j, q));
        }
      }
      for (int i = 0; i < p.m() && edges.rowSums() != 0; i++) {
        Native.putFloat(edges.rowSums() + (long) i * Float.BYTES, (float) rowSums[i]);
      }
    }

    /** Some columns of C, [j, j + width), and some of their sums, [q, q + depth). */
    private final class Part {
      private final int j;
      private final int q;
      private final int width;
      private final int depth;

      Part(int j, int q) {
        this.j = j;
        this.q = q;
        this.width = Math.min(columns, p.n() - j);
        this.depth = Math.min(deepest, p.k() - q);
      }

      Optional<Part> next() {
        return q + depth < p.k()
            ? Optional.of(new Part(j, q + depth))
            : j + width < p.n() ? Optional.of(new Part(j + width, 0)) : Optional.empty();
      }
    }

    private void blocks(Part part) {
      for (int i = 0; i < p.m(); i += block) {
        int rows = Math.min(block, p.m() - i);
        if (type != DType.F32) {
          widenLeft(part, i, rows);
        }
        boolean packing = i == 0 && right == Right.MATRIX;
        if (!packing) {
          lookahead.begin(afterBlock(part, i + rows), tilesOf(rows, part.width));
        }
        for (int column = 0; column < part.width; column += chunk) {
          int width = Math.min(chunk, part.width - column);
          if (packing) {
            if (p.tb()) {
              turn(part, column, width);
            }
            boolean last = column + width == part.width;
            lookahead.begin(
                last ? afterBlock(part, rows) : List.of(right(part, column + width)),
                tilesOf(rows, width));
          }
          for (int at = column; at < column + width; at += tileColumns) {
            strip(part, i, rows, at, Math.min(tileColumns, column + width - at));
          }
        }
      }
    }

    private int tilesOf(int rows, int width) {
      return divideUp(rows, tileRows) * divideUp(width, tileColumns);
    }

    /** What is read first after the block that ends before row i. */
    private List<Region> afterBlock(Part part, int i) {
      if (i < p.m()) {
        return List.of(left(part, i));
      }
      return part.next()
          .map(
              next ->
                  right == Right.MATRIX
                      ? List.of(left(next, 0), right(next, 0))
                      : List.of(left(next, 0)))
          .orElse(List.of());
    }

    /** The block of A from row i on. */
    private Region left(Part part, int i) {
      int rows = Math.min(block, p.m() - i);
      return new Region(
          leftAddress(part.q, i),
          (long) p.lda() * type.bytes(),
          p.ta() ? part.depth : rows,
          (p.ta() ? rows : part.depth) * type.bytes());
    }

    /** The panels of B from a column on that are packed at once. */
    private Region right(Part part, int column) {
      int width = Math.min(chunk, part.width - column);
      return new Region(
          rightAddress(part, column),
          (long) p.ldb() * Float.BYTES,
          p.tb() ? width : part.depth,
          (p.tb() ? part.depth : width) * Float.BYTES);
    }

    private long leftAddress(int q, int i) {
      return a + (p.ta() ? (long) q * p.lda() + i : (long) i * p.lda() + q) * type.bytes();
    }

    private long rightAddress(Part part, int column) {
      int j = part.j + column;
      return b + (p.tb() ? (long) j * p.ldb() + part.q : (long) part.q * p.ldb() + j) * Float.BYTES;
    }

    /** The right panel of some columns, where it lies packed. */
    private long panel(Part part, int column) {
      return switch (right) {
        case MATRIX ->
            packed + (long) (oneBlock() ? column % chunk : column) * part.depth * Float.BYTES;
        case PANELS ->
            b + ((long) (part.j + column) * p.k() + (long) part.q * tileColumns) * Float.BYTES;
      };
    }

    private void widenLeft(Part part, int i, int rows) {
      long from = leftAddress(part.q, i);
      if (p.ta()) {
        lanes.packLeft(from, p.lda(), rows, part.depth, left);
      } else {
        lanes.widenRows(from, p.lda(), rows, part.depth, left);
      }
    }

    /** Packs rows of B as columns. What columns are missing in the last panel stays undefined. */
    private void turn(Part part, int column, int width) {
      long from = rightAddress(part, column);
      long next = (long) p.ldb() * Float.BYTES;
      long to = panel(part, column);
      long row = (long) tileColumns * Float.BYTES;
      for (int j = 0; j < width; j += tileColumns) {
        int count = Math.min(tileColumns, width - j);
        long at = to + (long) j * part.depth * Float.BYTES;
        transposition.run(from + j * next, next, count, part.depth, at, row);
      }
    }

    /** Puts what the sums of some columns begin with into one row: the bias, or zeros. */
    private void begin(int j, int width) {
      for (int column = 0; column < tileColumns; column++) {
        boolean has = edges.bias() != 0 && column < width;
        float value = has ? Native.getFloat(edges.bias() + (long) (j + column) * Float.BYTES) : 0;
        Native.putFloat(start + (long) column * Float.BYTES, value);
      }
    }

    /** The tiles of one right panel. */
    private void strip(Part part, int i, int rows, int column, int width) {
      boolean fresh = part.q == 0 && p.beta() == 0;
      if (fresh) {
        begin(part.j + column, width);
      }
      operands.depth(part.depth);
      operands.start(fresh ? start : 0);
      long next = (long) p.ldc() * Float.BYTES;
      for (int row = 0; row < rows; row += tileRows) {
        int height = Math.min(tileRows, rows - row);
        boolean summing = readLeft(part, i, row, column);
        readRight(part, i, row, column);
        operands.tile(c + p.at(i + row, part.j + column), next, height, width);
        lookahead.next(operands);
        tiles.multiply(operands);
        for (int r = 0; summing && r < height; r++) {
          rowSums[i + row + r] += Native.getFloat(sums + (long) r * Float.BYTES);
        }
      }
    }

    /**
     * Chooses how the rows of A are read from {@code i + row} on.
     *
     * @return whether their sums are wanted and will be there
     */
    private boolean readLeft(Part part, int i, int row, int column) {
      if (!p.ta()) {
        boolean wide = type == DType.F32;
        long next = (long) (wide ? p.lda() : part.depth) * Float.BYTES;
        operands.leftRows(wide ? leftAddress(part.q, i + row) : left + row * next, next);
        return false;
      }
      long stride = (long) lanes.leftStride(part.depth) * Float.BYTES;
      long panel = left + row / tileRows * stride;
      if (type != DType.F32 || column > 0) {
        operands.leftPanel(panel);
        return false;
      }
      long next = (long) p.lda() * Float.BYTES;
      operands.leftColumns(leftAddress(part.q, i + row), next, panel, sums);
      return rowSums.length > 0 && part.j == 0;
    }

    private void readRight(Part part, int i, int row, int column) {
      long panel = panel(part, column);
      if (right == Right.MATRIX && !p.tb() && i == 0 && row == 0) {
        operands.rightRows(rightAddress(part, column), (long) p.ldb() * Float.BYTES, panel);
      } else {
        operands.rightPanel(panel);
      }
    }
  }
}
