package filigree.checkpoints;

import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.tensor.Elementwise;
import filigree.transformer.ModelConfig;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;

/** What a {@link Family} knows: its config's keys, and its tensors' names and layouts. */
sealed interface Translation permits Gpt2, GptNeox, LlamaKin {
  /**
   * A config is small and a list of parameters is not: this ends a hostile one before it is made.
   * The deepest published models have some 130 layers.
   */
  int MAX_LAYERS = 10_000;

  /**
   * Keys that change no value: who wrote the file and how it is used; dropout, as Filigree trains
   * without; what is for heads that language models lack; what repeats another key ({@code n_ctx})
   * or changes the order of operations only ({@code pretraining_tp}, {@code
   * reorder_and_upcast_attn}).
   */
  Set<String> HARMLESS =
      Set.of(
          ConfigJson.FILIGREE,
          "_attn_implementation",
          "_name_or_path",
          "architectures",
          "attention_dropout",
          "attn_pdrop",
          "bos_token_id",
          "classifier_dropout",
          "dtype",
          "embd_pdrop",
          "eos_token_id",
          "hidden_dropout",
          "initializer_range",
          "n_ctx",
          "output_attentions",
          "output_hidden_states",
          "pad_token_id",
          "pretraining_tp",
          "reorder_and_upcast_attn",
          "resid_pdrop",
          "return_dict",
          "summary_activation",
          "summary_first_dropout",
          "summary_proj_to_labels",
          "summary_type",
          "summary_use_proj",
          "task_specific_params",
          "torch_dtype",
          "transformers_version",
          "unk_token_id",
          "use_cache");

  /**
   * Settings of one family or another that change a model, with the values that do not. A family
   * that has a setting reads it; in the configs of the others it is refused.
   */
  Map<String, List<String>> SETTINGS = settings();

  private static Map<String, List<String>> settings() {
    Map<String, List<String>> out = new LinkedHashMap<>();
    out.put("quantization_config", List.of());
    out.put("is_encoder_decoder", List.of("false"));
    out.put("add_cross_attention", List.of("false"));
    out.put("pruned_heads", List.of("{}"));
    out.put("rope_scaling", List.of());
    out.put("rope_parameters", List.of());
    out.put("partial_rotary_factor", List.of("1", "1.0"));
    out.put("rotary_pct", List.of("1", "1.0"));
    out.put("sliding_window", List.of());
    out.put("use_sliding_window", List.of("false"));
    out.put("clip_qkv", List.of());
    out.put("attention_bias", List.of("false"));
    out.put("qkv_bias", List.of("false"));
    out.put("mlp_bias", List.of("false"));
    out.put("use_qk_norm", List.of("false"));
    out.put("qk_layernorm", List.of("false"));
    out.put("use_parallel_residual", List.of("false"));
    out.put("parallel_attn", List.of("false"));
    out.put("alibi", List.of("false"));
    out.put("attn_logit_softcapping", List.of());
    out.put("final_logit_softcapping", List.of());
    out.put("query_pre_attn_scalar", List.of());
    out.put("attention_multiplier", List.of("1", "1.0"));
    out.put("embedding_multiplier", List.of("1", "1.0"));
    out.put("residual_multiplier", List.of("1", "1.0"));
    out.put("logits_scaling", List.of("1", "1.0"));
    out.put("logit_scale", List.of("1", "1.0"));
    out.put("num_experts", List.of());
    out.put("num_local_experts", List.of());
    return out;
  }

  /**
   * Translates a config.
   *
   * @throws CheckpointException where a key is missing, of the wrong type or not supported
   */
  ModelConfig config(ConfigJson json);

  /**
   * The other way: the config.json of a model of this family. What the family cannot say is left
   * out; {@link Family#config} finds that by reading back.
   */
  ObjectNode json(ModelConfig config);

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

  /** The output matrix; never under the prefix. */
  String head();

  /**
   * Refuses what the family does not do.
   *
   * @param read the settings that the family reads itself
   */
  static void refuseForeign(ConfigJson json, String... read) {
    Set<String> own = Set.of(read);
    SETTINGS.forEach(
        (key, harmless) -> {
          if (!own.contains(key)) {
            json.refuseUnless(key, harmless.toArray(String[]::new));
          }
        });
    json.refuseUnlessAll("layer_types", "full_attention");
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

  /** The name of an activation, or of a function that is none: reading that back fails. */
  static String nameOf(Elementwise activation) {
    return activation == Elementwise.GELU_TANH
        ? "gelu_new"
        : activation.name().toLowerCase(java.util.Locale.ROOT);
  }

  static ModelConfig.Head head(ConfigJson json, ModelConfig.Head usual) {
    return json.flag("tie_word_embeddings")
        .map(tied -> tied ? ModelConfig.Head.TIED : ModelConfig.Head.UNTIED)
        .orElse(usual);
  }

  static ModelConfig.Bias bias(ConfigJson json, String key, ModelConfig.Bias usual) {
    return json.flag(key)
        .map(biased -> biased ? ModelConfig.Bias.PRESENT : ModelConfig.Bias.ABSENT)
        .orElse(usual);
  }

  static int headDim(ConfigJson json, String widthKey, String headsKey) {
    int width = json.requireCount(widthKey);
    int heads = json.requireCount(headsKey);
    if (width % heads != 0) {
      throw json.wrong(headsKey, "expected a divisor of " + widthKey + ", which is " + width);
    }
    return width / heads;
  }

  /** Adds a weight and, where the map has one, a bias. */
  static void addLinear(
      Placement.Listing out,
      String from,
      Placement.Layout layout,
      ModelConfig.Bias bias,
      String... to) {
    out.add(from + ".weight", layout, suffixed(to, ".weight"));
    if (bias == ModelConfig.Bias.PRESENT) {
      Placement.Layout ofBias =
          switch (layout) {
            case Placement.AsItIs _, Placement.Transposed _ -> Placement.AS_IT_IS;
            case Placement.HeadByHead _ -> layout;
          };
      out.add(from + ".bias", ofBias, suffixed(to, ".bias"));
    }
  }

  private static String[] suffixed(String[] names, String suffix) {
    return Arrays.stream(names).map(name -> name + suffix).toArray(String[]::new);
  }
}
