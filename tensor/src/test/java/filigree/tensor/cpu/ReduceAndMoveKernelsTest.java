package filigree.tensor.cpu;

import static filigree.tensor.cpu.Fixture.assertClose;
import static filigree.tensor.cpu.Fixture.assertSameBits;
import static filigree.tensor.cpu.Fixture.everyProvider;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.Rotation;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.TensorException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import org.junit.jupiter.api.Test;

class ReduceAndMoveKernelsTest {
  private static final int[][] ORDERS = {
    {0, 1, 2, 3}, {0, 2, 1, 3}, {3, 2, 1, 0}, {1, 0, 3, 2}, {2, 3, 0, 1}
  };

  @Test
  void sumsUndoBroadcasting() {
    long[][][] shapes = {
      {{3, 40, 33}, {33}},
      {{3, 40, 33}, {40, 1}},
      {{3, 40, 33}, {3, 1, 33}},
      {{3, 40, 33}, {1, 40, 1}},
      {{3, 40, 33}, {}},
      {{3, 40, 33}, {1, 1, 1}},
      {{3, 40, 33}, {3, 40, 33}},
      {{5000, 17}, {17}},
      {{17, 5000}, {17, 1}},
      {{3, 2, 5003}, {2, 5003}},
      {{2, 7, 4100}, {2, 1, 4100}},
      {{1, 40, 33}, {40, 33}},
      {{4, 3, 2, 5, 6}, {3, 1, 5, 1}},
      {{}, {}},
      {{1, 1}, {1}},
      {{0, 4}, {4}},
      {{4, 0}, {4, 1}},
      {{0, 4}, {0, 1}},
    };
    everyProvider(
        kernels -> {
          for (long[][] pair : shapes) {
            try (Fixture f = new Fixture()) {
              Tensor x = f.normal(pair[0]);
              Tensor out = f.empty(pair[1]);
              kernels.sumTo(x, out);
              double[] expected = new double[(int) out.size()];
              for (int i = 0; i < x.size(); i++) {
                expected[place(x.shape(), out.shape(), i)] += x.get(i);
              }
              assertClose("sum " + x.shape() + " to " + out.shape(), out, expected, 3e-6);
            }
          }
        });
  }

  private static int place(Shape shape, Shape target, long index) {
    long offset = 0;
    long stride = 1;
    for (int back = 1; back <= target.rank(); back++) {
      long along = index % shape.dim(-back);
      index /= shape.dim(-back);
      offset += (target.dim(-back) == 1 ? 0 : along) * stride;
      stride *= target.dim(-back);
    }
    return (int) offset;
  }

  @Test
  void longSumsKeepTheirDigits() {
    everyProvider(
        kernels -> {
          try (Fixture f = new Fixture()) {
            int n = 1 << 22;
            Tensor x = f.empty(DType.F32, n);
            kernels.fill(x, 0.1);
            Tensor sum = f.empty(1);
            kernels.sumTo(x, sum);
            assertThat(sum.item() / n).isCloseTo(0.1f, within(1e-8));
            Tensor columns = f.empty(16);
            kernels.sumTo(x.reshape(Shape.of(n / 16, 16)), columns);
            assertThat(columns.get(3) / (n / 16.0)).isCloseTo(0.1, within(1e-7));
            assertThat(kernels.sumOfSquares(x) / n).isCloseTo(0.1f * (double) 0.1f, within(1e-12));
          }
        });
  }

  @Test
  void sumsDoNotDependOnThreads() {
    try (Fixture f = new Fixture();
        Kernels one = new CpuKernels(1);
        Kernels three = new CpuKernels(3)) {
      for (Tensor x : List.of(f.normal(1000, 77), f.normal(70, 5003))) {
        Tensor a = f.empty(x.shape().dim(-1));
        Tensor b = f.empty(x.shape().dim(-1));
        one.sumTo(x, a);
        three.sumTo(x, b);
        assertSameBits("sum", a, b);
        assertThat(one.sumOfSquares(x)).isEqualTo(three.sumOfSquares(x));
      }
    }
  }

