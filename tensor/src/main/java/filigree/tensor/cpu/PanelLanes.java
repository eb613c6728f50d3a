package filigree.tensor.cpu;

import filigree.tensor.cpu.x86.Isa;
import filigree.tensor.cpu.x86.NativeTiles;

/**
 * The loops that put matrices in an order in which {@link NativeTiles} reads them: of 16 bits as
 * rows or in panels of {@link NativeTiles#rows} rows, [depth, rows]; of floats in panels of {@link
 * NativeTiles#columns} columns.
 */
public interface PanelLanes {
  /** Returns the instructions whose registers are as wide as these vectors. */
  Isa isa();

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

  /**
   * Packs a right panel.
   *
   * @param b address of floats, [rows, ldb]
   * @param ldb floats from one row to the next
   * @param rows how many
   * @param width columns, 1 to {@link NativeTiles#columns}
   * @param to address, written; [rows, {@link NativeTiles#columns}], of which the first columns
   */
  void packRows(long b, int ldb, int rows, int width, long to);
}
