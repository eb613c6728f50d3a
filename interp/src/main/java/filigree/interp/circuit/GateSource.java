package filigree.interp.circuit;

/** Whose gates attention has. */
public sealed interface GateSource {
  /** The model's own. */
  record Own() implements GateSource {}

  /**
   * Those that another model has on the same prompt, such as a dense model under the gates of its
   * sparse descendant: what the gates alone explain. All runs have those of the clean or of the
   * corrupted prompt, by the {@link GateRule}.
   *
   * @param other the model that decides; of as many layers and heads
   */
  record Of(Subject other) implements GateSource {}
}
