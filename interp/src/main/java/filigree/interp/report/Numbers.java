package filigree.interp.report;

import java.math.BigDecimal;
import java.math.MathContext;
import java.util.Locale;

/** Numbers as a reader wants them, the same in every locale. */
final class Numbers {
  private Numbers() {}

  /** Any number with six significant digits at most, and separators between thousands. */
  static String plain(double value) {
    if (!Double.isFinite(value)) {
      return Double.toString(value);
    }
    if (value == Math.rint(value) && Math.abs(value) < 1e15) {
      return String.format(Locale.ROOT, "%,d", (long) value);
    }
    double size = Math.abs(value);
    if (size < 1e-4 || size >= 1e9) {
      return rounded(value, 4).toString().replace("E", "e");
    }
    return rounded(value, 6).toPlainString();
  }

  /** A number as it stands in a file, without an exponent where that is readable. */
  static String exact(double value) {
    boolean readable = value == 0 || (Math.abs(value) >= 1e-6 && Math.abs(value) < 1e12);
    return readable
        ? BigDecimal.valueOf(value).stripTrailingZeros().toPlainString()
        : Double.toString(value);
  }

  /** A loss in nats, with the four decimals in which runs differ; more for a tiny one. */
  static String nats(double value) {
    boolean tiny = value != 0 && Math.abs(value) < 0.1;
    return tiny
        ? plain(rounded(value, 3).doubleValue())
        : String.format(Locale.ROOT, "%.4f", value);
  }

  /** A share as a percentage; with digits enough that 99.98 % does not become 100 %. */
  static String percent(double share) {
    return rounded(100 * share, share < 0.1 ? 3 : 4).toPlainString() + " %";
  }

  /** A number of things with the right noun. */
  static String count(long number, String one, String many) {
    return String.format(Locale.ROOT, "%,d %s", number, number == 1 ? one : many);
  }

  /** Seven significant digits: enough for any pixel, and a third shorter than a double. */
  static BigDecimal compact(double value) {
    return rounded(value, 7);
  }

  private static BigDecimal rounded(double value, int digits) {
    BigDecimal rounded = new BigDecimal(value, new MathContext(digits)).stripTrailingZeros();
    return rounded.signum() == 0 ? BigDecimal.ZERO : rounded;
  }
}
