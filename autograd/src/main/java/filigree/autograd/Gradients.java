package filigree.autograd;

import filigree.tensor.Kernels;
import filigree.tensor.Tensor;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/** The result of a backward pass. The tensors live until the pass is closed. */
public final class Gradients {
  private final Map<Param, Tensor> params = new LinkedHashMap<>();
  private final Map<Var, Tensor> vars = new LinkedHashMap<>();

  Gradients() {}

  void put(Param param, Tensor gradient) {
    params.put(param, gradient);
  }

  void put(Var var, Tensor gradient) {
    vars.put(var, gradient);
  }

  /**
   * Returns the gradient of a parameter.
   *
   * @param param the parameter
   * @return its gradient; empty where the result does not depend on it
   */
  public Optional<Tensor> of(Param param) {
    return Optional.ofNullable(params.get(param));
  }

  /**
   * Returns the gradient of a variable.
   *
   * @param var a value made by {@link Pass#variable}
   * @return its gradient; empty where the result does not depend on it
   */
  public Optional<Tensor> of(Var var) {
    return Optional.ofNullable(vars.get(var));
  }

  /**
   * Returns all parameters' gradients, in the order in which the pass first used the parameters.
   *
   * @return an unmodifiable view
   */
  public Map<Param, Tensor> params() {
    return Collections.unmodifiableMap(params);
  }

  /**
   * Computes the Euclidean norm of all parameters' gradients together.
   *
   * @param kernels the provider
   * @return the norm
   */
  public double norm(Kernels kernels) {
    double sum = 0;
    for (Tensor gradient : params.values()) {
      sum += kernels.sumOfSquares(gradient);
    }
    return Math.sqrt(sum);
  }
}
