package filigree.checkpoints;

import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.transformer.ModelConfig;
import filigree.transformer.ModelConfig.Bias;
import filigree.transformer.ModelConfig.QkNorm;
import filigree.transformer.ModelConfig.Residual;

/**
 * OLMo-2 (arXiv 2501.00656): Llama with norms behind attention and MLP, and norms of all heads'
 * queries and keys together. Keys and defaults: transformers' {@code Olmo2Config}.
 */
record Olmo2() implements LlamaKin {
  @Override
  public Family family() {
    return Family.OLMO2;
  }

  @Override
  public String architecture() {
    return "Olmo2ForCausalLM";
  }

  @Override
  public ModelConfig config(ConfigJson json) {
    Translation.refuseForeign(json, "rope_scaling", "rope_parameters", "attention_bias");
    Bias bias = Translation.bias(json, "attention_bias", Bias.ABSENT);
    return LlamaKin.read(
        json,
        Traits.plain(json, LlamaKin.headDim(json))
            .withNorm(Residual.POST_NORM, LlamaKin.rms(json, 1e-5))
            .withBias(bias, bias)
            .withQkNorm(QkNorm.WHOLE));
  }

  @Override
  public void writeOwn(ObjectNode out, ModelConfig config) {
    out.put("attention_bias", LlamaKin.isPresent(config.attention().bias()));
  }
}
