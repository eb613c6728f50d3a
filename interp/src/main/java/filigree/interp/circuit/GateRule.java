package filigree.interp.circuit;

/** What gates of gated attention do in a run that is patched. */
public enum GateRule {
  /** They decide again from the queries and keys of the patched run. */
  DECIDE_AGAIN,
  /** They are those of the clean run. */
  FROZEN_CLEAN,
  /** They are those of the corrupted run. */
  FROZEN_CORRUPTED
}
