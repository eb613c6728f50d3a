package filigree.checkpoints;

import static filigree.checkpoints.Placement.Layout.AS_IT_IS;

import filigree.tensor.Elementwise;
import filigree.transformer.ModelConfig;
import filigree.transformer.ModelConfig.Attention;
import filigree.transformer.ModelConfig.Bias;
import filigree.transformer.ModelConfig.Head;
import filigree.transformer.ModelConfig.Mlp;
import filigree.transformer.ModelConfig.MlpKind;
import filigree.transformer.ModelConfig.Norm;
import filigree.transformer.ModelConfig.NormKind;
import filigree.transformer.ModelConfig.Positions;
import filigree.transformer.ModelConfig.Sizes;
import java.util.List;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.regex.Pattern;

/** Llama. Keys and defaults: transformers' {@code LlamaConfig}; sizes have no default here. */
record Llama() implements Translation {
  // The wavelengths, stored per layer by transformers before 4.32.
  private static final Pattern BUFFERS =
      Pattern.compile("layers\\.\\d+\\.self_attn\\.rotary_emb\\.inv_freq");

  private static final Set<String> ROPE_KEYS =
      Set.of("rope_theta", "rope_type", "type", "partial_rotary_factor");

  @Override
  public ModelConfig config(ConfigJson json) {
    Translation.refuseCommon(json);
    json.refuseUnless("partial_rotary_factor", "1", "1.0");
    // Passed over, because they change no value: pretraining_tp splits products into slices and
    // sums them; attention_dropout matters in training, and Filigree trains without dropout.
    int heads = json.requireCount("num_attention_heads");
    int kvHeads = json.count("num_key_value_heads").orElse(heads);
    int headDim =
        json.count("head_dim")
            .orElseGet(() -> Translation.headDim(json, "hidden_size", "num_attention_heads"));
    if ((long) heads * headDim > Integer.MAX_VALUE) {
      throw json.wrong("num_attention_heads", "with heads of length " + headDim + " too many");
    }
    return new ModelConfig(
        new Sizes(
            json.requireCount("vocab_size"),
            json.requireCount("max_position_embeddings"),
            Translation.layers(json, "num_hidden_layers"),
            json.requireCount("hidden_size")),
        new Norm(NormKind.RMS, json.positive("rms_norm_eps").orElse(1e-6)),
        new Positions.Rotary(theta(json)),
        new Attention(heads, kvHeads, headDim, Translation.bias(json, "attention_bias")),
        new Mlp(
            MlpKind.GATED,
            json.requireCount("intermediate_size"),
            Translation.activation(json, "hidden_act", Elementwise.SILU),
            Translation.bias(json, "mlp_bias")),
        Translation.head(json, Head.UNTIED));
  }

  /** At the top, or in {@code rope_parameters} where transformers 5 writes it. */
  private static double theta(ConfigJson json) {
    OptionalDouble top = json.positive("rope_theta");
    OptionalDouble inside =
        json.object("rope_parameters")
            .map(object -> thetaInside(json.inside("rope_parameters", object)))
            .orElse(OptionalDouble.empty());
    if (top.isPresent() && inside.isPresent() && top.getAsDouble() != inside.getAsDouble()) {
      throw json.wrong(
          "rope_theta", "and rope_parameters says " + inside.getAsDouble() + "; remove one");
    }
    return inside.orElse(top.orElse(10_000));
  }

  private static OptionalDouble thetaInside(ConfigJson rope) {
    rope.refuseUnless("rope_type", "\"default\"");
    rope.refuseUnless("type", "\"default\"");
    rope.refuseUnless("partial_rotary_factor", "1", "1.0");
    for (String key : rope.keys()) {
      if (!ROPE_KEYS.contains(key)) {
        rope.refuseUnless(key);
      }
    }
    return rope.positive("rope_theta");
  }

  @Override
  public List<Placement> placements(ModelConfig config) {
    Placement.Listing out = new Placement.Listing(config);
    out.add("model.embed_tokens.weight", AS_IT_IS, "embed.weight");
    for (int layer = 0; layer < config.sizes().layers(); layer++) {
      String from = "model.layers." + layer + ".";
      String to = "blocks." + layer + ".";
      out.add(from + "input_layernorm.weight", AS_IT_IS, to + "norm1.weight");
      for (String map : List.of("q", "k", "v", "o")) {
        addLinear(
            out,
            from + "self_attn." + map + "_proj",
            to + "attn." + map,
            config.attention().bias());
      }
      out.add(from + "post_attention_layernorm.weight", AS_IT_IS, to + "norm2.weight");
      for (String map : List.of("gate", "up", "down")) {
        addLinear(out, from + "mlp." + map + "_proj", to + "mlp." + map, config.mlp().bias());
      }
    }
    out.add("model.norm.weight", AS_IT_IS, "norm.weight");
    if (config.head() == Head.UNTIED) {
      out.add(HEAD, AS_IT_IS, "head.weight");
    }
    return out.placements();
  }

  private static void addLinear(Placement.Listing out, String from, String to, Bias bias) {
    out.add(from + ".weight", AS_IT_IS, to + ".weight");
    if (bias == Bias.PRESENT) {
      out.add(from + ".bias", AS_IT_IS, to + ".bias");
    }
  }

  @Override
  public String prefix() {
    return "model.";
  }

  @Override
  public Pattern buffers() {
    return BUFFERS;
  }

  @Override
  public String embedding() {
    return "embed_tokens.weight";
  }
}
