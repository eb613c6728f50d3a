package filigree.tensor;

import java.util.function.DoubleBinaryOperator;
import java.util.function.DoubleUnaryOperator;

/**
 * Functions of one element: value, derivative and domain, a line each. The derivative is a function
 * of the argument x and the value y, whichever is cheaper. These float64 formulas are the
 * definition; providers may compute them faster within their stated tolerance.
 */
@SuppressWarnings("ImmutableEnumChecker") // the functions capture nothing
public enum Elementwise {
  /** -x. */
  NEGATE(x -> -x, (x, y) -> -1, Domain.REAL),
  /** |x|; the derivative at 0 is taken as 0. */
  ABS(Math::abs, (x, y) -> Math.signum(x), Domain.NOT_ZERO),
  /** x squared. */
  SQUARE(x -> x * x, (x, y) -> 2 * x, Domain.REAL),
  /** Square root. */
  SQRT(Math::sqrt, (x, y) -> 0.5 / y, Domain.POSITIVE),
  /** 1 / x. */
  RECIPROCAL(x -> 1 / x, (x, y) -> -y * y, Domain.NOT_ZERO),
  /** e to the x. */
  EXP(Math::exp, (x, y) -> y, Domain.REAL),
  /** Natural logarithm. */
  LOG(Math::log, (x, y) -> 1 / x, Domain.POSITIVE),
  /** Hyperbolic tangent. */
  TANH(Math::tanh, (x, y) -> 1 - y * y, Domain.REAL),
  /** 1 / (1 + e^-x). */
  SIGMOID(Elementwise::sigmoid, (x, y) -> y * (1 - y), Domain.REAL),
  /** max(x, 0); the derivative at 0 is taken as 0. */
  RELU(x -> Math.max(x, 0), (x, y) -> x > 0 ? 1 : 0, Domain.NOT_ZERO),
  /** x sigmoid(x), also called swish (Hendrycks and Gimpel, arXiv 1606.08415, section 2). */
  SILU(
      x -> x * sigmoid(x),
      (x, y) -> {
        double s = sigmoid(x);
        return s * (1 + x * (1 - s));
      },
      Domain.REAL),
  /** x Phi(x) with the normal distribution function Phi (arXiv 1606.08415, section 2). */
  GELU(
      x -> x * NormalDistribution.cdf(x),
      (x, y) -> NormalDistribution.cdf(x) + x * NormalDistribution.density(x),
      Domain.REAL),
  /** The tanh form of {@link #GELU} that GPT-2 was trained with. */
  GELU_TANH(
      x -> 0.5 * x * (1 + Math.tanh(geluArgument(x))),
      (x, y) -> {
        double t = Math.tanh(geluArgument(x));
        return 0.5 * (1 + t)
            + 0.5 * x * (1 - t * t) * Constants.ROOT_2_OVER_PI * (1 + 3 * Constants.CUBIC * x * x);
      },
      Domain.REAL);

  /** Where the value is defined and the derivative holds. */
  public enum Domain {
    /** Everywhere. */
    REAL,
    /** x greater than 0. */
    POSITIVE,
    /** Everywhere but at 0. */
    NOT_ZERO
  }

  private final DoubleUnaryOperator value;
  private final DoubleBinaryOperator derivative;
  private final Domain domain;

  Elementwise(DoubleUnaryOperator value, DoubleBinaryOperator derivative, Domain domain) {
    this.value = value;
    this.derivative = derivative;
    this.domain = domain;
  }

  /**
   * Evaluates the function.
   *
   * @param x the argument
   * @return the value
   */
  public double value(double x) {
    return value.applyAsDouble(x);
  }

  /**
   * Evaluates the derivative.
   *
   * @param x the argument
   * @param y the value at x
   * @return dy/dx
   */
  public double derivative(double x, double y) {
    return derivative.applyAsDouble(x, y);
  }

  /**
   * Returns where the rule holds.
   *
   * @return the domain
   */
  public Domain domain() {
    return domain;
  }

  private static double sigmoid(double x) {
    return x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x));
  }

  private static double geluArgument(double x) {
    return Constants.ROOT_2_OVER_PI * (x + Constants.CUBIC * x * x * x);
  }

  private static final class Constants {
    static final double ROOT_2_OVER_PI = Math.sqrt(2 / Math.PI);
    static final double CUBIC = 0.044715;
  }
}
