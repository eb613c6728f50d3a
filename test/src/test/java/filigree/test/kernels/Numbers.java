package filigree.test.kernels;

import filigree.tensor.Shape;
import java.util.Arrays;

/**
 * A shape and its elements. Elements are float32 numbers, so that a float32 and a float64 provider
 * read the same.
 */
record Numbers(Shape shape, double[] values) {
  static Numbers nothing(Shape shape) {
    double[] values = new double[Math.toIntExact(shape.size())];
    Arrays.fill(values, Double.NaN);
    return new Numbers(shape, values);
  }

  double largest() {
    return Arrays.stream(values).filter(Double::isFinite).map(Math::abs).max().orElse(0);
  }

  double rootMeanSquare() {
    return Math.sqrt(Arrays.stream(values).map(x -> x * x).average().orElse(0));
  }
}
