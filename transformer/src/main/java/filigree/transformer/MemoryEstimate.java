package filigree.transformer;

/**
 * How much memory a run takes for weights, activations, gradients and optimiser state, counted from
 * the tensors that each block makes. Float32 throughout. The JVM itself adds about 150 MiB.
 *
 * @param weightBytes the weights
 * @param forwardBytes everything that a forward run makes
 * @param batch sequences at once
 * @param time tokens of each
 */
public record MemoryEstimate(long weightBytes, long forwardBytes, int batch, int time) {
  private static final int BYTES = 4;

  /**
   * Counts.
   *
   * @param config the model
   * @param batch sequences at once
   * @param time tokens of each
   * @return the estimate
   */
  public static MemoryEstimate of(ModelConfig config, int batch, int time) {
    long width = config.sizes().width();
    long queries = (long) config.attention().heads() * config.attention().headDim();
    long keys = (long) config.attention().kvHeads() * config.attention().headDim();
    long mlp = config.mlp().width();
    boolean rotary = config.positions() instanceof ModelConfig.Positions.Rotary;
    boolean attentionBias = config.attention().bias() == ModelConfig.Bias.PRESENT;
    boolean outputBias = config.attention().outputBias() == ModelConfig.Bias.PRESENT;
    boolean mlpBias = config.mlp().bias() == ModelConfig.Bias.PRESENT;

    // A linear map with a bias makes two tensors: the product and the sum.
    long attention =
        (queries + 2 * keys) * (attentionBias ? 2 : 1) + width * (outputBias ? 2 : 1) + queries;
    if (rotary) {
      attention += queries + keys;
    }
    if (config.attention().qkNorm() != ModelConfig.QkNorm.ABSENT) {
      attention += queries + keys;
    }
    if (config.attention().clip().isPresent()) {
      attention += queries + 2 * keys;
    }
    long inner =
        config.mlp().kind() == ModelConfig.MlpKind.GATED
            ? 2 * mlp * (mlpBias ? 2 : 1) + 2 * mlp
            : mlp * (mlpBias ? 2 : 1) + mlp;
    long block = 2 * width + attention + 2 * width + inner + width * (mlpBias ? 2 : 1);
    long perToken = config.sizes().layers() * block + 3 * width + config.sizes().vocabulary();
    return new MemoryEstimate(
        config.parameterCount() * BYTES, perToken * batch * time * BYTES, batch, time);
  }

  /**
   * Memory to evaluate.
   *
   * @return bytes: weights and a forward run
   */
  public long evalBytes() {
    return weightBytes + forwardBytes;
  }

  /**
   * Memory to train all weights.
   *
   * @return bytes: weights, gradients, two moments, and a forward run that is kept; what the
   *     backward pass makes reuses what it frees
   */
  public long trainBytes() {
    return 4 * weightBytes + forwardBytes;
  }

  /**
   * Memory to post-train all weights beside a frozen teacher.
   *
   * @return bytes: as for training, with a second set of weights and a second forward run
   */
  public long sparsifyBytes() {
    return trainBytes() + evalBytes();
  }
}
