package filigree.tensor.cpu;

import static filigree.tensor.cpu.Fixture.assertClose;
import static filigree.tensor.cpu.Fixture.everyProvider;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.Tensor;
import filigree.tensor.Transpose;
import java.util.List;
import org.junit.jupiter.api.Test;

class GemmTest {
  /** Sizes of a case: batch (0 for none), m, n, k. */
  private static final int[][] SIZES = {
    {0, 1, 1, 1},
    {0, 3, 5, 7},
    {0, 1, 300, 500},
    {0, 300, 1, 500},
    {0, 200, 120, 130},
    {0, 5, 900, 400},
    {3, 4, 5, 6},
    {2, 130, 70, 90},
    {5, 1, 9, 4},
    {0, 4, 5, 0},
    {0, 0, 5, 3},
    {0, 4, 0, 3},
    {0, 1, 1000, 100},
    {0, 37, 75, 1100},
    {0, 12, 32, 16},
    {0, 25, 33, 17},
    {0, 8, 8, 1},
    {3, 24, 64, 40}
  };

  @Test
  void everyTransposition() {
    everyProvider(
        kernels -> {
          for (int[] size : SIZES) {
            for (Transpose ta : Transpose.values()) {
              for (Transpose tb : Transpose.values()) {
                for (boolean shared : new boolean[] {false, true}) {
                  check(kernels, size, ta, tb, shared);
                }
              }
            }
          }
        });
  }

  private static void check(
      Kernels kernels, int[] size, Transpose ta, Transpose tb, boolean shared) {
    int batch = size[0];
    int m = size[1];
    int n = size[2];
    int k = size[3];
    try (Fixture f = new Fixture()) {
      Tensor a = f.normal(dims(batch, m, k, ta));
      Tensor b = f.normal(dims(shared ? 0 : batch, k, n, tb));
      Tensor out = f.normal(dims(batch, m, n, Transpose.NO));
      double[] old = out.toDoubles();
      double[] expected = new double[old.length];
      for (int at = 0; at < expected.length; at++) {
        int column = at % n;
        int row = at / n % m;
        int item = at / n / m;
        double sum = 0;
        for (int e = 0; e < k; e++) {
          long atA = ta == Transpose.NO ? (long) row * k + e : (long) e * m + row;
          long atB = tb == Transpose.NO ? (long) e * n + column : (long) column * k + e;
          long baseB = shared ? 0 : (long) item * k * n;
          sum += a.get((long) item * m * k + atA) * b.get(baseB + atB);
        }
        expected[at] = 0.5 * sum;
      }
      String what = "%d %d %d %d %s %s %s".formatted(batch, m, n, k, ta, tb, shared);
      kernels.matmul(1, a, ta, b, tb, 0, out);
      kernels.matmul(-0.5, a, ta, b, tb, 1, out);
      assertClose(what + " and added", out, expected, 5e-5);
      kernels.matmul(0.5, a, ta, b, tb, 0, out);
      assertClose(what, out, expected, 5e-5);
      kernels.matmul(0.5, a, ta, b, tb, -2, out);
      for (int at = 0; at < expected.length; at++) {
        expected[at] = -expected[at];
      }
      assertClose(what + " with beta", out, expected, 5e-5);
      Tensor fresh = f.empty(out.shape().dims());
      kernels.matmul(-0.5, a, ta, b, tb, 0, fresh);
      assertClose(what + " over NaN", fresh, expected, 5e-5);
    }
  }

  /**
   * So that a checkpoint of one machine is continued on another, and tests need no thread count.
   */
  @Test
  void bitsDoNotDependOnTheNumberOfThreads() {
    try (Fixture f = new Fixture();
        Kernels one = new CpuKernels(1);
        Kernels three = new CpuKernels(3)) {
      for (Transpose ta : Transpose.values()) {
        for (Transpose tb : Transpose.values()) {
          Tensor a = f.normal(dims(0, 211, 1300, ta));
          Tensor b = f.normal(dims(0, 1300, 173, tb));
          Tensor alone = f.empty(211, 173);
          Tensor together = f.empty(211, 173);
          for (int beta : new int[] {0, 1}) {
            one.matmul(1, a, ta, b, tb, beta, alone);
            three.matmul(1, a, ta, b, tb, beta, together);
            assertThat(together.toDoubles()).isEqualTo(alone.toDoubles());
          }
        }
      }
    }
  }

  /** Several blocks of rows, more columns than are packed for all of them, and a cut sum. */
  @Test
  void productsOfManyBlocksAreThoseOfOpenBlas() {
    int m = 450;
    int n = 1100;
    int k = 700;
    try (Fixture f = new Fixture();
        Kernels best = new CpuKernels(1);
        Kernels openBlas = new CpuKernels(1, LaneChoice.SCALAR)) {
      Tensor expected = f.empty(m, n);
      Tensor found = f.empty(m, n);
      for (Transpose ta : Transpose.values()) {
        for (Transpose tb : Transpose.values()) {
          Tensor a = f.normal(dims(0, m, k, ta));
          Tensor b = f.normal(dims(0, k, n, tb));
          openBlas.matmul(1, a, ta, b, tb, 0, expected);
          best.matmul(1, a, ta, b, tb, 0, found);
          assertClose("%s %s".formatted(ta, tb), found, expected.toDoubles(), 2e-4);
        }
      }
    }
  }

