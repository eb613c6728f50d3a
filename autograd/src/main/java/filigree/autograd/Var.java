package filigree.autograd;

import filigree.tensor.Shape;
import filigree.tensor.Tensor;

/**
 * A value inside a {@link Pass}. It dies with the pass, at its backward, or where {@link
 * Pass#keepOnly} does not keep it.
 */
public final class Var {
  private final Pass pass;
  private final int index;
  private final Tensor value;
  private final boolean differentiable;
  private final Buffers.Buffer buffer;
  private String closed = "";

  Var(Pass pass, int index, Tensor value, boolean differentiable, Buffers.Buffer buffer) {
    this.pass = pass;
    this.index = index;
    this.value = value;
    this.differentiable = differentiable;
    this.buffer = buffer;
  }

  /**
   * Returns the value.
   *
   * @return the tensor
   * @throws AutogradException where the pass has already given it back
   */
  public Tensor value() {
    if (isClosed()) {
      throw new AutogradException("a value of shape " + value.shape() + " was read " + closed);
    }
    return value;
  }

  /** The value for its shape and for rules, which may read it longer than others. */
  Tensor tensor() {
    return value;
  }

  Buffers.Buffer buffer() {
    return buffer;
  }

  /**
   * Returns the value's shape.
   *
   * @return the shape
   */
  public Shape shape() {
    return value.shape();
  }

  /**
   * Tells whether a gradient flows into this value.
   *
   * @return true where it depends on a parameter or a variable of a recording pass
   */
  public boolean differentiable() {
    return differentiable;
  }

  Pass pass() {
    return pass;
  }

  int index() {
    return index;
  }

  boolean isClosed() {
    return !closed.isEmpty();
  }

  /** Says why nobody may read this any more, and what to do about it. */
  void close(String why) {
    closed = why;
  }
}
