package filigree.autograd;

import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.Philox;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import java.util.ArrayList;
import java.util.List;

/**
 * Compares a gradient with central differences along random directions, in float64.
 *
 * <p>For {@code f: inputs -> value} and a random covector c, the backward pass gives the gradient
 * of {@code F(x) = c . f(x)}; along a random direction d it must equal {@code (F(x + h d) - F(x - h
 * d)) / 2h} up to the third derivative's h^2 and rounding's 1e-16 / h, both far below the
 * tolerance.
 */
public final class GradCheck {
  private static final double STEP = 1e-5;

  private GradCheck() {}

  /** A function of values of a pass. */
  @FunctionalInterface
  public interface Function {
    /**
     * Computes the value.
     *
     * @param pass the pass
     * @param inputs the inputs
     * @return the value, of any shape
     */
    Var apply(Pass pass, List<Var> inputs);
  }

  /**
   * How far gradient and difference were apart.
   *
   * @param gradient directional derivative by the backward pass
   * @param difference directional derivative by central differences
   * @param scale the larger of 1 and the sizes that cancelled in the comparison
   */
  public record Outcome(double gradient, double difference, double scale) {
    /**
     * Returns the error relative to the scale.
     *
     * @return 0 where they are equal
     */
    public double error() {
      return Math.abs(gradient - difference) / scale;
    }
  }

  /**
   * Checks a gradient along one direction.
   *
   * @param kernels a provider that computes in float64
   * @param seed chooses direction and covector
   * @param function the function
   * @param inputs float64 inputs; integer inputs are constants
   * @return the comparison
   */
  public static Outcome check(Kernels kernels, long seed, Function function, List<Tensor> inputs) {
    try (Workspace own = new Workspace("gradient check");
        Workspace memory = new Workspace("gradient check pass")) {
      Philox random = new Philox(seed, 0);
      List<Tensor> directions = new ArrayList<>();
      for (Tensor input : inputs) {
        directions.add(input.dtype() == DType.F64 ? gaussian(own, random, input) : input.copy(own));
      }
      double gradient = 0;
      double scale = 1;
      Tensor covector;
      try (Pass pass = Pass.recording(kernels, memory)) {
        List<Var> vars = vars(pass, inputs);
        Var out = function.apply(pass, vars);
        covector = gaussian(own, random, out.value());
        Gradients gradients = pass.backward(out, covector.copy(memory));
        for (int i = 0; i < inputs.size(); i++) {
          if (inputs.get(i).dtype() == DType.F64) {
            Tensor direction = directions.get(i);
            double term = gradients.of(vars.get(i)).map(g -> dot(g, direction)).orElse(0.0);
            gradient += term;
            scale = Math.max(scale, Math.abs(term));
          }
        }
      }
      double above =
          value(kernels, memory, function, moved(own, inputs, directions, STEP), covector);
      double below =
          value(kernels, memory, function, moved(own, inputs, directions, -STEP), covector);
      return new Outcome(gradient, (above - below) / (2 * STEP), scale);
    }
  }

  private static double value(
      Kernels kernels, Workspace memory, Function function, List<Tensor> at, Tensor covector) {
    try (Pass pass = Pass.inference(kernels, memory)) {
      return dot(function.apply(pass, vars(pass, at)).value(), covector);
    }
  }

  private static List<Var> vars(Pass pass, List<Tensor> tensors) {
    return tensors.stream()
        .map(t -> t.dtype() == DType.F64 ? pass.variable(t) : pass.constant(t))
        .toList();
  }

  private static List<Tensor> moved(
      Workspace memory, List<Tensor> inputs, List<Tensor> directions, double step) {
    List<Tensor> out = new ArrayList<>();
    for (int i = 0; i < inputs.size(); i++) {
      Tensor input = inputs.get(i);
      if (input.dtype() != DType.F64) {
        out.add(input);
        continue;
      }
      double[] x = input.toDoubles();
      double[] d = directions.get(i).toDoubles();
      for (int j = 0; j < x.length; j++) {
        x[j] += step * d[j];
      }
      out.add(Tensor.of(memory, DType.F64, input.shape(), x));
    }
    return out;
  }

  private static Tensor gaussian(Workspace memory, Philox random, Tensor like) {
    double[] values = new double[Math.toIntExact(like.size())];
    for (int i = 0; i < values.length; i++) {
      values[i] = random.nextGaussian();
    }
    return Tensor.of(memory, DType.F64, like.shape(), values);
  }

  private static double dot(Tensor a, Tensor b) {
    double sum = 0;
    for (long i = 0; i < a.size(); i++) {
      sum += a.get(i) * b.get(i);
    }
    return sum;
  }
}
