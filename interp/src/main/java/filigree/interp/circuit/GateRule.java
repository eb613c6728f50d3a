package filigree.interp.circuit;

/**
 * What gates of gated attention do in runs that are compared and patched. Frozen gates are the same
 * in the clean run, the corrupted run and all that are patched, so that a change of the metric is
 * never that of a gate, patching everything gives the other run, and patching nothing changes
 * nothing.
 */
public enum GateRule {
  /** They decide again from the queries and keys of each run. */
  DECIDE_AGAIN,
  /** They are those that the clean prompt has. */
  FROZEN_CLEAN,
  /** They are those that the corrupted prompt has. */
  FROZEN_CORRUPTED
}
