package filigree.interp;

import filigree.autograd.Backward;
import filigree.autograd.CustomOp;
import filigree.autograd.Reads;
import filigree.autograd.Scope;
import filigree.tensor.Tensor;
import java.util.List;
import java.util.function.IntPredicate;

/**
 * The identity, which shows the gradient that passes through it to somebody. So a gradient inside a
 * model is used when it arrives and need not outlive its step of the backward pass.
 *
 * @param observer is shown the gradient
 */
public record GradientProbe(Observer observer) implements CustomOp {
  /** Who is shown the gradient. */
  @FunctionalInterface
  public interface Observer {
    /**
     * Sees it.
     *
     * @param scope kernels, and memory of the pass for temporaries
     * @param gradient of the value's shape; not to be written, and gone after this call
     */
    void see(Scope scope, Tensor gradient);
  }

  @Override
  public Result forward(Scope scope, List<Tensor> inputs) {
    return new Result(List.of(inputs.getFirst()), 1, List.of(), Ownership.VIEW);
  }

  @Override
  public Reads reads(IntPredicate needs) {
    return Reads.NOTHING;
  }

  @Override
  public void vjp(Backward back) {
    observer.see(back.scope(), back.gradient());
    back.give(0, back.gradient());
  }
}
