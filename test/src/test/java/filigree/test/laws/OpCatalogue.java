package filigree.test.laws;

import filigree.autograd.Op;
import filigree.interp.GradientProbe;
import filigree.tensor.Arithmetic;
import filigree.tensor.AttentionSpec;
import filigree.tensor.DType;
import filigree.tensor.Elementwise;
import filigree.tensor.Gate;
import filigree.tensor.Memory;
import filigree.tensor.NoiseKey;
import filigree.tensor.Philox;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Transpose;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Examples of every operation, drawn at random: what the laws are tested on. */
final class OpCatalogue {
  /**
   * An operation with float64 (and I32) inputs inside its domain; inputs from {@code
   * differentiable} on are constants by the operation's contract.
   */
  record Case(Op op, List<Tensor> inputs, int differentiable) {
    Case(Op op, List<Tensor> inputs) {
      this(op, inputs, inputs.size());
    }
  }

  /** Draws a case. */
  interface Source {
    Case draw(Draw draw);
  }

  /** A named source of cases of one operation. */
  record Entry(String name, Class<? extends Op> op, Source source) {
    @Override
    public String toString() {
      return name;
    }
  }

  /** Random shapes and numbers. */
  record Draw(Philox random, Memory memory) {
    int between(int low, int high) {
      return low + random.nextInt(high - low + 1);
    }

    Tensor normal(long... dims) {
      return of(Shape.of(dims), Elementwise.Domain.REAL);
    }

    Tensor of(Shape shape, Elementwise.Domain domain) {
      double[] values = new double[Math.toIntExact(shape.size())];
      for (int i = 0; i < values.length; i++) {
        double x = random.nextGaussian();
        values[i] =
            switch (domain) {
              case REAL -> x;
              case POSITIVE -> 0.2 + Math.abs(x);
              case NOT_ZERO -> x + Math.copySign(0.2, x);
            };
      }
      return Tensor.of(memory, DType.F64, shape, values);
    }

    Tensor ids(int below, long... dims) {
      Shape shape = Shape.of(dims);
      int[] values = new int[Math.toIntExact(shape.size())];
      for (int i = 0; i < values.length; i++) {
        values[i] = random.nextInt(below);
      }
      return Tensor.ofInts(memory, shape, values);
    }
  }

  private OpCatalogue() {}

