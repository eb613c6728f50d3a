package filigree.sparsity;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.transformer.Gates;

/**
 * How a post-trained model wants to be run: the object under the key {@code filigree} of its
 * config.json.
 *
 * @param mode the default gates
 * @param bias the gate bias that the model was trained with
 */
public record GateSettings(Mode mode, double bias) {
  /** The gates a model can be run with. */
  public enum Mode {
    /** Ordinary attention. */
    DENSE,
    /** Gates without noise. */
    HARD,
    /** Gates with noise, as in training. */
    SAMPLED
  }

  /** Of a model that was not post-trained. */
  public static final GateSettings NONE = new GateSettings(Mode.DENSE, 0);

  /**
   * Reads the object.
   *
   * @param json what stands under {@code filigree}
   * @return the settings
   * @throws RunException where a key is missing or has another meaning
   */
  public static GateSettings fromJson(JsonNode json) {
    String gates = json.path("gates").asText("");
    JsonNode bias = json.path("gate_bias");
    for (Mode mode : Mode.values()) {
      if (mode.name().equalsIgnoreCase(gates) && bias.isNumber()) {
        return new GateSettings(mode, bias.doubleValue());
      }
    }
    throw new RunException(
        "config.json: 'filigree' is %s, expected \"gates\": \"dense\", \"hard\" or \"sampled\" and a number under \"gate_bias\""
            .formatted(json));
  }

  /**
   * Writes the object.
   *
   * @return what stands under {@code filigree}
   */
  public ObjectNode toJson() {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("gates", mode.name().toLowerCase(java.util.Locale.ROOT));
    json.put("gate_bias", bias);
    return json;
  }

  /**
   * Returns the gates of one run.
   *
   * @param seed of the noise, where there is noise
   * @return the gates
   */
  public Gates gates(long seed) {
    return switch (mode) {
      case DENSE -> Gates.dense();
      case HARD -> new Gates.Hard(bias);
      case SAMPLED -> new Gates.Sampled(bias, seed, 0);
    };
  }
}
