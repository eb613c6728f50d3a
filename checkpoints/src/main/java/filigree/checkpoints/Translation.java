package filigree.checkpoints;

import filigree.tensor.Elementwise;
import filigree.transformer.ModelConfig;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;

/** What a {@link Family} knows: its config's keys, and its tensors' names and layouts. */
sealed interface Translation permits Gpt2, Llama {
  /**
   * A config is small and a list of parameters is not: this ends a hostile one before it is made.
   * The deepest published models have some 130 layers.
   */
  int MAX_LAYERS = 10_000;

  /** The output matrix, in every family; never under the prefix. */
  String HEAD = "lm_head.weight";

  /**
   * Translates a config.
   *
   * @throws CheckpointException where a key is missing, of the wrong type or not supported
   */
  ModelConfig config(ConfigJson json);

  /**
   * Says where each parameter lies, under the names that the family's models with an output matrix
   * have; every parameter of the config occurs once.
   */
  List<Placement> placements(ModelConfig config);

  /**
   * The first part of all names but the head's. Checkpoints saved without an output matrix, such as
   * the original gpt2, lack it.
   */
  String prefix();

  /** Tensors, named without the prefix, that old versions stored and that are computed instead. */
  Pattern buffers();

  /**
   * The name, without the prefix, of the embedding, which a tied head repeats where it is stored.
   */
  String embedding();

  /** Refuses what no family here does. */
  static void refuseCommon(ConfigJson json) {
    json.refuseUnless("quantization_config");
    json.refuseUnless("is_encoder_decoder", "false");
    json.refuseUnless("add_cross_attention", "false");
    json.refuseUnless("pruned_heads", "{}");
    json.refuseUnless("rope_scaling");
    json.refuseUnless("sliding_window");
    json.refuseUnless("clip_qkv");
    json.refuseUnless("use_qk_norm", "false");
    json.refuseUnless("attn_logit_softcapping");
    json.refuseUnless("final_logit_softcapping");
  }

  static int layers(ConfigJson json, String key) {
    int layers = json.requireCount(key);
    if (layers > MAX_LAYERS) {
      throw json.wrong(key, "expected at most " + MAX_LAYERS);
    }
    return layers;
  }

  /** The names of transformers' ACT2FN. Its gelu_fast is the tanh form with rounded constants. */
  static Elementwise activation(ConfigJson json, String key, Elementwise usual) {
    Optional<String> name = json.text(key);
    if (name.isEmpty()) {
      return usual;
    }
    return switch (name.get()) {
      case "gelu" -> Elementwise.GELU;
      case "gelu_new", "gelu_fast", "gelu_pytorch_tanh" -> Elementwise.GELU_TANH;
      case "silu", "swish" -> Elementwise.SILU;
      case "relu" -> Elementwise.RELU;
      default ->
          throw json.wrong(
              key,
              "expected one of gelu, gelu_new, gelu_fast, gelu_pytorch_tanh, silu, swish, relu");
    };
  }

  static ModelConfig.Head head(ConfigJson json, ModelConfig.Head usual) {
    return json.flag("tie_word_embeddings")
        .map(tied -> tied ? ModelConfig.Head.TIED : ModelConfig.Head.UNTIED)
        .orElse(usual);
  }

  static ModelConfig.Bias bias(ConfigJson json, String key) {
    return json.flag(key).orElse(false) ? ModelConfig.Bias.PRESENT : ModelConfig.Bias.ABSENT;
  }

  static int headDim(ConfigJson json, String widthKey, String headsKey) {
    int width = json.requireCount(widthKey);
    int heads = json.requireCount(headsKey);
    if (width % heads != 0) {
      throw json.wrong(headsKey, "expected a divisor of " + widthKey + ", which is " + width);
    }
    return width / heads;
  }
}