  static List<Entry> entries() {
    List<Entry> out = new ArrayList<>();
    for (Elementwise f : Elementwise.values()) {
      out.add(
          new Entry(
              "Map " + f,
              Op.Map.class,
              d ->
                  new Case(
                      new Op.Map(f),
                      List.of(d.of(Shape.of(d.between(1, 4), d.between(1, 19)), f.domain())))));
    }
    for (Arithmetic op : Arithmetic.values()) {
      Elementwise.Domain right =
          op == Arithmetic.DIVIDE ? Elementwise.Domain.NOT_ZERO : Elementwise.Domain.REAL;
      out.add(new Entry("Combine " + op, Op.Combine.class, d -> combine(op, right, d)));
    }
    out.add(
        new Entry(
            "Scale",
            Op.Scale.class,
            d -> new Case(new Op.Scale(d.random().nextGaussian()), List.of(d.normal(3, 5)))));
    out.add(new Entry("Clip", Op.Clip.class, OpCatalogue::clip));
    out.add(
        new Entry(
            "GradientProbe",
            GradientProbe.class,
            d -> new Case(new GradientProbe((scope, gradient) -> {}), List.of(d.normal(3, 5)))));
    for (Transpose ta : Transpose.values()) {
      for (Transpose tb : Transpose.values()) {
        out.add(new Entry("MatMul " + ta + " " + tb, Op.MatMul.class, d -> matmul(ta, tb, d)));
      }
    }
    out.add(
        new Entry(
            "MatMul shared right",
            Op.MatMul.class,
            d -> {
              int k = d.between(1, 9);
              int n = d.between(1, 9);
              return new Case(
                  new Op.MatMul(Transpose.NO, Transpose.YES),
                  List.of(d.normal(2, d.between(1, 5), k), d.normal(n, k)));
            }));
    for (Transpose orientation : Transpose.values()) {
      out.add(new Entry("Linear " + orientation, Op.Linear.class, d -> linear(orientation, d)));
    }
    out.add(
        new Entry(
            "Sum",
            Op.Sum.class,
            d -> {
              Shape[] to = {
                Shape.of(), Shape.of(4), Shape.of(3, 1), Shape.of(1, 4), Shape.of(2, 1, 4)
              };
              return new Case(new Op.Sum(to[d.random().nextInt(5)]), List.of(d.normal(2, 3, 4)));
            }));
    out.add(
        new Entry(
            "Reshape",
            Op.Reshape.class,
            d -> new Case(new Op.Reshape(Shape.of(4, 3)), List.of(d.normal(2, 6)))));
    out.add(
        new Entry(
            "Permute",
            Op.Permute.class,
            d -> {
              int[] order = {0, 1, 2, 3};
              d.random().shuffle(order);
              return new Case(
                  new Op.Permute(Arrays.stream(order).boxed().toList()),
                  List.of(d.normal(2, 3, d.between(1, 4), 5)));
            }));
    out.add(
        new Entry(
            "Slice",
            Op.Slice.class,
            d -> {
              int axis = d.random().nextInt(3);
              int from = d.between(0, 2);
              return new Case(
                  new Op.Slice(axis, from, d.between(from, 3)), List.of(d.normal(3, 4, 5)));
            }));
    out.add(
        new Entry(
            "Concat",
            Op.Concat.class,
            d -> {
              int axis = d.random().nextInt(2);
              long extra = d.between(1, 4);
              return new Case(
                  new Op.Concat(axis),
                  List.of(d.normal(2, 3), axis == 0 ? d.normal(extra, 3) : d.normal(2, extra)));
            }));
    out.add(
        new Entry(
            "Gather",
            Op.Gather.class,
            d -> new Case(new Op.Gather(), List.of(d.normal(5, 7), d.ids(5, 2, 6)))));
    out.add(
        new Entry(
            "Softmax",
            Op.Softmax.class,
            d -> new Case(new Op.Softmax(), List.of(d.normal(3, d.between(1, 19))))));
    out.add(
        new Entry(
            "CausalMask",
            Op.CausalMask.class,
            d -> {
              int keys = d.between(1, 6);
              return new Case(
                  new Op.CausalMask(d.between(1, keys), 0),
                  List.of(d.normal(2, d.between(1, keys), keys)));
            }));
    out.add(
        new Entry(
            "LayerNorm",
            Op.LayerNorm.class,
            d -> {
              int n = d.between(2, 19);
              return new Case(
                  new Op.LayerNorm(1e-5), List.of(d.normal(2, 3, n), d.normal(n), d.normal(n)));
            }));
    out.add(
        new Entry(
            "RmsNorm",
            Op.RmsNorm.class,
            d -> {
              int n = d.between(1, 19);
              return new Case(new Op.RmsNorm(1e-5), List.of(d.normal(2, 3, n), d.normal(n)));
            }));
    out.add(new Entry("Rotary", Op.Rotary.class, OpCatalogue::rotary));
    out.add(
        new Entry(
            "CrossEntropy",
            Op.CrossEntropy.class,
            d -> {
              int vocabulary = d.between(1, 21);
              int[] targets = new int[5];
              for (int i = 0; i < targets.length; i++) {
                targets[i] = d.random().nextInt(vocabulary + 1) - 1;
              }
              return new Case(
                  new Op.CrossEntropy(),
                  List.of(
                      d.normal(5, vocabulary), Tensor.ofInts(d.memory(), Shape.of(5), targets)));
            }));
    for (Op.HeadCrossEntropy.Order order : Op.HeadCrossEntropy.Order.values()) {
      out.add(
          new Entry(
              "HeadCrossEntropy " + order,
              Op.HeadCrossEntropy.class,
              d -> headCrossEntropy(order, d)));
    }
    out.add(
        new Entry(
            "Divergence",
            Op.Divergence.class,
            d -> {
              int vocabulary = d.between(1, 21);
              return new Case(
                  new Op.Divergence(),
                  List.of(d.normal(4, vocabulary), d.normal(4, vocabulary)),
                  1);
            }));
    out.add(new Entry("Attention open", Op.Attention.class, d -> attention(Gate.open(), d)));
    out.add(
        new Entry(
            "Attention hard",
            Op.Attention.class,
            d -> attention(new Gate.Hard(d.random().nextGaussian()), d)));
    out.add(
        new Entry(
            "Attention soft",
            Op.Attention.class,
            d -> attention(new Gate.Soft(d.random().nextGaussian()), d)));
    out.add(
        new Entry(
            "Attention sampled",
            Op.Attention.class,
            d ->
                attention(
                    new Gate.Sampled(
                        d.random().nextGaussian(), new NoiseKey(d.random().nextInt(), 3, 1)),
                    d)));
    out.add(new Entry("Gating hard", Op.Gating.class, d -> gating(new Gate.Hard(0), d)));
    out.add(new Entry("Gating soft", Op.Gating.class, d -> gating(new Gate.Soft(0), d)));
    out.add(
        new Entry(
            "Gating sampled",
            Op.Gating.class,
            d -> gating(new Gate.Sampled(0, new NoiseKey(d.random().nextInt(), 1, 2)), d)));
    return out;
  }

