package filigree.tensor.cpu;

/** The normal distribution of the plain loops: its definition's series takes 1 us a number. */
final class ScalarMath {
  private static final double ROOT_HALF = Math.sqrt(0.5);
  private static final double DENSITY = 1 / Math.sqrt(2 * Math.PI);

  private ScalarMath() {}

  /** The normal distribution function, to 1.2e-7 of its value (Press et al., erfcc). */
  static double normalCdf(double x) {
    double z = Math.abs(x) * ROOT_HALF;
    double t = 1 / (1 + 0.5 * z);
    double polynomial = ERFC[ERFC.length - 1];
    for (int i = ERFC.length - 2; i >= 0; i--) {
      polynomial = polynomial * t + ERFC[i];
    }
    double tail = 0.5 * t * Math.exp(-z * z + polynomial);
    return x >= 0 ? 1 - tail : tail;
  }

  static double normalDensity(double x) {
    return DENSITY * Math.exp(-0.5 * x * x);
  }

  private static final double[] ERFC = {
    -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806,
    0.27886807, -1.13520398, 1.48851587, -0.82215223, 0.17087277
  };
}
