package filigree.interp.circuit;

import filigree.tensor.Tensor;
import java.util.List;

/**
 * What all senders wrote in a run of a batch. Heads are kept as the mixed values z, which are
 * shorter than what their output maps make of them.
 *
 * @param input [batch, time, width]
 * @param z per layer, [batch, time, heads, headDim]
 * @param mlp per layer, [batch, time, width]
 */
record Senders(Tensor input, List<Tensor> z, List<Tensor> mlp) {}
