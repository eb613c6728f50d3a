package filigree.tensor.nd4j;

import filigree.tensor.Elementwise;
import java.util.function.DoubleUnaryOperator;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.ops.transforms.Transforms;

/**
 * Functions of float64 arrays, composed of the ND4J operations that were measured to be right: exp,
 * log, square root, absolute value and arithmetic, within one unit in the last place of Java's.
 * Left aside are tanh, expm1 and log1p (exp(x) - 1 in disguise: 1e-8 already has 1e-9 relative
 * error), sigmoid and softmax (an own form keeps the twin independent), max(x, number) (turns NaN
 * into 0) and GELU (another function).
 *
 * <p>Matrices are [rows, columns]; results never share bytes with arguments.
 */
final class Formulas {
  private static final double ROOT_2_OVER_PI = Math.sqrt(2 / Math.PI);
  private static final double CUBIC = 0.044715;

  private Formulas() {}

  /** The value of a function, elementwise. */
  static INDArray value(Elementwise function, INDArray x) {
    return switch (function) {
      case NEGATE -> x.neg();
      case ABS -> abs(x);
      case SQUARE -> x.mul(x);
      case SQRT -> sqrt(x);
      case RECIPROCAL -> x.rdiv(1.0);
      case EXP -> exp(x);
      case LOG -> log(x);
      case TANH -> each(x, Math::tanh);
      case SIGMOID -> sigmoid(x);
      case RELU -> relu(x);
      case SILU -> x.mul(sigmoid(x));
      // ND4J has no error function, so the definition itself is applied.
      case GELU -> each(x, function::value);
      // (1 + tanh u) / 2 = sigmoid(2u)
      case GELU_TANH -> x.mul(sigmoid(geluArgument(x).mul(2)));
    };
  }

  /**
   * The derivative of a function, elementwise, from its argument alone: the value that a float32
   * kernel stored is rounded, and 1 - y^2 of a rounded tanh has no digits left.
   */
  static INDArray derivative(Elementwise function, INDArray x) {
    return switch (function) {
      case NEGATE -> x.mul(0).sub(1);
      case ABS -> Transforms.sign(x, true);
      case SQUARE -> x.mul(2);
      case SQRT -> sqrt(x).rdiv(0.5);
      case RECIPROCAL -> x.mul(x).rdiv(-1.0);
      case EXP -> exp(x);
      case LOG -> x.rdiv(1.0);
      // 1 - tanh^2 x = 4 sigmoid'(2x), which does not cancel
      case TANH -> sigmoidSlope(x.mul(2)).mul(4);
      case SIGMOID -> sigmoidSlope(x);
      case RELU -> isPositive(x);
      case SILU -> sigmoid(x).add(x.mul(sigmoidSlope(x)));
      case GELU -> each(x, v -> function.derivative(v, function.value(v)));
      case GELU_TANH -> {
        INDArray u2 = geluArgument(x).mul(2);
        INDArray slope = x.mul(x).mul(3 * CUBIC).add(1).mul(2 * ROOT_2_OVER_PI);
        yield sigmoid(u2).add(x.mul(sigmoidSlope(u2)).mul(slope));
      }
    };
  }

  private static INDArray geluArgument(INDArray x) {
    return x.mul(x).mul(x).mul(CUBIC).add(x).mul(ROOT_2_OVER_PI);
  }

  static INDArray exp(INDArray x) {
    return Transforms.exp(x, true);
  }

  static INDArray log(INDArray x) {
    return Transforms.log(x, true);
  }

  static INDArray sqrt(INDArray x) {
    return Transforms.sqrt(x, true);
  }

  static INDArray abs(INDArray x) {
    return Transforms.abs(x, true);
  }

  static INDArray relu(INDArray x) {
    return Transforms.relu(x, true);
  }

  /** 1 where x is greater than 0, else 0. */
  static INDArray isPositive(INDArray x) {
    return x.gt(0).castTo(DataType.DOUBLE);
  }

  /** {@code exp(min(x, 0)) / (1 + exp(-|x|))}: 1 / (1 + e^-x) without overflow on either side. */
  static INDArray sigmoid(INDArray x) {
    INDArray minimum = relu(x.neg()).neg();
    return exp(minimum).div(exp(abs(x).neg()).add(1));
  }

  /** {@code exp(-|x|) / (1 + exp(-|x|))^2}: sigmoid (1 - sigmoid) without cancellation. */
  static INDArray sigmoidSlope(INDArray x) {
    INDArray e = exp(abs(x).neg());
    INDArray onePlus = e.add(1);
    return e.div(onePlus.mul(onePlus));
  }

  /** Sums of rows: [rows, columns] to [rows, 1]. */
  static INDArray rowSums(INDArray x) {
    return x.sum(true, 1);
  }

  /** Means of rows: [rows, columns] to [rows, 1]. */
  static INDArray rowMeans(INDArray x) {
    return rowSums(x).div(x.size(1));
  }

  /** Rows that sum to 1. The maximum skips NaN, the sum does not, so a NaN still spoils its row. */
  static INDArray softmax(INDArray x) {
    INDArray e = exp(x.sub(x.max(true, 1)));
    return e.div(rowSums(e));
  }

  /** Natural logarithm of the row sums of exp(x): [rows, columns] to [rows, 1]. */
  static INDArray logSumExp(INDArray x) {
    INDArray max = x.max(true, 1);
    return log(rowSums(exp(x.sub(max)))).add(max);
  }

  /** The product a b, row-major as ND4J's {@code mmul} is not always. */
  static INDArray product(INDArray a, INDArray b) {
    return into(a, b, false, false, a.size(0), b.size(1));
  }

  /** The product of a and the transpose of b. */
  static INDArray productTransposed(INDArray a, INDArray b) {
    return into(a, b, false, true, a.size(0), b.size(0));
  }

  /** The product of the transpose of a and b. */
  static INDArray transposedProduct(INDArray a, INDArray b) {
    return into(a, b, true, false, a.size(1), b.size(1));
  }

  /** The product of the transposes of a and b. */
  static INDArray transposedProductTransposed(INDArray a, INDArray b) {
    return into(a, b, true, true, a.size(1), b.size(0));
  }

  private static INDArray into(
      INDArray a, INDArray b, boolean ta, boolean tb, long rows, long columns) {
    INDArray out = Nd4j.createUninitialized(DataType.DOUBLE, rows, columns);
    return Nd4j.matmul(a, b, out, ta, tb, false);
  }

  /** A column [n, 1] of given values. */
  static INDArray column(double[] values) {
    return Nd4j.createFromArray(values).reshape(values.length, 1);
  }

  /** Applies a function of Java where ND4J has none that is right. */
  private static INDArray each(INDArray x, DoubleUnaryOperator function) {
    double[] values = x.data().asDouble();
    for (int i = 0; i < values.length; i++) {
      values[i] = function.applyAsDouble(values[i]);
    }
    return Nd4j.createFromArray(values).reshape(x.shape());
  }
}
