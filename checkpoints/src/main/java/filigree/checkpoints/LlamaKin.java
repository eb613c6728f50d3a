package filigree.checkpoints;

import static filigree.checkpoints.Placement.AS_IT_IS;

import com.fasterxml.jackson.databind.node.ObjectNode;
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
import filigree.transformer.ModelConfig.QkNorm;
import filigree.transformer.ModelConfig.Residual;
import filigree.transformer.ModelConfig.Sizes;
import java.util.List;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.regex.Pattern;

/**
 * The families whose configs and names descend from Llama's: rotary positions, a gated MLP, and the
 * keys and names of transformers' {@code LlamaConfig} and {@code LlamaForCausalLM}. A member says
 * what it does otherwise. Sizes have no default here.
 */
sealed interface LlamaKin extends Translation permits Llama, Mistral, Qwen2, Qwen3, Olmo, Olmo2 {
  // The wavelengths, stored per layer by transformers before 4.32.
  Pattern BUFFERS = Pattern.compile("(layers\\.\\d+\\.self_attn\\.)?rotary_emb\\.inv_freq");

  RotaryKeys ROTARY = new RotaryKeys("rope_theta", "partial_rotary_factor", 1);

  /** The member that this is. */
  Family family();

  /** The class of transformers that loads such a model. */
  String architecture();

  /**
   * What a member chooses.
   *
   * @param residual where norms stand
   * @param norm which norm
   * @param headDim length of a head's vectors
   * @param bias of queries, keys and values
   * @param outputBias of attention's output
   * @param qkNorm norms of queries and keys
   * @param clip limit of queries, keys and values
   * @param window how far a query sees
   * @param mlpBias of the MLP
   */
  record Traits(
      Residual residual,
      Norm norm,
      int headDim,
      Bias bias,
      Bias outputBias,
      QkNorm qkNorm,
      OptionalDouble clip,
      OptionalInt window,
      Bias mlpBias) {
    /** Llama's own choices, without biases. */
    static Traits plain(ConfigJson json, int headDim) {
      return new Traits(
          Residual.PRE_NORM,
          rms(json, 1e-6),
          headDim,
          Bias.ABSENT,
          Bias.ABSENT,
          QkNorm.ABSENT,
          OptionalDouble.empty(),
          OptionalInt.empty(),
          Bias.ABSENT);
    }

    Traits withBias(Bias inputs, Bias output) {
      return new Traits(residual, norm, headDim, inputs, output, qkNorm, clip, window, mlpBias);
    }

    Traits withMlpBias(Bias maps) {
      return new Traits(residual, norm, headDim, bias, outputBias, qkNorm, clip, window, maps);
    }

    Traits withNorm(Residual place, Norm which) {
      return new Traits(place, which, headDim, bias, outputBias, qkNorm, clip, window, mlpBias);
    }

    Traits withQkNorm(QkNorm kind) {
      return new Traits(residual, norm, headDim, bias, outputBias, kind, clip, window, mlpBias);
    }

    Traits withClip(OptionalDouble limit) {
      return new Traits(residual, norm, headDim, bias, outputBias, qkNorm, limit, window, mlpBias);
    }

    Traits withWindow(OptionalInt keys) {
      return new Traits(residual, norm, headDim, bias, outputBias, qkNorm, clip, keys, mlpBias);
    }
  }

  static Norm rms(ConfigJson json, double usualEpsilon) {
    return new Norm(NormKind.RMS, json.positive("rms_norm_eps").orElse(usualEpsilon));
  }

  /** What head_dim says, or else the width's share. */
  static int headDim(ConfigJson json) {
    return json.count("head_dim")
        .orElseGet(() -> Translation.headDim(json, "hidden_size", "num_attention_heads"));
  }

  /** Reads what all members have. */
  static ModelConfig read(ConfigJson json, Traits traits) {
    json.object("rope_parameters")
        .map(node -> json.inside("rope_parameters", node))
        .ifPresent(rope -> rope.refuseUnless("partial_rotary_factor", "1", "1.0"));
    int heads = json.requireCount("num_attention_heads");
    int kvHeads = json.count("num_key_value_heads").orElse(heads);
    if ((long) heads * traits.headDim() > Integer.MAX_VALUE) {
      throw json.wrong(
          "num_attention_heads", "with heads of length " + traits.headDim() + " too many");
    }
    return new ModelConfig(
        new Sizes(
            json.requireCount("vocab_size"),
            json.requireCount("max_position_embeddings"),
            Translation.layers(json, "num_hidden_layers"),
            json.requireCount("hidden_size")),
        traits.residual(),
        traits.norm(),
        ROTARY.read(json),
        new Attention(
            heads,
            kvHeads,
            traits.headDim(),
            traits.bias(),
            traits.outputBias(),
            traits.qkNorm(),
            traits.clip(),
            traits.window()),
        new Mlp(
            MlpKind.GATED,
            json.requireCount("intermediate_size"),
            Translation.activation(json, "hidden_act", Elementwise.SILU),
            traits.mlpBias()),
        Translation.head(json, Head.UNTIED));
  }

