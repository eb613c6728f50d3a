package filigree.checkpoints;

import static filigree.checkpoints.Placement.AS_IT_IS;
import static filigree.checkpoints.Placement.TRANSPOSED;

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
import filigree.transformer.ModelConfig.Sizes;
import java.util.List;
import java.util.regex.Pattern;

/**
 * GPT-2. Its linear maps were TensorFlow's one-wide convolutions, [in, out]; query, key and value
 * are one map. Keys and defaults: transformers' {@code GPT2Config}.
 */
record Gpt2() implements Translation {
  // The causal mask and the number that it put in, from before transformers 4.30.
  private static final Pattern BUFFERS = Pattern.compile("h\\.\\d+\\.attn\\.(bias|masked_bias)");

  @Override
  public ModelConfig config(ConfigJson json) {
    Translation.refuseForeign(json);
    json.refuseUnless("scale_attn_weights", "true");
    json.refuseUnless("scale_attn_by_inverse_layer_idx", "false");
    int width = json.requireCount("n_embd");
    int headDim = Translation.headDim(json, "n_embd", "n_head");
    int heads = json.requireCount("n_head");
    if (width > Integer.MAX_VALUE / 4) {
      throw json.wrong("n_embd", "expected at most a quarter of 2^31, the MLP's usual width");
    }
    int inner = json.count("n_inner").orElse(4 * width);
    return new ModelConfig(
        new Sizes(
            json.requireCount("vocab_size"),
            json.requireCount("n_positions"),
            Translation.layers(json, "n_layer"),
            width),
        new Norm(NormKind.LAYER, json.positive("layer_norm_epsilon").orElse(1e-5)),
        new Positions.Learned(),
        new Attention(heads, heads, headDim, Bias.PRESENT),
        new Mlp(
            MlpKind.PLAIN,
            inner,
            Translation.activation(json, "activation_function", Elementwise.GELU_TANH),
            Bias.PRESENT),
        Translation.head(json, Head.TIED));
  }

  @Override
  public ObjectNode json(ModelConfig config) {
    ObjectNode out = Json.MAPPER.createObjectNode();
    out.putArray("architectures").add("GPT2LMHeadModel");
    out.put("model_type", Family.GPT2.modelType());
    out.put("vocab_size", config.sizes().vocabulary());
    out.put("n_positions", config.sizes().context());
    out.put("n_embd", config.sizes().width());
    out.put("n_layer", config.sizes().layers());
    out.put("n_head", config.attention().heads());
    out.put("n_inner", config.mlp().width());
    out.put("activation_function", Translation.nameOf(config.mlp().activation()));
    out.put("layer_norm_epsilon", config.norm().epsilon());
    out.put("tie_word_embeddings", config.head() == Head.TIED);
    return out;
  }

  @Override
  public List<Placement> placements(ModelConfig config) {
    Placement.Listing out = new Placement.Listing(config);
    out.add("transformer.wte.weight", AS_IT_IS, "embed.weight");
    out.add("transformer.wpe.weight", AS_IT_IS, "positions.weight");
    for (int layer = 0; layer < config.sizes().layers(); layer++) {
      String from = "transformer.h." + layer + ".";
      String to = "blocks." + layer + ".";
      addBoth(out, from + "ln_1", AS_IT_IS, to + "norm1");
      addBoth(out, from + "attn.c_attn", TRANSPOSED, to + "attn.q", to + "attn.k", to + "attn.v");
      addBoth(out, from + "attn.c_proj", TRANSPOSED, to + "attn.o");
      addBoth(out, from + "ln_2", AS_IT_IS, to + "norm2");
      addBoth(out, from + "mlp.c_fc", TRANSPOSED, to + "mlp.up");
      addBoth(out, from + "mlp.c_proj", TRANSPOSED, to + "mlp.down");
    }
    addBoth(out, "transformer.ln_f", AS_IT_IS, "norm");
    if (config.head() == Head.UNTIED) {
      out.add(head(), AS_IT_IS, "head.weight");
    }
    return out.placements();
  }

  private static void addBoth(
      Placement.Listing out, String from, Placement.Layout weight, String... to) {
    Translation.addLinear(out, from, weight, Bias.PRESENT, to);
  }

  @Override
  public String prefix() {
    return "transformer.";
  }

  @Override
  public Pattern buffers() {
    return BUFFERS;
  }

  @Override
  public String embedding() {
    return "wte.weight";
  }

  @Override
  public String head() {
    return "lm_head.weight";
  }
}
