package filigree.checkpoints;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

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
import filigree.transformer.RotaryScaling;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ConfigJsonTest {
  @TempDir Path folder;

  private static ModelConfig model(String base, String changes) {
    ObjectNode json = Fixtures.object(base);
    json.setAll(Fixtures.object(changes.replace('\'', '"')));
    return ConfigJson.of("config.json", json).model();
  }

  @Test
  void gpt2WithItsDefaults() {
    assertThat(model(Fixtures.GPT2, "{}"))
        .isEqualTo(
            new ModelConfig(
                new Sizes(7, 5, 2, 6),
                new Norm(NormKind.LAYER, 1e-5),
                new Positions.Learned(),
                new Attention(3, 3, 2, Bias.PRESENT),
                new Mlp(MlpKind.PLAIN, 24, Elementwise.GELU_TANH, Bias.PRESENT),
                Head.TIED));
  }

  @Test
  void llamaWithItsDefaults() {
    assertThat(model(Fixtures.LLAMA, "{}"))
        .isEqualTo(
            new ModelConfig(
                new Sizes(7, 5, 2, 8),
                new Norm(NormKind.RMS, 1e-6),
                new Positions.Rotary(10_000),
                new Attention(4, 2, 2, Bias.ABSENT),
                new Mlp(MlpKind.GATED, 10, Elementwise.SILU, Bias.ABSENT),
                Head.UNTIED));
  }

  @Test
  void everySettingArrives() {
    ModelConfig gpt2 =
        model(
            Fixtures.GPT2,
            "{'n_inner': 11, 'activation_function': 'relu', 'layer_norm_epsilon': 0.25,"
                + " 'tie_word_embeddings': false, 'reorder_and_upcast_attn': true}");
    assertThat(gpt2.mlp()).isEqualTo(new Mlp(MlpKind.PLAIN, 11, Elementwise.RELU, Bias.PRESENT));
    assertThat(gpt2.norm().epsilon()).isEqualTo(0.25);
    assertThat(gpt2.head()).isEqualTo(Head.UNTIED);
    ModelConfig llama =
        model(
            Fixtures.LLAMA,
            "{'head_dim': 6, 'attention_bias': true, 'mlp_bias': true, 'hidden_act': 'gelu',"
                + " 'num_key_value_heads': null, 'tie_word_embeddings': true, 'rope_scaling': null,"
                + " 'pretraining_tp': 2, 'rms_norm_eps': 1e-05,"
                + " 'rope_parameters': {'rope_theta': 500000, 'rope_type': 'default'}}");
    assertThat(llama.attention()).isEqualTo(new Attention(4, 4, 6, Bias.PRESENT));
    assertThat(llama.mlp()).isEqualTo(new Mlp(MlpKind.GATED, 10, Elementwise.GELU, Bias.PRESENT));
    assertThat(llama.positions()).isEqualTo(new Positions.Rotary(500_000));
    assertThat(llama.norm().epsilon()).isEqualTo(1e-5);
    assertThat(llama.head()).isEqualTo(Head.TIED);
  }

  @ParameterizedTest
  @CsvSource({
    "gelu, GELU",
    "gelu_new, GELU_TANH",
    "gelu_fast, GELU_TANH",
    "gelu_pytorch_tanh, GELU_TANH",
    "silu, SILU",
    "swish, SILU",
    "relu, RELU"
  })
  void activations(String name, Elementwise expected) {
    assertThat(model(Fixtures.LLAMA, "{'hidden_act': '" + name + "'}").mlp().activation())
        .isEqualTo(expected);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "gpt2|{'model_type': 'bloom'}|model_type is \"bloom\", expected one of gpt2, llama,"
            + " mistral, qwen2, qwen3, olmo, olmo2, gpt_neox",
        "gpt2|{'model_type': null}|model_type is null, expected one of gpt2, llama",
        "gpt2|{'model_type': 2}|model_type is 2, expected a string",
        "gpt2|{'n_layer': '2'}|n_layer is \"2\", expected a whole number from 1",
        "gpt2|{'n_layer': 2.5}|n_layer is 2.5, expected a whole number",
        "gpt2|{'n_layer': 0}|n_layer is 0, expected a whole number from 1",
        "gpt2|{'n_layer': 2000000000}|n_layer is 2000000000, expected at most 10000",
        "gpt2|{'n_layer': null}|the key n_layer is missing",
        "gpt2|{'n_embd': 99999999999}|n_embd is 99999999999, expected a whole number",
        "gpt_neox|{'hidden_size': 2000000000}|the sizes make a model of about",
        "gpt2|{'n_head': 4}|n_head is 4, expected a divisor of n_embd, which is 6",
        "gpt2|{'activation_function': 'mish'}|activation_function is \"mish\", expected one of"
            + " gelu",
        "gpt2|{'layer_norm_epsilon': 0}|layer_norm_epsilon is 0, expected a number above 0",
        "gpt2|{'layer_norm_epsilon': 1e999}|layer_norm_epsilon is",
        "gpt2|{'tie_word_embeddings': 'yes'}|tie_word_embeddings is \"yes\", expected true or"
            + " false",
        "gpt2|{'scale_attn_weights': false}|scale_attn_weights is false, only true is supported",
        "gpt2|{'scale_attn_by_inverse_layer_idx': true}|only false is supported",
        "gpt2|{'add_cross_attention': true}|add_cross_attention is true, only false is supported",
        "gpt2|{'pruned_heads': {'1': [2]}}|pruned_heads is",
        "gpt2|{'quantization_config': {'bits': 4}}|quantization_config is {\"bits\":4}, which is"
            + " not",
        "llama|{'rope_scaling': {'rope_type': 'llama3'}}|rope_scaling: the key factor is missing",
        "llama|{'rope_scaling': {'type': 'yarn'}}|rope_scaling: type is \"yarn\", expected one of"
            + " default, linear, llama3",
        "llama|{'rope_scaling': {'type': 'linear'}}|rope_scaling: the key factor is missing",
        "llama|{'rope_scaling': {'type': 'linear', 'factor': 0.5}}|the factor is 0.5, expected at"
            + " least 1",
        "llama|{'rope_scaling': {'type': 'linear', 'factor': 2, 'beta': 1}}|rope_scaling: beta is"
            + " 1",
        "llama|{'rope_scaling': {'type': 'linear', 'rope_type': 'default'}}|rope_scaling: type is"
            + " \"linear\", and rope_type is",
        "llama|{'rope_scaling': {'type': 'linear', 'factor': 2}, 'rope_parameters': {'rope_theta':"
            + " 3}}|and rope_parameters says something else",
        "llama|{'rope_parameters': {'partial_rotary_factor': 0.5}}|rope_parameters:"
            + " partial_rotary_factor is 0.5, only 1",
        "llama|{'rope_theta': 'x'}|rope_theta is \"x\", expected a number above 0",
        "llama|{'rope_theta': 1, 'rope_parameters': {'rope_theta': 2}}|rope_parameters says 2.0",
        "llama|{'rope_parameters': {'rope_type': 'yarn'}}|rope_parameters: rope_type is \"yarn\"",
        "llama|{'rope_parameters': {'factor': 8.0}}|rope_parameters: factor is 8.0",
        "llama|{'rope_parameters': 3}|rope_parameters is 3, expected an object",
        "llama|{'partial_rotary_factor': 0.5}|partial_rotary_factor is 0.5, only 1",
        "llama|{'sliding_window': 4096}|sliding_window is 4096, which is not supported",
        "llama|{'num_key_value_heads': 3}|4 heads are not a multiple of 3 key-value heads",
        "llama|{'head_dim': 3}|even head length",
        "llama|{'head_dim': 2147483646}|num_attention_heads is 4, with heads of length",
        "llama|{'hidden_act': 1}|hidden_act is 1, expected a string",
        "llama|{'attention_bias': 1}|attention_bias is 1, expected true or false",
        "llama|{'clip_qkv': 8}|clip_qkv is 8, which is not supported",
        "llama|{'use_qk_norm': true}|use_qk_norm is true, only false is supported",
        "llama|{'layer_types': ['full_attention', 'sliding_attention']}|layer_types is",
        "llama|{'layer_types': 3}|layer_types is 3, expected a list",
        "llama|{'num_experts': 8}|num_experts is 8, which is not supported",
        "mistral|{'attention_bias': true}|attention_bias is true, only false is supported",
        "mistral|{'sliding_window': 0}|sliding_window is 0, expected a whole number",
        "mistral|{'sliding_window': 3, 'sliding_window_size': 4}|sliding_window_size is 4, and",
        "mistral|{'sliding_window': null, 'sliding_window_size': 4}|sliding_window_size is 4, and",
        "qwen2|{'use_sliding_window': true}|use_sliding_window is true, only false is supported",
        "qwen2|{'attention_bias': true}|attention_bias is true, only false is supported",
        "qwen3|{'use_sliding_window': true}|use_sliding_window is true, only false is supported",
        "olmo|{'sliding_window': 3}|sliding_window is 3, which is not supported",
        "olmo|{'clip_qkv': 0}|clip_qkv is 0, expected a number above 0",
        "olmo2|{'clip_qkv': 3}|clip_qkv is 3, which is not supported",
        "olmo2|{'mlp_bias': true}|mlp_bias is true, only false is supported",
        "gpt_neox|{'rotary_pct': 2}|the rotated fraction is 2.0, expected more than 0",
        "gpt_neox|{'rotary_pct': 0.75}|found 3 rotated elements of 4",
        "gpt_neox|{'hidden_act': 'gelu_fancy'}|hidden_act is \"gelu_fancy\", expected one of",
        "gpt_neox|{'num_key_value_heads': 1}|num_key_value_heads is 1, only 2 is supported",
        "gpt_neox|{'rope_scaling': {'type': 'dynamic', 'factor': 2}}|type is \"dynamic\"",
        "gpt_neox|{'quantization_config': {'bits': 4}}|quantization_config is"
      })
  void refusesAndNamesTheKeyAndTheValue(String base, String changes, String sentence) {
    assertThatThrownBy(() -> model(Fixtures.config(base), changes))
        .isInstanceOf(CheckpointException.class)
        .hasMessageStartingWith("config.json: ")
        .hasMessageContaining(sentence);
  }

  @Test
  void everyFamilyWithItsDefaults() {
    ModelConfig mistral = model(Fixtures.config("mistral"), "{}");
    assertThat(mistral.attention().window()).hasValue(4096); // transformers' own default
    assertThat(model(Fixtures.config("mistral"), "{'sliding_window': null}").attention().window())
        .isEmpty();
    assertThat(model(Fixtures.config("mistral"), "{'sliding_window_size': 9}").attention().window())
        .hasValue(9);
    Attention qwen2 =
        model(Fixtures.config("qwen2"), "{'sliding_window': 3, 'use_sliding_window': false}")
            .attention();
    assertThat(qwen2.bias()).isEqualTo(Bias.PRESENT);
    assertThat(qwen2.outputBias()).isEqualTo(Bias.ABSENT);
    assertThat(qwen2.window()).isEmpty();
    Attention qwen3 = model(Fixtures.config("qwen3"), "{}").attention();
    assertThat(qwen3.headDim()).isEqualTo(128);
    assertThat(qwen3.qkNorm()).isEqualTo(ModelConfig.QkNorm.PER_HEAD);
    ModelConfig olmo = model(Fixtures.config("olmo"), "{'clip_qkv': 8.0}");
    assertThat(olmo.norm()).isEqualTo(new Norm(NormKind.LAYER_WITHOUT_WEIGHTS, 1e-5));
    assertThat(olmo.attention().clip()).hasValue(8);
    ModelConfig olmo2 = model(Fixtures.config("olmo2"), "{}");
    assertThat(olmo2.residual()).isEqualTo(ModelConfig.Residual.POST_NORM);
    assertThat(olmo2.attention().qkNorm()).isEqualTo(ModelConfig.QkNorm.WHOLE);
    ModelConfig neox = model(Fixtures.config("gpt_neox"), "{'rotary_pct': 0.5}");
    assertThat(neox)
        .isEqualTo(
            new ModelConfig(
                new Sizes(7, 5, 2, 8),
                ModelConfig.Residual.PARALLEL,
                new Norm(NormKind.LAYER, 1e-5),
                new Positions.Rotary(10_000, 0.5, new RotaryScaling.None()),
                new Attention(2, 2, 4, Bias.PRESENT),
                new Mlp(MlpKind.PLAIN, 10, Elementwise.GELU, Bias.PRESENT),
                Head.UNTIED));
  }

  @Test
  void rotaryScalings() {
    String llama3 =
        "{'factor': 8.0, 'low_freq_factor': 1.0, 'high_freq_factor': 4.0,"
            + " 'original_max_position_embeddings': 8192, 'rope_type': 'llama3'";
    RotaryScaling expected = new RotaryScaling.Llama3(8, 1, 4, 8192);
    for (String changes :
        List.of(
            "{'rope_theta': 500000, 'rope_scaling': " + llama3 + "}}",
            "{'rope_parameters': " + llama3 + ", 'rope_theta': 500000}}",
            "{'rope_parameters': "
                + llama3
                + ", 'rope_theta': 500000}, 'rope_scaling': "
                + llama3
                + "}}")) {
      assertThat(model(Fixtures.LLAMA, changes).positions())
          .isEqualTo(new Positions.Rotary(500_000, 1, expected));
    }
    assertThat(
            model(Fixtures.LLAMA, "{'rope_scaling': {'type': 'linear', 'factor': 2}}").positions())
        .isEqualTo(new Positions.Rotary(10_000, 1, new RotaryScaling.Linear(2)));
  }

  /** What a family cannot say is not written as something else. */
  @Test
  void aConfigThatAFamilyLacksIsRefused() {
    ModelConfig windowed = model(Fixtures.config("mistral"), "{}");
    assertThat(ConfigJson.of("x", Family.MISTRAL.config(windowed)).model()).isEqualTo(windowed);
    assertThatThrownBy(() -> Family.LLAMA.config(windowed))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("the family llama has no such models");
  }

  @Test
  void keysOfOtherToolsAreListed() {
    ObjectNode json = Fixtures.object(Fixtures.config("qwen3"));
    json.put("use_cache", true).put("prefill_chunk_size", 3).put("max_window_layers", 2);
    assertThat(ConfigJson.of("x", json).passedOver()).containsExactly("prefill_chunk_size");
  }

  @ParameterizedTest
  @CsvSource({
    "gpt2, 124439808",
    "llama2_7b, 6738415616",
    "llama3_1_8b, 8030261248",
    "mistral_7b, 7241732096",
    "olmo-1b, 1176764416",
    "olmo-7b, 6888095744",
    "olmo2_7b, 7298617344",
    "pythia-70m, 70426624",
    "qwen2_0_5b, 494032768",
    "qwen3_0.6b, 596049920",
    "smollm_135m, 134515008",
    "tinyllama_1b_chat_v1.0, 1100048384"
  })
  void realConfigsHaveTheirPublishedSizes(String name, long parameters) {
    Path file = SharedData.require("configs").resolve(name + ".json");
    ConfigJson json = ConfigJson.read(file);
    ModelConfig config = json.model();
    assertThat(config.parameterCount()).isEqualTo(parameters);
    assertThat(
            json.family().translation().placements(config).stream()
                .mapToLong(placement -> placement.shape().size())
                .sum())
        .as("the tensors of its file")
        .isEqualTo(parameters);
    assertThat(ConfigJson.of("back", json.family().config(config)).model()).isEqualTo(config);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "[1]|does not hold a JSON object",
        "{\"a\": 1, \"a\": 2}|line 1 is not valid JSON (Duplicate",
        "{\"a\": 1} x|is not valid JSON",
        "{\"a\": NaN}|is not valid JSON",
        "{|is not valid JSON"
      })
  void refusesAFileThatIsNotOneObject(String text, String sentence) {
    Path file = Fixtures.write(folder.resolve("config.json"), text);
    assertThatThrownBy(() -> ConfigJson.read(file))
        .isInstanceOf(CheckpointException.class)
        .hasMessageStartingWith(file + ": ")
        .hasMessageContaining(sentence);
  }

  @Test
  void filigreeSettingsMustBeAnObject() {
    assertThat(ConfigJson.of("x", Fixtures.object("{}")).gates()).isEmpty();
    assertThat(ConfigJson.of("x", Fixtures.object("{\"filigree\": {\"a\": 1}}")).gates())
        .hasValueSatisfying(gates -> assertThat(gates.get("a").asInt()).isEqualTo(1));
    assertThatThrownBy(() -> ConfigJson.of("x", Fixtures.object("{\"filigree\": 3}")).gates())
        .hasMessage("x: filigree is 3, expected an object");
  }
}
