package filigree.tensor.cpu;

import filigree.tensor.cpu.x86.NativeTiles.Operands;
import java.util.List;

/** Deals what a product will read next to the tiles that are computed before. */
final class Lookahead {
  /** Two cache lines: what one round of a tile asks for. */
  private static final int BYTES = 128;

  private List<Region> regions = List.of();
  private int tiles;
  private int index;

  /**
   * A part of a matrix.
   *
   * @param from address
   * @param next bytes from one row to the next
   * @param rows how many
   * @param width bytes of a row
   */
  record Region(long from, long next, int rows, int width) {
    /**
     * Gives one of several tiles its part: a stripe, or where there are more tiles, a part of it.
     */
    private void part(int tile, int tiles, Operands operands) {
      int stripes = (width + BYTES - 1) / BYTES;
      int parts = Math.max(1, tiles / stripes);
      int length = (rows + parts - 1) / parts;
      int first = tile / stripes * length;
      operands.ahead(
          from + first * next + (long) tile % stripes * BYTES,
          next,
          Math.clamp(rows - first, 0, length));
    }
  }

  /**
   * Begins anew.
   *
   * @param soon what will be read after the next tiles
   * @param count how many these are
   */
  void begin(List<Region> soon, int count) {
    regions = soon;
    tiles = count;
    index = 0;
  }

  /** Gives the next tile its part. */
  void next(Operands operands) {
    int each = Math.max(1, tiles / Math.max(1, regions.size()));
    int at = index++;
    if (at / each < regions.size()) {
      regions.get(at / each).part(at % each, each, operands);
    } else {
      operands.ahead(0, 0, 0);
    }
  }
}
