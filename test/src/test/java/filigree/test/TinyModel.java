package filigree.test;

import filigree.tensor.DType;
import filigree.tensor.Elementwise;
import filigree.tensor.Memory;
import filigree.tensor.Philox;
import filigree.transformer.Batch;
import filigree.transformer.ModelConfig;
import filigree.transformer.Parameters;
import filigree.transformer.TrainingData;
import filigree.transformer.Transformer;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/** A random model of GPT-2's kind that trains in milliseconds, and random text for it. */
public final class TinyModel {
  /** Tokens of a window. */
  public static final int TIME = 16;

  private static final int VOCABULARY = 23;

  private TinyModel() {}

  /**
   * Makes the model: 2 layers of 2 heads, width 32.
   *
   * @param memory owns its weights
   * @param seed chooses them
   * @return the model
   */
  public static Transformer make(Memory memory, long seed) {
    ModelConfig config =
        new ModelConfig(
            new ModelConfig.Sizes(VOCABULARY, TIME, 2, 32),
            new ModelConfig.Norm(ModelConfig.NormKind.LAYER, 1e-5),
            new ModelConfig.Positions.Learned(),
            new ModelConfig.Attention(2, 2, 16, ModelConfig.Bias.PRESENT),
            new ModelConfig.Mlp(
                ModelConfig.MlpKind.PLAIN, 64, Elementwise.GELU_TANH, ModelConfig.Bias.PRESENT),
            ModelConfig.Head.TIED);
    Parameters.Draw draw = new Parameters.Draw(0.02, seed);
    return new Transformer(config, Parameters.random(config, DType.F32, memory, draw), memory);
  }

  /**
   * Makes text: windows that count up from a random token, with random slips.
   *
   * @param seed chooses the text
   * @param batchSize windows in a batch
   * @return a batch for every step
   */
  public static TrainingData text(long seed, int batchSize) {
    return (step, memory) -> Batch.nextToken(windows(seed + (step << 20), batchSize), memory);
  }

  private static List<int[]> windows(long seed, int count) {
    Philox random = new Philox(seed, 3);
    List<int[]> out = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      int first = random.nextInt(VOCABULARY);
      out.add(
          IntStream.range(0, TIME)
              .map(
                  t ->
                      random.nextInt(8) == 0
                          ? random.nextInt(VOCABULARY)
                          : (first + t) % VOCABULARY)
              .toArray());
    }
    return out;
  }
}
