package filigree.tensor.cpu;

import filigree.tensor.DType;
import filigree.tensor.cpu.x86.NativeTiles;

/**
 * The loops that put matrices in the order in which {@link NativeTiles} reads them: panels of
 * {@link NativeTiles#ROWS} rows of A, [depth, rows], and of {@link NativeTiles#COLUMNS} columns of
 * B, [depth, columns].
 */
public interface PanelLanes {
  /** Returns the floats from one left panel to the next. */
  int leftStride(int depth);

  /**
   * Packs left panels.
   *
   * @param type of A, F32 or BF16, which is widened
   * @param a address of A as it lies, transposed: [depth, lda]
   * @param lda elements from one row of A, as it lies, to the next
   * @param rows rows of op(A)
   * @param depth columns of op(A)
   * @param to address, written; {@link #leftStride} apart
   */
  void packLeft(DType type, long a, int lda, int rows, int depth, long to);

  /**
   * Widens rows.
   *
   * @param a address of bfloat16, [rows, lda]
   * @param lda elements from one row to the next
   * @param depth how many of each row
   * @param to address, written; floats [rows, depth]
   */
  void widenRows(long a, int lda, int rows, int depth, long to);

  /**
   * Packs right panels, [depth, {@link NativeTiles#COLUMNS}]. Columns missing in the last one are
   * zeros.
   *
   * @param b address of B, [depth, ldb]
   * @param to address, written
   */
  void packRight(long b, int ldb, int columns, int depth, long to);

  /**
   * Sums the rows of a left panel: {@code sums[to + i] += sum of row i}.
   *
   * @param panel address
   * @param rows how many of its rows, from the first on
   * @param sums changed
   */
  void addRowSums(long panel, int rows, int depth, double[] sums, int to);
}
