package filigree.interp.circuit;

import filigree.tensor.Tensor;
import java.util.List;

/**
 * What was kept of a run of a batch.
 *
 * @param senders what was written
 * @param residuals per layer, [batch, time, width]: the residual stream before the block
 * @param logits [batch, vocabulary] at the prompts' positions
 */
record Recorded(Senders senders, List<Tensor> residuals, Tensor logits) {}
