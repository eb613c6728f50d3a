package filigree.tensor.cpu;

import static filigree.tensor.cpu.Fixture.assertClose;
import static filigree.tensor.cpu.Fixture.assertSameBits;
import static filigree.tensor.cpu.Fixture.everyProvider;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import filigree.tensor.Kernels;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

class RowKernelsTest {
  private static final int[][] SIZES = {
    {1, 1}, {5, 7}, {3, 16}, {200, 33}, {70, 768}, {4, 5000}, {0, 4}
  };

  private static double[] row(Tensor x, int r, int n) {
    return Arrays.copyOfRange(x.toDoubles(), r * n, (r + 1) * n);
  }

  private static double logSumExp(double[] row) {
    double max = Arrays.stream(row).max().orElseThrow();
    return max + Math.log(Arrays.stream(row).map(v -> Math.exp(v - max)).sum());
  }

  @Test
  void softmaxAndItsGradient() {
    everyProvider(
        kernels -> {
          for (int[] size : SIZES) {
            int n = size[1];
            try (Fixture f = new Fixture()) {
              Tensor x = f.spread(4, size[0], n);
              Tensor y = f.empty(size[0], n);
              Tensor g = f.normal(size[0], n);
              Tensor dx = f.empty(size[0], n);
              kernels.softmax(x, y);
              kernels.softmaxBackward(y, g, dx);
              double[] values = new double[size[0] * n];
              double[] gradients = new double[size[0] * n];
              for (int r = 0; r < size[0]; r++) {
                double[] row = row(x, r, n);
                double sum = logSumExp(row);
                double dot = 0;
                for (int i = 0; i < n; i++) {
                  values[r * n + i] = Math.exp(row[i] - sum);
                  dot += values[r * n + i] * g.get(r * n + i);
                }
                for (int i = 0; i < n; i++) {
                  gradients[r * n + i] = values[r * n + i] * (g.get(r * n + i) - dot);
                }
              }
              assertClose("softmax", y, values, 1e-6);
              assertClose("softmaxBackward", dx, gradients, 1e-6);
            }
          }
        });
  }

  @Test
  void softmaxTakesMaskedScores() {
    everyProvider(
        kernels -> {
          try (Fixture f = new Fixture()) {
            Tensor x = f.normal(2, 3, 5);
            kernels.maskCausal(x, 2, Double.NEGATIVE_INFINITY);
            kernels.softmax(x, x);
            for (int i = 0; i < x.size(); i++) {
              int position = 2 + i / 5 % 3;
              boolean seen = i % 5 <= position && i % 5 > position - 2;
              assertThat(x.get(i) > 0).isEqualTo(seen);
            }
            assertThatThrownBy(() -> kernels.maskCausal(f.normal(3, 2), 2, 0))
                .hasMessage("maskCausal: scores [3, 2] have more queries than keys");
          }
        });
  }

  @Test
  void layerNormAndItsGradient() {
    everyProvider(
        kernels -> {
          for (int[] size : SIZES) {
            int rows = size[0];
            int n = size[1];
            try (Fixture f = new Fixture()) {
              Tensor x = f.spread(2, rows, n);
              Tensor w = f.normal(n);
              Tensor b = f.normal(n);
              Tensor g = f.normal(rows, n);
              Tensor out = f.empty(rows, n);
              Tensor mean = f.empty(rows);
              Tensor inverse = f.empty(rows);
              Tensor dx = f.empty(rows, n);
              Tensor dw = f.empty(n);
              Tensor db = f.empty(n);
              kernels.layerNorm(x, w, b, 1e-5, out, mean, inverse);
              kernels.layerNormBackward(x, w, mean, inverse, g, dx, dw, db);
              double[] y = new double[rows * n];
              double[] ex = new double[rows * n];
              double[] ew = new double[n];
              double[] eb = new double[n];
              for (int r = 0; r < rows; r++) {
                double[] row = row(x, r, n);
                double centre = Arrays.stream(row).average().orElseThrow();
                double variance =
                    Arrays.stream(row)
                        .map(v -> (v - centre) * (v - centre))
                        .average()
                        .orElseThrow();
                double factor = 1 / Math.sqrt(variance + 1e-5);
                double a = 0;
                double c = 0;
                for (int i = 0; i < n; i++) {
                  double hat = (row[i] - centre) * factor;
                  double gw = g.get(r * n + i) * w.get(i);
                  y[r * n + i] = hat * w.get(i) + b.get(i);
                  a += gw / n;
                  c += gw * hat / n;
                  ew[i] += g.get(r * n + i) * hat;
                  eb[i] += g.get(r * n + i);
                }
                for (int i = 0; i < n; i++) {
                  double hat = (row[i] - centre) * factor;
                  ex[r * n + i] = factor * (g.get(r * n + i) * w.get(i) - a - c * hat);
                }
              }
              // One element has variance 0 and its factor 1 / sqrt(epsilon): rounding counts
              // 300-fold.
              double tolerance = n == 1 ? 1e-4 : 2e-6;
              assertClose("out", out, y, tolerance);
              assertClose("dx", dx, ex, tolerance);
              assertClose("dweight", dw, ew, 1e-5);
              assertClose("dbias", db, eb, 1e-5);
            }
          }
        });
  }

  @Test
  void layerNormKeepsSmallDifferencesAndSmallRows() {
    everyProvider(
        kernels -> {
          try (Fixture f = new Fixture()) {
            Tensor x = f.floats(Shape.of(1, 4), i -> 1e-3 * (i - 1.5));
            Tensor out = f.empty(1, 4);
            Tensor one = f.floats(Shape.of(4), i -> 1);
            Tensor zero = f.floats(Shape.of(4), i -> 0);
            kernels.layerNorm(x, one, zero, 1e-5, out, f.empty(1), f.empty(1));
            assertThat(out.get(0))
                .isCloseTo(-0.447213595, org.assertj.core.api.Assertions.within(1e-6));
          }
        });
  }

