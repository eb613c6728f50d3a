package filigree.autograd;

import filigree.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/** One recorded application of an operation. */
final class Call {
  final Op op;
  final List<Var> inputs;
  final List<Var> outputs;
  final List<Tensor> saved;
  final Reads declared;

  /** What the rule will read, once for each input or output read. */
  final List<Buffers.Buffer> reads = new ArrayList<>();

  Call(Op op, List<Var> inputs, List<Var> outputs, List<Tensor> saved) {
    this.op = op;
    this.inputs = inputs;
    this.outputs = outputs;
    this.saved = saved;
    this.declared = op.reads(this::needs);
    for (int i = 0; i < inputs.size(); i++) {
      if (declared.inputs().test(i)) {
        reads.add(inputs.get(i).buffer());
      }
    }
    for (int i = 0; i < outputs.size(); i++) {
      if (declared.outputs().test(i)) {
        reads.add(outputs.get(i).buffer());
      }
    }
  }

  boolean needs(int i) {
    return inputs.get(i).differentiable();
  }
}
