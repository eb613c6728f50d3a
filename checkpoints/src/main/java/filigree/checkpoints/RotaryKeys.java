package filigree.checkpoints;

import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.transformer.ModelConfig.Positions;
import filigree.transformer.RotaryScaling;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;

/**
 * The keys of rotary positions. Transformers 4 has them at the top of a config and the scaling in
 * {@code rope_scaling}; transformers 5 has all of them in {@code rope_parameters}.
 *
 * @param theta the base's key at the top
 * @param fraction the key at the top of the share of a head that is rotated
 * @param usualFraction where no key says it
 */
record RotaryKeys(String theta, String fraction, double usualFraction) {
  private static final double USUAL_THETA = 10_000;
  private static final String OLD = "rope_scaling";
  private static final String NEW = "rope_parameters";

  /** The settings that reading takes care of. */
  private static final Set<String> INSIDE =
      Set.of("rope_type", "type", "rope_theta", "partial_rotary_factor");

  Positions.Rotary read(ConfigJson json) {
    Optional<ConfigJson> scaling = json.object(OLD).map(node -> json.inside(OLD, node));
    Optional<ConfigJson> all = json.object(NEW).map(node -> json.inside(NEW, node));
    OptionalDouble newTheta = all.map(a -> a.positive("rope_theta")).orElse(OptionalDouble.empty());
    OptionalDouble newFraction =
        all.map(a -> a.positive("partial_rotary_factor")).orElse(OptionalDouble.empty());
    double base = only(json, theta, newTheta).orElse(USUAL_THETA);
    double share = only(json, fraction, newFraction).orElse(usualFraction);
    Optional<RotaryScaling> before = scaling.map(RotaryKeys::scaling);
    Optional<RotaryScaling> after = all.map(RotaryKeys::scaling);
    if (before.isPresent() && after.isPresent() && !before.equals(after)) {
      throw json.wrong(OLD, "and rope_parameters says something else; remove one");
    }
    return new Positions.Rotary(
        base, share, after.or(() -> before).orElse(new RotaryScaling.None()));
  }

  /** One of two places, or both with the same number. */
  private static OptionalDouble only(ConfigJson json, String key, OptionalDouble inside) {
    OptionalDouble top = json.positive(key);
    if (top.isPresent() && inside.isPresent() && top.getAsDouble() != inside.getAsDouble()) {
      throw json.wrong(key, "and rope_parameters says " + inside.getAsDouble() + "; remove one");
    }
    return inside.isPresent() ? inside : top;
  }

  private static RotaryScaling scaling(ConfigJson rope) {
    Optional<String> name = rope.text("rope_type");
    Optional<String> oldName = rope.text("type");
    if (name.isPresent() && oldName.isPresent() && !name.equals(oldName)) {
      throw rope.wrong("type", "and rope_type is \"" + name.get() + "\"; remove one");
    }
    String key = name.isPresent() ? "rope_type" : "type";
    String type = name.or(() -> oldName).orElse("default");
    return switch (type) {
      case "default" -> {
        refuseOthers(rope, List.of());
        yield new RotaryScaling.None();
      }
      case "linear" -> {
        refuseOthers(rope, List.of("factor"));
        yield new RotaryScaling.Linear(rope.requirePositive("factor"));
      }
      case "llama3" -> {
        refuseOthers(
            rope,
            List.of(
                "factor",
                "low_freq_factor",
                "high_freq_factor",
                "original_max_position_embeddings"));
        yield new RotaryScaling.Llama3(
            rope.requirePositive("factor"),
            rope.requirePositive("low_freq_factor"),
            rope.requirePositive("high_freq_factor"),
            rope.requireCount("original_max_position_embeddings"));
      }
      default -> throw rope.wrong(key, "expected one of default, linear, llama3");
    };
  }

  private static void refuseOthers(ConfigJson rope, List<String> read) {
    Set<String> known = new HashSet<>(INSIDE);
    known.addAll(read);
    for (String key : rope.keys()) {
      if (!known.contains(key)) {
        rope.refuseUnless(key);
      }
    }
  }

  /** Writes the keys as transformers 4 has them, which version 5 reads too. */
  void write(ObjectNode out, Positions.Rotary rotary) {
    out.put(theta, rotary.theta());
    if (rotary.fraction() != usualFraction) {
      out.put(fraction, rotary.fraction());
    }
    switch (rotary.scaling()) {
      case RotaryScaling.None() -> {}
      case RotaryScaling.Linear(double factor) ->
          out.putObject(OLD).put("rope_type", "linear").put("factor", factor);
      case RotaryScaling.Llama3(double factor, double low, double high, int context) ->
          out.putObject(OLD)
              .put("rope_type", "llama3")
              .put("factor", factor)
              .put("low_freq_factor", low)
              .put("high_freq_factor", high)
              .put("original_max_position_embeddings", context);
    }
  }
}
