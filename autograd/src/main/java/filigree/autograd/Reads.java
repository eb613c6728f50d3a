package filigree.autograd;

import java.util.function.IntPredicate;

/**
 * Whose elements a rule reads. Values that no rule will read are given back early, so a rule that
 * reads more than it declares is an error; shapes it may always ask for.
 *
 * @param inputs tells whether the rule reads an input
 * @param outputs tells whether the rule reads an output
 */
public record Reads(IntPredicate inputs, IntPredicate outputs) {
  /** The gradient alone. */
  public static final Reads NOTHING = new Reads(i -> false, i -> false);

  /** Whatever went in and came out. */
  public static final Reads EVERYTHING = new Reads(i -> true, i -> true);

  /**
   * Some inputs.
   *
   * @param which their numbers
   * @return reads of these
   */
  public static Reads inputs(int... which) {
    return new Reads(among(which), i -> false);
  }

  /**
   * These and some outputs.
   *
   * @param which the outputs' numbers
   * @return reads of both
   */
  public Reads andOutputs(int... which) {
    return new Reads(inputs, among(which));
  }

  private static IntPredicate among(int[] which) {
    return i -> {
      for (int one : which) {
        if (one == i) {
          return true;
        }
      }
      return false;
    };
  }
}
