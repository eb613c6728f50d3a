package filigree.tensor.nd4j;

import static org.assertj.core.api.Assertions.assertThat;

import filigree.tensor.DType;
import filigree.tensor.Philox;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import java.util.Arrays;
import java.util.function.DoubleSupplier;

/** Tensors of one type with seeded contents, the kernels under test, and how close they must be. */
final class Fixture implements AutoCloseable {
  /** Half a unit in the last place of a float, and a little for float64's own error. */
  private static final double HALF_ULP = 0x1.001p-24;

  final DType type;
  final Nd4jKernels kernels = new Nd4jKernels();
  final Workspace memory = new Workspace("test");
  private final Philox random;

  Fixture(DType type, long seed) {
    this.type = type;
    this.random = new Philox(seed, 0);
  }

  Fixture(DType type) {
    this(type, 7);
  }

  /** Normal numbers that a float holds exactly, so that both types start from the same. */
  double[] numbers(int count, double spread) {
    double[] values = new double[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) (spread * random.nextGaussian());
    }
    return values;
  }

  Tensor random(long... dims) {
    return spread(1, dims);
  }

  Tensor spread(double spread, long... dims) {
    Shape shape = Shape.of(dims);
    return Tensor.of(memory, type, shape, numbers(Math.toIntExact(shape.size()), spread));
  }

  Tensor of(double[] values, long... dims) {
    return Tensor.of(memory, type, Shape.of(dims), values);
  }

  Tensor ints(int... values) {
    return Tensor.ofInts(memory, Shape.of(values.length), values);
  }

  /** A tensor to be written whole, full of NaN until then. */
  Tensor out(long... dims) {
    return out(type, dims);
  }

  Tensor out(DType dtype, long... dims) {
    Shape shape = Shape.of(dims);
    double[] nan = new double[Math.toIntExact(shape.size())];
    Arrays.fill(nan, Double.NaN);
    return Tensor.of(memory, dtype, shape, nan);
  }

  Tensor like(Tensor tensor) {
    return out(tensor.shape().dims());
  }

  /** The elements must be the expected numbers, rounded to the tensor's type. */
  static void assertClose(Tensor actual, double... expected) {
    double[] found = actual.toDoubles();
    assertThat(found).hasSameSizeAs(expected);
    double largest =
        Arrays.stream(expected).map(Math::abs).filter(Double::isFinite).max().orElse(0);
    double rounding = actual.dtype() == DType.F32 ? HALF_ULP : 0;
    for (int i = 0; i < found.length; i++) {
      if (Double.isNaN(expected[i]) || Double.isInfinite(expected[i])) {
        assertThat(found[i]).as("element %d", i).isEqualTo(expected[i]);
      } else {
        double tolerance = 1e-13 * largest + rounding * Math.abs(expected[i]) + 1e-45;
        assertThat(Math.abs(found[i] - expected[i]))
            .as("element %d: found %s, expected %s", i, found[i], expected[i])
            .isLessThanOrEqualTo(tolerance);
      }
    }
  }

  /**
   * A gradient must agree with central differences of a loss along random directions, to 1e-7 of
   * the sum of the magnitudes of its terms.
   */
  void assertGradient(Tensor x, Tensor gradient, DoubleSupplier loss) {
    double step = 1e-4;
    double[] start = x.toDoubles();
    double[] g = gradient.toDoubles();
    for (int trial = 0; trial < 4; trial++) {
      double[] direction = numbers(start.length, 1);
      double expected = 0;
      double magnitude = 0;
      for (int i = 0; i < g.length; i++) {
        expected += g[i] * direction[i];
        magnitude += Math.abs(g[i] * direction[i]);
      }
      // Richardson's extrapolation of two central differences leaves an error of step^4.
      double wide = at(x, start, direction, 2 * step, loss) / (4 * step);
      double narrow = at(x, start, direction, step, loss) / (2 * step);
      double found = (4 * narrow - wide) / 3;
      assertThat(Math.abs(found - expected))
          .as("differences give %s, the kernel %s", found, expected)
          .isLessThanOrEqualTo(1e-7 * magnitude);
      assertThat(magnitude).isGreaterThan(1e-6);
    }
    set(x, start);
  }

  private static double at(
      Tensor x, double[] start, double[] direction, double step, DoubleSupplier loss) {
    double[] moved = new double[start.length];
    Arrays.setAll(moved, i -> start[i] + step * direction[i]);
    set(x, moved);
    double above = loss.getAsDouble();
    Arrays.setAll(moved, i -> start[i] - step * direction[i]);
    set(x, moved);
    return above - loss.getAsDouble();
  }

  private static void set(Tensor x, double[] values) {
    for (int i = 0; i < values.length; i++) {
      x.array().data().put(i, values[i]);
    }
  }

  static double dot(Tensor a, Tensor b) {
    double[] left = a.toDoubles();
    double[] right = b.toDoubles();
    double sum = 0;
    for (int i = 0; i < left.length; i++) {
      sum += left[i] * right[i];
    }
    return sum;
  }

  @Override
  public void close() {
    kernels.close();
    memory.close();
  }
}