  /** Sizes cut among threads in both directions, and beyond one block. */
  @Test
  void gradientsOfALinearMapAreAProductAndSumsWhateverTheNumberOfThreads() {
    int[][] sizes = {{211, 173, 1300}, {40, 1400, 70}, {1400, 40, 70}, {7, 5, 9}, {12, 32, 1}};
    try (Kernels three = new CpuKernels(3)) {
      everyProvider(
          kernels -> {
            for (int[] size : sizes) {
              linearGradients(kernels, three, size[0], size[1], size[2]);
            }
          });
    }
  }

  private static void linearGradients(Kernels kernels, Kernels three, int m, int n, int rows) {
    try (Fixture f = new Fixture()) {
      Tensor gradient = f.normal(rows, m);
      Tensor x = f.normal(rows, n);
      double[] sums = new double[m];
      for (int at = 0; at < rows * m; at++) {
        sums[at % m] += gradient.get(at);
      }
      Tensor bias = f.empty(m);
      Tensor weight = f.normal(m, n);
      Tensor product = f.empty(m, n);
      kernels.cast(weight, product);
      for (double beta : new double[] {1, 0}) {
        String what = "%d %d %d %s".formatted(m, n, rows, beta);
        kernels.affineBackward(gradient, x, beta, weight, bias);
        kernels.matmul(1, gradient, Transpose.YES, x, Transpose.NO, beta, product);
        assertThat(weight.toDoubles()).as(what).isEqualTo(product.toDoubles());
        assertClose(what, bias, sums, 3e-5);
      }
      Tensor others = f.empty(m);
      three.affineBackward(gradient, x, 0, weight, others);
      try (Kernels one = new CpuKernels(1)) {
        one.affineBackward(gradient, x, 0, weight, bias);
      }
      assertThat(others.toDoubles()).isEqualTo(bias.toDoubles());
    }
  }

  /** Sizes beyond one block in either direction, and with ends that are no whole vectors. */
  @Test
  void storedWeightsAreWidenedBlockByBlock() {
    everyProvider(
        kernels -> {
          for (DType stored : List.of(DType.BF16, DType.F16)) {
            for (Transpose tb : Transpose.values()) {
              for (int m : new int[] {1, 5, 16, 37, 256, 257}) {
                widened(kernels, stored, tb, m, 203, 1300);
                widened(kernels, stored, tb, m, 1100, 61);
              }
            }
          }
        });
  }

  private static void widened(Kernels kernels, DType stored, Transpose tb, int m, int n, int k) {
    try (Fixture f = new Fixture()) {
      Tensor a = f.normal(m, k);
      Tensor at = f.empty(k, m);
      kernels.permute(a, new int[] {1, 0}, at);
      Tensor wide = f.normal(dims(0, k, n, tb));
      Tensor narrow = f.empty(stored, wide.shape().dims());
      kernels.cast(wide, narrow);
      kernels.cast(narrow, wide);
      Tensor bias = f.normal(n);
      Tensor expected = f.empty(m, n);
      Tensor found = f.empty(m, n);
      String what = "%s %s %d %d %d".formatted(stored, tb, m, n, k);
      kernels.affine(a, wide, tb, bias, expected);
      kernels.affine(a, narrow, tb, bias, found);
      assertClose(what + " with bias", found, expected.toDoubles(), 2e-4);
      kernels.matmul(1, a, Transpose.NO, wide, tb, 0, expected);
      kernels.matmul(1, a, Transpose.NO, narrow, tb, 0, found);
      assertClose(what, found, expected.toDoubles(), 2e-4);
      kernels.matmul(1, a, Transpose.NO, wide, tb, 1, expected);
      kernels.matmul(1, a, Transpose.NO, narrow, tb, 1, found);
      assertClose(what + " added", found, expected.toDoubles(), 2e-4);
      kernels.matmul(0.5, at, Transpose.YES, wide, tb, 0, expected);
      kernels.matmul(0.5, at, Transpose.YES, narrow, tb, 0, found);
      assertClose(what + " of columns", found, expected.toDoubles(), 2e-4);
    }
  }

  private static long[] dims(int batch, int rows, int columns, Transpose transpose) {
    int first = transpose == Transpose.NO ? rows : columns;
    int second = transpose == Transpose.NO ? columns : rows;
    return batch == 0 ? new long[] {first, second} : new long[] {batch, first, second};
  }

  @Test
  void shapesMustFit() {
    try (Fixture f = new Fixture();
        Kernels kernels = new CpuKernels(1)) {
      assertThatThrownBy(
              () ->
                  kernels.matmul(
                      1,
                      f.normal(2, 3),
                      Transpose.NO,
                      f.normal(2, 3),
                      Transpose.NO,
                      0,
                      f.empty(2, 3)))
          .hasMessage("matmul: a [2, 3] sums over 3, but b [2, 3] over 2");
      assertThatThrownBy(
              () ->
                  kernels.matmul(
                      1,
                      f.normal(2, 2, 3),
                      Transpose.NO,
                      f.normal(3, 3, 2),
                      Transpose.NO,
                      0,
                      f.empty(2, 2, 2)))
          .hasMessage(
              "matmul: batch axes of a [2, 2, 3] and b [3, 3, 2] differ; b may also have none");
    }
  }
}
