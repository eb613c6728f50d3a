package filigree.tensor.cpu;

import filigree.tensor.cpu.x86.NativeTiles;

/** Copies a matrix of floats transposed. */
final class Transposition {
  private static final long LOW = 0xffffffffL;

  private final NativeTiles tiles;
  private final int block;

  /**
   * Makes one.
   *
   * @param tiles take square blocks; plain loops take the rest
   */
  Transposition(NativeTiles tiles) {
    this.tiles = tiles;
    this.block = tiles.transposed();
  }

  /**
   * Writes {@code out[j][i] = from[i][j]}.
   *
   * @param from address, [rows, columns]
   * @param nextFrom bytes from one row to the next
   * @param out address, written; [columns, rows]
   * @param nextOut bytes from one row of out to the next
   */
  void run(long from, long nextFrom, int rows, int columns, long out, long nextOut) {
    int across = columns / block * block;
    int down = across > 0 ? rows / block * block : 0;
    for (int i = 0; i < down; i += block) {
      long to = out + (long) i * Float.BYTES;
      tiles.transpose(from + i * nextFrom, nextFrom, across, to, nextOut);
    }
    if (down > 0) {
      long right = from + (long) across * Float.BYTES;
      pairs(right, nextFrom, down, columns - across, out + across * nextOut, nextOut);
    }
    long to = out + (long) down * Float.BYTES;
    pairs(from + down * nextFrom, nextFrom, rows - down, columns, to, nextOut);
  }

  private static void pairs(
      long from, long nextFrom, int rows, int columns, long out, long nextOut) {
    int i = 0;
    for (; i + 1 < rows; i += 2) {
      pair(from, from + nextFrom, columns, out, nextOut);
      from += 2 * nextFrom;
      out += 2 * Float.BYTES;
    }
    if (i < rows) {
      for (int j = 0; j < columns; j++) {
        Native.putFloat(out + j * nextOut, Native.getFloat(from + (long) j * Float.BYTES));
      }
    }
  }

  /** Two rows at a time, two numbers of each, because stores are what limits this loop. */
  private static void pair(long first, long second, int columns, long out, long nextOut) {
    int j = 0;
    for (; j + 1 < columns; j += 2) {
      long x = Native.getLong(first + (long) j * Float.BYTES);
      long y = Native.getLong(second + (long) j * Float.BYTES);
      long at = out + j * nextOut;
      Native.putLong(at, (x & LOW) | (y << Integer.SIZE));
      Native.putLong(at + nextOut, (x >>> Integer.SIZE) | (y & ~LOW));
    }
    if (j < columns) {
      Native.putFloat(out + j * nextOut, Native.getFloat(first + (long) j * Float.BYTES));
      long next = out + j * nextOut + Float.BYTES;
      Native.putFloat(next, Native.getFloat(second + (long) j * Float.BYTES));
    }
  }
}
