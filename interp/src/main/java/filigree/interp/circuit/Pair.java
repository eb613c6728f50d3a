package filigree.interp.circuit;

import filigree.autograd.Site;
import filigree.tensor.Tensor;
import java.util.Map;

/**
 * The clean and the corrupted run of one batch.
 *
 * @param gates [batch, heads, query, key] by site, which both runs and all that are patched have;
 *     empty where gates decide by themselves
 */
record Pair(PromptBatch batch, Recorded clean, Recorded corrupted, Map<Site, Tensor> gates) {
  /** The run that is patched. */
  Recorded base(Direction direction) {
    return switch (direction) {
      case CORRUPT -> clean;
      case RESTORE -> corrupted;
    };
  }

  /** The run whose values are put into the other. */
  Recorded source(Direction direction) {
    return switch (direction) {
      case CORRUPT -> corrupted;
      case RESTORE -> clean;
    };
  }
}
