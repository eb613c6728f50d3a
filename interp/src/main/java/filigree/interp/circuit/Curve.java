package filigree.interp.circuit;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * How much of a model's effect the k highest ranked heads, nodes or edges explain, by k. The
 * explained effect of a circuit C is {@code (m(C) - m(0)) / (m(clean) - m(0))}, each m being the
 * mean of the metric over prompts (method.md, section 3; faithfulness in MIB, arXiv 2504.13151,
 * section 3).
 */
public final class Curve {
  /** What an effect of 0 is. */
  public enum Baseline {
    /** The metric of the corrupted run. */
    CORRUPTED,
    /** The metric of the circuit without any candidate, as MIB does. */
    EMPTY
  }

  /** Which of the ranked edges are run. */
  public enum Selection {
    /** The k first. */
    TOP,
    /**
     * Of the k first those on a path from the input to the logits: {@link Circuit.Edges#pruned}.
     */
    TOP_PRUNED
  }

  /**
   * How a curve is measured.
   *
   * @param ablation what stands in for the rest
   * @param baseline what an effect of 0 is
   * @param selection which of the ranked edges are run
   * @param targets explained effects whose k is found exactly
   */
  public record Plan(
      Ablation ablation, Baseline baseline, Selection selection, List<Double> targets) {
    /** Copies the targets. */
    public Plan {
      targets = List.copyOf(targets);
    }

    /**
     * The k first against the corrupted run, k found at 0.8, 0.9 and 0.95.
     *
     * @param ablation what stands in for the rest
     * @return the plan
     */
    public static Plan of(Ablation ablation) {
      return new Plan(ablation, Baseline.CORRUPTED, Selection.TOP, List.of(0.8, 0.9, 0.95));
    }
  }

  /**
   * One measured circuit.
   *
   * @param k how many ranked candidates it was made of
   * @param kept how many were left after pruning
   * @param values the metric of every prompt
   */
  public record Point(int k, int kept, double[] values) {
    /** Copies the values. */
    public Point {
      values = values.clone();
    }
  }

  /** Shares of all edges at which MIB measures (arXiv 2504.13151, section 3). */
  private static final double[] MIB_SHARES = {
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1
  };

  /** Up to so many candidates every k is measured. */
  private static final int ALL_K = 32;

  private final Plan plan;
  private final int total;
  private final Study.References references;
  private final NavigableMap<Integer, Point> points;

  private Curve(
      Plan plan, int total, Study.References references, NavigableMap<Integer, Point> points) {
    this.plan = plan;
    this.total = total;
    this.references = references;
    this.points = points;
  }

  /**
   * Measures a curve: a grid of k first, then, for each target, by bisection the k at which the
   * curve reaches it first on the grid.
   *
   * @param runner model and prompts
   * @param ranking what is kept first
   * @param plan how it is measured
   * @return the curve
   * @throws CircuitException where clean and corrupted prompts have the same metric
   */
  public static Curve trace(CircuitRunner runner, Ranking ranking, Plan plan) {
    Study.References references = runner.study().references();
    Curve curve = new Curve(plan, ranking.total(), references, new TreeMap<>());
    curve.measure(runner, ranking, grid(ranking.total()));
    curve.requireEffect();
    for (double target : plan.targets()) {
      curve.refine(runner, ranking, target);
    }
    return curve;
  }

  /** 0, 1, 2, 3, ... in steps of a fifth, the shares of MIB, all. */
  static SortedSet<Integer> grid(int total) {
    SortedSet<Integer> out = new TreeSet<>();
    out.add(0);
    if (total <= ALL_K) {
      for (int k = 1; k <= total; k++) {
        out.add(k);
      }
      return out;
    }
    for (double k = 1; k < total; k = Math.max(k + 1, k * 1.25)) {
      out.add((int) k);
    }
    for (double share : MIB_SHARES) {
      out.add(mibK(share, total));
    }
    return out;
  }

  private static int mibK(double share, int total) {
    return (int) (share * total);
  }

  private void measure(CircuitRunner runner, Ranking ranking, Iterable<Integer> some) {
    List<Integer> numbers = new ArrayList<>();
    List<Circuit> circuits = new ArrayList<>();
    List<Integer> sizes = new ArrayList<>();
    for (int k : some) {
      Circuit circuit = ranking.circuit(k);
      Circuit run =
          switch (circuit) {
            case Circuit.Nodes nodes -> nodes;
            case Circuit.Edges edges ->
                switch (plan.selection()) {
                  case TOP -> edges;
                  case TOP_PRUNED -> edges.pruned();
                };
          };
      numbers.add(k);
      circuits.add(run);
      sizes.add(k - (circuit.size() - run.size()));
    }
    List<double[]> values = runner.run(circuits, plan.ablation());
    for (int i = 0; i < numbers.size(); i++) {
      points.put(numbers.get(i), new Point(numbers.get(i), sizes.get(i), values.get(i)));
    }
  }

  private void requireEffect() {
    int[] all = Bootstrap.everyPrompt(references.clean().length);
    double whole = mean(references.clean(), all) - zero(all);
    if (!(Math.abs(whole) > 1e-9)) {
      throw new CircuitException(
          "the metric of the clean prompts and that of an effect of 0 differ by %s; choose prompts or a metric that tell them apart"
              .formatted(whole));
    }
  }

