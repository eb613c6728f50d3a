package filigree.tensor.nd4j;

import static filigree.tensor.nd4j.Fixture.assertClose;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import filigree.tensor.AdamWStep;
import filigree.tensor.Arithmetic;
import filigree.tensor.DType;
import filigree.tensor.Elementwise;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.TensorException;
import filigree.tensor.Transpose;
import java.util.Arrays;
import java.util.stream.DoubleStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class ElementsTest {
  private static final double[] POSITIVE = {1e-30, 1e-8, 0.25, 0.5, 1, 2, 3.5, 17, 88, 1e4, 1e30};
  private static final double[] NOT_ZERO =
      DoubleStream.concat(Arrays.stream(POSITIVE), Arrays.stream(POSITIVE).map(v -> -v))
          .filter(v -> Math.abs(v) < 1e5)
          .map(v -> (float) v)
          .toArray();

  private static double[] domain(Elementwise function) {
    return switch (function.domain()) {
      case POSITIVE -> Arrays.stream(POSITIVE).map(v -> (float) v).toArray();
      case NOT_ZERO -> NOT_ZERO;
      case REAL -> DoubleStream.concat(DoubleStream.of(0), Arrays.stream(NOT_ZERO)).toArray();
    };
  }

  @ParameterizedTest
  @EnumSource(Elementwise.class)
  void mapsAndMultipliesByTheDerivative(Elementwise function) {
    for (DType type : new DType[] {DType.F32, DType.F64}) {
      try (Fixture f = new Fixture(type)) {
        for (double point : domain(function)) { // one by one: each must be right at its own size
          double value = type == DType.F32 ? (float) function.value(point) : function.value(point);
          Tensor x = f.of(new double[] {point}, 1);
          Tensor y = f.out(1);
          f.kernels.map(function, x, y);
          assertNear(y.get(0), function.value(point), type, function + " at " + point);
          Tensor g = f.of(new double[] {0.5}, 1);
          f.kernels.mapBackward(function, x, f.of(new double[] {value}, 1), g, g);
          assertNear(
              g.get(0),
              0.5 * function.derivative(point, function.value(point)),
              type,
              function + "' at " + point);
          f.kernels.map(function, x, x);
          assertThat(x.get(0)).as("in place").isEqualTo(y.get(0));
        }
      }
    }
  }

  /** Relative, with room where the definition itself cancels (1 - tanh^2 far from 0). */
  private static void assertNear(double found, double expected, DType type, String what) {
    double target = type == DType.F32 ? (float) expected : expected;
    double tolerance = (type == DType.F32 ? 1.3e-7 : 1e-12) * Math.abs(target) + 3e-16;
    if (found != target) {
      assertThat(Math.abs(found - target))
          .as("%s: found %s, expected %s", what, found, target)
          .isLessThanOrEqualTo(tolerance);
    }
  }

  @ParameterizedTest
  @EnumSource(Elementwise.class)
  void derivativesAgreeWithDifferences(Elementwise function) {
    try (Fixture f = new Fixture(DType.F64)) {
      double[] points = f.numbers(12, 1);
      for (int i = 0; i < points.length; i++) {
        double away = Math.abs(points[i]) + 0.3;
        points[i] =
            switch (function.domain()) {
              case POSITIVE -> away;
              case NOT_ZERO -> Math.signum(points[i]) * away;
              case REAL -> points[i];
            };
      }
      Tensor x = f.of(points, 3, 4);
      Tensor y = f.out(3, 4);
      Tensor weight = f.random(3, 4);
      Tensor dx = f.out(3, 4);
      f.kernels.map(function, x, y);
      f.kernels.mapBackward(function, x, y, weight, dx);
      f.assertGradient(
          x,
          dx,
          () -> {
            f.kernels.map(function, x, y);
            return Fixture.dot(weight, y);
          });
    }
  }

  @Test
  void aNaNStaysOne() {
    try (Fixture f = new Fixture(DType.F32)) {
      for (Elementwise function : Elementwise.values()) {
        Tensor x = f.of(new double[] {Double.NaN, 1}, 2);
        f.kernels.map(function, x, x);
        assertThat(x.get(0)).as(function.name()).isNaN();
        assertThat(x.get(1)).isNotNaN();
      }
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "F64"})
  void combinesByTheRuleOfNumPy(DType type) {
    long[][][] shapes = {
      {{2, 3}, {2, 3}},
      {{2, 3}, {3}},
      {{3}, {2, 3}},
      {{2, 1}, {1, 3}},
      {{4, 1, 3}, {2, 1}},
      {{}, {2, 2}},
      {{2, 2}, {}},
      {{}, {}},
      {{1}, {5}},
      {{1, 1}, {1}},
      {{2, 3, 4, 5}, {3, 1, 5}},
      {{5, 1}, {5, 1}},
    };
    try (Fixture f = new Fixture(type)) {
      for (long[][] pair : shapes) {
        for (Arithmetic op : Arithmetic.values()) {
          Tensor a = f.random(pair[0]);
          Tensor b = f.random(pair[1]);
          Shape common = a.shape().broadcast(b.shape());
          double[] expected = new double[(int) common.size()];
          for (int i = 0; i < expected.length; i++) {
            expected[i] = op.value(broadcast(a, common, i), broadcast(b, common, i));
          }
          Tensor out = f.out(common.dims());
          f.kernels.combine(op, a, b, out);
          assertClose(out, expected);
          if (a.shape().equals(common)) {
            f.kernels.combine(op, a, b, a);
            assertClose(a, expected);
          } else if (b.shape().equals(common)) {
            f.kernels.combine(op, a, b, b);
            assertClose(b, expected);
          }
        }
      }
      Tensor empty = f.out(0, 3);
      f.kernels.combine(Arithmetic.ADD, empty, f.random(3), empty);
      assertThatThrownBy(
              () -> f.kernels.combine(Arithmetic.ADD, f.random(2), f.random(3), f.out(3)))
          .isInstanceOf(TensorException.class)
          .hasMessage("combine: shapes [2] and [3] do not broadcast");
    }
  }

  /** The element of a tensor that broadcasting puts at a row-major place of a larger shape. */
  static double broadcast(Tensor tensor, Shape to, long place) {
    long index = 0;
    long stride = 1;
    for (int axis = 1; axis <= to.rank(); axis++) {
      long length = to.dim(-axis);
      long at = place % length;
      place /= length;
      if (axis <= tensor.shape().rank()) {
        long own = tensor.shape().dim(-axis);
        index += (own == 1 ? 0 : at) * stride;
        stride *= own;
      }
    }
    return tensor.get(index);
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "F64"})
  void scalesAccumulatesAndFills(DType type) {
    try (Fixture f = new Fixture(type)) {
      Tensor x = f.random(3, 5);
      Tensor y = f.random(3, 5);
      double[] xs = x.toDoubles();
      double[] ys = y.toDoubles();
      double[] expected = new double[15];
      Arrays.setAll(expected, i -> ys[i] - 0.3 * xs[i]);
      f.kernels.accumulate(-0.3, x, y);
      assertClose(y, expected);
      f.kernels.scale(1.7, x, x);
      assertClose(x, Arrays.stream(xs).map(v -> 1.7 * v).toArray());
      f.kernels.fill(x, Double.NEGATIVE_INFINITY);
      assertThat(x.toDoubles()).containsOnly(Double.NEGATIVE_INFINITY);
      Tensor scalar = f.out();
      f.kernels.fill(scalar, 0.1);
      assertClose(scalar, 0.1);
      f.kernels.scale(2, scalar, scalar);
      assertThat(scalar.item()).isEqualTo(2 * (type == DType.F32 ? 0.1f : 0.1));
      Tensor empty = f.out(0);
      f.kernels.fill(empty, 1);
      f.kernels.scale(1, empty, empty);
      f.kernels.accumulate(1, empty, empty);
      f.kernels.map(Elementwise.EXP, empty, empty);
      f.kernels.mapBackward(Elementwise.EXP, empty, empty, empty, empty);
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "F64"})
  void sumsOverBroadcastAxes(DType type) {
    long[][][] shapes = {
      {{2, 3, 4}, {2, 3, 4}},
      {{2, 3, 4}, {4}},
      {{2, 3, 4}, {3, 1}},
      {{2, 3, 4}, {1, 3, 4}},
      {{2, 3, 4}, {2, 1, 4}},
      {{2, 3, 4}, {2, 1, 1}},
      {{2, 3, 4}, {}},
      {{2, 1, 4}, {1, 1}},
      {{1, 1}, {}},
      {{5}, {1}},
      {{}, {}},
      {{0, 3}, {3}},
      {{3, 0}, {1}},
      {{0}, {}},
    };
    try (Fixture f = new Fixture(type)) {
      for (long[][] pair : shapes) {
        Tensor x = f.random(pair[0]);
        Tensor out = f.out(pair[1]);
        double[] expected = new double[(int) out.size()];
        for (int i = 0; i < x.size(); i++) {
          double[] places = new double[expected.length];
          Arrays.setAll(places, j -> j);
          Tensor index = Tensor.of(f.memory, DType.F64, out.shape(), places);
          expected[(int) broadcast(index, x.shape(), i)] += x.get(i);
        }
        f.kernels.sumTo(x, out);
        assertClose(out, expected);
      }
      assertThatThrownBy(() -> f.kernels.sumTo(f.random(2, 3), f.out(2)))
          .hasMessage("sumTo: out has shape [2], which does not broadcast to [2, 3]");
    }
  }

  @Test
  void sumsDoNotLoseDigits() {
    try (Fixture f = new Fixture(DType.F32)) {
      Tensor x = f.out(1 << 20);
      f.kernels.fill(x, 0.1);
      Tensor sum = f.out();
      f.kernels.sumTo(x, sum);
      assertClose(sum, (1 << 20) * (double) 0.1f);
      double squares = (1 << 20) * ((double) 0.1f * 0.1f);
      assertThat(f.kernels.sumOfSquares(x)).isBetween(squares * (1 - 1e-11), squares * (1 + 1e-11));
      assertThat(f.kernels.sumOfSquares(f.out(0))).isZero();
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "F64"})
  void multipliesMatrices(DType type) {
    int[][] sizes = {{1, 1, 1}, {3, 4, 5}, {1, 4, 5}, {3, 1, 5}, {3, 4, 1}, {1, 7, 1}, {2, 0, 3}};
    long[][] batches = {{}, {2}, {2, 3}, {1, 1}};
    try (Fixture f = new Fixture(type)) {
      for (int[] size : sizes) {
        for (long[] batch : batches) {
          for (Transpose ta : Transpose.values()) {
            for (Transpose tb : Transpose.values()) {
              for (boolean shared : new boolean[] {false, true}) {
                int m = size[0];
                int k = size[1];
                int n = size[2];
                Tensor a = f.random(ta == Transpose.NO ? dims(batch, m, k) : dims(batch, k, m));
                long[] none = shared ? new long[0] : batch;
                Tensor b = f.random(tb == Transpose.NO ? dims(none, k, n) : dims(none, n, k));
                Tensor out = f.out(dims(batch, m, n)); // NaN: must not be read where beta is 0
                double[] product = product(a, ta, b, tb, m, k, n);
                f.kernels.matmul(1.5, a, ta, b, tb, 0, out);
                assertClose(out, Arrays.stream(product).map(v -> 1.5 * v).toArray());
                double[] old = out.toDoubles();
                Arrays.setAll(product, i -> 1.5 * product[i] - 0.5 * old[i]);
                f.kernels.matmul(1.5, a, ta, b, tb, -0.5, out);
                assertClose(out, product);
              }
            }
          }
        }
      }
      f.kernels.matmul(
          1, f.out(0, 2, 3), Transpose.NO, f.out(3, 4), Transpose.NO, 0, f.out(0, 2, 4));
    }
  }

  private static long[] dims(long[] batch, long rows, long columns) {
    long[] dims = Arrays.copyOf(batch, batch.length + 2);
    dims[batch.length] = rows;
    dims[batch.length + 1] = columns;
    return dims;
  }

  private static double[] product(
      Tensor a, Transpose ta, Tensor b, Transpose tb, int m, int k, int n) {
    int batches = 1;
    for (int axis = 0; axis < a.shape().rank() - 2; axis++) {
      batches *= a.shape().length(axis);
    }
    double[] out = new double[batches * m * n];
    for (int c = 0; c < batches; c++) {
      int other = b.shape().rank() > 2 ? c : 0;
      for (int i = 0; i < m; i++) {
        for (int j = 0; j < n; j++) {
          for (int l = 0; l < k; l++) {
            double left = a.get(c * m * k + (ta == Transpose.NO ? i * k + l : l * m + i));
            double right = b.get(other * k * n + (tb == Transpose.NO ? l * n + j : j * k + l));
            out[(c * m + i) * n + j] += left * right;
          }
        }
      }
    }
    return out;
  }

  @Test
  void multipliesByStoredWeights() {
    try (Fixture f = new Fixture(DType.F32)) {
      Tensor a = f.random(2, 3);
      Tensor b = f.random(3, 4);
      Tensor stored = f.memory.allocate(b.shape(), DType.BF16);
      f.kernels.cast(b, stored);
      f.kernels.cast(stored, b);
      Tensor expected = f.out(2, 4);
      Tensor found = f.out(2, 4);
      f.kernels.matmul(1, a, Transpose.NO, b, Transpose.NO, 0, expected);
      f.kernels.matmul(1, a, Transpose.NO, stored, Transpose.NO, 0, found);
      assertThat(found.toFloats()).isEqualTo(expected.toFloats());
    }
  }

  @Test
  void refusesWhatDoesNotFit() {
    try (Fixture f = new Fixture(DType.F32)) {
      Tensor out = f.out(2, 2);
      assertThatThrownBy(
              () ->
                  f.kernels.matmul(
                      1, f.random(2, 3), Transpose.NO, f.random(2, 3), Transpose.NO, 0, out))
          .isInstanceOf(TensorException.class)
          .hasMessage("matmul: a [2, 3] (transposed: NO) and b [2, 3] (transposed: NO) do not fit");
      assertThatThrownBy(() -> f.kernels.scale(1, f.random(3), out))
          .hasMessage("scale: out has shape [2, 2], expected [3]");
      Tensor wide = f.out(DType.F64, 2, 2);
      assertThatThrownBy(() -> f.kernels.scale(1, wide, out))
          .hasMessage("scale: out is F32, but x is F64");
      assertThatThrownBy(() -> f.kernels.scale(1, f.ints(1), f.ints(1)))
          .hasMessage("scale: x is I32, expected F32 or F64; cast it first");
      assertThat(out.toDoubles()).containsOnly(Double.NaN);
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "F64"})
  void updatesByAdamW(DType type) {
    try (Fixture f = new Fixture(type)) {
      Tensor p = f.random(7);
      Tensor g = f.random(7);
      Tensor m = f.random(7);
      Tensor v = f.of(Arrays.stream(f.numbers(7, 1)).map(x -> (float) (x * x)).toArray(), 7);
      AdamWStep step = new AdamWStep(3, 1e-2, 0.9, 0.95, 1e-8, 0.1, 0.5);
      double[] newP = p.toDoubles();
      double[] newM = m.toDoubles();
      double[] newV = v.toDoubles();
      for (int i = 0; i < 7; i++) {
        double gradient = 0.5 * g.get(i);
        newM[i] = 0.9 * newM[i] + 0.1 * gradient;
        newV[i] = 0.95 * newV[i] + 0.05 * gradient * gradient;
        newP[i] *= 1 - 1e-2 * 0.1;
        newP[i] -=
            1e-2
                * (newM[i] / (1 - Math.pow(0.9, 3)))
                / (Math.sqrt(newV[i] / (1 - Math.pow(0.95, 3))) + 1e-8);
      }
      f.kernels.adamw(step, p, g, m, v);
      assertClose(p, newP);
      assertClose(m, newM);
      assertClose(v, newV);
    }
  }
}
