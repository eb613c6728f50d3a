package filigree.tensor.nd4j;

import static filigree.tensor.nd4j.Fixture.assertClose;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import filigree.tensor.DType;
import filigree.tensor.Rotation;
import filigree.tensor.Tensor;
import filigree.tensor.TensorException;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class RowsTest {
  private static final double EPSILON = 1e-5;

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "F64"})
  void softmax(DType type) {
    long[][] shapes = {{3, 4}, {1, 1}, {5, 1}, {1, 5}, {4}, {2, 3, 4}};
    try (Fixture f = new Fixture(type)) {
      for (double spread : new double[] {1, 1e4}) {
        for (long[] shape : shapes) {
          Tensor x = f.spread(spread, shape);
          Tensor g = f.random(shape);
          double[] expected = softmax(x);
          Tensor y = f.like(x);
          f.kernels.softmax(x, y);
          assertClose(y, expected);
          f.kernels.softmax(x, x);
          assertThat(x.toDoubles()).isEqualTo(y.toDoubles());

          int width = x.shape().length(-1);
          double[] p = y.toDoubles();
          double[] gs = g.toDoubles();
          double[] dx = new double[p.length];
          for (int i = 0; i < p.length; i++) {
            double sum = 0;
            for (int j = i / width * width; j < (i / width + 1) * width; j++) {
              sum += gs[j] * p[j];
            }
            dx[i] = p[i] * (gs[i] - sum);
          }
          f.kernels.softmaxBackward(y, g, g);
          assertClose(g, dx);
        }
      }
      Tensor masked = f.of(new double[] {0, Double.NEGATIVE_INFINITY, 0}, 1, 3);
      f.kernels.softmax(masked, masked);
      assertClose(masked, 0.5, 0, 0.5);
      f.kernels.softmax(f.out(3, 0), f.out(3, 0));
      f.kernels.softmaxBackward(f.out(0, 3), f.out(0, 3), f.out(0, 3));
    }
  }

  private static double[] softmax(Tensor x) {
    int width = x.shape().length(-1);
    double[] out = x.toDoubles();
    for (int from = 0; from < out.length; from += width) {
      double max = Arrays.stream(out, from, from + width).max().getAsDouble();
      double sum = 0;
      for (int i = from; i < from + width; i++) {
        out[i] = Math.exp(out[i] - max);
        sum += out[i];
      }
      for (int i = from; i < from + width; i++) {
        out[i] /= sum;
      }
    }
    return out;
  }

  @Test
  void softmaxGradient() {
    try (Fixture f = new Fixture(DType.F64)) {
      Tensor x = f.random(3, 5);
      Tensor w = f.random(3, 5);
      Tensor y = f.out(3, 5);
      Tensor dx = f.out(3, 5);
      f.kernels.softmax(x, y);
      f.kernels.softmaxBackward(y, w, dx);
      f.assertGradient(
          x,
          dx,
          () -> {
            f.kernels.softmax(x, y);
            return Fixture.dot(w, y);
          });
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "F64"})
  void layerNorm(DType type) {
    long[][] shapes = {{3, 4}, {2, 3, 4}, {1, 1}, {5, 1}, {1, 6}, {4}};
    try (Fixture f = new Fixture(type)) {
      for (double spread : new double[] {1, 1e-3, 1e4}) {
        for (long[] shape : shapes) {
          Tensor x = f.spread(spread, shape);
          int width = x.shape().length(-1);
          int rows = (int) x.shape().rows();
          Tensor weight = f.random(width);
          Tensor bias = f.random(width);
          Tensor out = f.like(x);
          Tensor mean = f.out(rows);
          Tensor inverse = f.out(rows, 1);
          double[] y = new double[rows * width];
          double[] mu = new double[rows];
          double[] inv = new double[rows];
          for (int r = 0; r < rows; r++) {
            double variance = 0;
            for (int c = 0; c < width; c++) {
              mu[r] += x.get(r * width + c) / width;
            }
            for (int c = 0; c < width; c++) {
              variance += Math.pow(x.get(r * width + c) - mu[r], 2) / width;
            }
            inv[r] = 1 / Math.sqrt(variance + EPSILON);
            for (int c = 0; c < width; c++) {
              y[r * width + c] =
                  (x.get(r * width + c) - mu[r]) * inv[r] * weight.get(c) + bias.get(c);
            }
          }
          f.kernels.layerNorm(x, weight, bias, EPSILON, out, mean, inverse);
          if (width > 1) { // a row of one element is all rounding: x - mean is 0 or 1e-16
            assertClose(out, y);
            assertClose(inverse, inv);
          }
          assertClose(mean, mu);
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "F64"})
  void layerNormBackward(DType type) {
    try (Fixture f = new Fixture(type)) {
      int rows = 6;
      int width = 5;
      Tensor x = f.random(2, 3, width);
      Tensor weight = f.random(width);
      Tensor mean = f.random(2, 3);
      Tensor inverse = f.random(2, 3);
      Tensor gradient = f.random(2, 3, width);
      double[] dx = new double[rows * width];
      double[] dweight = new double[width];
      double[] dbias = new double[width];
      for (int r = 0; r < rows; r++) {
        double meanH = 0;
        double meanHn = 0;
        for (int c = 0; c < width; c++) {
          int i = r * width + c;
          double n = (x.get(i) - mean.get(r)) * inverse.get(r);
          meanH += gradient.get(i) * weight.get(c) / width;
          meanHn += gradient.get(i) * weight.get(c) * n / width;
          dweight[c] += gradient.get(i) * n;
          dbias[c] += gradient.get(i);
        }
        for (int c = 0; c < width; c++) {
          int i = r * width + c;
          double n = (x.get(i) - mean.get(r)) * inverse.get(r);
          dx[i] = inverse.get(r) * (gradient.get(i) * weight.get(c) - meanH - n * meanHn);
        }
      }
      Tensor dxOut = f.like(x);
      Tensor dw = f.out(width);
      Tensor db = f.out(width);
      f.kernels.layerNormBackward(x, weight, mean, inverse, gradient, dxOut, dw, db);
      assertClose(dxOut, dx);
      assertClose(dw, dweight);
      assertClose(db, dbias);
    }
  }

  @Test
  void layerNormGradients() {
    try (Fixture f = new Fixture(DType.F64)) {
      Tensor x = f.random(3, 5);
      Tensor weight = f.random(5);
      Tensor bias = f.random(5);
      Tensor w = f.random(3, 5);
      Tensor out = f.out(3, 5);
      Tensor mean = f.out(3);
      Tensor inverse = f.out(3);
      Tensor dx = f.out(3, 5);
      Tensor dweight = f.out(5);
      Tensor dbias = f.out(5);
      f.kernels.layerNorm(x, weight, bias, EPSILON, out, mean, inverse);
      f.kernels.layerNormBackward(x, weight, mean, inverse, w, dx, dweight, dbias);
      Tensor[] inputs = {x, weight, bias};
      Tensor[] gradients = {dx, dweight, dbias};
      for (int i = 0; i < 3; i++) {
        f.assertGradient(
            inputs[i],
            gradients[i],
            () -> {
              f.kernels.layerNorm(x, weight, bias, EPSILON, out, mean, inverse);
              return Fixture.dot(w, out);
            });
      }
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "F64"})
  void rmsNorm(DType type) {
    long[][] shapes = {{3, 4}, {2, 3, 4}, {1, 1}, {5, 1}, {1, 6}, {4}};
    try (Fixture f = new Fixture(type)) {
      for (double spread : new double[] {1, 1e-3, 1e4}) {
        for (long[] shape : shapes) {
          Tensor x = f.spread(spread, shape);
          int width = x.shape().length(-1);
          int rows = (int) x.shape().rows();
          Tensor weight = f.random(width);
          double[] y = new double[rows * width];
          double[] inv = new double[rows];
          for (int r = 0; r < rows; r++) {
            double square = 0;
            for (int c = 0; c < width; c++) {
              square += x.get(r * width + c) * x.get(r * width + c) / width;
            }
            inv[r] = 1 / Math.sqrt(square + EPSILON);
            for (int c = 0; c < width; c++) {
              y[r * width + c] = x.get(r * width + c) * inv[r] * weight.get(c);
            }
          }
          Tensor out = f.like(x);
          Tensor inverse = f.out(rows);
          f.kernels.rmsNorm(x, weight, EPSILON, out, inverse);
          assertClose(out, y);
          assertClose(inverse, inv);

          Tensor gradient = f.random(shape);
          double[] dx = new double[rows * width];
          double[] dweight = new double[width];
          for (int r = 0; r < rows; r++) {
            double scale = inverse.get(r);
            double mean = 0;
            for (int c = 0; c < width; c++) {
              int i = r * width + c;
              mean += gradient.get(i) * weight.get(c) * x.get(i) * scale / width;
              dweight[c] += gradient.get(i) * x.get(i) * scale;
            }
            for (int c = 0; c < width; c++) {
              int i = r * width + c;
              dx[i] = scale * (gradient.get(i) * weight.get(c) - x.get(i) * scale * mean);
            }
          }
          Tensor dxOut = f.like(x);
          Tensor dw = f.out(width);
          f.kernels.rmsNormBackward(x, weight, inverse, gradient, dxOut, dw);
          if (width > 1) { // of one element it is a difference of equal numbers
            assertClose(dxOut, dx);
          }
          assertClose(dw, dweight);
        }
      }
    }
  }

  @Test
  void rmsNormGradients() {
    try (Fixture f = new Fixture(DType.F64)) {
      Tensor x = f.random(3, 5);
      Tensor weight = f.random(5);
      Tensor w = f.random(3, 5);
      Tensor out = f.out(3, 5);
      Tensor inverse = f.out(3);
      Tensor dx = f.out(3, 5);
      Tensor dweight = f.out(5);
      f.kernels.rmsNorm(x, weight, EPSILON, out, inverse);
      f.kernels.rmsNormBackward(x, weight, inverse, w, dx, dweight);
      Tensor[] inputs = {x, weight};
      Tensor[] gradients = {dx, dweight};
      for (int i = 0; i < 2; i++) {
        f.assertGradient(
            inputs[i],
            gradients[i],
            () -> {
              f.kernels.rmsNorm(x, weight, EPSILON, out, inverse);
              return Fixture.dot(w, out);
            });
      }
    }
  }

  @Test
  void normsOfNothing() {
    try (Fixture f = new Fixture(DType.F64)) {
      Tensor mean = f.out(3);
      Tensor inverse = f.out(3);
      f.kernels.layerNorm(f.out(3, 0), f.out(0), f.out(0), 0.25, f.out(3, 0), mean, inverse);
      assertClose(mean, 0, 0, 0);
      assertClose(inverse, 2, 2, 2);
      f.kernels.rmsNorm(f.out(3, 0), f.out(0), 0.25, f.out(3, 0), inverse);
      assertClose(inverse, 2, 2, 2);
      Tensor dweight = f.out(4);
      Tensor dbias = f.out(4);
      Tensor none = f.out(0, 4);
      f.kernels.layerNormBackward(none, f.out(4), f.out(0), f.out(0), none, none, dweight, dbias);
      assertClose(dweight, 0, 0, 0, 0);
      assertClose(dbias, 0, 0, 0, 0);
      Tensor other = f.out(4);
      f.kernels.rmsNormBackward(none, f.out(4), f.out(0), none, none, other);
      assertClose(other, 0, 0, 0, 0);
      assertThatThrownBy(() -> f.kernels.rmsNorm(f.out(2, 3), f.out(4), 1, f.out(2, 3), f.out(2)))
          .isInstanceOf(TensorException.class)
          .hasMessage("rmsNorm: weight has shape [4], expected the last axis of [2, 3]");
      assertThatThrownBy(() -> f.kernels.rmsNorm(f.out(2, 3), f.out(3), 1, f.out(2, 3), f.out(3)))
          .hasMessage(
              "rmsNorm: inverse has shape [3], expected one element for each of the 2 rows of"
                  + " [2, 3]");
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "F64"})
  void rotary(DType type) {
    int[][] cases = {
      {2, 3, 2, 8, 4, 1}, {1, 1, 1, 2, 1, 0}, {2, 2, 3, 7, 2, 3}, {1, 2, 1, 4, 0, 0}
    };
    try (Fixture f = new Fixture(type)) {
      for (int[] c : cases) {
        int time = c[1];
        int heads = c[2];
        int headDim = c[3];
        int pairs = c[4];
        int offset = c[5];
        Tensor x = f.random(c[0], time, heads, headDim);
        Tensor cos = f.random(offset + time + 1, pairs);
        Tensor sin = f.random(offset + time + 1, pairs);
        for (Rotation direction : Rotation.values()) {
          double sign = direction == Rotation.FORWARD ? 1 : -1;
          double[] expected = x.toDoubles();
          for (int v = 0; v < c[0] * time * heads; v++) {
            int position = offset + v / heads % time;
            for (int r = 0; r < pairs; r++) {
              double first = x.get(v * headDim + r);
              double second = x.get(v * headDim + pairs + r);
              double cosine = cos.get(position * pairs + r);
              double sine = sign * sin.get(position * pairs + r);
              expected[v * headDim + r] = first * cosine - second * sine;
              expected[v * headDim + pairs + r] = second * cosine + first * sine;
            }
          }
          Tensor out = f.like(x);
          f.kernels.rotary(x, cos, sin, offset, direction, out);
          assertClose(out, expected);
          Tensor inPlace = x.copy(f.memory);
          f.kernels.rotary(inPlace, cos, sin, offset, direction, inPlace);
          assertThat(inPlace.toDoubles()).isEqualTo(out.toDoubles());
        }
      }
      Tensor x = f.random(1, 3, 1, 4);
      assertThatThrownBy(
              () -> f.kernels.rotary(x, f.out(4, 2), f.out(4, 2), 2, Rotation.FORWARD, f.like(x)))
          .hasMessage("rotary: positions 2 to 5 are asked for, cos has 4");
    }
  }
}
