package filigree.interp.circuit;

import java.util.function.Supplier;

/**
 * Remembers what the runs of a search gave, in their order, so that an interrupted search goes on
 * where it was: which run comes next is decided by what earlier ones gave, and by nothing else.
 */
@FunctionalInterface
public interface Journal {
  /**
   * Returns the numbers of the next run.
   *
   * @param run computes them where they are not known yet
   * @return what the run gave, now or in the search that was interrupted
   */
  double[] recall(Supplier<double[]> run);

  /**
   * Remembers nothing.
   *
   * @return a journal that runs everything
   */
  static Journal none() {
    return Supplier::get;
  }
}
