package filigree.interp.circuit;

import filigree.tensor.Philox;
import java.util.Arrays;
import java.util.function.ToDoubleFunction;
import org.apache.commons.math3.stat.descriptive.rank.Percentile;

/**
 * Intervals over prompts: the percentile bootstrap (Efron, Tibshirani 1993, chapter 13). Two
 * quantities of the same prompts get paired intervals when they are computed from the same draws.
 */
public final class Bootstrap {
  /** Tells these random numbers from others of the same seed. */
  private static final int STREAM = 0x626f6f74;

  private final int prompts;
  private final int[][] draws;
  private final double confidence;

  /**
   * How prompts are drawn.
   *
   * @param samples how often
   * @param confidence such as 0.95
   * @param seed chooses the draws
   */
  public record Plan(int samples, double confidence, long seed) {
    /** Checks the numbers. */
    public Plan {
      if (samples < 1) {
        throw new CircuitException("a bootstrap of " + samples + " samples; expected at least 1");
      }
      if (!(confidence > 0 && confidence < 1)) {
        throw new CircuitException(
            "the confidence is " + confidence + ", expected more than 0 and less than 1");
      }
    }
  }

  /**
   * Draws prompts.
   *
   * @param prompts how many there are
   * @param plan how they are drawn
   */
  public Bootstrap(int prompts, Plan plan) {
    this.prompts = prompts;
    this.confidence = plan.confidence();
    Philox random = new Philox(plan.seed(), STREAM);
    draws = new int[plan.samples()][prompts];
    for (int[] draw : draws) {
      for (int i = 0; i < prompts; i++) {
        draw[i] = random.nextInt(prompts);
      }
    }
  }

  /**
   * Computes the interval of a statistic.
   *
   * @param statistic a function of the numbers of the prompts that were drawn
   * @return its value for all prompts, and the percentiles of its values for the draws
   */
  public Interval interval(ToDoubleFunction<int[]> statistic) {
    double[] values = Arrays.stream(draws).mapToDouble(statistic).sorted().toArray();
    Percentile percentile = new Percentile();
    percentile.setData(values);
    double tail = 100 * (1 - confidence) / 2;
    return new Interval(
        statistic.applyAsDouble(everyPrompt(prompts)),
        percentile.evaluate(tail),
        percentile.evaluate(100 - tail));
  }

  /** Every prompt once. */
  static int[] everyPrompt(int prompts) {
    int[] all = new int[prompts];
    Arrays.setAll(all, i -> i);
    return all;
  }
}
