package filigree.tensor.cpu;

import filigree.tensor.cpu.x86.NativeTiles;

/**
 * The loops that put matrices of 16 bits in an order in which {@link NativeTiles} reads them: by
 * rows, or in panels of {@link NativeTiles#ROWS} rows, [depth, rows].
 */
public interface PanelLanes {
  /** Returns the floats from one left panel to the next. */
  int leftStride(int depth);

  /**
   * Packs left panels from bfloat16.
   *
   * @param a address of A as it lies, transposed: [depth, lda]
   * @param lda elements from one row of A, as it lies, to the next
   * @param rows rows of op(A)
   * @param depth columns of op(A)
   * @param to address, written; {@link #leftStride} apart
   */
  void packLeft(long a, int lda, int rows, int depth, long to);

  /**
   * Widens rows of bfloat16.
   *
   * @param a address, [rows, lda]
   * @param lda elements from one row to the next
   * @param depth how many of each row
   * @param to address, written; floats [rows, depth]
   */
  void widenRows(long a, int lda, int rows, int depth, long to);
}
