package filigree.autograd;

import filigree.tensor.Tensor;

/**
 * A named weight: the only thing that changes. Identity, not contents, tells two apart.
 *
 * <p>The tensor lives in memory that outlives every pass.
 */
public final class Param {
  private final String name;
  private final Tensor value;

  /**
   * Names a weight.
   *
   * @param name its name, unique in its model
   * @param value its tensor, which optimisers write in place
   */
  public Param(String name, Tensor value) {
    this.name = name;
    this.value = value;
  }

  /**
   * Returns the name.
   *
   * @return such as {@code blocks.0.attn.q.weight}
   */
  public String name() {
    return name;
  }

  /**
   * Returns the weight.
   *
   * @return the tensor
   */
  public Tensor value() {
    return value;
  }

  @Override
  public String toString() {
    return name + " " + value.shape();
  }
}
