package filigree.tensor.nd4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import filigree.tensor.DType;
import filigree.tensor.Philox;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.TensorException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.math.BigDecimal;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class LayoutTest {
  private static final double[] AWKWARD = {
    0,
    -0.0,
    1,
    -1,
    0.1,
    1 + 0x1p-8,
    1 + 0x1p-8 + 0x1p-40,
    1 + 0x1p-9,
    1 + 0x1p-11 + 0x1p-40,
    1 + 0x1p-24,
    1 + 0x1p-24 + 0x1p-50,
    65504,
    65519.99999,
    65520,
    1e30,
    -1e30,
    3.4e38,
    1e300,
    -1e300,
    1e-300,
    -1e-300,
    0x1p-24,
    0x1p-25,
    0x1.0001p-25,
    0x1p-133,
    0x1p-134,
    0x1.00000001p-134,
    Double.POSITIVE_INFINITY,
    Double.NEGATIVE_INFINITY,
    Double.NaN,
    257,
    258,
    259
  };

  @Test
  void roundsOnceToEveryType() {
    try (Fixture f = new Fixture(DType.F64)) {
      double[] random = new double[2000];
      Philox philox = new Philox(3, 1);
      Arrays.setAll(random, i -> philox.nextGaussian() * Math.pow(2, philox.nextInt(80) - 40));
      for (double[] values : new double[][] {AWKWARD, random}) {
        Tensor from = f.of(values, values.length);
        for (DType to : new DType[] {DType.F32, DType.F64, DType.BF16, DType.F16}) {
          Tensor out = f.memory.allocate(from.shape(), to);
          f.kernels.cast(from, out);
          for (int i = 0; i < values.length; i++) {
            assertThat(out.get(i))
                .as("%s to %s", values[i], to)
                .isEqualTo(Double.valueOf(rounded(values[i], to)));
          }
          Tensor back = f.out(from.shape().dims());
          f.kernels.cast(out, back);
          assertThat(back.toDoubles()).isEqualTo(out.toDoubles());
        }
      }
    }
  }

  /** Rounds by exact decimal arithmetic: the spacing of the type at the value, ties to even. */
  private static double rounded(double value, DType type) {
    int digits;
    int smallest;
    double limit;
    switch (type) {
      case F32 -> {
        return (float) value;
      }
      case BF16 -> {
        digits = 8;
        smallest = -133;
        limit = 0x1.ffp127;
      }
      case F16 -> {
        digits = 11;
        smallest = -24;
        limit = 0x1.ffep15;
      }
      case F64, I32, I64, I8, U8 -> {
        return value;
      }
      default -> throw new IllegalArgumentException(type.name());
    }
    if (value == 0 || !Double.isFinite(value)) {
      return value;
    }
    double spacing = Math.pow(2, Math.max(Math.getExponent(value) - digits + 1, smallest));
    double steps = Math.rint(value / spacing); // both exact; rint is ties to even
    double result = steps * spacing;
    return Math.abs(result) >= limit ? Math.copySign(Double.POSITIVE_INFINITY, value) : result;
  }

  @Test
  void castsIntegersWithoutADetour() {
    try (Fixture f = new Fixture(DType.F32);
        Arena arena = Arena.ofConfined()) {
      long[] longs = {0, -1, (1L << 53) + 1, (1L << 60) + (1L << 36) + 1, -(1L << 62) - 1};
      MemorySegment bytes = arena.allocateFrom(ValueLayout.JAVA_LONG, longs);
      Tensor from = Tensor.wrap(bytes, Shape.of(longs.length), DType.I64);
      Tensor floats = f.out(longs.length);
      Tensor doubles = f.out(DType.F64, longs.length);
      Tensor halves = f.memory.allocate(from.shape(), DType.BF16);
      f.kernels.cast(from, floats);
      f.kernels.cast(from, doubles);
      f.kernels.cast(from, halves);
      for (int i = 0; i < longs.length; i++) {
        assertThat(floats.get(i)).isEqualTo((float) longs[i]);
        assertThat(doubles.get(i)).isEqualTo((double) longs[i]);
        double spacing = Math.pow(2, Math.max(0, Math.getExponent((double) longs[i]) - 7));
        BigDecimal off = new BigDecimal(halves.get(i)).subtract(BigDecimal.valueOf(longs[i]));
        assertThat(off.abs()).isLessThanOrEqualTo(new BigDecimal(spacing / 2));
      }
      long tie = (1L << 60) + (1L << 52); // halfway between two bfloat16; one more decides
      assertThat(HalfPrecision.toBFloat16(HalfPrecision.roundToOdd(tie + 1)))
          .isEqualTo((short) (HalfPrecision.toBFloat16(HalfPrecision.roundToOdd(tie)) + 1));
      Tensor small =
          Tensor.wrap(
              arena.allocateFrom(ValueLayout.JAVA_BYTE, (byte) -1, (byte) 7),
              Shape.of(2),
              DType.U8);
      Tensor pair = f.out(2);
      f.kernels.cast(small, pair);
      assertThat(pair.toFloats()).containsExactly(255, 7);
      f.kernels.cast(f.ints(3, -4), pair);
      assertThat(pair.toFloats()).containsExactly(3, -4);
      assertThatThrownBy(() -> f.kernels.cast(pair, f.ints(1, 2)))
          .isInstanceOf(TensorException.class)
          .hasMessage("cast: out is I32, expected F32, F64, BF16 or F16");
    }
  }

  @ParameterizedTest
  @EnumSource(DType.class)
  void permutesAndCopiesBitsOfEveryType(DType type) {
    try (Fixture f = new Fixture(DType.F64);
        Arena arena = Arena.ofConfined()) {
      Shape shape = Shape.of(2, 3, 1, 5);
      Tensor x = bits(arena, type, shape, 5);
      int[][] orders = {{0, 1, 2, 3}, {3, 2, 1, 0}, {0, 2, 1, 3}, {1, 0, 3, 2}, {2, 3, 0, 1}};
      for (int[] order : orders) {
        long[] dims = Arrays.stream(order).mapToLong(shape::dim).toArray();
        Tensor out = f.memory.allocate(Shape.of(dims), type);
        f.kernels.permute(x, order, out);
        byte[] expected = new byte[(int) x.byteSize()];
        long[] index = new long[4];
        for (int place = 0; place < out.size(); place++) {
          long rest = place;
          for (int axis = 3; axis >= 0; axis--) {
            index[order[axis]] = rest % dims[axis];
            rest /= dims[axis];
          }
          long from = ((index[0] * 3 + index[1]) + index[2]) * 5 + index[3];
          System.arraycopy(
              bytes(x), (int) from * type.bytes(), expected, place * type.bytes(), type.bytes());
        }
        assertThat(bytes(out)).isEqualTo(expected);
      }
      Tensor out = bits(arena, type, Shape.of(2, 4, 1, 5), 6);
      byte[] expected = bytes(out);
      for (int outer = 0; outer < 2; outer++) {
        System.arraycopy(
            bytes(x),
            (outer * 3 + 1) * 5 * type.bytes(),
            expected,
            (outer * 4 + 2) * 5 * type.bytes(),
            2 * 5 * type.bytes());
      }
      f.kernels.copyAlong(x, 1, out, 2, 1, 2);
      assertThat(bytes(out)).isEqualTo(expected);
      f.kernels.copyAlong(x, 3, out, 0, 1, 0);
      f.kernels.copyAlong(out, 2, out, 2, -3, 0);
      assertThat(bytes(out)).isEqualTo(expected);
    }
  }

  private static Tensor bits(Arena arena, DType type, Shape shape, long seed) {
    Philox philox = new Philox(seed, 0);
    MemorySegment segment = arena.allocate(shape.size() * type.bytes(), 8);
    for (long i = 0; i < segment.byteSize(); i++) {
      // Bit patterns of finite numbers in every type, so that no NaN is made quiet.
      segment.set(ValueLayout.JAVA_BYTE, i, (byte) (philox.nextInt() & 0x3f));
    }
    return Tensor.wrap(segment, shape, type);
  }

  private static byte[] bytes(Tensor tensor) {
    return tensor.bytes().toArray(ValueLayout.JAVA_BYTE);
  }

  @Test
  void permutesAndCopiesSmallRanks() {
    try (Fixture f = new Fixture(DType.F32)) {
      Tensor scalar = f.of(new double[] {3});
      Tensor out = f.out();
      f.kernels.permute(scalar, new int[0], out);
      assertThat(out.item()).isEqualTo(3);
      Tensor vector = f.random(4);
      Tensor copy = f.out(4);
      f.kernels.permute(vector, new int[] {0}, copy);
      assertThat(copy.toFloats()).isEqualTo(vector.toFloats());
      f.kernels.copyAlong(vector, 0, copy, 3, 0, 1);
      assertThat(copy.get(3)).isEqualTo(vector.get(0));
      f.kernels.permute(f.out(0, 2), new int[] {1, 0}, f.out(2, 0));
      assertThatThrownBy(() -> f.kernels.permute(vector, new int[] {1}, copy))
          .hasMessage("permute: axes are [1], expected each axis of [4] once");
      assertThatThrownBy(() -> f.kernels.copyAlong(vector, 2, copy, 0, 0, 3))
          .hasMessage("copyAlong: indices 2 to 5 are not inside axis 0 of x, [4]");
      assertThatThrownBy(() -> f.kernels.copyAlong(vector, 0, copy, -1, 0, 3))
          .hasMessage("copyAlong: indices -1 to 2 are not inside axis 0 of out, [4]");
    }
  }
}
