package filigree.tensor;

/** Direction of a rotary embedding: forward in the forward pass, inverse in the backward pass. */
public enum Rotation {
  /** By the angle. */
  FORWARD,
  /** By minus the angle, the transpose of {@link #FORWARD}. */
  INVERSE
}
