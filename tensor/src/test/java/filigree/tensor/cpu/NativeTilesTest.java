package filigree.tensor.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import filigree.tensor.cpu.x86.NativeTiles;
import filigree.tensor.cpu.x86.NativeTiles.Ahead;
import filigree.tensor.cpu.x86.NativeTiles.Tile;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The machine code against the same sums in Java, bit for bit. */
class NativeTilesTest {
  private static final int ROWS = NativeTiles.ROWS;
  private static final int COLUMNS = NativeTiles.COLUMNS;
  private static final float UNTOUCHED = 12345;

  private NativeTiles tiles;

  @BeforeEach
  void needsAvx512() {
    assumeTrue(Lanes.of(LaneChoice.AUTO).panels().isPresent(), "needs a processor with AVX-512");
    assumeTrue(NativeTiles.ofThisProcess().isPresent(), "needs Linux on x86-64");
    tiles = NativeTiles.ofThisProcess().orElseThrow();
  }

  @Test
  void everyHeightWidthAndDepthOfATileFromRows() {
    everyTile(false);
  }

  @Test
  void everyHeightWidthAndDepthOfATileFromPanels() {
    everyTile(true);
  }

  private void everyTile(boolean panel) {
    int index = 0;
    for (int height = 1; height <= ROWS; height++) {
      for (int width : new int[] {1, 15, 16, 17, 31, 32}) {
        for (int depth : new int[] {1, 2, 3, 4, 5, 47, 48, 50, 131}) {
          // Both come with each width and depth.
          tile(panel, height, width, depth, index % 2 == 0, index % 5 * 7);
          index++;
        }
      }
    }
  }

  private void tile(
      boolean panel, int height, int width, int depth, boolean adding, int roundsAhead) {
    Random random = new Random(31L * height + 7L * width + depth);
    int lda = panel ? ROWS : depth + 3;
    int ldc = COLUMNS + 5;
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment a = normal(arena, (long) ROWS * Math.max(lda, depth), random);
      MemorySegment b = normal(arena, (long) depth * COLUMNS, random);
      MemorySegment start = normal(arena, COLUMNS, random);
      MemorySegment c = normal(arena, (long) (ROWS + 1) * ldc, random);
      float[] expected = c.toArray(ValueLayout.JAVA_FLOAT);
      for (int i = 0; i < height; i++) {
        for (int j = 0; j < width; j++) {
          float sum = adding ? 0 : get(start, j);
          for (int p = 0; p < depth; p++) {
            float element = get(a, panel ? (long) p * ROWS + i : (long) i * lda + p);
            sum = Math.fma(element, get(b, (long) p * COLUMNS + j), sum);
          }
          int at = i * ldc + j;
          expected[at] = adding ? sum + expected[at] : sum;
        }
      }
      long next = (long) ldc * Float.BYTES;
      Tile tile = new Tile(c.address(), next, height, width, adding ? 0 : start.address());
      Ahead ahead = new Ahead(b.address(), (long) COLUMNS * Float.BYTES, roundsAhead);
      if (panel) {
        tiles.multiplyPanel(a.address(), b.address(), depth, tile, ahead);
      } else {
        long stride = (long) lda * Float.BYTES;
        tiles.multiplyRows(a.address(), stride, b.address(), depth, tile, ahead);
      }
      assertThat(c.toArray(ValueLayout.JAVA_FLOAT))
          .as("panel %s, %d x %d x %d, adding %s", panel, height, width, depth, adding)
          .containsExactly(expected);
    }
  }

  @Test
  void sixteenRowsBecomeColumns() {
    for (int columns : new int[] {16, 64}) {
      int stride = columns + 3;
      int next = NativeTiles.TRANSPOSED + 1;
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment from =
            normal(arena, (long) NativeTiles.TRANSPOSED * stride, new Random(columns));
        float[] expected = new float[columns * next];
        Arrays.fill(expected, UNTOUCHED);
        MemorySegment to = arena.allocateFrom(ValueLayout.JAVA_FLOAT, expected);
        for (int i = 0; i < NativeTiles.TRANSPOSED; i++) {
          for (int j = 0; j < columns; j++) {
            expected[j * next + i] = get(from, (long) i * stride + j);
          }
        }
        tiles.transpose(
            from.address(),
            (long) stride * Float.BYTES,
            columns,
            to.address(),
            (long) next * Float.BYTES);
        assertThat(to.toArray(ValueLayout.JAVA_FLOAT)).containsExactly(expected);
      }
    }
  }

  private static MemorySegment normal(Arena arena, long floats, Random random) {
    MemorySegment segment = arena.allocate(ValueLayout.JAVA_FLOAT, floats);
    for (long i = 0; i < floats; i++) {
      segment.setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) random.nextGaussian());
    }
    return segment;
  }

  private static float get(MemorySegment segment, long index) {
    return segment.getAtIndex(ValueLayout.JAVA_FLOAT, index);
  }
}
