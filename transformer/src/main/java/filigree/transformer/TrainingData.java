package filigree.transformer;

import filigree.tensor.Memory;

/**
 * Training batches as a function of the step alone, so that a resumed run reads what the
 * undisturbed one would have read.
 */
@FunctionalInterface
public interface TrainingData {
  /**
   * Makes the batch of one step.
   *
   * @param step from 1
   * @param memory owns the batch
   * @return the batch
   */
  Batch batch(long step, Memory memory);
}
