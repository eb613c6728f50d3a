package filigree.tensor.cpu;

import filigree.tensor.cpu.x86.NativeTiles.Ahead;
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
     * What one of several tiles asks for: a stripe, or where there are more tiles, a part of it.
     */
    private Ahead part(int tile, int tiles) {
      int stripes = (width + BYTES - 1) / BYTES;
      int parts = Math.max(1, tiles / stripes);
      int length = (rows + parts - 1) / parts;
      int first = tile / stripes * length;
      return first >= rows
          ? Ahead.NOTHING
          : new Ahead(
              from + first * next + (long) tile % stripes * BYTES,
              next,
              Math.min(length, rows - first));
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

  /** What the next tile asks for. */
  Ahead next() {
    if (regions.isEmpty()) {
      return Ahead.NOTHING;
    }
    int each = Math.max(1, tiles / regions.size());
    int at = index++;
    return at / each < regions.size()
        ? regions.get(at / each).part(at % each, each)
        : Ahead.NOTHING;
  }
}
