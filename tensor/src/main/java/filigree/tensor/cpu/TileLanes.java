package filigree.tensor.cpu;

import filigree.tensor.DType;

/**
 * The inner loops of a matrix product over packed panels (Goto and van de Geijn, Anatomy of
 * High-Performance Matrix Multiplication, 2008). A tile of C is the product of a panel of A, {@link
 * #rows} rows, with a panel of B, {@link #columns} columns; both lie in the order in which the loop
 * reads them.
 *
 * <p>Left panels are a Java array and right ones native memory. A loop whose sums fill the
 * registers is more than the compiler inlines if single elements too are read from a MemorySegment;
 * and vectors of a Java array cannot be aligned to cache lines, which costs a tenth.
 */
public interface TileLanes {
  /** How a packed left panel lies. */
  enum Left {
    /** From a row-major matrix. */
    ROWS,
    /** From a matrix that lies transposed. */
    COLUMNS
  }

  /**
   * What a tile's sums begin with and where they go.
   *
   * @param start address of what every row begins with, {@link #columns} floats
   * @param c address of the tile's first element
   * @param next bytes from one row to the next
   */
  record Sums(long start, long c, long next) {}

  /** Returns the rows of a tile. */
  int rows();

  /** Returns the columns of a tile. */
  int columns();

  /** Returns the floats from one left panel to the next. */
  int leftStride(int depth);

  /**
   * Packs left panels. Rows missing in the last one are zeros.
   *
   * @param type of A, F32 or BF16, which is widened
   * @param a address of A, [rows, lda], or transposed [depth, lda]
   * @param lda elements from one row of A, as it lies, to the next
   * @param rows rows of op(A)
   * @param depth columns of op(A)
   * @param to written
   */
  void packLeft(Left layout, DType type, long a, int lda, int rows, int depth, float[] to);

  /**
   * Packs right panels of {@code columns() x depth} floats. Columns missing in the last one are
   * zeros.
   *
   * @param b address of B, [depth, ldb]
   * @param to address, written
   */
  void packRight(long b, int ldb, int columns, int depth, long to);

  /**
   * Computes a whole tile from a left and a right panel.
   *
   * @param at where in left the panel begins
   */
  void multiply(Left layout, float[] left, int at, long right, int depth, Sums sums);

  /**
   * Sums the rows of a left panel of {@link Left#COLUMNS}: {@code sums[to + i] += sum of row i}.
   *
   * @param at where in left the panel begins
   * @param sums changed; {@link #rows} from {@code to} on
   */
  void addRowSums(float[] left, int at, int depth, double[] sums, int to);

  /**
   * Adds a tile to a part of C.
   *
   * @param tile address; rows of {@link #columns} floats
   * @param c address
   * @param next bytes from one row of C to the next
   * @param rows how many rows
   * @param columns how many columns
   */
  void add(long tile, long c, long next, int rows, int columns);
}
