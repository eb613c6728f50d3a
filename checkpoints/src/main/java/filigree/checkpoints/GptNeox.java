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
import filigree.transformer.ModelConfig.Residual;
import filigree.transformer.ModelConfig.Sizes;
import java.util.List;
import java.util.regex.Pattern;

/**
 * GPT-NeoX (arXiv 2204.06745), which Pythia is of (arXiv 2304.01373). Query, key and value are one
 * map whose rows go head by head: the first head's query, key and value, then the second's. Keys
 * and defaults: transformers' {@code GPTNeoXConfig}; sizes have no default here.
 */
record GptNeox() implements Translation {
  // The causal mask, the number that it put in, and the wavelengths, from before transformers 4.32.
  private static final Pattern BUFFERS =
      Pattern.compile("layers\\.\\d+\\.attention\\.(bias|masked_bias|rotary_emb\\.inv_freq)");

  private static final RotaryKeys ROTARY = new RotaryKeys("rotary_emb_base", "rotary_pct", 0.25);

  @Override
  public ModelConfig config(ConfigJson json) {
    Translation.refuseForeign(
        json,
        "rope_scaling",
        "rope_parameters",
        "rotary_pct",
        "attention_bias",
        "use_parallel_residual");
    int headDim = Translation.headDim(json, "hidden_size", "num_attention_heads");
    int heads = json.requireCount("num_attention_heads");
    json.refuseUnless("num_key_value_heads", Integer.toString(heads));
    json.refuseUnless("head_dim", Integer.toString(headDim));
    json.refuseUnless("rope_theta");
    Bias bias = Translation.bias(json, "attention_bias", Bias.PRESENT);
    boolean parallel = json.flag("use_parallel_residual").orElse(true);
    return new ModelConfig(
        new Sizes(
            json.requireCount("vocab_size"),
            json.requireCount("max_position_embeddings"),
            Translation.layers(json, "num_hidden_layers"),
            json.requireCount("hidden_size")),
        parallel ? Residual.PARALLEL : Residual.PRE_NORM,
        new Norm(NormKind.LAYER, json.positive("layer_norm_eps").orElse(1e-5)),
        ROTARY.read(json),
        new Attention(heads, heads, headDim, bias),
        new Mlp(
            MlpKind.PLAIN,
            json.requireCount("intermediate_size"),
            Translation.activation(json, "hidden_act", Elementwise.GELU),
            Bias.PRESENT),
        Translation.head(json, Head.UNTIED));
  }

  @Override
  public ObjectNode json(ModelConfig config) {
    ObjectNode out = Json.MAPPER.createObjectNode();
    out.putArray("architectures").add("GPTNeoXForCausalLM");
    out.put("model_type", Family.GPT_NEOX.modelType());
    out.put("vocab_size", config.sizes().vocabulary());
    out.put("hidden_size", config.sizes().width());
    out.put("intermediate_size", config.mlp().width());
    out.put("num_hidden_layers", config.sizes().layers());
    out.put("num_attention_heads", config.attention().heads());
    out.put("hidden_act", Translation.nameOf(config.mlp().activation()));
    out.put("max_position_embeddings", config.sizes().context());
    out.put("layer_norm_eps", config.norm().epsilon());
    if (config.positions() instanceof Positions.Rotary rotary) {
      ROTARY.write(out, rotary);
    }
    out.put("attention_bias", config.attention().bias() == Bias.PRESENT);
    out.put("use_parallel_residual", config.residual() == Residual.PARALLEL);
    out.put("tie_word_embeddings", config.head() == Head.TIED);
    return out;
  }

  @Override
  public List<Placement> placements(ModelConfig config) {
    Placement.Listing out = new Placement.Listing(config);
    Placement.Layout byHead = new Placement.HeadByHead(config.attention().heads());
    Bias bias = config.attention().bias();
    out.add("gpt_neox.embed_in.weight", AS_IT_IS, "embed.weight");
    for (int layer = 0; layer < config.sizes().layers(); layer++) {
      String from = "gpt_neox.layers." + layer + ".";
      String to = "blocks." + layer + ".";
      addBoth(out, from + "input_layernorm", to + "norm1");
      addBoth(out, from + "post_attention_layernorm", to + "norm2");
      Translation.addLinear(
          out,
          from + "attention.query_key_value",
          byHead,
          bias,
          to + "attn.q",
          to + "attn.k",
          to + "attn.v");
      Translation.addLinear(out, from + "attention.dense", AS_IT_IS, bias, to + "attn.o");
      addBoth(out, from + "mlp.dense_h_to_4h", to + "mlp.up");
      addBoth(out, from + "mlp.dense_4h_to_h", to + "mlp.down");
    }
    addBoth(out, "gpt_neox.final_layer_norm", "norm");
    if (config.head() == Head.UNTIED) {
      out.add(head(), AS_IT_IS, "head.weight");
    }
    return out.placements();
  }

  private static void addBoth(Placement.Listing out, String from, String to) {
    Translation.addLinear(out, from, AS_IT_IS, Bias.PRESENT, to);
  }

  @Override
  public String prefix() {
    return "gpt_neox.";
  }

  @Override
  public Pattern buffers() {
    return BUFFERS;
  }

  @Override
  public String embedding() {
    return "embed_in.weight";
  }

  @Override
  public String head() {
    return "embed_out.weight";
  }
}
