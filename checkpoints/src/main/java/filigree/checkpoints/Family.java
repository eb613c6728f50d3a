package filigree.checkpoints;

import java.util.Arrays;
import java.util.stream.Collectors;

/**
 * The model families that can be read and written. A family is a translation of a config and a list
 * of names, not a model of its own.
 */
public enum Family {
  /** GPT-2 (Radford et al. 2019). */
  GPT2("gpt2"),
  /** Llama 1 to 3 (arXiv 2302.13971, 2407.21783), without scaled rotary positions so far. */
  LLAMA("llama");

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
    };
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
