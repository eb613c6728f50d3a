package filigree.autograd;

import filigree.tensor.Tensor;
import java.util.Optional;

/**
 * One step of the backward pass, as an operation's rule sees it: what the operation read and wrote,
 * the gradients that arrived, and where to give the ones it computes.
 */
public final class Backward {
  private final Scope scope;
  private final Call call;
  private final Tensor[] arrived;
  private final Tensor[] given;

  Backward(Scope scope, Call call, Tensor[] arrived) {
    this.scope = scope;
    this.call = call;
    this.arrived = arrived;
    this.given = new Tensor[call.inputs.size()];
  }

  /**
   * Returns kernels and memory.
   *
   * @return the pass's scope
   */
  public Scope scope() {
    return scope;
  }

  /**
   * Returns an input of the forward call.
   *
   * @param i which
   * @return its value
   */
  public Tensor input(int i) {
    return call.input(i);
  }

  /**
   * Returns an output of the forward call.
   *
   * @param i which
   * @return its value
   */
  public Tensor output(int i) {
    return call.result.outputs().get(i);
  }

  /**
   * Returns what the forward call saved.
   *
   * @param i which
   * @return its value
   */
  public Tensor saved(int i) {
    return call.result.saved().get(i);
  }

  /**
   * Returns the gradient with respect to the first output.
   *
   * @return the gradient; zeros where none arrived
   */
  public Tensor gradient() {
    return gradient(0);
  }

  /**
   * Returns the gradient with respect to an output.
   *
   * @param i which output
   * @return the gradient; zeros where none arrived
   */
  public Tensor gradient(int i) {
    if (arrived[i] == null) {
      arrived[i] = scope.zerosLike(output(i));
    }
    return arrived[i];
  }

  /**
   * Tells whether anybody needs the gradient of an input.
   *
   * @param i which input
   * @return whether to compute it
   */
  public boolean needs(int i) {
    return call.inputs.get(i).differentiable();
  }

  /**
   * Hands over the gradient of an input.
   *
   * @param i which input
   * @param gradient of the input's shape: a new tensor, which the pass then owns, or the arrived
   *     gradient itself or a view of it
   */
  public void give(int i, Tensor gradient) {
    Tensor input = call.inputs.get(i).value();
    if (!gradient.shape().equals(input.shape()) || gradient.dtype() != input.dtype()) {
      throw new AutogradException(
          "%s: gradient of input %d is %s %s, the input is %s %s"
              .formatted(
                  call.op, i, gradient.dtype(), gradient.shape(), input.dtype(), input.shape()));
    }
    given[i] = gradient;
  }

  Optional<Tensor> given(int i) {
    return Optional.ofNullable(given[i]);
  }

  /** The gradients that arrived, with the zeros made for those that did not. */
  Tensor[] arrived() {
    return arrived;
  }
}
