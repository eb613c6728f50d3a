package filigree.tensor;

/** The standard normal distribution, which {@link Elementwise#GELU} is made of. */
final class NormalDistribution {
  private static final double ROOT_HALF = Math.sqrt(0.5);
  private static final double ROOT_2_PI = Math.sqrt(2 * Math.PI);

  private NormalDistribution() {}

  static double density(double x) {
    return Math.exp(-0.5 * x * x) / ROOT_2_PI;
  }

  static double cdf(double x) {
    return 0.5 * erfc(-x * ROOT_HALF);
  }

  /**
   * The complementary error function, to about 1e-15: its Taylor series near 0, and further out the
   * continued fraction of DLMF 7.9.2.
   */
  static double erfc(double x) {
    double a = Math.abs(x);
    if (a < 2.5) {
      double term = a;
      double sum = a;
      for (int n = 1; Math.abs(term) > 1e-18 * Math.abs(sum) && n < 200; n++) {
        term *= -a * a / n;
        sum += term / (2 * n + 1);
      }
      double erf = 2 / Math.sqrt(Math.PI) * sum;
      return x >= 0 ? 1 - erf : 1 + erf;
    }
    double upper = 0;
    if (a < 27) {
      double fraction = 0;
      for (int n = 80; n > 0; n--) {
        fraction = 0.5 * n / (a + fraction);
      }
      upper = Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + fraction);
    }
    return x >= 0 ? upper : 2 - upper;
  }
}
