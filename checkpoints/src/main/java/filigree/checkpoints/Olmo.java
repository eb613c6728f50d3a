package filigree.checkpoints;

import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.transformer.ModelConfig;
import filigree.transformer.ModelConfig.Bias;
import filigree.transformer.ModelConfig.Norm;
import filigree.transformer.ModelConfig.NormKind;
import filigree.transformer.ModelConfig.Residual;
import java.util.OptionalDouble;

/**
 * OLMo (arXiv 2402.00838): Llama with layer norms that have no weights, and a limit of queries,
 * keys and values. Keys and defaults: transformers' {@code OlmoConfig}.
 */
record Olmo() implements LlamaKin {
  @Override
  public Family family() {
    return Family.OLMO;
  }

  @Override
  public String architecture() {
    return "OlmoForCausalLM";
  }

  // transformers' OlmoLayerNorm.
  private static final double EPSILON = 1e-5;

  @Override
  public ModelConfig config(ConfigJson json) {
    Translation.refuseForeign(
        json, "rope_scaling", "rope_parameters", "attention_bias", "clip_qkv");
    Bias bias = Translation.bias(json, "attention_bias", Bias.ABSENT);
    return LlamaKin.read(
        json,
        Traits.plain(json, LlamaKin.headDim(json))
            .withNorm(Residual.PRE_NORM, new Norm(NormKind.LAYER_WITHOUT_WEIGHTS, EPSILON))
            .withBias(bias, bias)
            .withClip(json.positive("clip_qkv")));
  }

  @Override
  public void writeOwn(ObjectNode out, ModelConfig config) {
    out.put("attention_bias", LlamaKin.isPresent(config.attention().bias()));
    OptionalDouble clip = config.attention().clip();
    if (clip.isPresent()) {
      out.put("clip_qkv", clip.getAsDouble());
    } else {
      out.putNull("clip_qkv");
    }
  }
}
