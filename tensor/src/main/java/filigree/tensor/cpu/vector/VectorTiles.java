package filigree.tensor.cpu.vector;

import static filigree.tensor.cpu.vector.Vectors.BYTES;
import static filigree.tensor.cpu.vector.Vectors.LANES;
import static filigree.tensor.cpu.vector.Vectors.SPECIES;
import static filigree.tensor.cpu.vector.Vectors.ZERO;
import static filigree.tensor.cpu.vector.Vectors.first;
import static filigree.tensor.cpu.vector.Vectors.load;
import static filigree.tensor.cpu.vector.Vectors.splat;
import static filigree.tensor.cpu.vector.Vectors.store;

import filigree.tensor.DType;
import filigree.tensor.cpu.Native;
import filigree.tensor.cpu.TileLanes;
import java.util.Arrays;
import java.util.Optional;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;

/**
 * Products over panels, for the 32 registers of AVX-512. With the 16 of AVX2 the compiler spills
 * sums of a tile of 6 x 2, and 5 x 2 reaches 0.8 of OpenBLAS, whose AVX2 products lose nothing over
 * memory either.
 */
final class VectorTiles implements TileLanes {
  private static final int ROWS = Tile12x2.ROWS;
  private static final int COLUMNS = 2 * LANES;
  private static final int BLOCK = ROWS * LANES;

  /** Numbers that are summed in float32 before they go to a sum in float64. */
  private static final int SUMMED = 128;

  /** Rows of a transposed matrix of 16 bits that are read side by side. */
  private static final int STREAMS = 4;

  /** Returns this, where the registers suffice. */
  static Optional<TileLanes> available() {
    return SPECIES.vectorBitSize() >= 512 ? Optional.of(new VectorTiles()) : Optional.empty();
  }

  @Override
  public int rows() {
    return ROWS;
  }

  @Override
  public int columns() {
    return COLUMNS;
  }

  @Override
  public int leftStride(int depth) {
    // Whole vectors of a row; and room for the last vector of columns, which is wider than a panel.
    return (depth + LANES - 1) / LANES * BLOCK + LANES;
  }

  @Override
  public void packLeft(Left layout, DType type, long a, int lda, int rows, int depth, float[] to) {
    boolean wide = type == DType.F32;
    long next = (long) lda * type.bytes();
    switch (layout) {
      case ROWS -> {
        int whole = wide ? 0 : rows / ROWS * ROWS;
        for (int i = 0; i < whole; i += ROWS) {
          packPanelBf16(a + i * next, next, depth, to, i / ROWS * leftStride(depth));
        }
        for (int i = whole; i < rows; i++) {
          int at = i / ROWS * leftStride(depth) + i % ROWS * LANES;
          if (wide) {
            packRow(a + i * next, depth, to, at);
          } else {
            packRowBf16(a + i * next, depth, to, at);
          }
        }
        clearRows(rows, depth, to);
      }
      case COLUMNS -> {
        int whole = wide ? 0 : depth / STREAMS * STREAMS;
        for (int p = 0; p < whole; p += STREAMS) {
          packFourBf16(a + p * next, next, rows, to, p * ROWS, leftStride(depth));
        }
        for (int p = whole; p < depth; p++) {
          if (wide) {
            packColumns(a + p * next, rows, to, p * ROWS, leftStride(depth));
          } else {
            packColumnsBf16(a + p * next, rows, to, p * ROWS, leftStride(depth));
          }
        }
      }
    }
  }

  /** Rows that the last panel has no numbers for. */
  private void clearRows(int rows, int depth, float[] to) {
    for (int i = rows; i % ROWS != 0; i++) {
      int at = i / ROWS * leftStride(depth) + i % ROWS * LANES;
      for (int p = 0; p < depth; p += LANES, at += BLOCK) {
        Arrays.fill(to, at, at + LANES, 0);
      }
    }
  }

  private static void packRow(long row, int depth, float[] to, int at) {
    int whole = SPECIES.loopBound(depth);
    for (int p = 0; p < whole; p += LANES, row += BYTES, at += BLOCK) {
      load(row).intoArray(to, at);
    }
    if (whole < depth) {
      load(row, first(depth - whole)).intoArray(to, at);
    }
  }

  /** All rows of a panel side by side: more streams of memory bring more than one does. */
  private static void packPanelBf16(long rows, long next, int depth, float[] to, int at) {
    int whole = SPECIES.loopBound(depth);
    for (int p = 0; p < whole; p += LANES, rows += BYTES / 2, at += BLOCK) {
      for (int i = 0; i < ROWS; i++) {
        VectorWeights.widened(rows + i * next).intoArray(to, at + i * LANES);
      }
    }
    for (int i = 0; i < ROWS && whole < depth; i++) {
      packRowBf16(rows + i * next, depth - whole, to, at + i * LANES);
    }
  }

  private static void packRowBf16(long row, int depth, float[] to, int at) {
    int whole = SPECIES.loopBound(depth);
    for (int p = 0; p < whole; p += LANES, row += BYTES / 2, at += BLOCK) {
      VectorWeights.widened(row).intoArray(to, at);
    }
    for (int p = whole; p < depth; p++, row += Short.BYTES, at++) {
      to[at] = widened(row);
    }
  }

