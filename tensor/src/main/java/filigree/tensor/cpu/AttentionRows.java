package filigree.tensor.cpu;

import filigree.tensor.AttentionSpec;
import filigree.tensor.Gate;
import filigree.tensor.NoiseKey;

/**
 * What attention does with one row of scores between its matrix products, as a list of steps that
 * depends on the gate. Each step is one loop over parts of the row, which stay in the first-level
 * cache.
 *
 * <p>All steps are called from one place ({@link #run}). There the compiler sees too many kinds to
 * inline any, and so compiles each on its own. Inlined into one method they would be more than it
 * takes, and vectors would become objects: at 1024 keys the backward pass with sampled gates took
 * 135 ms instead of 66.
 */
final class AttentionRows {
  /** One loop over a row. */
  private interface Step {
    void run(Row row);
  }

  /** The row that a task works on: its place, its numbers and what the steps found. */
  static final class Row {
    /** Address of the score of the first key that the query sees. */
    long s;

    /** Address of the gradient of the gated pattern at that key, in the backward pass. */
    long g;

    /** The first key that the query sees: 0, or where its window begins. */
    int first;

    /** How many keys the query sees. */
    int seen;

    /** Index in the batch. */
    int batch;

    /** The head. */
    int head;

    /** Log of the sum of exponentials: found by the forward pass, given to the backward pass. */
    float logSumExp;

    /** Sum of {@code exp(s - max)}, in the forward pass. */
    double sum;

    /** The products dy . y of the backward pass. */
    float d;

    /** Gradient with respect to each gate's probability, in the backward pass. */
    float density;

    /** Sums over the gates of this row. */
    final GateLanes.RowSums gates = new GateLanes.RowSums();

    /** Sums over rows: probabilities, then the columns of the counts. */
    final double[] report = new double[REPORTED];

    /** Address of room for the indices of a row's keys. */
    final long indices;

    private final long weight;
    private final long decay;
    private final long u;
    private float max;

    /**
     * Takes its buffers from scratch memory.
     *
     * @param scratch holds {@link #BUFFERS} pieces of {@code stride} floats for them
     */
    Row(Scratch scratch, int stride) {
      weight = scratch.take(stride);
      decay = scratch.take(stride);
      u = scratch.take(stride);
      indices = scratch.take(stride);
    }

    /** Moves to a query. */
    void at(int firstKey, int end) {
      first = firstKey;
      seen = end - firstKey;
    }

    /** The query's own position, one before the end of the keys that it sees. */
    private int position() {
      return first + seen - 1;
    }

    private float score(int seenKey) {
      return Native.getFloat(s + (long) seenKey * Float.BYTES);
    }
  }

  /** Pieces of scratch memory that a row takes. */
  static final int BUFFERS = 4;

  /** Numbers that rows report. */
  static final int REPORTED = 1 + AttentionSpec.COUNTS;

  private final RowLanes rows;
  private final GateLanes gates;
  private final Step[] forward;
  private final Step[] backward;

  AttentionRows(Gate gate, Lanes lanes) {
    rows = lanes.rows();
    gates = lanes.gates();
    switch (gate) {
      case Gate.Open() -> {
        forward = new Step[] {this::findMax, this::expInPlace};
        backward = new Step[] {this::openBackward};
      }
      case Gate.Hard(double bias) -> {
        float b = (float) bias;
        forward = forwardWithoutNoise(b, row -> gates.hard(gateRow(row, b), row.seen, row.gates));
        backward =
            backwardWithoutNoise(
                b, row -> gates.hardBackward(gateRow(row, b), row.g, row.d, row.density, row.seen));
      }
      case Gate.Soft(double bias) -> {
        float b = (float) bias;
        forward = forwardWithoutNoise(b, row -> gates.soft(gateRow(row, b), row.seen, row.gates));
        backward =
            backwardWithoutNoise(
                b, row -> gates.softBackward(gateRow(row, b), row.g, row.d, row.density, row.seen));
      }
      case Gate.Sampled(double bias, NoiseKey key) -> {
        float b = (float) bias;
        Noise noise = Noise.of(key);
        Step decay = row -> gates.decay(row.s, b, row.decay, row.seen);
        // From key 0 on, since four keys share a draw; gateRow skips those before the window.
        Step uniforms =
            row -> {
              int position = row.position();
              gates.uniforms(noise.row(row.batch, row.head, position), row.u, position + 1);
            };
        forward =
            new Step[] {
              this::findMax,
              this::expOfShifted,
              decay,
              uniforms,
              row -> edges(row, b),
              row -> gates.sampled(gateRow(row, b), row.seen, row.gates),
              this::count
            };
        backward =
            new Step[] {
              this::pattern,
              decay,
              uniforms,
              row -> gates.sampledBackward(gateRow(row, b), row.g, row.d, row.density, row.seen)
            };
      }
    }
  }

  private Step[] forwardWithoutNoise(float bias, Step gated) {
    return new Step[] {
      this::findMax,
      this::expOfShifted,
      row -> gates.decay(row.s, bias, row.decay, row.seen),
      row -> edges(row, bias),
      gated,
      this::count
    };
  }

  private Step[] backwardWithoutNoise(float bias, Step gated) {
    return new Step[] {this::pattern, row -> gates.decay(row.s, bias, row.decay, row.seen), gated};
  }

  /**
   * Replaces scores by gated exponentials; sets the row's sum and logSumExp and adds its report.
   */
  void forward(Row row) {
    run(forward, row);
    row.logSumExp = (float) (row.max + Math.log(row.sum));
  }

  /** Replaces scores by the gated pattern, and its gradients by the scores' gradients. */
  void backward(Row row) {
    run(backward, row);
  }

  private static void run(Step[] steps, Row row) {
    for (Step step : steps) {
      step.run(row);
    }
  }

  private void findMax(Row row) {
    row.max = rows.max(row.s, row.seen);
  }

  private void expInPlace(Row row) {
    row.sum = gates.exp(row.s, row.max, row.s, row.seen);
  }

  private void expOfShifted(Row row) {
    row.sum = gates.exp(row.s, row.max, row.weight, row.seen);
  }

  private void pattern(Row row) {
    gates.exp(row.s, row.logSumExp, row.weight, row.seen);
  }

  private void openBackward(Row row) {
    gates.openBackward(row.s, row.g, row.logSumExp, row.d, row.seen);
  }

  private static GateLanes.GateRow gateRow(Row row, float bias) {
    long u = row.u + (long) row.first * Float.BYTES;
    return new GateLanes.GateRow(row.s, row.weight, row.decay, u, bias);
  }

  // Before the gates overwrite the scores.
  private void edges(Row row, float bias) {
    row.report[1 + AttentionSpec.FIRST] += row.first == 0 && row.score(0) + bias > 0 ? 1 : 0;
    row.report[1 + AttentionSpec.DIAGONAL] += row.score(row.seen - 1) + bias > 0 ? 1 : 0;
  }

  private void count(Row row) {
    row.report[0] += row.gates.probability;
    row.report[1 + AttentionSpec.OPEN] += row.gates.open;
    row.report[1 + AttentionSpec.EMPTY_ROWS] += row.gates.open == 0 ? 1 : 0;
  }

  /** The noise of one step and layer, its stream's key derived once. */
  record Noise(int key0, int key1, int layer) {
    static Noise of(NoiseKey key) {
      int[] stream = key.streamKey();
      return new Noise(stream[0], stream[1], key.layer());
    }

    GateLanes.NoiseRow row(int batch, int head, int position) {
      return new GateLanes.NoiseRow(key0, key1, position, head | layer << 16, batch);
    }
  }
}
