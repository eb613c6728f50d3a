package filigree.transformer;

import filigree.tensor.Gate;
import filigree.tensor.NoiseKey;

/** How all attention layers of a model gate their edges in one run. */
public sealed interface Gates {
  /** Ordinary attention. */
  record Dense() implements Gates {}

  /**
   * Without noise, as at evaluation.
   *
   * @param bias added to scores to make gate logits
   */
  record Hard(double bias) implements Gates {}

  /**
   * Without noise and between closed and open: each edge is multiplied by the sigmoid of its gate
   * logit.
   *
   * @param bias added to scores to make gate logits
   */
  record Soft(double bias) implements Gates {}

  /**
   * With noise, as in training.
   *
   * @param bias added to scores to make gate logits
   * @param seed the run's seed
   * @param step the training step, so that each step has noise of its own
   */
  record Sampled(double bias, long seed, long step) implements Gates {}

  /**
   * Ordinary attention.
   *
   * @return every edge open
   */
  static Gates dense() {
    return new Dense();
  }

  /**
   * Returns the gate of one layer.
   *
   * @param layer the layer
   * @return what its attention kernel is told
   */
  default Gate of(int layer) {
    return switch (this) {
      case Dense() -> Gate.open();
      case Hard(double bias) -> new Gate.Hard(bias);
      case Soft(double bias) -> new Gate.Soft(bias);
      case Sampled(double bias, long seed, long step) ->
          new Gate.Sampled(bias, new NoiseKey(seed, step, layer));
    };
  }
}
