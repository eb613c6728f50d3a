package filigree.interp.circuit;

/** What of a node reads. */
public enum Part {
  /** All of it. */
  ALL(""),
  /** A head's query. */
  QUERY("<q>"),
  /** A head's key. */
  KEY("<k>"),
  /** A head's value. */
  VALUE("<v>");

  private final String suffix;

  Part(String suffix) {
    this.suffix = suffix;
  }

  /**
   * Returns what an edge's name ends with.
   *
   * @return empty for {@link #ALL}, else such as {@code <q>}
   */
  public String suffix() {
    return suffix;
  }
}
