package filigree.checkpoints;

import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.tensor.DType;
import filigree.tensor.Memory;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.transformer.ModelConfig.ParameterSpec;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.SequencedMap;

/** Small files of every kind, made by the tests themselves. */
final class Fixtures {
  private Fixtures() {}

  static final String GPT2 =
      """
      {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 7,
       "n_positions": 5, "n_embd": 6, "n_layer": 2, "n_head": 3, "torch_dtype": "float32"}
      """;

  static final String LLAMA =
      """
      {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 7,
       "max_position_embeddings": 5, "hidden_size": 8, "num_hidden_layers": 2,
       "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 10}
      """;

  static final String GPT_NEOX =
      """
      {"model_type": "gpt_neox", "architectures": ["GPTNeoXForCausalLM"], "vocab_size": 7,
       "max_position_embeddings": 5, "hidden_size": 8, "num_hidden_layers": 2,
       "num_attention_heads": 2, "intermediate_size": 10, "rotary_pct": 0.5}
      """;

  /** A small config of a family, its optional keys left out. */
  static String config(String family) {
    return switch (family) {
      case "gpt2" -> GPT2;
      case "gpt_neox" -> GPT_NEOX;
      default -> LLAMA.replace("\"llama\"", "\"" + family + "\"");
    };
  }

  static ObjectNode object(String json) {
    try {
      return (ObjectNode) Json.parse(json);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** A file with any header text, right or wrong, and any data. */
  static Path safetensors(Path file, String header, int dataBytes) {
    byte[] text = header.getBytes(StandardCharsets.UTF_8);
    ByteBuffer out = ByteBuffer.allocate(8 + text.length + dataBytes);
    out.order(ByteOrder.LITTLE_ENDIAN).putLong(text.length).put(text);
    for (int i = 0; i < dataBytes; i++) {
      out.put((byte) (i + 1));
    }
    return write(file, out.array());
  }

  static Path write(Path file, byte[] bytes) {
    try {
      return Files.write(file, bytes);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  static Path write(Path file, String text) {
    return write(file, text.getBytes(StandardCharsets.UTF_8));
  }

  /** Different numbers everywhere, so that an exchanged row or tensor is seen. */
  static Map<String, Tensor> weights(ObjectNode config, Memory memory) {
    Map<String, Tensor> out = new LinkedHashMap<>();
    float next = 1;
    for (ParameterSpec spec : ConfigJson.of("test", config).model().parameters()) {
      float[] values = new float[(int) spec.shape().size()];
      for (int i = 0; i < values.length; i++) {
        values[i] = next++ / 3;
      }
      out.put(spec.name(), Tensor.of(memory, spec.shape(), values));
    }
    return out;
  }

  /** Reads all tensors of a file as they are stored. */
  static SequencedMap<String, Tensor> stored(Path file, Memory memory) {
    SequencedMap<String, Tensor> out = new LinkedHashMap<>();
    try (Safetensors open = Safetensors.open(file)) {
      open.tensors().keySet().forEach(name -> out.put(name, open.copy(name, memory)));
    }
    return out;
  }

  static void save(Path folder, SequencedMap<String, Tensor> tensors) {
    Safetensors.write(
        folder.resolve("model.safetensors"),
        tensors,
        Map.of("format", "pt"),
        Safetensors.IfExists.REPLACE);
  }

  /** The upper halves of floats: bfloat16, rounded towards zero. */
  static Tensor rounded(Memory memory, Tensor floats) {
    short[] bits = new short[(int) floats.size()];
    for (int i = 0; i < bits.length; i++) {
      bits[i] = (short) (Float.floatToRawIntBits((float) floats.get(i)) >>> 16);
    }
    return halves(memory, DType.BF16, floats.shape(), bits);
  }

  /** Stores numbers in a type that only files have, by writing its bits. */
  static Tensor halves(Memory memory, DType dtype, Shape shape, short... bits) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment bytes = arena.allocateFrom(ValueLayout.JAVA_SHORT, bits);
      return Tensor.wrap(bytes, shape, dtype).copy(memory);
    }
  }
}
