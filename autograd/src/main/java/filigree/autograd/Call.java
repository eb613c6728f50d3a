package filigree.autograd;

import filigree.tensor.Tensor;
import java.util.List;

/** One recorded application of an operation. */
final class Call {
  final Op op;
  final List<Var> inputs;
  final List<Var> outputs;
  final Op.Result result;

  Call(Op op, List<Var> inputs, List<Var> outputs, Op.Result result) {
    this.op = op;
    this.inputs = inputs;
    this.outputs = outputs;
    this.result = result;
  }

  Tensor input(int i) {
    return inputs.get(i).value();
  }
}
