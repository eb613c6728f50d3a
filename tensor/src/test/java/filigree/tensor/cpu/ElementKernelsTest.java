package filigree.tensor.cpu;

import static filigree.tensor.cpu.Fixture.assertClose;
import static filigree.tensor.cpu.Fixture.everyProvider;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import filigree.tensor.AdamWStep;
import filigree.tensor.Arithmetic;
import filigree.tensor.DType;
import filigree.tensor.Elementwise;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.TensorException;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

class ElementKernelsTest {
  private static final int[] LENGTHS = {0, 1, 7, 15, 16, 17, 33, 1000, 70_001};

  private static double[] at(Elementwise function, double[] x) {
    return Arrays.stream(x).map(function::value).toArray();
  }

  @Test
  void functionsAndDerivativesAgreeWithTheirDefinition() {
    everyProvider(
        kernels -> {
          for (Elementwise function : Elementwise.values()) {
            for (int n : LENGTHS) {
              try (Fixture f = new Fixture()) {
                boolean positive = function.domain() == Elementwise.Domain.POSITIVE;
                Tensor x =
                    f.floats(
                        Shape.of(n), i -> positive ? 0.01 + i % 97 * 0.5 : (i % 197 - 98.3) * 0.19);
                Tensor y = f.empty(n);
                kernels.map(function, x, y);
                assertClose(function + " of " + n, y, at(function, x.toDoubles()), 1e-6);
                Tensor g = f.normal(n);
                Tensor dx = f.empty(n);
                kernels.mapBackward(function, x, y, g, dx);
                double[] expected = new double[n];
                for (int i = 0; i < n; i++) {
                  expected[i] = g.get(i) * function.derivative(x.get(i), y.get(i));
                }
                assertClose(function + "' of " + n, dx, expected, 3e-6);
                kernels.map(function, x, x);
                Fixture.assertSameBits(function + " in place", x, y);
              }
            }
          }
        });
  }

  @Test
  void functionsAreRightAtTheExtremes() {
    float[] extremes = {
      Float.NEGATIVE_INFINITY,
      -1e30f,
      -1e4f,
      -200,
      -104,
      -103,
      -100,
      -88,
      -87,
      -1e-30f,
      -0f,
      0f,
      1e-30f,
      1e-5f,
      87,
      88,
      88.7f,
      89,
      1e4f,
      1e30f,
      Float.POSITIVE_INFINITY,
      Float.NaN
    };
    everyProvider(
        kernels -> {
          for (Elementwise function :
              new Elementwise[] {
                Elementwise.EXP, Elementwise.SIGMOID, Elementwise.TANH, Elementwise.RELU
              }) {
            try (Fixture f = new Fixture()) {
              Tensor x = Tensor.of(f.memory, Shape.of(extremes.length), extremes);
              Tensor y = f.empty(extremes.length);
              kernels.map(function, x, y);
              for (int i = 0; i < extremes.length; i++) {
                float expected = (float) function.value(extremes[i]);
                double found = y.get(i);
                double tolerance =
                    1e-6 * Math.abs(expected) + (function == Elementwise.EXP ? 3e-45 : 1e-37);
                assertThat(
                        Math.abs(found - expected) <= tolerance
                            || Double.compare(found, expected) == 0)
                    .as("%s(%s): found %s, expected %s", function, extremes[i], found, expected)
                    .isTrue();
              }
            }
          }
        });
  }

  @Test
  void exponentialIsWithinTwoUnitsInTheLastPlace() {
    try (Fixture f = new Fixture();
        CpuKernels kernels = new CpuKernels(1, LaneChoice.VECTOR)) {
      int n = 200_000;
      Tensor x = f.floats(Shape.of(n), i -> -87.3 + 175.9 * i / n);
      Tensor y = f.empty(n);
      kernels.map(Elementwise.EXP, x, y);
      double worst = 0;
      for (int i = 0; i < n; i++) {
        double exact = Math.exp(x.get(i));
        worst = Math.max(worst, Math.abs(y.get(i) - exact) / Math.ulp((float) exact));
      }
      assertThat(worst).isLessThan(2);
    }
  }