  @Test
  void rmsNormAndItsGradient() {
    everyProvider(
        kernels -> {
          for (int[] size : SIZES) {
            int rows = size[0];
            int n = size[1];
            try (Fixture f = new Fixture()) {
              Tensor x = f.spread(2, rows, n);
              Tensor w = f.normal(n);
              Tensor g = f.normal(rows, n);
              Tensor out = f.empty(rows, n);
              Tensor inverse = f.empty(rows);
              Tensor dx = f.empty(rows, n);
              Tensor dw = f.empty(n);
              kernels.rmsNorm(x, w, 1e-5, out, inverse);
              kernels.rmsNormBackward(x, w, inverse, g, dx, dw);
              double[] y = new double[rows * n];
              double[] ex = new double[rows * n];
              double[] ew = new double[n];
              for (int r = 0; r < rows; r++) {
                double[] row = row(x, r, n);
                double square = Arrays.stream(row).map(v -> v * v).average().orElseThrow();
                double factor = 1 / Math.sqrt(square + 1e-5);
                double c = 0;
                for (int i = 0; i < n; i++) {
                  y[r * n + i] = row[i] * factor * w.get(i);
                  c += g.get(r * n + i) * w.get(i) * row[i] * factor / n;
                  ew[i] += g.get(r * n + i) * row[i] * factor;
                }
                for (int i = 0; i < n; i++) {
                  ex[r * n + i] = factor * (g.get(r * n + i) * w.get(i) - c * row[i] * factor);
                }
              }
              assertClose("out", out, y, 2e-6);
              assertClose("dx", dx, ex, 3e-6);
              assertClose("dweight", dw, ew, 1e-5);
            }
          }
        });
  }

  @Test
  void crossEntropyAndItsGradient() {
    everyProvider(
        kernels -> {
          for (int n : new int[] {1, 7, 50, 9001}) {
            try (Fixture f = new Fixture()) {
              Tensor x = f.spread(5, 4, n);
              Tensor targets = f.ints(Shape.of(4), 0, n - 1, -1, n / 2);
              Tensor losses = f.empty(4);
              Tensor sums = f.empty(4);
              Tensor g = f.normal(4);
              kernels.crossEntropy(x, targets, losses, sums);
              double[] loss = new double[4];
              double[] gradient = new double[4 * n];
              for (int r = 0; r < 4; r++) {
                double[] row = row(x, r, n);
                double sum = logSumExp(row);
                int target = targets.toInts()[r];
                loss[r] = target < 0 ? 0 : sum - row[target];
                for (int i = 0; i < n && target >= 0; i++) {
                  gradient[r * n + i] = g.get(r) * (Math.exp(row[i] - sum) - (i == target ? 1 : 0));
                }
              }
              assertClose("losses", losses, loss, 1e-6);
              kernels.crossEntropyBackward(x, targets, sums, g, x);
              assertClose("gradient in place", x, gradient, 2e-6);
            }
          }
        });
  }

  @Test
  void crossEntropyNamesTheFirstBadTarget() {
    try (Fixture f = new Fixture();
        Kernels kernels = new CpuKernels(1)) {
      Tensor losses = f.empty(3);
      assertThatThrownBy(
              () ->
                  kernels.crossEntropy(
                      f.normal(3, 5), f.ints(Shape.of(3), -1, 5, -2), losses, f.empty(3)))
          .hasMessage("crossEntropy: target[1] is 5, expected -1 to 4");
      assertThat(losses.toFloats()).containsOnly(Float.NaN);
    }
  }

  @Test
  void divergenceAndItsGradient() {
    everyProvider(
        kernels -> {
          for (int n : new int[] {1, 7, 50, 3001}) {
            try (Fixture f = new Fixture()) {
              Tensor s = f.spread(3, 3, n);
              Tensor t = f.spread(3, 3, n);
              Tensor g = f.normal(3);
              Tensor out = f.empty(3);
              Tensor ds = f.empty(3, n);
              kernels.divergence(s, t, out);
              kernels.divergenceBackward(s, t, g, ds);
              double[] values = new double[3];
              double[] gradient = new double[3 * n];
              for (int r = 0; r < 3; r++) {
                double[] student = row(s, r, n);
                double[] teacher = row(t, r, n);
                double sumS = logSumExp(student);
                double sumT = logSumExp(teacher);
                for (int i = 0; i < n; i++) {
                  double p = Math.exp(teacher[i] - sumT);
                  values[r] += p * (teacher[i] - sumT - student[i] + sumS);
                  gradient[r * n + i] = g.get(r) * (Math.exp(student[i] - sumS) - p);
                }
              }
              assertClose("divergence", out, values, 3e-6);
              assertClose("divergenceBackward", ds, gradient, 1e-6);
              kernels.divergence(s, s, out);
              assertThat(out.toFloats()).containsOnly(0f);
            }
          }
        });
  }

  @Test
  void gradientsOfWeightsDoNotDependOnThreads() {
    try (Fixture f = new Fixture();
        Kernels one = new CpuKernels(1);
        Kernels three = new CpuKernels(3)) {
      Tensor x = f.normal(777, 65);
      Tensor w = f.normal(65);
      Tensor inverse = f.floats(Shape.of(777), i -> 1);
      Tensor a = f.empty(65);
      Tensor b = f.empty(65);
      one.rmsNormBackward(x, w, inverse, x, f.empty(777, 65), a);
      three.rmsNormBackward(x, w, inverse, x, f.empty(777, 65), b);
      assertSameBits("dweight", a, b);
    }
  }
}
