package filigree.interp.circuit;

import filigree.tensor.Kernels;
import filigree.transformer.Gates;
import filigree.transformer.ModelConfig;
import filigree.transformer.Transformer;

/**
 * The model that is looked into.
 *
 * @param model the model
 * @param gates how its attention is gated
 * @param kernels the provider
 * @param gateSource whose gates it has
 */
public record Subject(Transformer model, Gates gates, Kernels kernels, GateSource gateSource) {
  /**
   * A model with its own gates.
   *
   * @param model the model
   * @param gates how its attention is gated
   * @param kernels the provider
   */
  public Subject(Transformer model, Gates gates, Kernels kernels) {
    this(model, gates, kernels, new GateSource.Own());
  }

  /** Checks that two runs of the model are the same, and that gates of another one fit. */
  public Subject {
    switch (gateSource) {
      case GateSource.Own() -> {}
      case GateSource.Of(Subject other) -> {
        ModelConfig own = model.config();
        ModelConfig theirs = other.model().config();
        if (own.sizes().layers() != theirs.sizes().layers()
            || own.attention().heads() != theirs.attention().heads()) {
          throw new CircuitException(
              "gates of %d layers of %d heads are to be put on a model of %d layers of %d heads; they must have as many"
                  .formatted(
                      theirs.sizes().layers(),
                      theirs.attention().heads(),
                      own.sizes().layers(),
                      own.attention().heads()));
        }
      }
    }
    switch (gates) {
      case Gates.Dense() -> {}
      case Gates.Hard(double _) -> {}
      case Gates.Soft(double _) -> {}
      case Gates.Sampled(double _, long _, long _) ->
          throw new CircuitException(
              "gates with noise differ from run to run; use hard gates to compare runs");
    }
  }
}