  private void refine(CircuitRunner runner, Ranking ranking, double target) {
    int[] all = Bootstrap.everyPrompt(references.clean().length);
    int below = -1;
    int reached = total;
    for (Map.Entry<Integer, Point> entry : points.entrySet()) {
      if (effect(entry.getValue(), all) >= target) {
        reached = entry.getKey();
        break;
      }
      below = entry.getKey();
    }
    while (below >= 0 && reached - below > 1) {
      int middle = (below + reached) / 2;
      measure(runner, ranking, List.of(middle));
      if (effect(points.get(middle), all) >= target) {
        reached = middle;
      } else {
        below = middle;
      }
    }
  }

  private double zero(int[] draw) {
    return switch (plan.baseline()) {
      case CORRUPTED -> mean(references.corrupted(), draw);
      case EMPTY -> mean(points.get(0).values(), draw);
    };
  }

  private double effect(Point point, int[] draw) {
    double zero = zero(draw);
    return (mean(point.values(), draw) - zero) / (mean(references.clean(), draw) - zero);
  }

  private static double mean(double[] values, int[] draw) {
    double sum = 0;
    for (int prompt : draw) {
      sum += values[prompt];
    }
    return sum / draw.length;
  }

  /**
   * Returns how the curve was measured.
   *
   * @return the plan
   */
  public Plan plan() {
    return plan;
  }

  /**
   * Counts the candidates.
   *
   * @return the largest k
   */
  public int total() {
    return total;
  }

  /**
   * Counts the prompts.
   *
   * @return how many values a point has
   */
  public int prompts() {
    return references.clean().length;
  }

  /**
   * Lists what was measured.
   *
   * @return by k, 0 first
   */
  public List<Point> points() {
    return List.copyOf(points.values());
  }

  /**
   * Computes the explained effect of a measured circuit.
   *
   * @param k a k that was measured
   * @param bootstrap draws of as many prompts
   * @return 0 for the baseline, 1 for the clean run
   */
  public Interval effect(int k, Bootstrap bootstrap) {
    Point point = points.get(k);
    if (point == null) {
      throw new CircuitException(
          "no circuit of " + k + " was measured; measured were " + points.keySet());
    }
    return bootstrap.interval(draw -> effect(point, draw));
  }

  /**
   * Finds how many candidates it takes.
   *
   * @param target the explained effect that is to be reached
   * @param bootstrap draws of as many prompts
   * @return the smallest measured k that reaches it; between two that lie apart, as in draws that
   *     reach it elsewhere than all prompts do, by linear interpolation, rounded up
   */
  public Interval kAt(double target, Bootstrap bootstrap) {
    return bootstrap.interval(draw -> kAt(target, draw));
  }

  /**
   * Compares two models on the same prompts: how many times more candidates the first needs.
   *
   * @param dense the curve of the first
   * @param sparse the curve of the second, over the same prompts in the same order
   * @param target the explained effect that is to be reached
   * @param bootstrap draws of as many prompts, the same for both
   * @return k of the first over k of the second, where a k of 0 counts 1
   * @throws CircuitException where the curves have different numbers of prompts
   */
  public static Interval ratio(Curve dense, Curve sparse, double target, Bootstrap bootstrap) {
    if (dense.prompts() != sparse.prompts()) {
      throw new CircuitException(
          "the curves are over %d and %d prompts; compare models on the same prompts"
              .formatted(dense.prompts(), sparse.prompts()));
    }
    return bootstrap.interval(
        draw -> Math.max(1, dense.kAt(target, draw)) / Math.max(1, sparse.kAt(target, draw)));
  }

  private double kAt(double target, int[] draw) {
    int lastK = 0;
    double lastEffect = 0;
    for (Point point : points.values()) {
      double effect = effect(point, draw);
      if (effect >= target) {
        if (point.k() - lastK <= 1) {
          return point.k();
        }
        double share = (target - lastEffect) / (effect - lastEffect);
        return Math.ceil(lastK + share * (point.k() - lastK));
      }
      lastK = point.k();
      lastEffect = effect;
    }
    return total;
  }

  /**
   * Integrates the explained effect over the share of candidates (CPR in MIB, arXiv 2504.13151,
   * section 3): higher is better.
   *
   * @param bootstrap draws of as many prompts
   * @return the area by the trapezoid rule on MIB's shares
   */
  public Interval cpr(Bootstrap bootstrap) {
    return bootstrap.interval(draw -> area(draw, effect -> effect));
  }

  /**
   * Integrates how far the explained effect lies from 1 over the share of candidates (CMD in MIB,
   * arXiv 2504.13151, section 3): 0 is best.
   *
   * @param bootstrap draws of as many prompts
   * @return the area by the trapezoid rule on MIB's shares
   */
  public Interval cmd(Bootstrap bootstrap) {
    return bootstrap.interval(draw -> area(draw, effect -> Math.abs(1 - effect)));
  }

  private interface Height {
    double of(double effect);
  }

  private double area(int[] draw, Height height) {
    double area = 0;
    double last = 0;
    for (int i = 0; i < MIB_SHARES.length; i++) {
      double now = height.of(effect(points.get(mibK(MIB_SHARES[i], total)), draw));
      if (i > 0) {
        area += (MIB_SHARES[i] - MIB_SHARES[i - 1]) * (last + now) / 2;
      }
      last = now;
    }
    return area;
  }
}
