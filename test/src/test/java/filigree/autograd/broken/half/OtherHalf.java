package filigree.autograd.broken.half;

import filigree.autograd.broken.BreaksEveryRule;

/** The second half of the cycle that {@link BreaksEveryRule} begins. */
public final class OtherHalf {
  private OtherHalf() {}

  /** Closes the cycle. */
  public static void comesBack() {
    BreaksEveryRule.goesRound();
  }
}