  /** Adds the keys that only this member has, or always writes. */
  void writeOwn(ObjectNode out, ModelConfig config);

  @Override
  default ObjectNode json(ModelConfig config) {
    ObjectNode out = Json.MAPPER.createObjectNode();
    out.putArray("architectures").add(architecture());
    out.put("model_type", family().modelType());
    out.put("vocab_size", config.sizes().vocabulary());
    out.put("hidden_size", config.sizes().width());
    out.put("intermediate_size", config.mlp().width());
    out.put("num_hidden_layers", config.sizes().layers());
    out.put("num_attention_heads", config.attention().heads());
    out.put("num_key_value_heads", config.attention().kvHeads());
    if (config.attention().headDim() * (long) config.attention().heads()
        != config.sizes().width()) {
      out.put("head_dim", config.attention().headDim());
    }
    out.put("hidden_act", Translation.nameOf(config.mlp().activation()));
    out.put("max_position_embeddings", config.sizes().context());
    if (config.norm().kind() == NormKind.RMS) {
      out.put("rms_norm_eps", config.norm().epsilon());
    }
    if (config.positions() instanceof Positions.Rotary rotary) {
      ROTARY.write(out, rotary);
    }
    out.put("tie_word_embeddings", config.head() == Head.TIED);
    writeOwn(out, config);
    return out;
  }

  static boolean isPresent(Bias bias) {
    return bias == Bias.PRESENT;
  }

  @Override
  default List<Placement> placements(ModelConfig config) {
    Placement.Listing out = new Placement.Listing(config);
    Attention attention = config.attention();
    boolean after = config.residual() == Residual.POST_NORM;
    boolean learned = config.norm().kind() != NormKind.LAYER_WITHOUT_WEIGHTS;
    out.add("model.embed_tokens.weight", AS_IT_IS, "embed.weight");
    for (int layer = 0; layer < config.sizes().layers(); layer++) {
      String from = "model.layers." + layer + ".";
      String to = "blocks." + layer + ".";
      if (learned) {
        String first = after ? "post_attention_layernorm" : "input_layernorm";
        String second = after ? "post_feedforward_layernorm" : "post_attention_layernorm";
        out.add(from + first + ".weight", AS_IT_IS, to + "norm1.weight");
        out.add(from + second + ".weight", AS_IT_IS, to + "norm2.weight");
      }
      for (String map : List.of("q", "k", "v")) {
        String name = from + "self_attn." + map + "_proj";
        Translation.addLinear(out, name, AS_IT_IS, attention.bias(), to + "attn." + map);
      }
      if (attention.qkNorm() != QkNorm.ABSENT) {
        out.add(from + "self_attn.q_norm.weight", AS_IT_IS, to + "attn.qnorm.weight");
        out.add(from + "self_attn.k_norm.weight", AS_IT_IS, to + "attn.knorm.weight");
      }
      Translation.addLinear(
          out, from + "self_attn.o_proj", AS_IT_IS, attention.outputBias(), to + "attn.o");
      for (String map : List.of("gate", "up", "down")) {
        String name = from + "mlp." + map + "_proj";
        Translation.addLinear(out, name, AS_IT_IS, config.mlp().bias(), to + "mlp." + map);
      }
    }
    if (learned) {
      out.add("model.norm.weight", AS_IT_IS, "norm.weight");
    }
    if (config.head() == Head.UNTIED) {
      out.add(head(), AS_IT_IS, "head.weight");
    }
    return out.placements();
  }

  @Override
  default String prefix() {
    return "model.";
  }

  @Override
  default Pattern buffers() {
    return BUFFERS;
  }

  @Override
  default String embedding() {
    return "embed_tokens.weight";
  }

  @Override
  default String head() {
    return "lm_head.weight";
  }
}
