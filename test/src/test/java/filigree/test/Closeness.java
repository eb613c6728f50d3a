package filigree.test;

import static org.assertj.core.api.Assertions.assertThat;

/** How far computed numbers lie from expected ones. */
public final class Closeness {
  private Closeness() {}

  /**
   * Holds numbers to expected ones.
   *
   * @param what what errors call them
   * @param expected the right numbers
   * @param found as many
   * @param tolerance largest error allowed: absolute where the right number is below 1, relative
   *     above
   */
  public static void assertClose(String what, double[] expected, double[] found, double tolerance) {
    assertClose(what, expected, found, tolerance, 1);
  }

  /**
   * Holds numbers to expected ones that came about by cancellation.
   *
   * @param what what errors call them
   * @param expected the right numbers
   * @param found as many
   * @param tolerance largest error allowed, in units of the scale or of the right number, whichever
   *     is larger
   * @param scale magnitude of what was added up
   */
  public static void assertClose(
      String what, double[] expected, double[] found, double tolerance, double scale) {
    assertThat(found).as(what).hasSameSizeAs(expected);
    int worst = 0;
    double largest = 0;
    for (int i = 0; i < expected.length; i++) {
      double error = error(expected[i], found[i], scale);
      if (error > largest) {
        largest = error;
        worst = i;
      }
    }
    if (largest > tolerance) {
      assertThat(largest)
          .as("%s, element %d: expected %s, found %s", what, worst, expected[worst], found[worst])
          .isLessThanOrEqualTo(tolerance);
    }
  }

  /**
   * Equal infinities and two NaN are no error; a NaN or infinity on one side is an infinite one.
   */
  private static double error(double expected, double found, double scale) {
    if (expected == found || (Double.isNaN(expected) && Double.isNaN(found))) {
      return 0;
    }
    double error = Math.abs(found - expected) / Math.max(scale, Math.abs(expected));
    return Double.isFinite(error) ? error : Double.POSITIVE_INFINITY;
  }
}
