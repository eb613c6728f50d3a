package filigree.tensor.cpu;

/**
 * Loops over rows of gate logits z. Noise comes as uniform numbers u: with {@code e = exp(-|z|)},
 * the odds {@code u e^z : 1 - u} are kept as a pair (a, b) of numbers in [0, 1], so that {@code z +
 * n > 0} is {@code a > b} and {@code sigmoid(z + n)} is {@code a / (a + b)}: no logarithm, and no
 * overflow at any z.
 */
public interface GateLanes {
  /** Floats of scratch memory after every row: more than any vector has. */
  int ROOM = 32;

  /**
   * Writes the uniform numbers of one row of gates.
   *
   * @param row whose gates
   * @param out n floats and the room after them
   * @param n how many
   */
  void uniforms(NoiseRow row, long out, int n);

  /** Writes {@code out = exp(s - shift)} and returns the sum; out may be s. */
  double exp(long s, float shift, long out, int n);

  /** Writes {@code decay = exp(-|s + bias|)}. */
  void decay(long s, float bias, long decay, int n);

  /**
   * Replaces scores s by the gated exponentials {@code m e} with gates {@code m = s + bias > 0}.
   *
   * @param row the row; {@code weight} holds e
   * @param sums receives sums over the row
   */
  void hard(GateRow row, int n, RowSums sums);

  /** As {@link #hard} with gates {@code m = sigmoid(s + bias)}. */
  void soft(GateRow row, int n, RowSums sums);

  /** As {@link #hard} with sampled gates. */
  void sampled(GateRow row, int n, RowSums sums);

  /**
   * Backward of ordinary attention: replaces scores s by {@code p = exp(s - logSumExp)} and g by
   * {@code p (g - d)}.
   */
  void openBackward(long s, long g, float logSumExp, float d, int n);

  /**
   * Backward of gated attention: replaces scores s by {@code p m} and the gradient g of the gated
   * pattern by the gradient of the scores.
   *
   * @param row the row; {@code weight} holds p
   * @param g gradient
   * @param d {@code dy . y}
   * @param density gradient with respect to each gate's noise-free probability
   */
  void hardBackward(GateRow row, long g, float d, float density, int n);

  /** As {@link #hardBackward} with soft gates. */
  void softBackward(GateRow row, long g, float d, float density, int n);

  /** As {@link #hardBackward} with sampled gates. */
  void sampledBackward(GateRow row, long g, float d, float density, int n);

  /**
   * Finds what gates have left of a row.
   *
   * @param weights n floats
   * @param indices receives the indices of those that are not zero, ints in ascending order
   * @return how many these are
   */
  int open(long weights, int n, long indices);

  /** Writes {@code out = z > 0}. */
  void hardGates(long z, long out, int n);

  /** Writes {@code out = sigmoid(z)}. */
  void softGates(long z, long out, int n);

  /** Writes {@code out = z + n > 0}. */
  void sampledGates(long z, long u, long out, int n);

  /**
   * Writes {@code out = gradient sigmoid'(z)}: for hard gates straight through, for soft ones true.
   */
  void hardGatesBackward(long z, long gradient, long out, int n);

  /** Writes {@code out = gradient sigmoid'(z + n)}. */
  void sampledGatesBackward(long z, long u, long gradient, long out, int n);

  /**
   * Names a row of gates: see {@link filigree.tensor.NoiseKey}.
   *
   * @param key0 word 0 of the step's Philox key
   * @param key1 word 1
   * @param query counter word 1: the query's position
   * @param head counter word 2: head and layer
   * @param batch counter word 3
   */
  record NoiseRow(int key0, int key1, int query, int head, int batch) {}

  /**
   * The parts of one row of gates. Work on a row is several short loops over parts that stay in the
   * first-level cache: a loop that did all of it would be more than the compiler takes at once.
   *
   * @param s scores
   * @param weight what the gates multiply
   * @param decay as {@link #decay} writes it
   * @param u uniform numbers of sampled gates
   * @param bias of the gate
   */
  record GateRow(long s, long weight, long decay, long u, float bias) {}

  /** Sums over a row. */
  final class RowSums {
    /** Sets all sums to 0. */
    public void clear() {
      probability = 0;
      open = 0;
    }

    /** Sum of the noise-free probabilities {@code sigmoid(s + bias)}. */
    public double probability;

    /** How many {@code s + bias > 0}. */
    public int open;
  }
}
