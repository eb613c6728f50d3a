package filigree.interp.circuit;

/** Who is told how far a method is. */
@FunctionalInterface
public interface Progress {
  /**
   * Tells how far it is.
   *
   * @param done runs or parts that are done
   * @param all how many there are
   */
  void at(long done, long all);

  /**
   * Nobody.
   *
   * @return a progress that is ignored
   */
  static Progress ignored() {
    return (done, all) -> {};
  }
}
