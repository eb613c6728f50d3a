package filigree.autograd;

import filigree.tensor.Arithmetic;
import filigree.tensor.Tensor;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;

/**
 * Gradients on their way. A rule may hand the same tensor to several inputs (a sum does), so that
 * each tensor's owners are counted: each value that holds it as its gradient is one, and so is the
 * step that it has arrived at. Only a sole owner writes to it, and the last one gives it back.
 */
final class Accumulator {
  private final Scope scope;
  private final Map<Integer, Tensor> byVar = new HashMap<>();
  private final Map<Long, Integer> owners = new HashMap<>();

  Accumulator(Scope scope) {
    this.scope = scope;
  }

  /** Adds to the gradient of a value, which becomes an owner. */
  void add(Var var, Tensor gradient) {
    Tensor held = byVar.get(var.index());
    own(gradient);
    if (held == null) {
      byVar.put(var.index(), gradient);
    } else if (isSolelyOwned(held)) {
      scope.kernels().accumulate(1, gradient, held);
      drop(gradient);
    } else {
      Tensor sum = scope.combine(Arithmetic.ADD, held, gradient);
      drop(held);
      drop(gradient);
      own(sum);
      byVar.put(var.index(), sum);
    }
  }

  /** Removes a value's gradient; the caller owns it instead and drops it when it has been used. */
  Optional<Tensor> take(Var var) {
    return Optional.ofNullable(byVar.remove(var.index()));
  }

  /** Finds what a value has received so far. */
  Optional<Tensor> find(Var var) {
    return Optional.ofNullable(byVar.get(var.index()));
  }

  /** Finds what a value has received so far, if more can be added to it in place. */
  Optional<Tensor> open(Var var) {
    return find(var).filter(this::isSolelyOwned);
  }

  boolean isSolelyOwned(Tensor tensor) {
    return owners.get(tensor.address()) == 1;
  }

  /** Counts one owner more. */
  void own(Tensor tensor) {
    owners.merge(tensor.address(), 1, Integer::sum);
  }

  /** Forgets a tensor whose sole owner hands it to somebody else. */
  void disown(Tensor tensor) {
    owners.remove(tensor.address());
  }

  /** Counts one owner less, and gives the tensor back where it was the last. */
  void drop(Tensor tensor) {
    if (owners.merge(tensor.address(), -1, Integer::sum) == 0) {
      owners.remove(tensor.address());
      scope.release(tensor);
    }
  }
}
