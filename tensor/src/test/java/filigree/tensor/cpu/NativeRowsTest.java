package filigree.tensor.cpu;

import static org.assertj.core.api.Assertions.assertThat;

import filigree.tensor.DType;
import filigree.tensor.cpu.x86.Isa;
import filigree.tensor.cpu.x86.NativeRows;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The machine code against the same sums in Java, bit for bit. */
class NativeRowsTest {
  private static final int GUARD = 64;

  @ParameterizedTest
  @EnumSource
  void everyCountTypeAndEndOfARow(Isa isa) {
    NativeTilesTest.assumeProcessor(isa);
    NativeRows loops = NativeRows.ofThisProcess(isa).orElseThrow();
    int lanes = isa.columns() / 2;
    int chains = (isa == Isa.AVX512 ? 4 : 2) * lanes;
    assertThat(loops.reads(3)).isEqualTo(isa == Isa.AVX512);
    for (DType type : List.of(DType.F32, DType.BF16)) {
      for (int count = 1; count <= NativeRows.MOST; count++) {
        for (int columns :
            new int[] {0, 1, 8, 15, 16, 17, 48, 63, 64, 65, 128, 131, 191, 200, 768}) {
          for (int rows : new int[] {1, 2, 5}) {
            if (loops.reads(columns)) {
              dots(loops, chains, lanes, type, count, columns, rows);
            }
          }
        }
      }
    }
  }

  private static void dots(
      NativeRows loops, int chains, int lanes, DType type, int count, int columns, int rows) {
    Random random = new Random(31L * columns + rows);
    float[] x = normal(random, count * columns);
    float[] w = normal(random, rows * columns);
    if (type == DType.BF16) {
      for (int i = 0; i < w.length; i++) {
        w[i] = Float.intBitsToFloat(Float.floatToRawIntBits(w[i]) & 0xffff0000);
      }
    }
    float[] expected = new float[rows * count + GUARD];
    Arrays.fill(expected, GUARD);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment out = arena.allocateFrom(ValueLayout.JAVA_FLOAT, expected);
      for (int j = 0; j < rows; j++) {
        for (int i = 0; i < count; i++) {
          expected[j * count + i] =
              dot(
                  chains,
                  lanes,
                  Arrays.copyOfRange(x, i * columns, (i + 1) * columns),
                  Arrays.copyOfRange(w, j * columns, (j + 1) * columns));
        }
      }
      loops.dots(
          type,
          count,
          floats(arena, x).address(),
          (type == DType.BF16 ? upperHalves(arena, w) : floats(arena, w)).address(),
          columns,
          rows,
          out.address());
      assertThat(out.toArray(ValueLayout.JAVA_FLOAT))
          .as("%s, %d x %d x %d", type, count, rows, columns)
          .containsExactly(expected);
    }
  }

  /** Chains of vectors; what is no whole round goes to the first. */
  private static float dot(int chains, int lanes, float[] x, float[] w) {
    float[] sums = new float[chains];
    int rounds = x.length / chains * chains;
    for (int i = 0; i < x.length; i++) {
      int lane = i < rounds ? i % chains : i % lanes;
      sums[lane] = Math.fma(w[i], x[i], sums[lane]);
    }
    for (int half = chains / 2; half >= 4; half /= 2) {
      for (int i = 0; i < half; i++) {
        sums[i] += sums[i + half];
      }
    }
    return (sums[0] + sums[2]) + (sums[1] + sums[3]);
  }

  private static float[] normal(Random random, int length) {
    float[] out = new float[length];
    for (int i = 0; i < length; i++) {
      out[i] = (float) random.nextGaussian();
    }
    return out;
  }

  /** What follows would show if it were read. */
  private static MemorySegment floats(Arena arena, float[] values) {
    MemorySegment out = arena.allocate((long) (values.length + GUARD) * Float.BYTES);
    out.fill((byte) 0xff);
    MemorySegment.copy(values, 0, out, ValueLayout.JAVA_FLOAT, 0, values.length);
    return out;
  }

  private static MemorySegment upperHalves(Arena arena, float[] values) {
    MemorySegment out = arena.allocate((long) (values.length + GUARD) * Short.BYTES);
    out.fill((byte) 0xff);
    for (int i = 0; i < values.length; i++) {
      short half = (short) (Float.floatToRawIntBits(values[i]) >>> Short.SIZE);
      out.setAtIndex(ValueLayout.JAVA_SHORT, i, half);
    }
    return out;
  }
}
