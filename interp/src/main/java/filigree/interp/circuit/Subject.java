package filigree.interp.circuit;

import filigree.tensor.Kernels;
import filigree.transformer.Gates;
import filigree.transformer.Transformer;

/**
 * The model that is looked into.
 *
 * @param model the model
 * @param gates how its attention is gated
 * @param kernels the provider
 */
public record Subject(Transformer model, Gates gates, Kernels kernels) {
  /** Checks that two runs of the model are the same. */
  public Subject {
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
