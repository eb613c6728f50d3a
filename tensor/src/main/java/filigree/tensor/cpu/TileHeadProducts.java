package filigree.tensor.cpu;

import filigree.tensor.cpu.AttentionLayout.QueryTile;
import filigree.tensor.cpu.x86.NativeTiles;
import filigree.tensor.cpu.x86.NativeTiles.Operands;

/**
 * By {@link NativeTiles}. A few queries at a time, so that of the causal triangle little more is
 * computed than what they see. Every sum is one chain of multiply-adds in the order of the keys,
 * the queries or the axis of the head, however tiles lie: so scores are the same in the forward and
 * in the backward pass, and gates with them.
 */
final class TileHeadProducts implements HeadProducts {
  /** How often keys and values of a head are put into another order: three times backward. */
  private static final int COPIES = 3;

  private final AttentionLayout layout;
  private final NativeTiles tiles;
  private final int tileRows;
  private final int tileColumns;
  private final PanelLanes panels;
  private final Transposition transposition;
  private final Scratch scratch;
  private final int headDim;
  private final long nextKey;
  private final long copyFloats;
  private final long zeros;
  private final long leftPanel;
  private final long rowSums;
  private final long queryPanels;
  private final Operands operands = new Operands();

  /**
   * Makes one for a task.
   *
   * @param lanes with tiles
   * @param scratch is reserved anew
   */
  TileHeadProducts(AttentionLayout layout, Lanes lanes, Scratch scratch) {
    this.layout = layout;
    this.tiles = lanes.tiles().orElseThrow();
    this.tileRows = tiles.rows();
    this.tileColumns = tiles.columns();
    this.panels = lanes.panels().orElseThrow();
    this.transposition = new Transposition(tiles);
    this.scratch = scratch;
    this.headDim = layout.spec().headDim();
    this.nextKey = (long) layout.strideK() * Float.BYTES;
    this.copyFloats =
        Math.max((long) roundUp(layout.keys()) * headDim, (long) roundUp(headDim) * layout.keys());
    long leftFloats = panels.leftStride(AttentionLayout.TILE);
    long queryFloats = (long) roundUp(headDim) * AttentionLayout.TILE;
    scratch.reserve(
        COPIES * copyFloats + tileColumns + leftFloats + tileRows + queryFloats, COPIES + 4);
    this.zeros = scratch.take(tileColumns);
    this.leftPanel = scratch.take(leftFloats);
    this.rowSums = scratch.take(tileRows);
    this.queryPanels = scratch.take(queryFloats);
    Native.clear(zeros, (long) tileColumns * Float.BYTES);
  }

  private int roundUp(int columns) {
    return (columns + tileColumns - 1) / tileColumns * tileColumns;
  }

  /** Panels of keys as columns: for every so many keys as a tile has columns [headDim, columns]. */
  @Override
  public long forScores(long rows, int from, int to) {
    long columns = scratch.take(copyFloats);
    long row = (long) tileColumns * Float.BYTES;
    for (int key = from / tileColumns * tileColumns; key < to; key += tileColumns) {
      int count = Math.min(tileColumns, to - key);
      transposition.run(
          rows + key * nextKey, nextKey, count, headDim, columnsOf(columns, key), row);
    }
    return columns;
  }

  private long columnsOf(long columns, int key) {
    return columns + (long) key * headDim * Float.BYTES;
  }

  /** Panels of keys as rows: for every so many of the head's axis [key, columns]. */
  @Override
  public long forMix(long rows, int from, int to) {
    long packed = scratch.take(copyFloats);
    for (int j = 0; j < headDim; j += tileColumns) {
      panels.packRows(
          rows + from * nextKey + (long) j * Float.BYTES,
          layout.strideK(),
          to - from,
          Math.min(tileColumns, headDim - j),
          rowsOf(packed, j, from));
    }
    return packed;
  }

  private long rowsOf(long packed, int j, int key) {
    return packed + ((long) j * layout.keys() + (long) key * tileColumns) * Float.BYTES;
  }

  private long nextRow() {
    return (long) layout.strideS() * Float.BYTES;
  }

  @Override
  public void scores(QueryTile tile, long a, int nextA, long b, long out) {
    operands.depth(headDim);
    operands.start(zeros);
    long next = (long) nextA * Float.BYTES;
    for (int key = tile.from() / tileColumns * tileColumns; key < tile.to(); key += tileColumns) {
      operands.rightPanel(columnsOf(b, key));
      int width = Math.min(tileColumns, tile.to() - key);
      for (int row = 0; row < tile.count(); row += tileRows) {
        QueryTile part = tile.part(row, tileRows);
        if (key < part.to() && key + tileColumns > part.from()) {
          operands.leftRows(a + row * next, next);
          long at = out + row * nextRow() + (long) key * Float.BYTES;
          operands.tile(at, nextRow(), part.count(), width);
          tiles.multiply(operands);
        }
      }
    }
  }

  @Override
  public void mix(QueryTile tile, long weights, long b, long out) {
    operands.start(zeros);
    long nextQuery = (long) layout.strideQ() * Float.BYTES;
    for (int row = 0; row < tile.count(); row += tileRows) {
      QueryTile part = tile.part(row, tileRows);
      operands.depth(part.to() - part.from());
      long first = weights + row * nextRow() + (long) part.from() * Float.BYTES;
      operands.leftRows(first, nextRow());
      for (int j = 0; j < headDim; j += tileColumns) {
        operands.rightPanel(rowsOf(b, j, part.from()));
        long at = out + row * nextQuery + (long) j * Float.BYTES;
        operands.tile(at, nextQuery, part.count(), Math.min(tileColumns, headDim - j));
        tiles.multiply(operands);
      }
    }
  }

  @Override
  public void spread(QueryTile tile, long weights, long a, int nextA, Before before, long out) {
    operands.start(before == Before.SUM ? 0 : zeros);
    int firstEnd = layout.end(tile.first());
    for (int key = tile.from(); key < tile.to(); key += tileRows) {
      // The first queries do not see the last keys.
      int skipped = Math.max(0, key - firstEnd + 1);
      operands.depth(tile.count() - skipped);
      int height = Math.min(tileRows, tile.to() - key);
      long first = weights + skipped * nextRow() + (long) key * Float.BYTES;
      for (int j = 0; j < headDim; j += tileColumns) {
        if (j == 0) {
          operands.leftColumns(first, nextRow(), leftPanel, rowSums);
        } else {
          operands.leftPanel(leftPanel);
        }
        long panel = queryPanels + (long) j * AttentionLayout.TILE * Float.BYTES;
        if (key == tile.from()) {
          long columns = a + (long) j * Float.BYTES;
          operands.rightRows(columns, (long) nextA * Float.BYTES, panel);
        } else {
          operands.rightPanel(panel + (long) skipped * tileColumns * Float.BYTES);
        }
        long at = out + key * nextKey + (long) j * Float.BYTES;
        operands.tile(at, nextKey, height, Math.min(tileColumns, headDim - j));
        tiles.multiply(operands);
      }
    }
  }
}