  private static Case combine(Arithmetic op, Elementwise.Domain right, Draw d) {
    long[][][] shapes = {
      {{3, 4}, {3, 4}},
      {{3, 4}, {4}},
      {{4}, {3, 4}},
      {{2, 3, 4}, {3, 1}},
      {{3, 1}, {1, 4}},
      {{2, 17}, {}},
      {{1}, {5}}
    };
    long[][] pair = shapes[d.random().nextInt(shapes.length)];
    return new Case(
        new Op.Combine(op),
        List.of(d.of(Shape.of(pair[0]), Elementwise.Domain.REAL), d.of(Shape.of(pair[1]), right)));
  }

  /** Elements on both sides of the limit, none so near that a difference would straddle it. */
  private static Case clip(Draw d) {
    double limit = 0.7;
    double[] values = new double[15];
    for (int i = 0; i < values.length; i++) {
      double x = d.random().nextGaussian();
      values[i] = Math.abs(Math.abs(x) - limit) < 0.01 ? 0 : x;
    }
    return new Case(
        new Op.Clip(limit), List.of(Tensor.of(d.memory(), DType.F64, Shape.of(3, 5), values)));
  }

  private static Case matmul(Transpose ta, Transpose tb, Draw d) {
    int m = d.between(1, 9);
    int n = d.between(1, 9);
    int k = d.between(1, 9);
    long[] a = ta == Transpose.NO ? new long[] {2, m, k} : new long[] {2, k, m};
    long[] b = tb == Transpose.NO ? new long[] {2, k, n} : new long[] {2, n, k};
    return new Case(new Op.MatMul(ta, tb), List.of(d.normal(a), d.normal(b)));
  }

  private static Case linear(Transpose orientation, Draw d) {
    int in = d.between(1, 9);
    int out = d.between(1, 9);
    Tensor x = d.random().nextInt(2) == 0 ? d.normal(3, in) : d.normal(2, d.between(1, 5), in);
    Tensor weight = orientation == Transpose.YES ? d.normal(out, in) : d.normal(in, out);
    List<Tensor> inputs =
        d.random().nextInt(3) == 0 ? List.of(x, weight) : List.of(x, weight, d.normal(out));
    return new Case(new Op.Linear(orientation), inputs);
  }

  private static Case headCrossEntropy(Op.HeadCrossEntropy.Order order, Draw d) {
    int rows = d.between(1, 7);
    int vocabulary = d.between(1, 21);
    int width = d.between(1, 9);
    int[] targets = new int[rows];
    for (int i = 0; i < targets.length; i++) {
      targets[i] = d.random().nextInt(vocabulary + 1) - 1;
    }
    return new Case(
        new Op.HeadCrossEntropy(d.between(1, 8), order),
        List.of(
            d.normal(rows, width),
            d.normal(vocabulary, width),
            Tensor.ofInts(d.memory(), Shape.of(rows), targets)),
        order == Op.HeadCrossEntropy.Order.FORWARD ? 1 : 3);
  }

  private static Case rotary(Draw d) {
    int pairs = d.between(1, 4);
    int rest = d.between(0, 3);
    int time = d.between(1, 4);
    int offset = d.between(0, 2);
    double[] cos = new double[6 * pairs];
    double[] sin = new double[6 * pairs];
    for (int i = 0; i < cos.length; i++) {
      cos[i] = Math.cos(i);
      sin[i] = Math.sin(i);
    }
    Shape table = Shape.of(6, pairs);
    return new Case(
        new Op.Rotary(offset),
        List.of(
            d.normal(2, time, 3, 2 * pairs + rest),
            Tensor.of(d.memory(), DType.F64, table, cos),
            Tensor.of(d.memory(), DType.F64, table, sin)),
        1);
  }

  private static Case attention(Gate gate, Draw d) {
    int kvHeads = d.between(1, 2);
    int heads = kvHeads * d.between(1, 2);
    int headDim = d.between(1, 6);
    int keys = d.between(1, 9);
    int queries = d.between(1, keys);
    int window = d.between(0, 1) == 0 ? AttentionSpec.ALL_KEYS : d.between(1, keys);
    double scale = 1 / Math.sqrt(headDim);
    AttentionSpec spec = new AttentionSpec(heads, kvHeads, headDim, scale, gate, window);
    return new Case(
        new Op.Attention(spec),
        List.of(
            d.normal(2, queries, heads, headDim),
            d.normal(2, keys, kvHeads, headDim),
            d.normal(2, keys, kvHeads, headDim)));
  }

  private static Case gating(Gate gate, Draw d) {
    int keys = d.between(1, 9);
    return new Case(new Op.Gating(gate), List.of(d.normal(2, 2, d.between(1, keys), keys)));
  }
}
