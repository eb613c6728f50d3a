package filigree.checkpoints;

import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.transformer.ModelConfig;
import filigree.transformer.ModelConfig.Bias;

/**
 * Qwen2 (arXiv 2407.10671): Llama with biases of queries, keys and values. Keys and defaults:
 * transformers' {@code Qwen2Config}. Without use_sliding_window, sliding_window and
 * max_window_layers say nothing.
 */
record Qwen2() implements LlamaKin {
  @Override
  public Family family() {
    return Family.QWEN2;
  }

  @Override
  public String architecture() {
    return "Qwen2ForCausalLM";
  }

  @Override
  public ModelConfig config(ConfigJson json) {
    Translation.refuseForeign(json, "rope_scaling", "rope_parameters", "sliding_window");
    json.mayHave("sliding_window", "max_window_layers");
    return LlamaKin.read(
        json, Traits.plain(json, LlamaKin.headDim(json)).withBias(Bias.PRESENT, Bias.ABSENT));
  }

  @Override
  public void writeOwn(ObjectNode out, ModelConfig config) {
    out.put("use_sliding_window", false);
  }
}
