package filigree.autograd;

import filigree.tensor.Shape;
import filigree.tensor.Tensor;

/**
 * A value inside a {@link Pass}. It dies with the pass, or when the backward pass is done with it.
 */
public final class Var {
  private final Pass pass;
  private final int index;
  private final Tensor value;
  private final boolean differentiable;
  private boolean released;

  Var(Pass pass, int index, Tensor value, boolean differentiable) {
    this.pass = pass;
    this.index = index;
    this.value = value;
    this.differentiable = differentiable;
  }

  /**
   * Returns the value.
   *
   * @return the tensor
   * @throws AutogradException where the backward pass has already given it back
   */
  public Tensor value() {
    if (released) {
      throw new AutogradException(
          "a value of shape "
              + value.shape()
              + " was read after the backward pass freed it; copy it before backward");
    }
    return value;
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

  void markReleased() {
    released = true;
  }
}
