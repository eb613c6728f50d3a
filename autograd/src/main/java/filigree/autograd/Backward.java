package filigree.autograd;

import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import java.util.Optional;

/**
 * One step of the backward pass, as an operation's rule sees it: what the operation read and wrote,
 * the gradients that arrived, and where to give the ones it computes.
 *
 * <p>A rule that only gives new tensors is right. Three offers save memory and passes over it, each
 * of which falls back to a new tensor where writing in place could be seen by somebody else: {@link
 * #accumulate}, {@link #overGradient} and {@link #overInput}.
 */
public final class Backward {
  private final Scope scope;
  private final Call call;
  private final Accumulator gradients;
  private final Buffers buffers;
  private final Tensor[] arrived;
  private final Tensor[] given;
  private final boolean reached;

  Backward(Scope scope, Call call, Accumulator gradients, Buffers buffers) {
    this.scope = scope;
    this.call = call;
    this.gradients = gradients;
    this.buffers = buffers;
    this.arrived = new Tensor[call.outputs.size()];
    this.given = new Tensor[call.inputs.size()];
    boolean any = false;
    for (int i = 0; i < arrived.length; i++) {
      arrived[i] = gradients.take(call.outputs.get(i)).orElse(null);
      any |= arrived[i] != null;
    }
    this.reached = any;
  }

  /** Whether any gradient arrived. */
  boolean isReached() {
    return reached;
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
   * Returns the number of inputs.
   *
   * @return how many there are
   */
  public int inputs() {
    return given.length;
  }

  /**
   * Returns an input of the forward call.
   *
   * @param i which
   * @return its value
   * @throws AutogradException where the operation does not declare to read it
   */
  public Tensor input(int i) {
    if (!call.declared.inputs().test(i)) {
      throw new AutogradException(
          "%s: the rule reads input %d, which its reads() does not declare"
              .formatted(call.rule, i));
    }
    return call.inputs.get(i).tensor();
  }

  /**
   * Returns the shape of an input of the forward call, which a rule may always ask for.
   *
   * @param i which
   * @return its shape
   */
  public Shape shape(int i) {
    return call.inputs.get(i).shape();
  }

  /**
   * Makes a tensor like an input of the forward call.
   *
   * @param i which
   * @return a tensor with undefined contents
   */
  public Tensor like(int i) {
    return scope.like(call.inputs.get(i).tensor());
  }

  /**
   * Returns an output of the forward call.
   *
   * @param i which
   * @return its value
   * @throws AutogradException where the operation does not declare to read it
   */
  public Tensor output(int i) {
    if (!call.declared.outputs().test(i)) {
      throw new AutogradException(
          "%s: the rule reads output %d, which its reads() does not declare"
              .formatted(call.rule, i));
    }
    return call.outputs.get(i).tensor();
  }

  /**
   * Returns what the forward call saved.
   *
   * @param i which
   * @return its value
   */
  public Tensor saved(int i) {
    return call.saved.get(i);
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
      arrived[i] = scope.zerosLike(call.outputs.get(i).tensor());
      gradients.own(arrived[i]);
    }
    return arrived[i];
  }

  /** Whether a gradient with respect to an output arrived. */
  boolean hasGradient(int i) {
    return arrived[i] != null;
  }

  /** The gradient with respect to an output that has arrived, the caller's to write to and free. */
  Tensor takeGradient(int i) {
    Tensor gradient = arrived[i];
    if (!gradients.isSolelyOwned(gradient)) {
      Tensor copy = scope.like(gradient);
      scope.kernels().cast(gradient, copy);
      return copy;
    }
    gradients.disown(gradient);
    arrived[i] = null;
    return gradient;
  }

  /**
   * Tells whether anybody needs the gradient of an input.
   *
   * @param i which input
   * @return whether to compute it
   */
  public boolean needs(int i) {
    return call.needs(i);
  }

  /**
   * Hands over the gradient of an input.
   *
   * @param i which input
   * @param gradient of the input's shape: a new tensor, which the pass then owns, or the arrived
   *     gradient itself or a view of it, or what {@link #overGradient} or {@link #overInput} gave
   */
  public void give(int i, Tensor gradient) {
    Tensor input = call.inputs.get(i).tensor();
    if (!gradient.shape().equals(input.shape()) || gradient.dtype() != input.dtype()) {
      throw new AutogradException(
          "%s: gradient of input %d is %s %s, the input is %s %s"
              .formatted(
                  call.rule, i, gradient.dtype(), gradient.shape(), input.dtype(), input.shape()));
    }
    given[i] = gradient;
  }

  /** Computes {@code out = gradient + beta out}. */
  @FunctionalInterface
  public interface Sum {
    /**
     * Writes the sum.
     *
     * @param out of the input's shape
     * @param beta 0, where out holds nothing yet and must not be read, or 1
     */
    void write(Tensor out, double beta);
  }

  /**
   * Adds to the gradient of an input: in place where the input has received one already (from
   * another use of it) that nobody else holds, and else as {@link #give} does.
   *
   * @param i which input
   * @param sum computes the gradient, and adds it to what is there
   */
  public void accumulate(int i, Sum sum) {
    Optional<Tensor> held = gradients.open(call.inputs.get(i));
    if (held.isPresent()) {
      sum.write(held.get(), 1);
    } else {
      Tensor fresh = like(i);
      sum.write(fresh, 0);
      give(i, fresh);
    }
  }

  /**
   * Returns a place for the gradient of an input that has the first output's shape: the arrived
   * gradient itself, to be written over, where this step is its only owner and has not given it to
   * an input, else a new tensor. To be called when the rule has read the gradient for the last
   * time, except in the kernel that writes here and allows it.
   *
   * @return where to write; to be given to one input
   */
  public Tensor overGradient() {
    Tensor gradient = gradient();
    boolean free = gradients.isSolelyOwned(gradient);
    for (Tensor other : given) {
      free &= other == null || other.address() != gradient.address();
    }
    return free ? gradient : scope.like(gradient);
  }

  /**
   * Returns a place for the gradient of an input: the input's value itself, to be written over,
   * where no rule but this one will read its bytes and they are this pass's, else a new tensor.
   * Once in a rule, which then can read the value only in the kernel that writes here and allows
   * it.
   *
   * @param i which input
   * @return where to write; to be given to this input
   */
  public Tensor overInput(int i) {
    Tensor value = input(i);
    return buffers.handOver(call.inputs.get(i).buffer(), value) ? value : like(i);
  }

  /** Passes on what the rule gave and gives up what had arrived. */
  void finish() {
    for (int i = 0; i < given.length; i++) {
      if (given[i] == null) {
        continue;
      }
      if (needs(i)) {
        gradients.add(call.inputs.get(i), given[i]);
      } else {
        gradients.own(given[i]);
        gradients.drop(given[i]);
      }
    }
    for (Tensor tensor : arrived) {
      if (tensor != null) {
        gradients.drop(tensor);
      }
    }
  }
}