  @Test
  void permutesEveryType() {
    everyProvider(
        kernels -> {
          for (int[] axes : ORDERS) {
            for (DType type : new DType[] {DType.F32, DType.F64, DType.BF16}) {
              try (Fixture f = new Fixture()) {
                Tensor floats = f.floats(Shape.of(2, 3, 37, 40), i -> i % 251);
                Tensor x = f.empty(type, 2, 3, 37, 40);
                kernels.cast(floats, x);
                long[] dims = new long[4];
                for (int i = 0; i < 4; i++) {
                  dims[i] = x.shape().dim(axes[i]);
                }
                Tensor out = f.empty(type, dims);
                kernels.permute(x, axes, out);
                long[] own = Strides.of(x.shape());
                for (int i = 0; i < out.size(); i++) {
                  long rest = i;
                  long from = 0;
                  for (int axis = 3; axis >= 0; axis--) {
                    from += rest % dims[axis] * own[axes[axis]];
                    rest /= dims[axis];
                  }
                  if (out.get(i) != x.get(from)) {
                    assertThat(out.get(i)).as("element %d", i).isEqualTo(x.get(from));
                  }
                }
              }
            }
          }
        });
  }

  @Test
  void permuteChecksItsAxes() {
    try (Fixture f = new Fixture();
        Kernels kernels = new CpuKernels(1)) {
      assertThatThrownBy(() -> kernels.permute(f.normal(2, 3), new int[] {0, 0}, f.empty(2, 2)))
          .hasMessage("permute: [0, 0] is not an order of the axes of [2, 3]");
      Tensor empty = f.empty(3, 0);
      kernels.permute(f.empty(0, 3), new int[] {1, 0}, empty);
    }
  }

  @Test
  void copiesBoxes() {
    everyProvider(
        kernels -> {
          try (Fixture f = new Fixture()) {
            Tensor x = f.normal(3, 5, 4);
            Tensor out = f.floats(Shape.of(3, 9, 4), i -> -1);
            kernels.copyAlong(x, 1, out, 6, 1, 3);
            for (int i = 0; i < out.size(); i++) {
              int row = i / 4 % 9;
              double expected = row < 6 ? -1 : x.get(i / 36 * 20L + (row - 5) * 4L + i % 4);
              assertThat(out.get(i)).isEqualTo(expected);
            }
            assertThatThrownBy(() -> kernels.copyAlong(x, 3, out, 0, 1, 3))
                .hasMessage("copyAlong: 3 indices from 3 do not fit axis 1 of x [3, 5, 4]");
          }
        });
  }

  @Test
  void gathersAndScattersRows() {
    everyProvider(
        kernels -> {
          try (Fixture f = new Fixture()) {
            Tensor table = f.normal(7, 19);
            Tensor ids = f.ints(Shape.of(2, 3), 6, 0, 3, 3, 6, 6);
            Tensor out = f.empty(2, 3, 19);
            kernels.gather(table, ids, out);
            Tensor sums = f.floats(Shape.of(7, 19), i -> 1);
            double[] expected = new double[7 * 19];
            java.util.Arrays.fill(expected, 1);
            for (int i = 0; i < 6 * 19; i++) {
              int at = ids.toInts()[i / 19] * 19 + i % 19;
              assertThat(out.get(i)).isEqualTo(table.get(at));
              expected[at] += out.get(i);
            }
            kernels.scatterAdd(ids, out, sums);
            assertClose("scatterAdd", sums, expected, 1e-6);
          }
        });
  }

  @Test
  void idsOutOfRangeAreNamedAndNothingIsWritten() {
    try (Fixture f = new Fixture();
        Kernels kernels = new CpuKernels(2)) {
      Tensor table = f.normal(4, 2);
      Tensor ids = f.ints(Shape.of(2, 2), 0, 1, 4, -1);
      Tensor out = f.empty(2, 2, 2);
      assertThatThrownBy(() -> kernels.gather(table, ids, out))
          .isInstanceOf(TensorException.class)
          .hasMessage("gather: id[1, 0] is 4, expected 0 to 3");
      float[] before = table.toFloats();
      assertThatThrownBy(() -> kernels.scatterAdd(ids, f.normal(2, 2, 2), table))
          .hasMessage("scatterAdd: id[1, 0] is 4, expected 0 to 3");
      assertThat(table.toFloats()).isEqualTo(before);
      assertThat(out.toFloats()).containsOnly(Float.NaN);
    }
  }

