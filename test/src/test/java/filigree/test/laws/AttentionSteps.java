package filigree.test.laws;

import filigree.autograd.Op;
import filigree.autograd.Pass;
import filigree.autograd.Var;
import filigree.tensor.Arithmetic;
import filigree.tensor.AttentionSpec;
import filigree.tensor.Elementwise;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Transpose;
import java.util.ArrayList;
import java.util.List;

/** The formula of gated attention, head by head, from operations that have laws of their own. */
final class AttentionSteps {
  private AttentionSteps() {}

  /** Returns y [batch, query, heads, headDim] and the expected density [batch, heads]. */
  static List<Var> apply(Pass pass, AttentionSpec spec, List<Var> in) {
    long batch = in.get(0).shape().dim(0);
    long queries = in.get(0).shape().dim(1);
    long keys = in.get(1).shape().dim(1);
    List<Var> scores = new ArrayList<>();
    List<Var> values = new ArrayList<>();
    for (int head = 0; head < spec.heads(); head++) {
      int kv = head / (spec.heads() / spec.kvHeads());
      Var q = head(pass, in.get(0), head);
      Var k = head(pass, in.get(1), kv);
      values.add(head(pass, in.get(2), kv));
      Var product =
          pass.apply(
              new Op.Scale(spec.scale()),
              pass.apply(new Op.MatMul(Transpose.NO, Transpose.YES), q, k));
      scores.add(
          pass.apply(
              new Op.CausalMask(spec.window(), Double.NEGATIVE_INFINITY),
              product)); // [batch, 1, q, k]
    }
    Var s = pass.apply(new Op.Concat(1), scores.toArray(Var[]::new));
    Tensor bias = pass.scope().make(Shape.of(), s.value().dtype());
    pass.scope().kernels().fill(bias, spec.gate().biasOrZero());
    Var z = pass.apply(new Op.Combine(Arithmetic.ADD), s, pass.constant(bias));
    Var kept =
        pass.apply(
            new Op.Combine(Arithmetic.MULTIPLY),
            pass.apply(new Op.Softmax(), s),
            pass.apply(new Op.Gating(spec.gate()), z));
    List<Var> outs = new ArrayList<>();
    for (int head = 0; head < spec.heads(); head++) {
      Var pattern = pass.apply(new Op.Slice(1, head, head + 1), kept);
      outs.add(pass.apply(new Op.MatMul(Transpose.NO, Transpose.NO), pattern, values.get(head)));
    }
    Var y =
        pass.apply(Op.exchange(4, 1, 2), pass.apply(new Op.Concat(1), outs.toArray(Var[]::new)));
    Var open =
        pass.apply(
            new Op.CausalMask(spec.window(), 0), pass.apply(new Op.Map(Elementwise.SIGMOID), z));
    Var sum = pass.apply(new Op.Sum(Shape.of(batch, spec.heads(), 1, 1)), open);
    Var mean =
        pass.apply(
            new Op.Scale(1.0 / spec.pairs(queries, keys)),
            pass.apply(new Op.Reshape(Shape.of(batch, spec.heads())), sum));
    return List.of(y, mean);
  }

  /** One head of [batch, time, heads, headDim] as [batch, 1, time, headDim]. */
  private static Var head(Pass pass, Var x, int head) {
    return pass.apply(Op.exchange(4, 1, 2), pass.apply(new Op.Slice(2, head, head + 1), x));
  }
}
