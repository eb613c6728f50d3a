package filigree.checkpoints;

import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.transformer.ModelConfig;
import java.util.OptionalInt;

/**
 * Mistral (arXiv 2310.06825): Llama with a sliding window. Keys and defaults: transformers' {@code
 * MistralConfig}, where an absent window is one of 4096 tokens and null is none.
 */
record Mistral() implements LlamaKin {
  @Override
  public Family family() {
    return Family.MISTRAL;
  }

  @Override
  public String architecture() {
    return "MistralForCausalLM";
  }

  private static final String WINDOW = "sliding_window";

  /** MLC's name for it. */
  private static final String OTHER = "sliding_window_size";

  private static final int USUAL = 4096;

  @Override
  public ModelConfig config(ConfigJson json) {
    Translation.refuseForeign(json, "rope_scaling", "rope_parameters", WINDOW);
    return LlamaKin.read(json, Traits.plain(json, LlamaKin.headDim(json)).withWindow(window(json)));
  }

  private static OptionalInt window(ConfigJson json) {
    OptionalInt window = json.count(WINDOW);
    OptionalInt other = json.count(OTHER);
    boolean none = json.isNull(WINDOW);
    if (other.isPresent() && (none || window.isPresent()) && !other.equals(window)) {
      throw json.wrong(OTHER, "and sliding_window says something else; remove one");
    }
    if (none) {
      return OptionalInt.empty();
    }
    return window.isPresent() ? window : OptionalInt.of(other.orElse(USUAL));
  }

  @Override
  public void writeOwn(ObjectNode out, ModelConfig config) {
    if (config.attention().window().isPresent()) {
      out.put(WINDOW, config.attention().window().getAsInt());
    } else {
      out.putNull(WINDOW);
    }
  }
}