  /** Deals one row of a transposed matrix to the panels, {@link #ROWS} numbers each. */
  private static void packColumns(long row, int rows, float[] to, int at, int stride) {
    int i = 0;
    // A whole vector is more than a panel takes: what it writes too much, the next row overwrites.
    for (; i + LANES <= rows; i += ROWS, at += stride, row += ROWS * Float.BYTES) {
      load(row).intoArray(to, at);
    }
    for (; i < rows; i += ROWS, at += stride, row += ROWS * Float.BYTES) {
      load(row, first(rows - i)).intoArray(to, at);
    }
  }

  private static void packColumnsBf16(long row, int rows, float[] to, int at, int stride) {
    int i = 0;
    for (; i + LANES <= rows; i += ROWS, at += stride, row += ROWS * Short.BYTES) {
      VectorWeights.widened(row).intoArray(to, at);
    }
    for (; i < rows; i += ROWS, at += stride, row += ROWS * Short.BYTES) {
      for (int j = 0; j < ROWS; j++) {
        to[at + j] = i + j < rows ? widened(row + (long) j * Short.BYTES) : 0;
      }
    }
  }

  /** Four rows at once, for the same reason as in {@link #packPanelBf16}. */
  private static void packFourBf16(long row, long next, int rows, float[] to, int at, int stride) {
    int i = 0;
    for (; i + LANES <= rows; i += ROWS, at += stride, row += ROWS * Short.BYTES) {
      VectorWeights.widened(row).intoArray(to, at);
      VectorWeights.widened(row + next).intoArray(to, at + ROWS);
      VectorWeights.widened(row + 2 * next).intoArray(to, at + 2 * ROWS);
      VectorWeights.widened(row + 3 * next).intoArray(to, at + 3 * ROWS);
    }
    for (int p = 0; p < STREAMS; p++) {
      packColumnsBf16(row + p * next, rows - i, to, at + p * ROWS, stride);
    }
  }

  private static float widened(long address) {
    return Float.intBitsToFloat(Native.getShort(address) << Short.SIZE);
  }

  @Override
  public void packRight(long b, int ldb, int columns, int depth, long to) {
    long panel = (long) depth * COLUMNS * Float.BYTES;
    // Row by row, since B is read from memory, and long runs of it arrive sooner than short ones.
    for (int p = 0; p < depth; p++) {
      packRightRow(
          b + (long) p * ldb * Float.BYTES, columns, to + (long) p * COLUMNS * Float.BYTES, panel);
    }
  }

  private static void packRightRow(long row, int columns, long to, long panel) {
    int j = 0;
    for (; j + COLUMNS <= columns; j += COLUMNS, row += 2 * BYTES, to += panel) {
      store(load(row), to);
      store(load(row + BYTES), to + BYTES);
    }
    if (j < columns) {
      packRightEnd(row, columns - j, to);
    }
  }

  private static void packRightEnd(long row, int columns, long to) {
    store(load(row, first(columns)), to);
    if (columns > LANES) {
      store(load(row + BYTES, first(columns - LANES)), to + BYTES);
    } else {
      store(ZERO, to + BYTES);
    }
  }

  @Override
  public void multiply(Left layout, float[] left, int at, long right, int depth, Sums sums) {
    switch (layout) {
      case ROWS -> Tile12x2.rows(left, at, right, depth, sums);
      case COLUMNS -> Tile12x2.columns(left, at, right, depth, sums);
    }
  }

  @Override
  public void addRowSums(float[] left, int at, int depth, double[] sums, int to) {
    float[] block = new float[LANES];
    for (int first = 0; first < depth; first += SUMMED) {
      sumBlock(left, at + first * ROWS, Math.min(depth - first, SUMMED), block);
      for (int i = 0; i < ROWS; i++) {
        sums[to + i] += block[i];
      }
    }
  }

  private static void sumBlock(float[] left, int at, int count, float[] block) {
    // Not the constant: the compiler would make an object of every sum.
    FloatVector even = splat(0);
    FloatVector odd = splat(0);
    int p = 0;
    // A whole vector is more than a panel has rows; the rest is not looked at.
    for (; p + 1 < count; p += 2, at += 2 * ROWS) {
      even = even.add(FloatVector.fromArray(SPECIES, left, at));
      odd = odd.add(FloatVector.fromArray(SPECIES, left, at + ROWS));
    }
    if (p < count) {
      even = even.add(FloatVector.fromArray(SPECIES, left, at));
    }
    even.add(odd).intoArray(block, 0);
  }

  @Override
  public void add(long tile, long c, long next, int rows, int columns) {
    if (columns == COLUMNS) {
      for (int i = 0; i < rows; i++, tile += 2 * BYTES, c += next) {
        store(load(c).add(load(tile)), c);
        store(load(c + BYTES).add(load(tile + BYTES)), c + BYTES);
      }
    } else {
      for (int i = 0; i < rows; i++, tile += 2 * BYTES, c += next) {
        addPart(tile, c, columns);
        addPart(tile + BYTES, c + BYTES, columns - LANES);
      }
    }
  }

  private static void addPart(long tile, long c, int columns) {
    if (columns > 0) {
      VectorMask<Float> mask = first(columns);
      store(load(c, mask).add(load(tile, mask)), c, mask);
    }
  }
}
