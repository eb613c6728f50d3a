package filigree.test.golden;

import filigree.tensor.AttentionSpec;
import java.util.Arrays;

/**
 * The gated attention layer as its formulas stand in {@code test/oracle/golden_attention.py}, one
 * pair at a time in float64. It shares nothing with the kernels, and {@link
 * GatedAttentionGoldenTest} holds it to the oracle first: so it carries the oracle's authority to
 * cases that the golden file does not hold, such as noise from the engine's own generator.
 *
 * <p>q, dy, y, dq are [batch, head, query, headDim]; k, v, dk, dv [batch, kvHead, key, headDim].
 */
final class AttentionFormulas {
  /** How gates are made. */
  enum Mode {
    /** Ordinary attention. */
    DENSE,
    /** Open where z is above 0. */
    HARD,
    /** Open where z plus logistic noise is above 0. */
    SAMPLED
  }

  /** Sizes of one call. */
  record Sizes(int batch, int heads, int kvHeads, int queries, int keys, int headDim) {
    /** Keys that a query sees. */
    int seen(int query) {
      return keys - queries + query + 1;
    }

    int q(int b, int h, int i) {
      return ((b * heads + h) * queries + i) * headDim;
    }

    int k(int b, int h, int j) {
      return ((b * kvHeads + h / (heads / kvHeads)) * keys + j) * headDim;
    }

    int pair(int b, int h, int i, int j) {
      return ((b * heads + h) * queries + i) * keys + j;
    }
  }

  /** What the layer reads, and the gradients that arrive: dy of y, ds [batch, head] of density. */
  record Inputs(
      Sizes sizes,
      double bias,
      double[] q,
      double[] k,
      double[] v,
      double[] u,
      double[] dy,
      double[] ds) {}

  final double[] y;
  final double[] dq;
  final double[] dk;
  final double[] dv;

  /** [batch, head]: mean sigmoid of z without noise. */
  final double[] density;

  /** [batch, head, {@link AttentionSpec#COUNTS}]: counts of z above 0, without noise. */
  final double[] counts;

  /** [batch, head]: gates that were used and open. */
  final double[] gatesOpen;

  /** [batch, head]: rows all of whose used gates are closed. */
  final double[] emptyRows;

  /** The least |z + n|: how far rounding is from changing a gate. */
  double margin = Double.POSITIVE_INFINITY;

  private final Mode mode;
  private final Inputs in;
  private final Sizes sizes;

  AttentionFormulas(Inputs in, Mode mode) {
    this.mode = mode;
    this.in = in;
    this.sizes = in.sizes();
    int tables = sizes.batch() * sizes.heads();
    y = new double[in.q().length];
    dq = new double[in.q().length];
    dk = new double[in.k().length];
    dv = new double[in.v().length];
    density = new double[tables];
    counts = new double[tables * AttentionSpec.COUNTS];
    gatesOpen = new double[tables];
    emptyRows = new double[tables];
    for (int b = 0; b < sizes.batch(); b++) {
      for (int h = 0; h < sizes.heads(); h++) {
        for (int i = 0; i < sizes.queries(); i++) {
          row(b, h, i);
        }
      }
    }
  }

  private void row(int b, int h, int i) {
    int d = sizes.headDim();
    int n = sizes.seen(i);
    int table = b * sizes.heads() + h;
    double pairs = AttentionSpec.causalPairs(sizes.queries(), sizes.keys());
    double scale = 1 / Math.sqrt(d);
    int atQ = sizes.q(b, h, i);
    double[] p = new double[n];
    double[] m = new double[n];
    double[] slope = new double[n];
    double[] quietSlope = new double[n];
    double[] upstream = new double[n];
    double[] scores = new double[n];
    int open = 0;
    int used = 0;
    for (int j = 0; j < n; j++) {
      int atK = sizes.k(b, h, j);
      for (int e = 0; e < d; e++) {
        scores[j] += in.q()[atQ + e] * in.k()[atK + e] * scale;
        upstream[j] += in.dy()[atQ + e] * in.v()[atK + e];
      }
      double z = scores[j] + in.bias();
      double u = in.u()[sizes.pair(b, h, i, j)];
      double noisy = mode == Mode.SAMPLED ? z + Math.log(u) - Math.log1p(-u) : z;
      m[j] = mode == Mode.DENSE || noisy > 0 ? 1 : 0;
      slope[j] = mode == Mode.DENSE ? 0 : sigmoid(noisy) * sigmoid(-noisy);
      quietSlope[j] = sigmoid(z) * sigmoid(-z) / pairs;
      density[table] += sigmoid(z) / pairs;
      margin = Math.min(margin, Math.abs(noisy));
      used += (int) m[j];
      open += z > 0 ? 1 : 0;
      counts[table * AttentionSpec.COUNTS + AttentionSpec.FIRST] += z > 0 && j == 0 ? 1 : 0;
      counts[table * AttentionSpec.COUNTS + AttentionSpec.DIAGONAL] += z > 0 && j == n - 1 ? 1 : 0;
    }
    counts[table * AttentionSpec.COUNTS + AttentionSpec.OPEN] += open;
    counts[table * AttentionSpec.COUNTS + AttentionSpec.EMPTY_ROWS] += open == 0 ? 1 : 0;
    gatesOpen[table] += used;
    emptyRows[table] += used == 0 ? 1 : 0;
    double top = Arrays.stream(scores).max().orElseThrow();
    double sum = Arrays.stream(scores).map(s -> Math.exp(s - top)).sum();
    double down = 0; // dy . y
    for (int j = 0; j < n; j++) {
      p[j] = Math.exp(scores[j] - top) / sum;
      down += p[j] * m[j] * upstream[j];
    }
    for (int j = 0; j < n; j++) {
      int atK = sizes.k(b, h, j);
      double dscore =
          p[j] * ((slope[j] + m[j]) * upstream[j] - down) + in.ds()[table] * quietSlope[j];
      for (int e = 0; e < d; e++) {
        y[atQ + e] += p[j] * m[j] * in.v()[atK + e];
        dq[atQ + e] += dscore * scale * in.k()[atK + e];
        dk[atK + e] += dscore * scale * in.q()[atQ + e];
        dv[atK + e] += p[j] * m[j] * in.dy()[atQ + e];
      }
    }
  }

  private static double sigmoid(double x) {
    return x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x));
  }
}
