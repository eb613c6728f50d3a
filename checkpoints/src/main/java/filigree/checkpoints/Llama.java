package filigree.checkpoints;

import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.transformer.ModelConfig;
import filigree.transformer.ModelConfig.Bias;

/** Llama 1 to 3. Keys and defaults: transformers' {@code LlamaConfig}. */
record Llama() implements LlamaKin {
  @Override
  public Family family() {
    return Family.LLAMA;
  }

  @Override
  public String architecture() {
    return "LlamaForCausalLM";
  }

  @Override
  public ModelConfig config(ConfigJson json) {
    Translation.refuseForeign(
        json, "rope_scaling", "rope_parameters", "attention_bias", "mlp_bias");
    Bias bias = Translation.bias(json, "attention_bias", Bias.ABSENT);
    return LlamaKin.read(
        json,
        Traits.plain(json, LlamaKin.headDim(json))
            .withBias(bias, bias)
            .withMlpBias(Translation.bias(json, "mlp_bias", Bias.ABSENT)));
  }

  @Override
  public void writeOwn(ObjectNode out, ModelConfig config) {
    out.put("attention_bias", LlamaKin.isPresent(config.attention().bias()));
    out.put("mlp_bias", LlamaKin.isPresent(config.mlp().bias()));
  }
}
