package filigree.checkpoints;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.MissingNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.tensor.TensorException;
import filigree.transformer.GateVariant;
import filigree.transformer.ModelConfig;
import filigree.transformer.ModelException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * A model's config.json. Values are read by key and type; a value that has the wrong type, or asks
 * for something that Filigree does not do, is an error that names the file, the key and the value.
 */
public final class ConfigJson {
  /** Filigree's own settings lie here, where other tools pass over them. */
  static final String FILIGREE = "filigree";

  private final String where;
  private final ObjectNode json;
  private final Set<String> asked = new HashSet<>();

  private ConfigJson(String where, ObjectNode json) {
    this.where = where;
    this.json = json;
  }

  /**
   * Reads a file.
   *
   * @param file usually {@code config.json}
   * @return its contents; what they mean is checked by {@link #family} and {@link #model}
   * @throws CheckpointException where it cannot be read or is not a JSON object
   */
  public static ConfigJson read(Path file) {
    return new ConfigJson(file.toString(), Json.readObject(file));
  }

  /**
   * Takes a config that is already in memory.
   *
   * @param where what errors call it
   * @param json an object
   * @return the config
   * @throws CheckpointException where it is not an object
   */
  public static ConfigJson of(String where, JsonNode json) {
    if (json instanceof ObjectNode object) {
      return new ConfigJson(where, object.deepCopy());
    }
    throw new CheckpointException(where + ": found " + json + ", expected a JSON object");
  }

  /**
   * Returns the whole object.
   *
   * @return a copy
   */
  public ObjectNode json() {
    return json.deepCopy();
  }

  /**
   * Returns the family that {@code model_type} names.
   *
   * @return the family
   * @throws CheckpointException where there is none of that name
   */
  public Family family() {
    return Family.of(this);
  }

  /**
   * Translates the config.
   *
   * @return the decoder that it describes
   * @throws CheckpointException where a key is missing, has the wrong type, or asks for what is not
   *     supported
   */
  public ModelConfig model() {
    Family family = family();
    try {
      return family.translation().config(this).withGating(variants());
    } catch (ModelException | TensorException e) {
      throw new CheckpointException(where + ": " + e.getMessage(), e);
    }
  }

  /** The gate variants under {@code filigree}: a list of names. */
  private Set<GateVariant> variants() {
    JsonNode names =
        object(FILIGREE).map(own -> own.path("variants")).orElse(MissingNode.getInstance());
    Set<GateVariant> out = EnumSet.noneOf(GateVariant.class);
    if (names.isMissingNode()) {
      return out;
    }
    for (JsonNode name : names) {
      out.add(GateVariant.of(name.asText()).orElseThrow(this::badVariants));
    }
    if (!names.isArray()) {
      throw badVariants();
    }
    return out;
  }

  private CheckpointException badVariants() {
    return new CheckpointException(
        "%s: %s.variants is %s, expected a list of %s"
            .formatted(
                where,
                FILIGREE,
                json.path(FILIGREE).path("variants"),
                Arrays.stream(GateVariant.values())
                    .map(GateVariant::label)
                    .collect(Collectors.joining(", "))));
  }

  /**
   * Returns Filigree's own settings, such as the gates of a sparse model.
   *
   * @return the object under the key {@code filigree}, or empty for an ordinary checkpoint
   * @throws CheckpointException where it is not an object
   */
  public Optional<ObjectNode> gates() {
    return object(FILIGREE).map(ObjectNode::deepCopy);
  }

  /**
   * Lists the keys that the translation does not know: neither read nor refused, nor among those
   * that change no value, such as {@code use_cache}.
   *
   * @return keys, in the order of the file; usually those of other tools
   * @throws CheckpointException where the config cannot be translated
   */
  public List<String> passedOver() {
    ConfigJson fresh = new ConfigJson(where, json);
    fresh.model(); // asks for every key that it knows
    return keys().stream()
        .filter(key -> !fresh.asked.contains(key) && !Translation.HARMLESS.contains(key))
        .toList();
  }

