package filigree.tensor;

/**
 * How an attention layer gates its edges (arXiv 2512.05865, section 3; SPARTAN, arXiv 2411.06890).
 * With scores {@code s[i,j]}, gate logits {@code z = s + bias} and noise n, the gate {@code m} is 1
 * where {@code z + n > 0} and multiplies the pattern {@code softmax(s)} without renormalising it.
 * In the backward pass the gate is the identity of {@code sigmoid(z + n)} (straight through).
 */
public sealed interface Gate {
  /** Ordinary attention: every causal edge is open. */
  record Open() implements Gate {}

  /**
   * Gates without noise, as at evaluation: open where {@code s + bias > 0}.
   *
   * @param bias moves the gate, never the softmax
   */
  record Hard(double bias) implements Gate {}

  /**
   * Gates between closed and open: {@code m = sigmoid(s + bias)}, without noise. What is not
   * straight through is differentiated as it is: the gradient is the same formula with {@code g =
   * m}.
   *
   * @param bias moves the gate, never the softmax
   */
  record Soft(double bias) implements Gate {}

  /**
   * Gates with logistic noise, as in training: each is open with probability {@code sigmoid(s +
   * bias)}.
   *
   * @param bias moves the gate, never the softmax
   * @param noise where the noise comes from
   */
  record Sampled(double bias, NoiseKey noise) implements Gate {}

  /**
   * The gate of ordinary attention. A method, since a constant of an interface that is its own
   * implementation could deadlock two threads that load them in opposite order.
   *
   * @return every edge open
   */
  static Gate open() {
    return new Open();
  }

  /**
   * Returns what is added to a score to make its gate logit.
   *
   * @return the bias; 0 for {@link Open}, whose gates do not depend on it
   */
  default double biasOrZero() {
    return switch (this) {
      case Open() -> 0;
      case Hard(double bias) -> bias;
      case Soft(double bias) -> bias;
      case Sampled(double bias, NoiseKey noise) -> bias;
    };
  }
}
