package filigree.transformer;

import filigree.autograd.AdamW;
import filigree.autograd.Gradients;
import filigree.autograd.Pass;
import filigree.autograd.Var;

/**
 * How much memory a run takes for tensors: the run itself, done dry. The JVM adds about 150 MiB.
 *
 * @param weightBytes weights in memory
 * @param mappedBytes weights that stay in the file: they are paged in and out and need no memory of
 *     their own, but a run whose memory does not hold them reads them from the disk again and again
 * @param activationBytes what a step makes, gradients included
 * @param optimiserBytes moments of the weights
 * @param batch sequences at once
 * @param time tokens of each
 */
public record MemoryEstimate(
    long weightBytes,
    long mappedBytes,
    long activationBytes,
    long optimiserBytes,
    int batch,
    int time) {
  /**
   * What a model's weights take.
   *
   * @param residentBytes in memory
   * @param mappedBytes in the file
   */
  public record Weights(long residentBytes, long mappedBytes) {
    /**
     * Weights that are all in memory as F32.
     *
     * @param config the model
     * @return the bytes
     */
    public static Weights widened(ModelConfig config) {
      return new Weights(config.parameterCount() * Float.BYTES, 0);
    }
  }

  /** What is trained. */
  public enum Trained {
    /** Nothing: an evaluation. */
    NOTHING,
    /** Every weight. */
    ALL
  }

  /**
   * A run.
   *
   * @param batch sequences at once
   * @param time tokens of each
   * @param trained what is trained
   * @param plan what is kept and what is computed again
   */
  public record Task(int batch, int time, Trained trained, MemoryPlan plan) {}

  /**
   * Estimates.
   *
   * @param config the model
   * @param weights what its weights take
   * @param task the run
   * @return the estimate
   */
  public static MemoryEstimate of(ModelConfig config, Weights weights, Task task) {
    long[] moments = new long[1];
    long activations =
        DryRun.ofStep(
            config,
            task.batch(),
            task.time(),
            (model, batch, kernels, memory) -> {
              switch (task.trained()) {
                case NOTHING -> {
                  try (Pass pass = Pass.inference(kernels, memory)) {
                    model.score(pass, batch, Gates.dense(), task.plan());
                  }
                }
                case ALL -> {
                  try (Pass pass = Pass.recording(kernels, memory)) {
                    Var losses = model.score(pass, batch, Gates.dense(), task.plan()).losses();
                    Gradients gradients = pass.backward(Transformer.mean(pass, losses, batch));
                    moments[0] =
                        DryRun.reservedBytes(
                            (idle, state) ->
                                new AdamW(AdamW.Config.DEFAULT, param -> false, idle, state)
                                    .update(gradients, 0, 0));
                  }
                }
              }
            });
    return new MemoryEstimate(
        weights.residentBytes(),
        weights.mappedBytes(),
        activations,
        moments[0],
        task.batch(),
        task.time());
  }

  /**
   * Everything that must be in memory.
   *
   * @return bytes
   */
  public long totalBytes() {
    return weightBytes + activationBytes + optimiserBytes;
  }

  /**
   * Says what is needed.
   *
   * @return a phrase for logs and errors
   */
  public String describe() {
    String mapped =
        mappedBytes == 0 ? "" : ", and reads %s from the file".formatted(mebibytes(mappedBytes));
    return "%s of memory for windows of %d x %d tokens: weights %s, activations and gradients %s, optimiser %s%s"
        .formatted(
            mebibytes(totalBytes()),
            batch,
            time,
            mebibytes(weightBytes),
            mebibytes(activationBytes),
            mebibytes(optimiserBytes),
            mapped);
  }

  private static String mebibytes(long bytes) {
    return "%.1f MiB".formatted(bytes / 1048576.0);
  }
}