  @Test
  void rotatesHalves() {
    everyProvider(
        kernels -> {
          for (int pairs : new int[] {1, 4, 9, 16}) {
            try (Fixture f = new Fixture()) {
              int headDim = 2 * pairs + pairs % 3;
              Tensor x = f.normal(2, 5, 3, headDim);
              Tensor cos = f.floats(Shape.of(9, pairs), i -> Math.cos(0.1 * i));
              Tensor sin = f.floats(Shape.of(9, pairs), i -> Math.sin(0.1 * i));
              Tensor out = f.empty(2, 5, 3, headDim);
              kernels.rotary(x, cos, sin, 4, Rotation.FORWARD, out);
              double[] expected = x.toDoubles();
              for (int row = 0; row < 30; row++) {
                int position = 4 + row / 3 % 5;
                for (int r = 0; r < pairs; r++) {
                  double c = cos.get(position * pairs + r);
                  double s = sin.get(position * pairs + r);
                  double a = x.get(row * headDim + r);
                  double b = x.get(row * headDim + r + pairs);
                  expected[row * headDim + r] = a * c - b * s;
                  expected[row * headDim + r + pairs] = b * c + a * s;
                }
              }
              assertClose("rotary", out, expected, 2e-7);
              kernels.rotary(out, cos, sin, 4, Rotation.INVERSE, out);
              assertClose("there and back", out, x.toDoubles(), 3e-7);
              assertThatThrownBy(
                      () ->
                          kernels.rotary(
                              x, cos, sin, 5, Rotation.FORWARD, f.normal(2, 5, 3, headDim)))
                  .hasMessage("rotary: positions 5 to 9 are not among the 9 of cos");
            }
          }
        });
  }

  @Test
  void castsRoundOnceToNearestEven() {
    try (Fixture f = new Fixture();
        Kernels kernels = new CpuKernels(2)) {
      // 1 + 2^-8 lies halfway between two bf16; 2^-40 more decides, but is lost in a float.
      double[] values = {
        1 + 0x1p-8,
        1 + 0x1p-8 + 0x1p-40,
        1 + 3 * 0x1p-8,
        1 + 0x1p-8 - 0x1p-40,
        65520,
        65519.999999,
        1e39,
        -1e39,
        1e-42,
        Double.NaN,
        Double.NEGATIVE_INFINITY,
        -0.0,
        3.3895313892515355e38
      };
      Tensor x = Tensor.of(f.memory, DType.F64, Shape.of(values.length), values);
      Tensor half = f.empty(DType.BF16, values.length);
      kernels.cast(x, half);
      assertThat(half.toDoubles())
          .startsWith(1, 1 + 0x1p-7, 1 + 0x1p-6, 1, 65536, 65536)
          .endsWith(Double.NaN, Double.NEGATIVE_INFINITY, -0.0, 0x1.fep127);
      assertThat(half.get(6)).isInfinite();
      Tensor quarter = f.empty(DType.F16, values.length);
      kernels.cast(x, quarter);
      assertThat(quarter.toDoubles()).contains(65504, 1 + 0x1p-8, 1 + 3 * 0x1p-8);
      assertThat(quarter.get(4)).isInfinite();
      Tensor back = f.empty(values.length);
      kernels.cast(half, back);
      assertThat(back.toDoubles()).isEqualTo(half.toDoubles());
    }
  }

  @Test
  void castsLongsExactly() {
    try (Fixture f = new Fixture();
        Kernels kernels = new CpuKernels(1);
        Arena arena = Arena.ofConfined()) {
      long[] values = {
        0,
        -1,
        1L << 40,
        (1L << 62) + 1,
        (1L << 24) + 1,
        -((1L << 60) + (1L << 36)),
        (1L << 60) + (1L << 36) + 1,
        Long.MIN_VALUE,
        Long.MAX_VALUE
      };
      MemorySegment bytes = arena.allocate(8L * values.length, 8);
      for (int i = 0; i < values.length; i++) {
        bytes.setAtIndex(ValueLayout.JAVA_LONG, i, values[i]);
      }
      Tensor x = Tensor.wrap(bytes, Shape.of(values.length), DType.I64);
      Tensor floats = f.empty(values.length);
      Tensor doubles = f.empty(DType.F64, values.length);
      kernels.cast(x, floats);
      kernels.cast(x, doubles);
      for (int i = 0; i < values.length; i++) {
        assertThat((float) floats.get(i)).isEqualTo((float) values[i]);
        assertThat(doubles.get(i)).isEqualTo((double) values[i]);
      }
    }
  }
}
