package filigree.autograd;

/**
 * Somebody who looks at named values of one pass, and may replace them. A tap is an argument of the
 * pass, so nothing of it leaks into the next run, and what it puts in place is differentiated like
 * anything else.
 */
public interface Tap {
  /** What a tap does with the values that it has seen, and so how long they must live. */
  enum Holding {
    /** It may ask for them again: all values of the pass live until its end. */
    KEEPS,
    /** It copies what it needs while it sees it: values may go when the model is done with them. */
    COPIES
  }

  /**
   * Tells what this tap does with values that it has seen.
   *
   * @return what it does
   */
  default Holding holding() {
    return Holding.KEEPS;
  }

  /**
   * Tells whether this tap looks at a site; asking for a value that fused kernels never make, such
   * as an attention pattern, makes the model compute it.
   *
   * @param site the site
   * @return whether {@link #see} is to be called
   */
  boolean wants(Site site);

  /**
   * Sees a value.
   *
   * @param pass the pass, to compute replacements with
   * @param site where
   * @param value what
   * @return the value to go on with: the same one, or another of its shape
   */
  Var see(Pass pass, Site site, Var value);
}
