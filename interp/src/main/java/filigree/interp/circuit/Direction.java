package filigree.interp.circuit;

/** Which run is patched with values of which (Heimersheim, Nanda, arXiv 2404.15255, section 2). */
public enum Direction {
  /** Values of the corrupted run go into the clean one: what is necessary stands out. */
  CORRUPT,
  /** Values of the clean run go into the corrupted one: what is sufficient stands out. */
  RESTORE
}
