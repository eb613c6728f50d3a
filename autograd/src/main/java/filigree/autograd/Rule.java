package filigree.autograd;

import java.util.function.IntPredicate;

/** What the backward pass does for one entry of its record. */
interface Rule {
  /**
   * Tells what {@link #vjp} reads of inputs and outputs.
   *
   * @param needs tells which inputs need a gradient
   * @return what it reads, and no more
   */
  Reads reads(IntPredicate needs);

  /**
   * Gives the gradient of every input that {@linkplain Backward#needs needs} one.
   *
   * @param back inputs, outputs, arrived gradients
   */
  void vjp(Backward back);
}
