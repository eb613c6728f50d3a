package filigree.transformer;

import filigree.autograd.Op;
import filigree.autograd.Param;
import filigree.autograd.Pass;
import filigree.autograd.Var;
import filigree.tensor.Arithmetic;
import filigree.tensor.Elementwise;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;

/**
 * A normalisation of rows with its weights. Ordinarily one kernel; when somebody looks at the
 * scale, the same formula is computed step by step, so that the scale can be seen and replaced.
 */
sealed interface Norm {
  /** Mean and variance, with weight and bias. */
  record Layer(double epsilon, Param weight, Param bias) implements Norm {}

  /** Mean and variance; ones and zeros stand where the kernel wants a weight and a bias. */
  record LayerWithoutWeights(double epsilon, Tensor ones, Tensor zeros) implements Norm {}

  /** Root mean square, with weight. */
  record Rms(double epsilon, Param weight) implements Norm {}

  /** The norm of the residual stream whose parameters begin with a name. */
  static Norm of(ModelConfig.Norm settings, Parameters parameters, String name, Tables tables) {
    return switch (settings.kind()) {
      case LAYER ->
          new Layer(
              settings.epsilon(), parameters.get(name + ".weight"), parameters.get(name + ".bias"));
      case LAYER_WITHOUT_WEIGHTS ->
          new LayerWithoutWeights(settings.epsilon(), tables.ones(), tables.zeros());
      case RMS -> new Rms(settings.epsilon(), parameters.get(name + ".weight"));
    };
  }

  /** Normalises the last axis. */
  default Var forward(Pass pass, Var x, Sites.Norm sites) {
    Var y = pass.wants(sites.scale) ? stepByStep(pass, x, sites) : fused(pass, x);
    return pass.at(sites.normalized, y);
  }

  private Var fused(Pass pass, Var x) {
    return switch (this) {
      case Layer(double epsilon, Param weight, Param bias) ->
          pass.apply(new Op.LayerNorm(epsilon), x, pass.param(weight), pass.param(bias));
      case LayerWithoutWeights(double epsilon, Tensor ones, Tensor zeros) ->
          pass.apply(new Op.LayerNorm(epsilon), x, pass.constant(ones), pass.constant(zeros));
      case Rms(double epsilon, Param weight) ->
          pass.apply(new Op.RmsNorm(epsilon), x, pass.param(weight));
    };
  }

  private Var stepByStep(Pass pass, Var x, Sites.Norm sites) {
    return switch (this) {
      case Layer(double epsilon, Param weight, Param bias) -> {
        Var scaled = divided(pass, centred(pass, x), epsilon, sites);
        Var weighted = pass.apply(new Op.Combine(Arithmetic.MULTIPLY), scaled, pass.param(weight));
        yield pass.apply(new Op.Combine(Arithmetic.ADD), weighted, pass.param(bias));
      }
      case LayerWithoutWeights(double epsilon, Tensor _, Tensor _) ->
          divided(pass, centred(pass, x), epsilon, sites);
      case Rms(double epsilon, Param weight) ->
          pass.apply(
              new Op.Combine(Arithmetic.MULTIPLY),
              divided(pass, x, epsilon, sites),
              pass.param(weight));
    };
  }

  private static Var centred(Pass pass, Var x) {
    return pass.apply(new Op.Combine(Arithmetic.SUBTRACT), x, mean(pass, x));
  }

  private static Var divided(Pass pass, Var x, double epsilon, Sites.Norm sites) {
    Tensor small = pass.scope().make(Shape.of(), x.value().dtype());
    pass.scope().kernels().fill(small, epsilon);
    Var meanSquare = mean(pass, pass.apply(new Op.Map(Elementwise.SQUARE), x));
    Var sum = pass.apply(new Op.Combine(Arithmetic.ADD), meanSquare, pass.constant(small));
    Var scale = pass.at(sites.scale, pass.apply(new Op.Map(Elementwise.SQRT), sum));
    return pass.apply(new Op.Combine(Arithmetic.DIVIDE), x, scale);
  }

  private static Var mean(Pass pass, Var x) {
    long[] dims = x.shape().dims();
    long width = dims[dims.length - 1];
    dims[dims.length - 1] = 1;
    return pass.apply(new Op.Scale(1.0 / width), pass.apply(new Op.Sum(Shape.of(dims)), x));
  }
}
