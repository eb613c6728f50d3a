package filigree.test.checkpoints;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.autograd.Pass;
import filigree.checkpoints.Checkpoint;
import filigree.checkpoints.CheckpointWriter;
import filigree.checkpoints.ConfigJson;
import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.Workspace;
import filigree.tensor.provider.Backend;
import filigree.transformer.Batch;
import filigree.transformer.Gates;
import filigree.transformer.InitialWeights;
import filigree.transformer.MemoryPlan;
import filigree.transformer.Parameters;
import filigree.transformer.Transformer;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Weights of 16 bits are read from the mapped file in the kernels' inner loops. A file that is cut
 * short meanwhile must be an error that the command line can put in a sentence, in every thread and
 * kernel: products of few rows, products of many, and the embedding's rows. Without the JVM's help
 * it would be a signal that ends the process.
 */
class VanishingFileTest {
  private static final String CONFIG =
      """
      {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 512,
       "max_position_embeddings": 64, "hidden_size": 128, "num_hidden_layers": 2,
       "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 384,
       "tie_word_embeddings": false}
      """;

  @TempDir Path folder;

  @ParameterizedTest
  @ValueSource(ints = {1, 3, 64})
  void aFileCutShortDuringARunIsAnErrorNotACrash(int tokens) throws IOException {
    ObjectNode json = (ObjectNode) new ObjectMapper().readTree(CONFIG);
    Path model = folder.resolve("model");
    CheckpointWriter.initialise(
        model,
        new CheckpointWriter.Initial(
            json,
            new InitialWeights(
                ConfigJson.of("test", json).model(), new Parameters.Draw(0.02, tokens)),
            DType.BF16,
            Optional.empty(),
            bytes -> {}),
        CheckpointWriter.Shards.ONE);
    int[] text = new int[tokens];
    Arrays.setAll(text, i -> i * 37 % 512);
    try (Checkpoint checkpoint = Checkpoint.open(model);
        Workspace memory = new Workspace("weights");
        Workspace scratch = new Workspace("pass");
        Kernels kernels = Backend.CPU.open(2);
        FileChannel file =
            FileChannel.open(model.resolve("model.safetensors"), StandardOpenOption.WRITE)) {
      Transformer transformer =
          new Transformer(
              checkpoint.config(),
              Parameters.of(checkpoint.config(), checkpoint.frozenWeights(memory)),
              memory);
      score(transformer, text, kernels, scratch); // all is well, and the loops are compiled or not
      file.truncate(4096);
      assertThatThrownBy(() -> score(transformer, text, kernels, scratch))
          .isInstanceOf(InternalError.class)
          .hasMessageContaining("fault occurred");
    }
  }

  private static void score(Transformer model, int[] text, Kernels kernels, Workspace scratch) {
    try (Pass pass = Pass.inference(kernels, scratch)) {
      Batch batch = Batch.nextToken(List.of(text), scratch);
      model.score(pass, batch, Gates.dense(), MemoryPlan.KEEP_BLOCKS);
    }
  }
}
