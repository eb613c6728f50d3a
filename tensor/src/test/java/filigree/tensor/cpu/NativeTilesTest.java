package filigree.tensor.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import filigree.tensor.cpu.x86.NativeTiles;
import filigree.tensor.cpu.x86.NativeTiles.Operands;
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

  private enum Left {
    ROWS,
    COLUMNS,
    PANEL
  }

  @Test
  void everyHeightWidthAndDepthOfATile() {
    for (Left left : Left.values()) {
      int index = 0;
      for (int height = 1; height <= ROWS; height++) {
        for (int width : new int[] {1, 15, 16, 17, 31, 32}) {
          for (int depth : new int[] {1, 2, 3, 4, 5, 47, 48, 50, 131}) {
            // All come with each height, width and depth.
            tile(left, index % 7 < 4, height, width, depth, index % 2 == 0, index % 5 * 7);
            index++;
          }
        }
      }
    }
  }

  private void tile(
      Left left, boolean packB, int height, int width, int depth, boolean adding, int roundsAhead) {
    Random random = new Random(31L * height + 7L * width + depth);
    int lda = left == Left.ROWS ? depth + 3 : left == Left.COLUMNS ? ROWS + 9 : ROWS;
    int ldb = packB ? COLUMNS + 11 : COLUMNS;
    int ldc = COLUMNS + 5;
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment a = normal(arena, (long) Math.max(ROWS, depth) * Math.max(lda, depth), random);
      MemorySegment b = normal(arena, (long) depth * ldb, random);
      MemorySegment start = normal(arena, COLUMNS, random);
      MemorySegment c = normal(arena, (long) (ROWS + 1) * ldc, random);
      float[] expected = c.toArray(ValueLayout.JAVA_FLOAT);
      float[] packedA = filled(depth * ROWS);
      float[] packedB = new float[depth * COLUMNS];
      float[] sums = filled(ROWS);
      for (int i = 0; i < height; i++) {
        float rowSum = 0;
        for (int p = 0; p < depth; p++) {
          float element = get(a, left == Left.ROWS ? (long) i * lda + p : (long) p * lda + i);
          packedA[p * ROWS + i] = element;
          rowSum += element;
        }
        sums[i] = rowSum;
        for (int j = 0; j < width; j++) {
          float sum = adding ? 0 : get(start, j);
          for (int p = 0; p < depth; p++) {
            float right = get(b, (long) p * ldb + j);
            packedB[p * COLUMNS + j] = right;
            sum = Math.fma(packedA[p * ROWS + i], right, sum);
          }
          int at = i * ldc + j;
          expected[at] = adding ? sum + expected[at] : sum;
        }
      }
      MemorySegment panelA = arena.allocateFrom(ValueLayout.JAVA_FLOAT, filled(depth * ROWS));
      MemorySegment panelB = arena.allocateFrom(ValueLayout.JAVA_FLOAT, filled(depth * COLUMNS));
      MemorySegment rowSums = arena.allocateFrom(ValueLayout.JAVA_FLOAT, filled(ROWS));
      Operands operands = new Operands();
      switch (left) {
        case ROWS -> operands.leftRows(a.address(), bytes(lda));
        case COLUMNS ->
            operands.leftColumns(a.address(), bytes(lda), panelA.address(), rowSums.address());
        case PANEL -> operands.leftPanel(a.address());
      }
      if (packB) {
        operands.rightRows(b.address(), bytes(ldb), panelB.address());
      } else {
        operands.rightPanel(b.address());
      }
      operands.depth(depth);
      operands.tile(c.address(), bytes(ldc), height, width);
      operands.start(adding ? 0 : start.address());
      operands.ahead(b.address(), bytes(COLUMNS), roundsAhead);
      tiles.multiply(operands);
      String what =
          "%s, packing %s, %d x %d x %d, adding %s"
              .formatted(left, packB, height, width, depth, adding);
      assertThat(floats(c)).as(what).containsExactly(expected);
      if (left == Left.COLUMNS) {
        assertThat(floats(panelA)).as(what).containsExactly(packedA);
        assertThat(floats(rowSums)).as(what).containsExactly(sums);
      }
      if (packB) {
        assertThat(floats(panelB)).as(what).containsExactly(packedB);
      }
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
        float[] expected = filled(columns * next);
        MemorySegment to = arena.allocateFrom(ValueLayout.JAVA_FLOAT, expected);
        for (int i = 0; i < NativeTiles.TRANSPOSED; i++) {
          for (int j = 0; j < columns; j++) {
            expected[j * next + i] = get(from, (long) i * stride + j);
          }
        }
        tiles.transpose(from.address(), bytes(stride), columns, to.address(), bytes(next));
        assertThat(floats(to)).containsExactly(expected);
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

  /** So that what must not be written shows. */
  private static float[] filled(int floats) {
    float[] array = new float[floats];
    Arrays.fill(array, UNTOUCHED);
    return array;
  }

  private static float[] floats(MemorySegment segment) {
    return segment.toArray(ValueLayout.JAVA_FLOAT);
  }

  private static long bytes(int floats) {
    return (long) floats * Float.BYTES;
  }

  private static float get(MemorySegment segment, long index) {
    return segment.getAtIndex(ValueLayout.JAVA_FLOAT, index);
  }
}
