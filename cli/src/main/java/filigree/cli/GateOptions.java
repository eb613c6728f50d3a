package filigree.cli;

import com.fasterxml.jackson.databind.JsonNode;
import filigree.sparsity.GateSettings;
import filigree.transformer.Gates;
import java.util.Optional;
import picocli.CommandLine.Option;

/** Which gates a model is run with; by default those that its config.json asks for. */
final class GateOptions {
  @Option(
      names = "--gates",
      paramLabel = "G",
      description =
          "dense, hard or sampled (default: what the model's config says; dense for an ordinary"
              + " checkpoint).")
  private GateSettings.Mode mode;

  @Option(
      names = "--gate-bias",
      paramLabel = "B",
      description = "Added to scores to make gate logits (default: what the config says, or 0).")
  private Double bias;

  /** Whether the command line chooses gates. */
  boolean isGiven() {
    return mode != null || bias != null;
  }

  /** The gates that a model asks for itself. */
  static GateSettings ofConfig(Optional<? extends JsonNode> inConfig) {
    return inConfig.map(GateSettings::fromJson).orElse(GateSettings.NONE);
  }

  GateSettings settings(Optional<? extends JsonNode> inConfig) {
    GateSettings settings = ofConfig(inConfig);
    if (bias != null && !Double.isFinite(bias)) {
      throw new UsageException("--gate-bias is " + bias + ", expected a finite number");
    }
    return new GateSettings(
        mode == null ? settings.mode() : mode, bias == null ? settings.bias() : bias);
  }

  Gates gates(LoadedModel model, long seed) {
    return settings(model.gates()).gates(seed);
  }
}
