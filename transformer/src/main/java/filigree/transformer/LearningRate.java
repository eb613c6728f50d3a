package filigree.transformer;

/**
 * The learning rate as a function of the step: a linear warm-up from 0 to the peak, then the peak
 * until {@code decayFrom}, then half a cosine down to {@code floor} times the peak at the last
 * step.
 *
 * @param peak the highest rate
 * @param warmup steps of warm-up
 * @param decayFrom the step at which the decay begins
 * @param steps the last step
 * @param floor the last rate as a share of the peak
 */
public record LearningRate(double peak, long warmup, long decayFrom, long steps, double floor) {
  /** Checks the ranges. */
  public LearningRate {
    if (!(peak > 0) || !Double.isFinite(peak)) {
      throw new ModelException("learning rate is " + peak + ", expected more than 0");
    }
  }

  /**
   * Warms up, then stays.
   *
   * @param peak the highest rate
   * @param warmup steps of warm-up
   * @return the schedule
   */
  public static LearningRate constant(double peak, long warmup) {
    return new LearningRate(peak, warmup, Long.MAX_VALUE, Long.MAX_VALUE, 1);
  }

  /**
   * Warms up, then falls along half a cosine to nearly 0: the last steps settle what the first ones
   * stirred up.
   *
   * @param peak the highest rate
   * @param warmup steps of warm-up
   * @param steps the last step
   * @return the schedule, ending at a fiftieth of the peak
   */
  public static LearningRate cosine(double peak, long warmup, long steps) {
    return new LearningRate(peak, warmup, warmup, steps, 0.02);
  }

  /**
   * Returns the rate of a step.
   *
   * @param step from 1
   * @return the rate
   */
  public double at(long step) {
    if (step <= warmup) {
      return peak * step / warmup;
    }
    if (step <= decayFrom || steps <= decayFrom) {
      return peak;
    }
    double progress = Math.min(1, (double) (step - decayFrom) / (steps - decayFrom));
    return peak * (floor + (1 - floor) * 0.5 * (1 + Math.cos(Math.PI * progress)));
  }
}
