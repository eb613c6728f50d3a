package filigree.tensor.nd4j;

import static filigree.tensor.nd4j.Fixture.assertClose;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import filigree.tensor.DType;
import filigree.tensor.Tensor;
import filigree.tensor.TensorException;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class LossesTest {
  private static double logSumExp(double[] row) {
    double max = Arrays.stream(row).max().getAsDouble();
    return max + Math.log(Arrays.stream(row).map(v -> Math.exp(v - max)).sum());
  }

  private static double[] row(Tensor tensor, int row) {
    return tensor.rows(row, row + 1).toDoubles();
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "F64"})
  void crossEntropyAndItsGradient(DType type) {
    try (Fixture f = new Fixture(type)) {
      for (double spread : new double[] {1, 1e4}) {
        for (int vocab : new int[] {1, 6}) {
          int[] targets = {0, -1, vocab - 1, vocab / 2};
          int rows = targets.length;
          Tensor logits = f.spread(spread, rows, vocab);
          Tensor gradient = f.random(rows);
          double[] loss = new double[rows];
          double[] total = new double[rows];
          double[] d = new double[rows * vocab];
          for (int r = 0; r < rows; r++) {
            double[] x = row(logits, r);
            total[r] = logSumExp(x);
            if (targets[r] >= 0) {
              loss[r] = total[r] - x[targets[r]];
              for (int c = 0; c < vocab; c++) {
                double onehot = c == targets[r] ? 1 : 0;
                d[r * vocab + c] = (Math.exp(x[c] - total[r]) - onehot) * gradient.get(r);
              }
            }
          }
          Tensor losses = f.out(rows);
          Tensor totals = f.out(rows);
          f.kernels.crossEntropy(logits, f.ints(targets), losses, totals);
          assertClose(losses, loss);
          assertClose(totals, total);
          Tensor out = f.like(logits);
          f.kernels.crossEntropyBackward(logits, f.ints(targets), totals, gradient, out);
          // exp(x - logSumExp) at 1e4 is itself good to 1e4 x 2^-53 only
          assertThat(out.toDoubles()).hasSameSizeAs(d);
          for (int i = 0; i < d.length; i++) {
            double tolerance = (type == DType.F32 ? 6e-8 : 1e-14 * (1 + spread)) * 3;
            assertThat(Math.abs(out.get(i) - d[i])).isLessThanOrEqualTo(tolerance);
          }
          f.kernels.crossEntropyBackward(logits, f.ints(targets), totals, gradient, logits);
          assertThat(logits.toDoubles()).isEqualTo(out.toDoubles());
        }
      }
    }
  }

  @Test
  void crossEntropyAgreesWithDifferences() {
    try (Fixture f = new Fixture(DType.F64)) {
      Tensor logits = f.random(4, 5);
      Tensor targets = f.ints(2, 0, -1, 4);
      Tensor w = f.random(4);
      Tensor losses = f.out(4);
      Tensor totals = f.out(4);
      Tensor d = f.out(4, 5);
      f.kernels.crossEntropy(logits, targets, losses, totals);
      f.kernels.crossEntropyBackward(logits, targets, totals, w, d);
      f.assertGradient(
          logits,
          d,
          () -> {
            f.kernels.crossEntropy(logits, targets, losses, totals);
            return Fixture.dot(w, losses);
          });
    }
  }

  @Test
  void refusesTargetsOutOfRange() {
    try (Fixture f = new Fixture(DType.F32)) {
      Tensor logits = f.random(2, 3);
      Tensor out = f.out(2);
      for (int bad : new int[] {3, -2}) {
        Tensor targets = f.ints(0, bad);
        assertThatThrownBy(() -> f.kernels.crossEntropy(logits, targets, out, f.out(2)))
            .isInstanceOf(TensorException.class)
            .hasMessage(
                "crossEntropy: target %d of row 1 is out of range, expected 0 to 2, or -1 for not"
                        .formatted(bad)
                    + " scored");
        assertThatThrownBy(
                () -> f.kernels.crossEntropyBackward(logits, targets, out, out, f.out(2, 3)))
            .isInstanceOf(TensorException.class);
      }
      assertThat(out.toDoubles()).containsOnly(Double.NaN);
      assertThatThrownBy(() -> f.kernels.crossEntropy(logits, f.ints(0), out, f.out(2)))
          .hasMessage("crossEntropy: targets has 1 along 'rows' (axis 0 of [1]), but logits has 2");
    }
  }

  @Test
  void lossesOfNothing() {
    try (Fixture f = new Fixture(DType.F32)) {
      Tensor none = f.out(0);
      f.kernels.crossEntropy(f.out(0, 3), f.ints(), none, f.out(0));
      f.kernels.crossEntropyBackward(f.out(0, 3), f.ints(), none, none, f.out(0, 3));
      f.kernels.divergence(f.out(0, 3), f.out(0, 3), none);
      f.kernels.divergenceBackward(f.out(0, 3), f.out(0, 3), none, f.out(0, 3));
      Tensor two = f.out(2);
      f.kernels.divergence(f.out(2, 0), f.out(2, 0), two);
      assertClose(two, 0, 0);
      Tensor totals = f.out(2);
      f.kernels.crossEntropy(f.out(2, 0), f.ints(-1, -1), two, totals);
      assertClose(two, 0, 0);
      assertClose(totals, Double.NEGATIVE_INFINITY, Double.NEGATIVE_INFINITY);
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "F64"})
  void divergenceAndItsGradient(DType type) {
    try (Fixture f = new Fixture(type)) {
      for (double spread : new double[] {1, 1e4}) {
        Tensor student = f.spread(spread, 3, 4);
        Tensor teacher = f.spread(spread, 3, 4);
        Tensor gradient = f.random(3);
        double[] kl = new double[3];
        double[] d = new double[12];
        for (int r = 0; r < 3; r++) {
          double[] s = row(student, r);
          double[] t = row(teacher, r);
          double sTotal = logSumExp(s);
          double tTotal = logSumExp(t);
          for (int c = 0; c < 4; c++) {
            double p = Math.exp(t[c] - tTotal);
            kl[r] += p * ((t[c] - tTotal) - (s[c] - sTotal));
            d[r * 4 + c] = (Math.exp(s[c] - sTotal) - p) * gradient.get(r);
          }
        }
        Tensor divergence = f.out(3);
        f.kernels.divergence(student, teacher, divergence);
        assertClose(divergence, kl);
        Tensor out = f.out(3, 4);
        f.kernels.divergenceBackward(student, teacher, gradient, out);
        assertClose(out, d);
        f.kernels.divergenceBackward(student, teacher, gradient, student);
        assertThat(student.toDoubles()).isEqualTo(out.toDoubles());
      }
    }
  }

  @Test
  void divergenceAgreesWithDifferences() {
    try (Fixture f = new Fixture(DType.F64)) {
      Tensor student = f.random(3, 5);
      Tensor teacher = f.random(3, 5);
      Tensor w = f.random(3);
      Tensor divergence = f.out(3);
      Tensor d = f.out(3, 5);
      f.kernels.divergenceBackward(student, teacher, w, d);
      f.assertGradient(
          student,
          d,
          () -> {
            f.kernels.divergence(student, teacher, divergence);
            return Fixture.dot(w, divergence);
          });
    }
  }
}
