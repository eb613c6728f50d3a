package filigree.autograd;

import filigree.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/** One entry of the record: an operation that was applied, or a part that will be run again. */
final class Call {
  final Rule rule;
  final List<Var> inputs;
  final List<Var> outputs;
  final List<Tensor> saved;
  final Reads declared;

  /** What the rule will read, once for each input or output read. */
  final List<Buffers.Buffer> reads = new ArrayList<>();

  Call(Rule rule, List<Var> inputs, List<Var> outputs, List<Tensor> saved) {
    this.rule = rule;
    this.inputs = inputs;
    this.outputs = outputs;
    this.saved = saved;
    this.declared = rule.reads(this::needs);
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
