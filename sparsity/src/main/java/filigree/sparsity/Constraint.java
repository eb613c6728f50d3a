package filigree.sparsity;

/**
 * Decides how much sparsity weighs: {@code minimise loss + beta x density subject to excess <=
 * tolerance}, where the excess is how far the model, with hard gates and on held-out text, lies
 * above the dense model on the same text. Paired like this, the measurement has little noise, and
 * it is what users see, not what the noisy gates of training see.
 *
 * <p>The form is GECO's (Rezende and Viola, arXiv 1810.00597, algorithm 1): beta grows while the
 * constraint holds and shrinks while it is violated, multiplicatively. With e the relative slack,
 * clipped so that no single measurement can move beta far:
 *
 * <pre>
 *   average  moving average of the excess
 *   e        = clip((tolerance - average) / max(tolerance, 0.005), -1, 1)
 *   log I    = clip(log I + rate e, log minimum, log maximum)       integral part: finds the level
 *   beta     = clip(I exp(gain e), minimum, maximum)                proportional part: damps it
 * </pre>
 *
 * <p>Below a tolerance of 0.005 nats the slack is no longer relative: a tolerance of 0 has no
 * relative slack, and what a probe measures is not finer.
 *
 * <p>An integral controller alone oscillates, because the edges answer to beta with a delay; the
 * proportional part reacts at once and vanishes at the set point.
 */
public final class Constraint {
  /**
   * Constants of the controller.
   *
   * @param tolerance nats per token above the dense model; 0 or more
   * @param horizon measurements over which the excess is averaged
   * @param rate change of log I per measurement at full slack
   * @param gain of the proportional part
   * @param initial beta at the start; small, so that sparsity weighs nothing at first
   * @param minimum smallest beta
   * @param maximum largest beta; bounds how fast gates can be pushed shut for good
   */
  public record Config(
      double tolerance,
      double horizon,
      double rate,
      double gain,
      double initial,
      double minimum,
      double maximum) {
    /** Checks the ranges. */
    public Config {
      if (!(tolerance >= 0 && Double.isFinite(tolerance))) {
        throw new RunException(
            "--tolerance is " + tolerance + ", expected 0 or more nats per token");
      }
      if (!(minimum > 0 && minimum <= initial && initial <= maximum)) {
        throw new RunException(
            "beta starts at %s, expected a value from %s to %s"
                .formatted(initial, minimum, maximum));
      }
    }
  }

  /**
   * What a resumed run needs to go on.
   *
   * @param measurements how many have been seen
   * @param average moving average of the excess
   * @param logIntegral logarithm of the integral part
   * @param beta the present weight
   */
  public record State(long measurements, double average, double logIntegral, double beta) {}

  /** The least tolerance that slack is measured in, nats per token. */
  private static final double FINEST = 0.005;

  private final Config config;
  private State state;

  /**
   * Starts with the initial weight.
   *
   * @param config the constants
   */
  public Constraint(Config config) {
    this(config, new State(0, 0, Math.log(config.initial()), config.initial()));
  }

  /**
   * Goes on from a state.
   *
   * @param config the constants
   * @param state of an earlier controller with these constants
   */
  public Constraint(Config config, State state) {
    this.config = config;
    this.state = state;
  }

  /**
   * Takes a measurement.
   *
   * @param excess nats per token above the dense model; a value that is not finite counts as a full
   *     violation and leaves the average
   */
  public void observe(double excess) {
    long measurements = state.measurements() + 1;
    // The plain mean until the horizon is full, so that the first value does not linger.
    double weight = Math.max(1.0 / measurements, 1 / config.horizon());
    double average =
        Double.isFinite(excess)
            ? state.average() + weight * (excess - state.average())
            : state.average();
    double slack =
        Double.isFinite(excess)
            ? clip((config.tolerance() - average) / Math.max(config.tolerance(), FINEST), -1, 1)
            : -1;
    double low = Math.log(config.minimum());
    double high = Math.log(config.maximum());
    double logIntegral = clip(state.logIntegral() + config.rate() * slack, low, high);
    double beta = Math.exp(clip(logIntegral + config.gain() * slack, low, high));
    state = new State(measurements, average, logIntegral, beta);
  }

  /**
   * Returns the weight of the density in the objective.
   *
   * @return beta, nats per token
   */
  public double beta() {
    return state.beta();
  }

  /**
   * Returns the moving average of the excess.
   *
   * @return nats per token; 0 before the first measurement
   */
  public double average() {
    return state.average();
  }

  /**
   * Returns everything that changes.
   *
   * @return the state
   */
  public State state() {
    return state;
  }

  private static double clip(double x, double low, double high) {
    return Math.min(high, Math.max(low, x));
  }
}
