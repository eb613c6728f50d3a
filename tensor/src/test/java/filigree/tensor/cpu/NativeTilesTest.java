package filigree.tensor.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import filigree.tensor.cpu.x86.Isa;
import filigree.tensor.cpu.x86.NativeTiles;
import filigree.tensor.cpu.x86.NativeTiles.Operands;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The machine code against the same sums in Java, bit for bit. */
class NativeTilesTest {
  private static final float UNTOUCHED = 12345;

  /** More than a vector. */
  private static final int ROOM = 20;

  private NativeTiles tiles;
  private int rows;
  private int columns;

  /** One with AVX-512 can run both. */
  static void assumeProcessor(Isa isa) {
    Optional<PanelLanes> lanes = Lanes.of(LaneChoice.AUTO).panels();
    assumeTrue(
        lanes.isPresent() && lanes.get().isa().compareTo(isa) >= 0,
        "needs a processor with " + isa);
    assumeTrue(NativeTiles.ofThisProcess(isa).isPresent(), "needs Linux on x86-64");
  }

  private void use(Isa isa) {
    assumeProcessor(isa);
    tiles = NativeTiles.ofThisProcess(isa).orElseThrow();
    rows = tiles.rows();
    columns = tiles.columns();
  }

  private enum Left {
    ROWS,
    COLUMNS,
    PANEL
  }

  @ParameterizedTest
  @EnumSource
  void everyHeightWidthAndDepthOfATile(Isa isa) {
    use(isa);
    int half = columns / 2;
    int[] widths = {1, half - 1, half, half + 1, columns - 1, columns};
    for (Left left : Left.values()) {
      int index = 0;
      for (int height = 1; height <= rows; height++) {
        for (int width : widths) {
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
    int lda = left == Left.ROWS ? depth + 3 : left == Left.COLUMNS ? rows + 9 : rows;
    int ldb = packB ? columns + 11 : columns;
    int ldc = columns + 5;
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment a = normal(arena, (long) Math.max(rows, depth) * Math.max(lda, depth), random);
      MemorySegment b = normal(arena, (long) depth * ldb, random);
      MemorySegment start = normal(arena, columns, random);
      MemorySegment c = normal(arena, (long) (rows + 1) * ldc, random);
      float[] expected = c.toArray(ValueLayout.JAVA_FLOAT);
      float[] packedA = filled(depth * rows);
      float[] packedB = new float[depth * columns];
      float[] sums = filled(rows);
      for (int i = 0; i < height; i++) {
        float rowSum = 0;
        for (int p = 0; p < depth; p++) {
          float element = get(a, left == Left.ROWS ? (long) i * lda + p : (long) p * lda + i);
          packedA[p * rows + i] = element;
          rowSum += element;
        }
        sums[i] = rowSum;
        for (int j = 0; j < width; j++) {
          float sum = adding ? 0 : get(start, j);
          for (int p = 0; p < depth; p++) {
            float right = get(b, (long) p * ldb + j);
            packedB[p * columns + j] = right;
            sum = Math.fma(packedA[p * rows + i], right, sum);
          }
          int at = i * ldc + j;
          expected[at] = adding ? sum + expected[at] : sum;
        }
      }
      MemorySegment panelA =
          arena.allocateFrom(ValueLayout.JAVA_FLOAT, filled(depth * rows + ROOM));
      MemorySegment panelB = arena.allocateFrom(ValueLayout.JAVA_FLOAT, filled(depth * columns));
      MemorySegment rowSums = arena.allocateFrom(ValueLayout.JAVA_FLOAT, filled(rows));
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
      operands.ahead(b.address(), bytes(columns), roundsAhead);
      tiles.multiply(operands);
      String what =
          "%s, packing %s, %d x %d x %d, adding %s"
              .formatted(left, packB, height, width, depth, adding);
      assertThat(floats(c)).as(what).containsExactly(expected);
      if (left == Left.COLUMNS) {
        float[] panel = floats(panelA);
        for (int p = 0; p < depth; p++) {
          int at = p * rows;
          assertThat(Arrays.copyOfRange(panel, at, at + height))
              .as(what)
              .containsExactly(Arrays.copyOfRange(packedA, at, at + height));
        }
        int room = depth * rows + tiles.transposed();
        assertThat(Arrays.copyOfRange(panel, room, panel.length)).containsOnly(UNTOUCHED);
        assertThat(floats(rowSums)).as(what).containsExactly(sums);
      }
      if (packB) {
        assertThat(floats(panelB)).as(what).containsExactly(packedB);
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void blocksOfRowsBecomeColumns(Isa isa) {
    use(isa);
    int count = tiles.transposed();
    for (int length : new int[] {count, 4 * count}) {
      int stride = length + 3;
      int next = count + 1;
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment from = normal(arena, (long) count * stride, new Random(length));
        float[] expected = filled(length * next);
        MemorySegment to = arena.allocateFrom(ValueLayout.JAVA_FLOAT, expected);
        for (int i = 0; i < count; i++) {
          for (int j = 0; j < length; j++) {
            expected[j * next + i] = get(from, (long) i * stride + j);
          }
        }
        tiles.transpose(from.address(), bytes(stride), length, to.address(), bytes(next));
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
