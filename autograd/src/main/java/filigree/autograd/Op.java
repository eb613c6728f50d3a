package filigree.autograd;

import filigree.tensor.Arithmetic;
import filigree.tensor.AttentionSpec;
import filigree.tensor.DType;
import filigree.tensor.Elementwise;
import filigree.tensor.Gate;
import filigree.tensor.Kernels;
import filigree.tensor.Rotation;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.TensorException;
import filigree.tensor.Transpose;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntPredicate;
import java.util.stream.IntStream;

/**
 * An operation: its value and its vector-Jacobian product, side by side. Attributes are record
 * components; only tensors are inputs. The set is closed, so that the laws (gradient against
 * central differences, gradient shapes, agreement of providers) are tested for every member; {@link
 * CustomOp} is the door for fused operations of other modules.
 */
public sealed interface Op extends Rule
    permits Op.Map,
        Op.Combine,
        Op.Scale,
        Op.Clip,
        Op.MatMul,
        Op.Linear,
        Op.Sum,
        Op.Reshape,
        Op.Permute,
        Op.Slice,
        Op.Concat,
        Op.Gather,
        Op.Softmax,
        Op.CausalMask,
        Op.Gating,
        Op.LayerNorm,
        Op.RmsNorm,
        Op.Rotary,
        Op.CrossEntropy,
        Op.HeadCrossEntropy,
        Op.Divergence,
        Op.Attention,
        CustomOp {

  /**
   * Computes the outputs.
   *
   * @param scope kernels and memory
   * @param inputs the inputs
   * @return outputs, and what the rule needs beside them
   */
  Result forward(Scope scope, List<Tensor> inputs);

  /**
   * Tells what the rule reads of inputs and outputs.
   *
   * @param needs tells which inputs need a gradient
   * @return what it reads, and no more
   */
  @Override
  Reads reads(IntPredicate needs);

  /**
   * The vector-Jacobian product: gives the gradient of every input that {@linkplain Backward#needs
   * needs} one.
   *
   * @param back inputs, outputs, arrived gradients
   */
  @Override
  void vjp(Backward back);

  /** Whose bytes the outputs are. */
  enum Ownership {
    /** Newly made. */
    NEW,
    /** Those of an input. */
    VIEW
  }

  /**
   * What an operation computed.
   *
   * @param outputs all outputs, those with a gradient first
   * @param differentiableOutputs how many outputs have a gradient
   * @param saved other tensors that the rule needs; freed by the pass
   * @param ownership whose bytes the outputs are
   */
  record Result(
      List<Tensor> outputs, int differentiableOutputs, List<Tensor> saved, Ownership ownership) {
    static Result of(Tensor out, Tensor... saved) {
      return new Result(List.of(out), 1, List.of(saved), Ownership.NEW);
    }

    static Result view(Tensor out) {
      return new Result(List.of(out), 1, List.of(), Ownership.VIEW);
    }
  }

  // ---------------------------------------------------------------- elements

  /**
   * A function of each element.
   *
   * @param function which
   */
  record Map(Elementwise function) implements Op {
    @Override
    public Result forward(Scope scope, List<Tensor> in) {
      return Result.of(scope.map(function, in.getFirst()));
    }

    @Override
    public Reads reads(IntPredicate needs) {
      return Reads.EVERYTHING;
    }

    @Override
    public void vjp(Backward back) {
      Tensor dx = back.overGradient();
      back.scope()
          .kernels()
          .mapBackward(function, back.input(0), back.output(0), back.gradient(), dx);
      back.give(0, dx);
    }
  }

  /**
   * An operation on two tensors, broadcast by NumPy's rule.
   *
   * @param op which
   */
  record Combine(Arithmetic op) implements Op {
    @Override
    public Result forward(Scope scope, List<Tensor> in) {
      return Result.of(scope.combine(op, in.get(0), in.get(1)));
    }

    @Override
    public Reads reads(IntPredicate needs) {
      return switch (op) {
        case ADD, SUBTRACT -> Reads.NOTHING;
        case MULTIPLY -> new Reads(i -> needs.test(1 - i), i -> false);
        case DIVIDE -> new Reads(i -> i == 1, i -> needs.test(1));
      };
    }

    @Override
    public void vjp(Backward back) {
      if (back.needs(0)) {
        switch (op) {
          case ADD, SUBTRACT -> back.give(0, own(back, 0));
          case MULTIPLY, DIVIDE -> back.give(0, combined(back, 0, back.input(1)));
        }
      }
      if (back.needs(1)) {
        switch (op) {
          case ADD -> back.give(1, own(back, 1));
          case SUBTRACT -> back.give(1, negated(back, 1));
          case MULTIPLY -> back.give(1, combined(back, 1, back.input(0)));
          case DIVIDE -> {
            // d(a/b)/db = -(a/b)/b
            Scope scope = back.scope();
            Tensor quotient = scope.combine(Arithmetic.DIVIDE, back.output(0), back.input(1));
            scope.kernels().combine(Arithmetic.MULTIPLY, quotient, back.gradient(), quotient);
            scope.kernels().scale(-1, quotient, quotient);
            back.give(1, scope.collapse(quotient, back.shape(1)));
          }
        }
      }
    }

    /** The arrived gradient itself where nothing was broadcast; the pass counts its owners. */
    private static Tensor own(Backward back, int i) {
      Tensor gradient = back.gradient();
      if (gradient.shape().equals(back.shape(i))) {
        return gradient;
      }
      Tensor out = back.like(i);
      back.scope().kernels().sumTo(gradient, out);
      return out;
    }

    private static Tensor negated(Backward back, int i) {
      Tensor gradient = back.gradient();
      if (gradient.shape().equals(back.shape(i))) {
        Tensor out = back.overGradient();
        back.scope().kernels().scale(-1, gradient, out);
        return out;
      }
      return back.scope().collapse(back.scope().scaled(-1, gradient), back.shape(i));
    }

    /** The gradient times or over a factor. */
    private Tensor combined(Backward back, int i, Tensor factor) {
      Tensor gradient = back.gradient();
      boolean last = i == 1 || !back.needs(1);
      if (last && gradient.shape().equals(back.shape(i))) {
        Tensor out = back.overGradient();
        back.scope().kernels().combine(op, gradient, factor, out);
        return out;
      }
      return back.scope().collapse(back.scope().combine(op, gradient, factor), back.shape(i));
    }
  }

  /**
   * Multiplication by a number.
   *
   * @param factor the number
   */
  record Scale(double factor) implements Op {
    @Override
    public Result forward(Scope scope, List<Tensor> in) {
      return Result.of(scope.scaled(factor, in.getFirst()));
    }

    @Override
    public Reads reads(IntPredicate needs) {
      return Reads.NOTHING;
    }

    @Override
    public void vjp(Backward back) {
      Tensor dx = back.overGradient();
      back.scope().kernels().scale(factor, back.gradient(), dx);
      back.give(0, dx);
    }
  }

  /**
   * Limits elements to -limit to limit; where one lies outside, the gradient is 0.
   *
   * @param limit more than 0
   */
  record Clip(double limit) implements Op {
    @Override
    public Result forward(Scope scope, List<Tensor> in) {
      Tensor out = scope.like(in.getFirst());
      scope.kernels().clip(limit, in.getFirst(), out);
      return Result.of(out);
    }

    @Override
    public Reads reads(IntPredicate needs) {
      return Reads.inputs(0);
    }

    @Override
    public void vjp(Backward back) {
      Tensor dx = back.overGradient();
      back.scope().kernels().clipBackward(limit, back.input(0), back.gradient(), dx);
      back.give(0, dx);
    }
  }

  // ---------------------------------------------------------------- products and sums

  /**
   * The matrix product of the last two axes; axes before them are equal in both, or the right
   * matrix has none.
   *
   * @param ta whether the left operand is transposed
   * @param tb whether the right operand is transposed
   */
  record MatMul(Transpose ta, Transpose tb) implements Op {
    @Override
    public Result forward(Scope scope, List<Tensor> in) {
      Tensor a = in.get(0);
      Tensor b = in.get(1);
      if (ta == Transpose.YES && a.shape().rank() != b.shape().rank()) {
        throw new TensorException(
            "matmul: a transposed left operand needs a right one of the same rank, found %s and %s"
                .formatted(a.shape(), b.shape()));
      }
      long m = a.shape().dim(ta == Transpose.NO ? -2 : -1);
      long n = b.shape().dim(tb == Transpose.NO ? -1 : -2);
      long[] dims = a.shape().dims();
      dims[dims.length - 2] = m;
      dims[dims.length - 1] = n;
      Tensor out = scope.make(Shape.of(dims), a.dtype());
      scope.kernels().matmul(1, a, ta, b, tb, 0, out);
      return Result.of(out);
    }

    @Override
    public Reads reads(IntPredicate needs) {
      return factors(needs);
    }

    @Override
    public void vjp(Backward back) {
      giveLeft(back);
      giveRight(back);
    }

    private void giveLeft(Backward back) {
      Kernels kernels = back.scope().kernels();
      Tensor g = back.gradient();
      if (back.needs(0)) {
        Tensor b = back.input(1);
        back.accumulate(
            0,
            (da, beta) -> {
              if (ta == Transpose.NO) {
                kernels.matmul(1, g, Transpose.NO, b, tb.flip(), beta, da); // dA = G op(B)^T
              } else {
                kernels.matmul(1, b, tb, g, Transpose.YES, beta, da); // dA = op(B) G^T
              }
            });
      }
    }

    private void giveRight(Backward back) {
      Kernels kernels = back.scope().kernels();
      Tensor g = back.gradient();
      if (back.needs(1)) {
        // One matrix may have served all rows: the batch axes then join the contracted one.
        boolean shared = back.shape(1).rank() == 2;
        Tensor a = shared ? rows(back.input(0)) : back.input(0);
        Tensor dc = shared ? rows(g) : g;
        back.accumulate(
            1,
            (db, beta) -> {
              if (tb == Transpose.NO) {
                kernels.matmul(1, a, ta.flip(), dc, Transpose.NO, beta, db); // dB = op(A)^T G
              } else {
                kernels.matmul(1, dc, Transpose.YES, a, ta, beta, db); // dB = G^T op(A)
              }
            });
      }
    }

    /** Each factor is read for the gradient of the other. */
    private static Reads factors(IntPredicate needs) {
      return new Reads(i -> i < 2 && needs.test(1 - i), i -> false);
    }

    private static Tensor rows(Tensor x) {
      return x.reshape(Shape.of(x.shape().rows(), x.shape().dim(-1)));
    }
  }

  /**
   * A linear map: inputs are x [..., m, in], the weight, which may be stored in 16 bits, and, where
   * the map has one, a bias [out]; {@code y = x op(weight) + bias}.
   *
   * @param orientation whether the weight is [out, in], which is read transposed, or [in, out]
   */
  record Linear(Transpose orientation) implements Op {
    @Override
    public Result forward(Scope scope, List<Tensor> in) {
      Tensor x = in.get(0);
      Tensor weight = in.get(1);
      long[] dims = x.shape().dims();
      dims[dims.length - 1] = weight.shape().dim(orientation == Transpose.YES ? 0 : 1);
      Tensor out = scope.make(Shape.of(dims), x.dtype());
      if (in.size() > 2) {
        scope.kernels().affine(x, weight, orientation, in.get(2), out);
      } else {
        scope.kernels().matmul(1, x, Transpose.NO, weight, orientation, 0, out);
      }
      return Result.of(out);
    }

    @Override
    public Reads reads(IntPredicate needs) {
      return MatMul.factors(needs);
    }

    @Override
    public void vjp(Backward back) {
      MatMul product = new MatMul(Transpose.NO, orientation);
      product.giveLeft(back);
      if (back.inputs() < 3 || !back.needs(2)) {
        product.giveRight(back);
        return;
      }
      Kernels kernels = back.scope().kernels();
      Tensor g = back.gradient();
      Tensor dbias = back.like(2);
      if (back.needs(1) && orientation == Transpose.YES) {
        Tensor x = back.input(0);
        back.accumulate(1, (dweight, beta) -> kernels.affineBackward(g, x, beta, dweight, dbias));
      } else {
        product.giveRight(back);
        kernels.sumTo(g, dbias);
      }
      back.give(2, dbias);
    }
  }

  /**
   * The sum over the axes along which {@code to} would be broadcast.
   *
   * @param to the shape that is left; a scalar sums everything
   */
  record Sum(Shape to) implements Op {
    @Override
    public Result forward(Scope scope, List<Tensor> in) {
      Tensor out = scope.make(to, in.getFirst().dtype());
      scope.kernels().sumTo(in.getFirst(), out);
      return Result.of(out);
    }

    @Override
    public Reads reads(IntPredicate needs) {
      return Reads.NOTHING;
    }

    @Override
    public void vjp(Backward back) {
      Kernels kernels = back.scope().kernels();
      back.accumulate(
          0,
          (dx, beta) -> {
            if (beta == 0) {
              kernels.fill(dx, 0);
            }
            kernels.combine(Arithmetic.ADD, dx, back.gradient(), dx);
          });
    }
  }

  // ---------------------------------------------------------------- shapes

  /**
   * The same elements under another shape.
   *
   * @param to the shape
   */
  record Reshape(Shape to) implements Op {
    @Override
    public Result forward(Scope scope, List<Tensor> in) {
      return Result.view(in.getFirst().reshape(to));
    }

    @Override
    public Reads reads(IntPredicate needs) {
      return Reads.NOTHING;
    }

    @Override
    public void vjp(Backward back) {
      back.give(0, back.gradient().reshape(back.shape(0)));
    }
  }

  /**
   * A permutation of the axes.
   *
   * @param axes which input axis becomes output axis 0, 1, ...
   */
  record Permute(List<Integer> axes) implements Op {
    @Override
    public Result forward(Scope scope, List<Tensor> in) {
      return Result.of(permuted(scope, in.getFirst(), order()));
    }

    @Override
    public Reads reads(IntPredicate needs) {
      return Reads.NOTHING;
    }

    @Override
    public void vjp(Backward back) {
      int[] order = order();
      int[] inverse = new int[order.length];
      for (int i = 0; i < order.length; i++) {
        inverse[order[i]] = i;
      }
      back.give(0, permuted(back.scope(), back.gradient(), inverse));
    }

    private int[] order() {
      return axes.stream().mapToInt(Integer::intValue).toArray();
    }

    private static Tensor permuted(Scope scope, Tensor x, int[] order) {
      long[] dims = Arrays.stream(order).mapToLong(x.shape()::dim).toArray();
      Tensor out = scope.make(Shape.of(dims), x.dtype());
      scope.kernels().permute(x, order, out);
      return out;
    }
  }

  /**
   * A range of one axis.
   *
   * @param axis the axis, from the front
   * @param from the first index kept
   * @param to one past the last index kept
   */
  record Slice(int axis, long from, long to) implements Op {
    @Override
    public Result forward(Scope scope, List<Tensor> in) {
      Tensor x = in.getFirst();
      if (from < 0 || to < from || to > x.shape().dim(axis)) {
        throw new TensorException(
            "slice: %d to %d along axis %d of shape %s".formatted(from, to, axis, x.shape()));
      }
      long[] dims = x.shape().dims();
      dims[axis] = to - from;
      Tensor out = scope.make(Shape.of(dims), x.dtype());
      scope.kernels().copyAlong(x, from, out, 0, axis, to - from);
      return Result.of(out);
    }

    @Override
    public Reads reads(IntPredicate needs) {
      return Reads.NOTHING;
    }

    @Override
    public void vjp(Backward back) {
      Tensor dx = back.like(0);
      back.scope().kernels().fill(dx, 0);
      back.scope().kernels().copyAlong(back.gradient(), 0, dx, from, axis, to - from);
      back.give(0, dx);
    }
  }

  /**
   * Several tensors in a row along one axis.
   *
   * @param axis the axis, from the front
   */
  record Concat(int axis) implements Op {
    @Override
    public Result forward(Scope scope, List<Tensor> in) {
      long[] dims = in.getFirst().shape().dims();
      dims[axis] = in.stream().mapToLong(x -> x.shape().dim(axis)).sum();
      Tensor out = scope.make(Shape.of(dims), in.getFirst().dtype());
      long at = 0;
      for (Tensor x : in) {
        long length = x.shape().dim(axis);
        scope.kernels().copyAlong(x, 0, out, at, axis, length);
        at += length;
      }
      return Result.of(out);
    }

    @Override
    public Reads reads(IntPredicate needs) {
      return Reads.NOTHING;
    }

    @Override
    public void vjp(Backward back) {
      long at = 0;
      for (int i = 0; at < back.gradient().shape().dim(axis); i++) {
        long length = back.shape(i).dim(axis);
        if (back.needs(i)) {
          Tensor dx = back.like(i);
          back.scope().kernels().copyAlong(back.gradient(), at, dx, 0, axis, length);
          back.give(i, dx);
        }
        at += length;
      }
    }
  }

  /**
   * Rows of a table by their numbers: inputs are the table, which may be stored in 16 bits, and the
   * I32 numbers.
   */
  record Gather() implements Op {
    @Override
    public Result forward(Scope scope, List<Tensor> in) {
      Tensor table = in.get(0);
      Tensor ids = in.get(1);
      long[] dims = Arrays.copyOf(ids.shape().dims(), ids.shape().rank() + 1);
      dims[dims.length - 1] = table.shape().dim(1);
      Tensor out = scope.make(Shape.of(dims), table.dtype().computing());
      scope.kernels().gather(table, ids, out);
      return Result.of(out);
    }

    @Override
    public Reads reads(IntPredicate needs) {
      return Reads.inputs(1);
    }

    @Override
    public void vjp(Backward back) {
      Kernels kernels = back.scope().kernels();
      back.accumulate(
          0,
          (dtable, beta) -> {
            if (beta == 0) {
              kernels.fill(dtable, 0);
            }
            kernels.scatterAdd(back.input(1), back.gradient(), dtable);
          });
    }
  }

  // ---------------------------------------------------------------- attention, in steps

  /** Rows along the last axis, normalised to sum 1. */
  record Softmax() implements Op {
    @Override
    public Result forward(Scope scope, List<Tensor> in) {
      Tensor out = scope.like(in.getFirst());
      scope.kernels().softmax(in.getFirst(), out);
      return Result.of(out);
    }

    @Override
    public Reads reads(IntPredicate needs) {
      return Reads.NOTHING.andOutputs(0);
    }

    @Override
    public void vjp(Backward back) {
      Tensor dx = back.overGradient();
      back.scope().kernels().softmaxBackward(back.output(0), back.gradient(), dx);
      back.give(0, dx);
    }
  }

  /**
   * A fixed value wherever a query may not see a key; input is [..., query, key].
   *
   * @param window how many keys a query sees at most, {@link AttentionSpec#ALL_KEYS} for no limit
   * @param value minus infinity for scores, 0 for gates
   */
  record CausalMask(int window, double value) implements Op {
    @Override
    public Result forward(Scope scope, List<Tensor> in) {
      Tensor out = in.getFirst().copy(scope.memory());
      scope.kernels().maskCausal(out, window, value);
      return Result.of(out);
    }

    @Override
    public Reads reads(IntPredicate needs) {
      return Reads.NOTHING;
    }

    @Override
    public void vjp(Backward back) {
      Tensor dx = back.overGradient();
      if (dx != back.gradient()) {
        back.scope().kernels().cast(back.gradient(), dx);
      }
      back.scope().kernels().maskCausal(dx, window, 0);
      back.give(0, dx);
    }
  }

  /**
   * Gates from gate logits, straight through: 0 or 1 forward, sigmoid backward. The unfused twin of
   * what {@link Attention} does.
   *
   * @param gate noise or none; its bias is already in the logits
   */
  record Gating(Gate gate) implements Op {
    @Override
    public Result forward(Scope scope, List<Tensor> in) {
      Tensor out = scope.like(in.getFirst());
      scope.kernels().gate(gate, in.getFirst(), out);
      return Result.of(out);
    }

    @Override
    public Reads reads(IntPredicate needs) {
      return Reads.inputs(0);
    }

    @Override
    public void vjp(Backward back) {
      Tensor dz = back.like(0);
      back.scope().kernels().gateBackward(gate, back.input(0), back.gradient(), dz);
      back.give(0, dz);
    }
  }

  /**
   * Gated causal attention in one kernel. Inputs are q [batch, query, heads, headDim], k and v
   * [batch, key, kvHeads, headDim]; outputs are y like q, the expected density [batch, heads], and,
   * without a gradient, the counts of {@link Kernels#attention}.
   *
   * @param spec heads, scale and gate
   */
  record Attention(AttentionSpec spec) implements Op {
    @Override
    public Result forward(Scope scope, List<Tensor> in) {
      Tensor q = in.get(0);
      Shape heads = Shape.of(q.shape().dim(0), spec.heads());
      Tensor y = scope.like(q);
      Tensor logSumExp =
          scope.make(Shape.of(q.shape().dim(0), spec.heads(), q.shape().dim(1)), q.dtype());
      Tensor expected = scope.make(heads, q.dtype());
      Tensor counts =
          scope.make(Shape.of(q.shape().dim(0), spec.heads(), AttentionSpec.COUNTS), DType.F64);
      scope.kernels().attention(spec, q, in.get(1), in.get(2), y, logSumExp, expected, counts);
      return new Result(List.of(y, expected, counts), 2, List.of(logSumExp), Ownership.NEW);
    }

    @Override
    public Reads reads(IntPredicate needs) {
      return Reads.inputs(0, 1, 2).andOutputs(0);
    }

    @Override
    public void vjp(Backward back) {
      Scope scope = back.scope();
      Tensor dq = back.like(0);
      Tensor dk = back.like(1);
      Tensor dv = back.like(2);
      scope
          .kernels()
          .attentionBackward(
              spec,
              back.input(0),
              back.input(1),
              back.input(2),
              back.output(0),
              back.saved(0),
              back.gradient(0),
              back.gradient(1),
              dq,
              dk,
              dv);
      back.give(0, dq);
      back.give(1, dk);
      back.give(2, dv);
    }
  }

  // ---------------------------------------------------------------- normalisation and positions

  /**
   * Layer normalisation; inputs are x, weight and bias.
   *
   * @param epsilon added to the variance
   */
  record LayerNorm(double epsilon) implements Op {
    @Override
    public Result forward(Scope scope, List<Tensor> in) {
      Tensor x = in.get(0);
      Tensor out = scope.like(x);
      Tensor mean = scope.make(Shape.of(x.shape().rows()), x.dtype());
      Tensor inverse = scope.make(Shape.of(x.shape().rows()), x.dtype());
      scope.kernels().layerNorm(x, in.get(1), in.get(2), epsilon, out, mean, inverse);
      return Result.of(out, mean, inverse);
    }

    @Override
    public Reads reads(IntPredicate needs) {
      return Reads.inputs(0, 1);
    }

    @Override
    public void vjp(Backward back) {
      Tensor dx = back.like(0);
      Tensor dweight = back.like(1);
      Tensor dbias = back.like(2);
      back.scope()
          .kernels()
          .layerNormBackward(
              back.input(0),
              back.input(1),
              back.saved(0),
              back.saved(1),
              back.gradient(),
              dx,
              dweight,
              dbias);
      back.give(0, dx);
      back.give(1, dweight);
      back.give(2, dbias);
    }
  }

  /**
   * Root mean square normalisation; inputs are x and weight.
   *
   * @param epsilon added to the mean square
   */
  record RmsNorm(double epsilon) implements Op {
    @Override
    public Result forward(Scope scope, List<Tensor> in) {
      Tensor x = in.get(0);
      Tensor out = scope.like(x);
      Tensor inverse = scope.make(Shape.of(x.shape().rows()), x.dtype());
      scope.kernels().rmsNorm(x, in.get(1), epsilon, out, inverse);
      return Result.of(out, inverse);
    }

    @Override
    public Reads reads(IntPredicate needs) {
      return Reads.inputs(0, 1);
    }

    @Override
    public void vjp(Backward back) {
      Tensor dx = back.like(0);
      Tensor dweight = back.like(1);
      back.scope()
          .kernels()
          .rmsNormBackward(
              back.input(0), back.input(1), back.saved(0), back.gradient(), dx, dweight);
      back.give(0, dx);
      back.give(1, dweight);
    }
  }

  /**
   * Rotary position embedding; inputs are x [batch, time, heads, headDim] and the tables cos and
   * sin [positions, pairs], which get no gradient.
   *
   * @param offset position of time 0
   */
  record Rotary(int offset) implements Op {
    @Override
    public Result forward(Scope scope, List<Tensor> in) {
      Tensor out = scope.like(in.getFirst());
      scope.kernels().rotary(in.get(0), in.get(1), in.get(2), offset, Rotation.FORWARD, out);
      return Result.of(out);
    }

    @Override
    public Reads reads(IntPredicate needs) {
      return Reads.inputs(1, 2);
    }

    @Override
    public void vjp(Backward back) {
      Tensor dx = back.overGradient();
      back.scope()
          .kernels()
          .rotary(back.gradient(), back.input(1), back.input(2), offset, Rotation.INVERSE, dx);
      back.give(0, dx);
    }
  }

  // ---------------------------------------------------------------- losses

  /**
   * Cross-entropy in nats, a number per row; inputs are logits [rows, vocabulary] and I32 targets
   * [rows], -1 where a row is not scored.
   */
  record CrossEntropy() implements Op {
    @Override
    public Result forward(Scope scope, List<Tensor> in) {
      Tensor logits = in.get(0);
      Tensor losses = scope.make(in.get(1).shape(), logits.dtype());
      Tensor logSumExp = scope.like(losses);
      scope.kernels().crossEntropy(logits, in.get(1), losses, logSumExp);
      return Result.of(losses, logSumExp);
    }

    @Override
    public Reads reads(IntPredicate needs) {
      return Reads.inputs(0, 1);
    }

    @Override
    public void vjp(Backward back) {
      Tensor dlogits = back.overInput(0);
      back.scope()
          .kernels()
          .crossEntropyBackward(
              back.input(0), back.input(1), back.saved(0), back.gradient(), dlogits);
      back.give(0, dlogits);
    }
  }

  /**
   * Cross-entropy in nats of the logits that a head gives to hidden vectors, a number per row, with
   * the logits of only some rows in memory at a time. Inputs are hidden [rows, width], the head
   * [vocabulary, width], which may be stored in 16 bits, and I32 targets [rows], -1 where a row is
   * not scored; {@code loss = crossEntropy(hidden head^T, target)}.
   *
   * @param rowsAtOnce of how many rows logits exist
   * @param order when gradients are computed
   */
  record HeadCrossEntropy(long rowsAtOnce, Order order) implements Op {
    /** When the gradients of a chunk are computed, by the arithmetic that this costs. */
    public enum Order {
      /**
       * With the logits: a row of the gradient of hidden is a number times a row that depends on
       * the forward run alone, and that row is saved in place of the logits. Two products with the
       * head, none of them repeated; but the gradient of the head adds rows up with weights that
       * only the backward run knows, so the head must be frozen.
       */
      FORWARD,
      /**
       * In the backward run, which computes the logits again: four products with the head instead
       * of the three of a run that keeps its logits. Nothing more is computed where there is no
       * backward run.
       */
      BACKWARD
    }

    @Override
    public Result forward(Scope scope, List<Tensor> in) {
      Kernels kernels = scope.kernels();
      Tensor hidden = in.get(0);
      Tensor head = in.get(1);
      Tensor targets = in.get(2);
      Tensor losses = scope.make(targets.shape(), hidden.dtype());
      Tensor logSumExp = scope.like(losses);
      Tensor perNat = order == Order.FORWARD ? scope.like(hidden) : logSumExp;
      Tensor ones = scope.like(logSumExp);
      kernels.fill(ones, 1);
      chunks(
          scope,
          hidden,
          head,
          (logits, from, to) -> {
            Tensor chosen = targets.rows(from, to);
            Tensor sums = logSumExp.rows(from, to);
            kernels.crossEntropy(logits, chosen, losses.rows(from, to), sums);
            if (order == Order.FORWARD) {
              kernels.crossEntropyBackward(logits, chosen, sums, ones.rows(from, to), logits);
              kernels.matmul(1, logits, Transpose.NO, head, Transpose.NO, 0, perNat.rows(from, to));
            }
          });
      scope.release(ones);
      if (order == Order.FORWARD) {
        scope.release(logSumExp);
      }
      return Result.of(losses, perNat);
    }

    @Override
    public Reads reads(IntPredicate needs) {
      return order == Order.FORWARD ? Reads.NOTHING : Reads.inputs(0, 1, 2);
    }

    @Override
    public void vjp(Backward back) {
      switch (order) {
        case FORWARD -> {
          if (back.needs(1)) {
            throw new AutogradException(
                "cross-entropy of a head that is trained: its gradient is known only in the"
                    + " backward run; use "
                    + Order.BACKWARD);
          }
          Tensor weights = back.gradient().reshape(Shape.of(back.shape(0).dim(0), 1));
          back.give(0, back.scope().combine(Arithmetic.MULTIPLY, back.saved(0), weights));
        }
        case BACKWARD -> {
          if (back.needs(1)) {
            back.accumulate(1, (dhead, beta) -> again(back, List.of(dhead), beta));
          } else {
            again(back, List.of(), 0);
          }
        }
      }
    }

    /** Both gradients, chunk by chunk; the head's only where there is a place for it. */
    private void again(Backward back, List<Tensor> dheads, double beta) {
      Scope scope = back.scope();
      Kernels kernels = scope.kernels();
      Tensor hidden = back.input(0);
      Tensor head = back.input(1);
      Tensor dhidden = scope.like(hidden);
      if (hidden.size() == 0 && beta == 0) {
        dheads.forEach(dhead -> kernels.fill(dhead, 0));
      }
      chunks(
          scope,
          hidden,
          head,
          (logits, from, to) -> {
            Tensor chosen = back.input(2).rows(from, to);
            Tensor sums = back.saved(0).rows(from, to);
            kernels.crossEntropyBackward(
                logits, chosen, sums, back.gradient().rows(from, to), logits);
            kernels.matmul(1, logits, Transpose.NO, head, Transpose.NO, 0, dhidden.rows(from, to));
            for (Tensor dhead : dheads) {
              double held = from == 0 ? beta : 1;
              Tensor rows = hidden.rows(from, to);
              kernels.matmul(1, logits, Transpose.YES, rows, Transpose.NO, held, dhead);
            }
          });
      back.give(0, dhidden);
    }

    /** What is done with the logits of some rows; it may write to them. */
    private interface Chunk {
      void run(Tensor logits, long from, long to);
    }

    private void chunks(Scope scope, Tensor hidden, Tensor head, Chunk body) {
      long rows = hidden.shape().dim(0);
      long most = Math.min(rows, rowsAtOnce);
      Tensor logits = scope.make(Shape.of(most, head.shape().dim(0)), hidden.dtype());
      for (long from = 0; from < rows; from += most) {
        long to = Math.min(rows, from + most);
        Tensor some = logits.rows(0, to - from);
        Tensor x = hidden.rows(from, to);
        scope.kernels().matmul(1, x, Transpose.NO, head, Transpose.YES, 0, some);
        body.run(some, from, to);
      }
      scope.release(logits);
    }
  }

  /**
   * Divergence in nats of a student from a teacher, KL(teacher || student), a number per row;
   * inputs are the student's and the teacher's logits [rows, vocabulary]. The teacher gets no
   * gradient.
   */
  record Divergence() implements Op {
    @Override
    public Result forward(Scope scope, List<Tensor> in) {
      Tensor out = scope.make(Shape.of(in.getFirst().shape().dim(0)), in.getFirst().dtype());
      scope.kernels().divergence(in.get(0), in.get(1), out);
      return Result.of(out);
    }

    @Override
    public Reads reads(IntPredicate needs) {
      return Reads.inputs(0, 1);
    }

    @Override
    public void vjp(Backward back) {
      Tensor dstudent = back.overInput(0);
      back.scope()
          .kernels()
          .divergenceBackward(back.input(0), back.input(1), back.gradient(), dstudent);
      back.give(0, dstudent);
    }
  }

  /**
   * The permutation that exchanges two axes.
   *
   * @param rank number of axes
   * @param first one axis
   * @param second the other
   * @return the operation
   */
  static Permute exchange(int rank, int first, int second) {
    int[] order = IntStream.range(0, rank).toArray();
    order[first] = second;
    order[second] = first;
    return new Permute(Arrays.stream(order).boxed().toList());
  }
}
