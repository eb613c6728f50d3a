package filigree.autograd;

import filigree.tensor.AdamWStep;
import filigree.tensor.Kernels;
import filigree.tensor.Memory;
import filigree.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Predicate;

/**
 * AdamW (Loshchilov and Hutter, arXiv 1711.05101): clip by the global norm, then decay, then step.
 */
public final class AdamW {
  /**
   * Constants of the optimiser.
   *
   * @param beta1 decay of the mean
   * @param beta2 decay of the uncentred variance
   * @param epsilon added to the root
   * @param weightDecay decoupled decay, multiplied by the learning rate
   * @param clipNorm gradients above this global norm are scaled down to it; infinity for none
   */
  public record Config(
      double beta1, double beta2, double epsilon, double weightDecay, double clipNorm) {
    /** As in language-model pretraining: betas 0.9 and 0.95, no decay, clip at 1. */
    public static final Config DEFAULT = new Config(0.9, 0.95, 1e-8, 0, 1);
  }

  /**
   * The two moments of one parameter.
   *
   * @param mean running mean of the gradient
   * @param variance running mean of its square
   */
  public record Moments(Tensor mean, Tensor variance) {}

  private final Config config;
  private final Predicate<Param> decays;
  private final Kernels kernels;
  private final Memory memory;
  private final Map<Param, Moments> moments = new LinkedHashMap<>();
  private int steps;

  /**
   * Makes an optimiser without state.
   *
   * @param config its constants
   * @param decays which parameters decay
   * @param kernels the provider
   * @param memory where its state lives
   */
  public AdamW(Config config, Predicate<Param> decays, Kernels kernels, Memory memory) {
    this.config = config;
    this.decays = decays;
    this.kernels = kernels;
    this.memory = memory;
  }

  /**
   * Updates every parameter that has a gradient.
   *
   * @param gradients of one backward pass
   * @param norm their norm, {@link Gradients#norm}, which the caller has looked at: it must be
   *     finite
   * @param rate learning rate of this step
   * @throws AutogradException where the norm is not finite; nothing has changed then
   */
  public void update(Gradients gradients, double norm, double rate) {
    if (!Double.isFinite(norm)) {
      throw new AutogradException(
          "the norm of the gradients is " + norm + "; look before updating, and lower the rate");
    }
    steps++;
    double scale = norm > config.clipNorm() ? config.clipNorm() / norm : 1;
    gradients
        .params()
        .forEach(
            (param, gradient) -> {
              double decay = decays.test(param) ? config.weightDecay() : 0;
              Moments state = moments.computeIfAbsent(param, this::zeros);
              kernels.adamw(
                  new AdamWStep(
                      steps, rate, config.beta1(), config.beta2(), config.epsilon(), decay, scale),
                  param.value(),
                  gradient,
                  state.mean(),
                  state.variance());
            });
  }

  /**
   * Returns the number of updates done.
   *
   * @return 0 at first
   */
  public int steps() {
    return steps;
  }

  /**
   * Returns the state of every parameter updated so far.
   *
   * @return moments by parameter, in order of their first update
   */
  public Map<Param, Moments> moments() {
    return moments;
  }

  /**
   * Goes back to a saved state.
   *
   * @param updates updates done then
   * @param saved moments by parameter; copied
   */
  public void restore(int updates, Map<Param, Moments> saved) {
    steps = updates;
    saved.forEach(
        (param, state) -> {
          Moments own = moments.computeIfAbsent(param, this::zeros);
          kernels.cast(state.mean(), own.mean());
          kernels.cast(state.variance(), own.variance());
        });
  }

  private Moments zeros(Param param) {
    Tensor mean = memory.allocate(param.value().shape(), param.value().dtype());
    Tensor variance = memory.allocate(param.value().shape(), param.value().dtype());
    kernels.fill(mean, 0);
    kernels.fill(variance, 0);
    return new Moments(mean, variance);
  }
}
