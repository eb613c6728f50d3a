package filigree.interp.circuit;

/**
 * How a model is looked into.
 *
 * @param metric what counts as an answer
 * @param gateRule what gates do in runs that are patched; without effect on ordinary attention
 * @param batchSize prompts that are run at once
 * @param memoryBytes the most memory for the values of a run, again for what a method keeps beside
 *     it, and again for runs that are kept to be used again
 */
public record Settings(Metric metric, GateRule gateRule, int batchSize, long memoryBytes) {
  /** Checks the numbers. */
  public Settings {
    if (batchSize < 1) {
      throw new CircuitException("the batch size is " + batchSize + ", expected at least 1");
    }
    if (memoryBytes < 1) {
      throw new CircuitException("the memory is " + memoryBytes + " bytes, expected more than 0");
    }
  }

  /**
   * Gates decide again, 32 prompts at once, memory of 2 GiB.
   *
   * @param metric what counts as an answer
   * @return the settings
   */
  public static Settings of(Metric metric) {
    return new Settings(metric, GateRule.DECIDE_AGAIN, 32, 2L << 30);
  }
}