  /** A key with null counts as absent, as in Hugging Face's own configs. */
  private Optional<JsonNode> value(String key) {
    asked.add(key);
    JsonNode node = json.get(key);
    return node == null || node.isNull() ? Optional.empty() : Optional.of(node);
  }

  Optional<ObjectNode> object(String key) {
    return value(key)
        .map(
            node -> {
              if (node instanceof ObjectNode object) {
                return object;
              }
              throw wrong(key, "expected an object");
            });
  }

  Optional<String> text(String key) {
    return value(key)
        .map(
            node -> {
              if (node.isTextual()) {
                return node.textValue();
              }
              throw wrong(key, "expected a string");
            });
  }

  Optional<Boolean> flag(String key) {
    return value(key)
        .map(
            node -> {
              if (node.isBoolean()) {
                return node.booleanValue();
              }
              throw wrong(key, "expected true or false");
            });
  }

  /** A size or a count. */
  OptionalInt count(String key) {
    Optional<JsonNode> node = value(key);
    if (node.isEmpty()) {
      return OptionalInt.empty();
    }
    if (!node.get().isIntegralNumber()
        || !node.get().canConvertToInt()
        || node.get().intValue() < 1) {
      throw wrong(key, "expected a whole number from 1 to 2^31 - 1");
    }
    return OptionalInt.of(node.get().intValue());
  }

  int requireCount(String key) {
    return count(key)
        .orElseThrow(() -> new CheckpointException(where + ": the key " + key + " is missing"));
  }

  double requirePositive(String key) {
    return positive(key)
        .orElseThrow(() -> new CheckpointException(where + ": the key " + key + " is missing"));
  }

  /** Knows keys that say nothing where the family's other keys are as they are. */
  void mayHave(String... keys) {
    asked.addAll(List.of(keys));
  }

  /** Whether the key is there with null, which may say something else than a key that is absent. */
  boolean isNull(String key) {
    asked.add(key);
    return json.has(key) && json.get(key).isNull();
  }

  /** Refuses a list, one entry a layer, that says anything else than a word. */
  void refuseUnlessAll(String key, String word) {
    Optional<JsonNode> node = value(key);
    if (node.isEmpty()) {
      return;
    }
    if (!node.get().isArray()) {
      throw wrong(key, "expected a list");
    }
    for (JsonNode entry : node.get()) {
      if (!entry.isTextual() || !entry.textValue().equals(word)) {
        throw wrong(key, "only \"" + word + "\" is supported");
      }
    }
  }

  OptionalDouble positive(String key) {
    Optional<JsonNode> node = value(key);
    if (node.isEmpty()) {
      return OptionalDouble.empty();
    }
    double number = node.get().doubleValue();
    if (!node.get().isNumber() || !(number > 0) || Double.isInfinite(number)) {
      throw wrong(key, "expected a number above 0");
    }
    return OptionalDouble.of(number);
  }

  /**
   * Refuses a setting that changes the model in a way that is not supported.
   *
   * @param harmless the values, as JSON, that change nothing; absent and null are among them
   */
  void refuseUnless(String key, String... harmless) {
    Optional<JsonNode> node = value(key);
    if (node.isPresent() && !List.of(harmless).contains(node.get().toString())) {
      throw wrong(
          key,
          harmless.length == 0
              ? "which is not supported"
              : "only " + String.join(" or ", harmless) + " is supported");
    }
  }

  /** The same file, one object deeper. */
  ConfigJson inside(String key, ObjectNode object) {
    return new ConfigJson(where + ": " + key, object);
  }

  List<String> keys() {
    return json.propertyStream().map(Map.Entry::getKey).toList();
  }

  CheckpointException wrong(String key, String expected) {
    return new CheckpointException(
        "%s: %s is %s, %s".formatted(where, key, json.get(key), expected));
  }
}