  @Test
  void operandsBroadcast() {
    long[][][] shapes = {
      {{5}, {5}},
      {{3, 40, 33}, {33}},
      {{3, 40, 33}, {40, 1}},
      {{3, 1, 33}, {40, 33}},
      {{7}, {}},
      {{}, {}},
      {{2, 1, 3, 1, 5}, {1, 4, 1, 6, 1}},
      {{64, 1}, {1, 50}},
      {{0, 4}, {4}},
      {{300, 100}, {300, 1}},
      {{3, 5, 4}, {3, 1, 4}},
      {{1, 1}, {40_000}},
    };
    everyProvider(
        kernels -> {
          for (Arithmetic op : Arithmetic.values()) {
            for (long[][] pair : shapes) {
              for (boolean swap : new boolean[] {false, true}) {
                try (Fixture f = new Fixture()) {
                  Tensor a = f.normal(pair[swap ? 1 : 0]);
                  Tensor b = f.normal(pair[swap ? 0 : 1]);
                  Shape shape = a.shape().broadcast(b.shape());
                  Tensor out = f.empty(shape.dims());
                  kernels.combine(op, a, b, out);
                  double[] expected = new double[(int) shape.size()];
                  for (int i = 0; i < expected.length; i++) {
                    expected[i] = op.value(pick(a, shape, i), pick(b, shape, i));
                  }
                  assertClose(op + " " + a.shape() + b.shape(), out, expected, 2e-7);
                }
              }
            }
          }
        });
  }

  /** The element of a tensor that broadcasting puts at a place of a larger shape. */
  private static double pick(Tensor tensor, Shape shape, int index) {
    long offset = 0;
    long stride = 1;
    for (int back = 1; back <= shape.rank(); back++) {
      long place = index % shape.dim(-back);
      index /= (int) shape.dim(-back);
      if (back <= tensor.shape().rank()) {
        offset += (tensor.shape().dim(-back) == 1 ? 0 : place) * stride;
        stride *= tensor.shape().dim(-back);
      }
    }
    return tensor.get(offset);
  }

  @Test
  void fillScaleAndAccumulate() {
    everyProvider(
        kernels -> {
          for (int n : LENGTHS) {
            try (Fixture f = new Fixture()) {
              Tensor x = f.normal(n);
              Tensor y = f.normal(n);
              double[] sum = new double[n];
              Arrays.setAll(sum, i -> y.get(i) - 2.5 * x.get(i));
              kernels.accumulate(-2.5, x, y);
              assertClose("accumulate", y, sum, 3e-7);
              double[] scaled = Arrays.stream(x.toDoubles()).map(v -> v * 0.3f).toArray();
              kernels.scale(0.3, x, x);
              assertClose("scale", x, scaled, 1e-7);
              kernels.fill(x, 1.5);
              assertThat(x.toDoubles()).containsOnly(fill(n, 1.5));
            }
          }
        });
  }

  private static double[] fill(int n, double value) {
    double[] out = new double[n];
    Arrays.fill(out, value);
    return out;
  }

  @Test
  void adamwFollowsItsFormula() {
    AdamWStep step = new AdamWStep(3, 1e-2, 0.9, 0.95, 1e-8, 0.1, 0.5);
    everyProvider(
        kernels -> {
          for (int n : LENGTHS) {
            try (Fixture f = new Fixture()) {
              Tensor p = f.normal(n);
              Tensor g = f.normal(n);
              Tensor m = f.normal(n);
              Tensor v = f.floats(Shape.of(n), i -> 0.1 + i % 5);
              double[] p1 = new double[n];
              double[] m1 = new double[n];
              double[] v1 = new double[n];
              for (int i = 0; i < n; i++) {
                double gradient = 0.5 * g.get(i);
                m1[i] = 0.9 * m.get(i) + 0.1 * gradient;
                v1[i] = 0.95 * v.get(i) + 0.05 * gradient * gradient;
                p1[i] =
                    p.get(i) * (1 - 1e-3)
                        - 1e-2
                            * (m1[i] / (1 - Math.pow(0.9, 3)))
                            / (Math.sqrt(v1[i] / (1 - Math.pow(0.95, 3))) + 1e-8);
              }
              kernels.adamw(step, p, g, m, v);
              assertClose("p", p, p1, 1e-6);
              assertClose("m", m, m1, 1e-6);
              assertClose("v", v, v1, 1e-6);
            }
          }
        });
  }

  @Test
  void errorsSayWhatToDo() {
    try (Fixture f = new Fixture();
        CpuKernels kernels = new CpuKernels(1)) {
      Tensor wide = f.empty(DType.F64, 3);
      assertThatThrownBy(() -> kernels.fill(wide, 1))
          .isInstanceOf(TensorException.class)
          .hasMessage("fill: the cpu provider computes in F32, found F64; use --backend nd4j");
      assertThatThrownBy(() -> kernels.map(Elementwise.EXP, f.normal(3), f.empty(4)))
          .hasMessage("map: out has shape [4], but x has [3]");
      assertThatThrownBy(
              () -> kernels.combine(Arithmetic.ADD, f.normal(3), f.normal(4), f.empty(4)))
          .hasMessage("combine: shapes [3] and [4] do not broadcast");
    }
  }
}
