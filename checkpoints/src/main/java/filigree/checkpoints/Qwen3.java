package filigree.checkpoints;

import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.transformer.ModelConfig;
import filigree.transformer.ModelConfig.Bias;
import filigree.transformer.ModelConfig.QkNorm;

/**
 * Qwen3 (arXiv 2505.09388): Llama with norms of each head's queries and keys, and heads whose
 * length is not the width's share. Keys and defaults: transformers' {@code Qwen3Config}.
 */
record Qwen3() implements LlamaKin {
  @Override
  public Family family() {
    return Family.QWEN3;
  }

  @Override
  public String architecture() {
    return "Qwen3ForCausalLM";
  }

  private static final int USUAL_HEAD_DIM = 128;

  @Override
  public ModelConfig config(ConfigJson json) {
    Translation.refuseForeign(
        json, "rope_scaling", "rope_parameters", "sliding_window", "attention_bias");
    json.mayHave("sliding_window", "max_window_layers"); // as in Qwen2
    Bias bias = Translation.bias(json, "attention_bias", Bias.ABSENT);
    return LlamaKin.read(
        json,
        Traits.plain(json, json.count("head_dim").orElse(USUAL_HEAD_DIM))
            .withBias(bias, bias)
            .withQkNorm(QkNorm.PER_HEAD));
  }

  @Override
  public void writeOwn(ObjectNode out, ModelConfig config) {
    out.put("head_dim", config.attention().headDim());
    out.put("attention_bias", LlamaKin.isPresent(config.attention().bias()));
    out.put("use_sliding_window", false);
  }
}
