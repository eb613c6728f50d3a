package filigree.checkpoints;

import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.transformer.ModelConfig;
import java.util.Arrays;
import java.util.stream.Collectors;

/**
 * The model families that can be read and written. A family is a translation of a config and a list
 * of names, not a model of its own.
 */
public enum Family {
  /** GPT-2 (Radford et al. 2019). */
  GPT2("gpt2"),
  /** Llama 1 to 3 (arXiv 2302.13971, 2407.21783). */
  LLAMA("llama"),
  /** Mistral (arXiv 2310.06825). */
  MISTRAL("mistral"),
  /** Qwen2 and Qwen2.5 (arXiv 2407.10671). */
  QWEN2("qwen2"),
  /** Qwen3 (arXiv 2505.09388). */
  QWEN3("qwen3"),
  /** OLMo (arXiv 2402.00838). */
  OLMO("olmo"),
  /** OLMo-2 (arXiv 2501.00656). */
  OLMO2("olmo2"),
  /** GPT-NeoX (arXiv 2204.06745) and Pythia (arXiv 2304.01373). */
  GPT_NEOX("gpt_neox");

  private final String modelType;

  Family(String modelType) {
    this.modelType = modelType;
  }

  /**
   * Returns the family's name in config.json.
   *
   * @return the value of {@code model_type}
   */
  public String modelType() {
    return modelType;
  }

  Translation translation() {
    return switch (this) {
      case GPT2 -> new Gpt2();
      case LLAMA -> new Llama();
      case MISTRAL -> new Mistral();
      case QWEN2 -> new Qwen2();
      case QWEN3 -> new Qwen3();
      case OLMO -> new Olmo();
      case OLMO2 -> new Olmo2();
      case GPT_NEOX -> new GptNeox();
    };
  }

  /**
   * Translates a model into this family's config.json.
   *
   * @param config the model
   * @return what other tools read; it holds what makes the model, and no dtype
   * @throws CheckpointException where the family has no such models
   */
  public ObjectNode config(ModelConfig config) {
    ObjectNode json = translation().json(config);
    ModelConfig back = ConfigJson.of("config.json of " + modelType, json).model();
    if (!back.equals(config)) {
      throw new CheckpointException(
          "the family %s has no such models: its config.json would be read as %s, and not as %s"
              .formatted(modelType, back, config));
    }
    return json;
  }

  /**
   * Finds a config's family.
   *
   * @param config the config
   * @return the family that its {@code model_type} names
   * @throws CheckpointException where there is none of that name
   */
  static Family of(ConfigJson config) {
    String found = config.text("model_type").orElse("");
    for (Family family : values()) {
      if (family.modelType.equals(found)) {
        return family;
      }
    }
    throw config.wrong(
        "model_type",
        "expected one of "
            + Arrays.stream(values()).map(Family::modelType).collect(Collectors.joining(", ")));
  }
}
