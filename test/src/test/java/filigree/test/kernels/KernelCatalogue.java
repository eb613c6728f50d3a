package filigree.test.kernels;

import filigree.tensor.AdamWStep;
import filigree.tensor.Arithmetic;
import filigree.tensor.AttentionSpec;
import filigree.tensor.DType;
import filigree.tensor.Elementwise;
import filigree.tensor.Gate;
import filigree.tensor.NoiseKey;
import filigree.tensor.Rotation;
import filigree.tensor.Shape;
import filigree.tensor.Transpose;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.DoubleUnaryOperator;
import java.util.function.Function;
import java.util.stream.DoubleStream;

/**
 * How to call every kernel with random operands, and how exact a float32 kernel is: the tolerance
 * counts in units of the scale, which is the magnitude of what the kernel adds up.
 */
final class KernelCatalogue {
  /** Float32 rounds by 6e-8 of a number; this is a few of those. */
  private static final double ROUNDING = 2.5e-7;

  private static final List<DType> EVERY_TYPE = List.of(DType.values());

  private KernelCatalogue() {}

  /** Sources of calls by the kernel's name. */
  static Map<String, Function<KernelDraw, KernelCall>> entries() {
    Map<String, Function<KernelDraw, KernelCall>> out = new LinkedHashMap<>();
    out.put("fill", KernelCatalogue::fill);
    out.put("cast", KernelCatalogue::cast);
    out.put("map", KernelCatalogue::map);
    out.put("mapBackward", KernelCatalogue::mapBackward);
    out.put("combine", KernelCatalogue::combine);
    out.put("accumulate", KernelCatalogue::accumulate);
    out.put("scale", KernelCatalogue::scale);
    out.put("clip", KernelCatalogue::clip);
    out.put("clipBackward", KernelCatalogue::clipBackward);
    out.put("sumTo", KernelCatalogue::sumTo);
    out.put("sumOfSquares", KernelCatalogue::sumOfSquares);
    out.put("matmul", KernelCatalogue::matmul);
    out.put("affine", KernelCatalogue::affine);
    out.put("affineBackward", KernelCatalogue::affineBackward);
    out.put("permute", KernelCatalogue::permute);
    out.put("copyAlong", KernelCatalogue::copyAlong);
    out.put("softmax", KernelCatalogue::softmax);
    out.put("softmaxBackward", KernelCatalogue::softmaxBackward);
    out.put("maskCausal", KernelCatalogue::maskCausal);
    out.put("layerNorm", KernelCatalogue::layerNorm);
    out.put("layerNormBackward", KernelCatalogue::layerNormBackward);
    out.put("rmsNorm", KernelCatalogue::rmsNorm);
    out.put("rmsNormBackward", KernelCatalogue::rmsNormBackward);
    out.put("rotary", KernelCatalogue::rotary);
    out.put("gather", KernelCatalogue::gather);
    out.put("scatterAdd", KernelCatalogue::scatterAdd);
    out.put("crossEntropy", KernelCatalogue::crossEntropy);
    out.put("crossEntropyBackward", KernelCatalogue::crossEntropyBackward);
    out.put("divergence", KernelCatalogue::divergence);
    out.put("divergenceBackward", KernelCatalogue::divergenceBackward);
    out.put("gate", KernelCatalogue::gate);
    out.put("gateBackward", KernelCatalogue::gateBackward);
    out.put("attention", KernelCatalogue::attention);
    out.put("attentionBackward", KernelCatalogue::attentionBackward);
    out.put("adamw", KernelCatalogue::adamw);
    return out;
  }

  // ---------------------------------------------------------------- elements

  private static KernelCall fill(KernelDraw d) {
    double value = d.pick(List.of(0.0, -0.3, 1e30, Double.NEGATIVE_INFINITY, d.normal()));
    return KernelCall.of("fill")
        .writes("out", d.shape())
        .within(ROUNDING, 1)
        .runs((kernels, t) -> kernels.fill(t.of("out"), value));
  }

  private static KernelCall cast(KernelDraw d) {
    DType from = d.pick(EVERY_TYPE);
    DType to = d.pick(List.of(DType.F32, DType.F64, DType.BF16, DType.F16));
    Shape shape = d.shape();
    boolean integers =
        switch (from) {
          case F32, F64, BF16, F16 -> false;
          case I32, I64, I8, U8 -> true;
        };
    Numbers numbers =
        d.numbers(
            shape,
            x -> {
              if (integers) {
                return Math.rint(x * (from == DType.I8 || from == DType.U8 ? 40 : 1e6));
              }
              double extreme =
                  d.pick(
                      List.of(
                          0.0,
                          -0.0,
                          65504.0,
                          65520.0,
                          1e30,
                          6e-8,
                          1 + 0x1p-8,
                          1 + 3 * 0x1p-8,
                          1 + 0x1p-11,
                          Double.NaN,
                          Double.POSITIVE_INFINITY));
              return d.oneIn(3) ? extreme : 100 * x;
            });
    return KernelCall.of("cast")
        .reads("from", from, numbers)
        .writes("out", to, shape)
        .exactly()
        .runs((kernels, t) -> kernels.cast(t.of("from"), t.of("out")));
  }

  private static KernelCall map(KernelDraw d) {
    Elementwise function = d.pick(List.of(Elementwise.values()));
    Shape shape = d.shape();
    return KernelCall.of("map")
        .reads("x", d.arguments(shape, function.domain(), 1e4))
        .writes("out", shape)
        .mayShare("out", "x")
        .within(1e-6, 1)
        .runs((kernels, t) -> kernels.map(function, t.of("x"), t.of("out")));
  }

  private static KernelCall mapBackward(KernelDraw d) {
    Elementwise function = d.pick(List.of(Elementwise.values()));
    Shape shape = d.shape();
    // Not so far out that y is infinite: a rule that uses y then has nothing left to use.
    Numbers x = d.arguments(shape, function.domain(), 30);
    double[] y = Arrays.stream(x.values()).map(v -> (float) function.value(v)).toArray();
    Numbers gradient = d.normal(shape);
    return KernelCall.of("mapBackward")
        .reads("x", x)
        .reads("y", new Numbers(shape, y))
        .reads("gradient", gradient)
        .writes("out", shape)
        .mayShare("out", "gradient")
        .within(2e-6, Math.max(1, gradient.largest()))
        .runs(
            (kernels, t) ->
                kernels.mapBackward(function, t.of("x"), t.of("y"), t.of("gradient"), t.of("out")));
  }

  private static KernelCall combine(KernelDraw d) {
    Arithmetic op = d.pick(List.of(Arithmetic.values()));
    Shape out = d.shape();
    Shape left = d.oneIn(3) ? d.smaller(out) : out;
    // One operand has each axis whole, or the result would be smaller.
    Shape right = left.equals(out) ? (d.oneIn(3) ? out : d.smaller(out)) : out;
    Numbers b = d.spread(right);
    for (int i = 0; i < b.values().length; i++) {
      b.values()[i] = b.values()[i] == 0 ? 1 : b.values()[i];
    }
    return KernelCall.of("combine")
        .reads("a", d.spread(left))
        .reads("b", b)
        .writes("out", out)
        .mayShare("out", "a")
        .mayShare("out", "b")
        .within(ROUNDING, 1e-30)
        .runs((kernels, t) -> kernels.combine(op, t.of("a"), t.of("b"), t.of("out")));
  }

  private static KernelCall accumulate(KernelDraw d) {
    double alpha = d.pick(List.of(1.0, -0.3, 1e-3, 0.0));
    Shape shape = d.shape();
    Numbers x = d.spread(shape);
    Numbers y = d.spread(shape);
    return KernelCall.of("accumulate")
        .reads("x", x)
        .changes("y", y)
        .within(ROUNDING, y.largest() + Math.abs(alpha) * x.largest())
        .runs((kernels, t) -> kernels.accumulate(alpha, t.of("x"), t.of("y")));
  }

  private static KernelCall scale(KernelDraw d) {
    double alpha = d.pick(List.of(1.0, -0.3, 1e-3, 0.0));
    Shape shape = d.shape();
    return KernelCall.of("scale")
        .reads("x", d.spread(shape))
        .writes("out", shape)
        .mayShare("out", "x")
        .within(ROUNDING, 1e-30)
        .runs((kernels, t) -> kernels.scale(alpha, t.of("x"), t.of("out")));
  }

  private static KernelCall clip(KernelDraw d) {
    double limit = d.pick(List.of(0.0, 0.5, 1.0, 8.0));
    Shape shape = d.shape();
    return KernelCall.of("clip")
        .reads("x", d.spread(shape))
        .writes("out", shape)
        .mayShare("out", "x")
        .exactly()
        .runs((kernels, t) -> kernels.clip(limit, t.of("x"), t.of("out")));
  }

  private static KernelCall clipBackward(KernelDraw d) {
    double limit = d.pick(List.of(0.5, 1.0, 8.0));
    Shape shape = d.shape();
    return KernelCall.of("clipBackward")
        .reads("x", d.spread(shape))
        .reads("gradient", d.normal(shape))
        .writes("out", shape)
        .mayShare("out", "gradient")
        .exactly()
        .runs(
            (kernels, t) -> kernels.clipBackward(limit, t.of("x"), t.of("gradient"), t.of("out")));
  }

  private static KernelCall adamw(KernelDraw d) {
    AdamWStep step =
        new AdamWStep(
            d.between(1, 1000),
            d.pick(List.of(1e-3, 0.3)),
            0.9,
            d.pick(List.of(0.95, 0.999)),
            d.pick(List.of(1e-8, 1e-3)),
            d.pick(List.of(0.0, 0.1)),
            d.pick(List.of(1.0, 0.37)));
    Shape shape = d.shape();
    double magnitude = d.pick(List.of(1.0, 1e-4, 1e3));
    Numbers parameter = d.normal(shape);
    return KernelCall.of("adamw")
        .changes("parameter", parameter)
        .reads("gradient", d.numbers(shape, x -> magnitude * x))
        .changes("mean", d.numbers(shape, x -> magnitude * x))
        .changes("variance", d.numbers(shape, x -> magnitude * magnitude * (x * x + 0.1)))
        // Step / (1 - beta2^step) at step 1 is a difference that cancels two digits in float32.
        .within("parameter", 2e-6, Math.max(1, parameter.largest()))
        .within("mean", ROUNDING, 4 * magnitude)
        .within("variance", ROUNDING, 4 * magnitude * magnitude)
        .runs(
            (kernels, t) ->
                kernels.adamw(
                    step, t.of("parameter"), t.of("gradient"), t.of("mean"), t.of("variance")));
  }

  // ---------------------------------------------------------------- sums and products

  private static KernelCall sumTo(KernelDraw d) {
    Shape shape = d.shape();
    Shape out = d.smaller(shape);
    Numbers x = d.spread(shape);
    double summed = out.size() == 0 ? 0 : (double) shape.size() / out.size();
    KernelCall call =
        KernelCall.of("sumTo")
            .reads("x", x)
            .writes("out", out)
            .within(ROUNDING, Math.max(1e-30, summed * x.rootMeanSquare()))
            .runs((kernels, t) -> kernels.sumTo(t.of("x"), t.of("out")));
    int missing = shape.rank() - out.rank();
    for (int axis = 0; axis < shape.rank(); axis++) {
      if (axis < missing || out.dim(axis - missing) == 1) {
        call.anyLength("x", axis);
      }
    }
    return call;
  }

  private static KernelCall sumOfSquares(KernelDraw d) {
    return KernelCall.of("sumOfSquares")
        .reads("x", d.spread(d.shape()))
        .within(1e-6, 1e-30)
        .returns((kernels, t) -> kernels.sumOfSquares(t.of("x")));
  }

  private static KernelCall matmul(KernelDraw d) {
    Transpose ta = d.pick(List.of(Transpose.values()));
    Transpose tb = d.pick(List.of(Transpose.values()));
    int m = d.lengthOrNone();
    int n = d.length();
    int k = d.lengthOrNone();
    long[] batch = new long[d.between(0, 2)];
    Arrays.setAll(batch, i -> d.few());
    boolean shared = d.oneIn(2);
    Numbers a = d.spread(matrices(batch, ta, m, k));
    Numbers b = d.spread(matrices(shared ? new long[0] : batch, tb, k, n));
    double alpha = d.pick(List.of(1.0, -0.3, 1.0));
    double beta = d.pick(List.of(0.0, 1.0, 0.5));
    Shape shape = matrices(batch, Transpose.NO, m, n);
    Numbers old = d.spread(shape);
    double scale =
        Math.abs(alpha) * k * a.rootMeanSquare() * b.rootMeanSquare()
            + Math.abs(beta) * old.largest();
    // Stored weights are widened inside the kernel, for the few rows of generation.
    long rows = Arrays.stream(batch).reduce(m, (x, y) -> x * y);
    boolean stored = shared && ta == Transpose.NO && rows <= 4 && d.oneIn(2);
    KernelCall left = KernelCall.of("matmul").reads("a", a);
    KernelCall call = stored ? left.reads("b", DType.BF16, b) : left.reads("b", b);
    return (beta == 0 ? call.writes("out", shape) : call.changes("out", old))
        .within(4 * ROUNDING, Math.max(1e-30, scale))
        .runs(
            (kernels, t) -> kernels.matmul(alpha, t.of("a"), ta, t.of("b"), tb, beta, t.of("out")));
  }

  private static KernelCall affine(KernelDraw d) {
    Transpose tb = d.pick(List.of(Transpose.values()));
    int m = d.rows();
    int n = d.length();
    int k = d.lengthOrNone();
    long[] batch = new long[d.between(0, 2)];
    Arrays.setAll(batch, i -> d.few());
    Numbers a = d.spread(matrices(batch, Transpose.NO, m, k));
    Numbers b = d.spread(matrices(new long[0], tb, k, n));
    Numbers bias = d.spread(Shape.of(n));
    double scale = k * a.rootMeanSquare() * b.rootMeanSquare() + bias.largest();
    return KernelCall.of("affine")
        .reads("a", a)
        .reads("b", b)
        .reads("bias", bias)
        .writes("out", matrices(batch, Transpose.NO, m, n))
        .within(4 * ROUNDING, Math.max(1e-30, scale))
        .runs((kernels, t) -> kernels.affine(t.of("a"), t.of("b"), tb, t.of("bias"), t.of("out")));
  }

  private static KernelCall affineBackward(KernelDraw d) {
    int m = d.rows();
    int n = d.length();
    int time = d.lengthOrNone();
    double beta = d.pick(List.of(0.0, 1.0));
    long[] batch = new long[d.between(0, 2)];
    Arrays.setAll(batch, i -> d.few());
    Numbers gradient = d.spread(matrices(batch, Transpose.NO, time, m));
    Numbers x = d.spread(matrices(batch, Transpose.NO, time, n));
    long rows = x.shape().rows();
    Numbers old = d.spread(Shape.of(m, n));
    double scale = rows * gradient.rootMeanSquare() * x.rootMeanSquare() + beta * old.largest();
    KernelCall call = KernelCall.of("affineBackward").reads("gradient", gradient).reads("x", x);
    return (beta == 0 ? call.writes("weight", Shape.of(m, n)) : call.changes("weight", old))
        .within("weight", 4 * ROUNDING, Math.max(1e-30, scale))
        .writes("bias", Shape.of(m))
        .within("bias", 4 * ROUNDING, Math.max(1e-30, rows * gradient.rootMeanSquare()))
        .runs(
            (kernels, t) ->
                kernels.affineBackward(
                    t.of("gradient"), t.of("x"), beta, t.of("weight"), t.of("bias")));
  }

  private static Shape matrices(long[] batch, Transpose transpose, int rows, int columns) {
    long[] dims = Arrays.copyOf(batch, batch.length + 2);
    dims[batch.length] = transpose == Transpose.NO ? rows : columns;
    dims[batch.length + 1] = transpose == Transpose.NO ? columns : rows;
    return Shape.of(dims);
  }

  // ---------------------------------------------------------------- moves

  private static KernelCall permute(KernelDraw d) {
    Shape shape = d.shape();
    int[] order = d.order(shape.rank());
    Shape to = Shape.of(Arrays.stream(order).mapToLong(shape::dim).toArray());
    Optional<DType> type = d.oneIn(2) ? Optional.empty() : Optional.of(d.pick(EVERY_TYPE));
    Numbers x = d.ids(shape, 0, 100); // small integers are exact in every type
    KernelCall call = KernelCall.of("permute");
    return (type.isEmpty()
            ? call.reads("x", x).writes("out", to)
            : call.reads("x", type.get(), x).writes("out", type.get(), to))
        .exactly()
        .runs((kernels, t) -> kernels.permute(t.of("x"), order, t.of("out")));
  }

  private static KernelCall copyAlong(KernelDraw d) {
    Shape shape = d.shape(d.between(1, 4));
    int axis = d.between(0, shape.rank() - 1);
    long[] dims = shape.dims();
    dims[axis] = d.lengthOrNone();
    Shape to = Shape.of(dims);
    int length = d.between(0, Math.toIntExact(Math.min(shape.dim(axis), to.dim(axis))));
    int fromX = d.between(0, Math.toIntExact(shape.dim(axis) - length));
    int fromOut = d.between(0, Math.toIntExact(to.dim(axis) - length));
    Optional<DType> type = d.oneIn(2) ? Optional.empty() : Optional.of(d.pick(EVERY_TYPE));
    Numbers x = d.ids(shape, 0, 100);
    Numbers old = d.ids(to, 0, 100);
    KernelCall call = KernelCall.of("copyAlong");
    return (type.isEmpty()
            ? call.reads("x", x).changes("out", old)
            : call.reads("x", type.get(), x).changes("out", type.get(), old))
        .exactly()
        .anyLength("x", axis)
        .anyLength("out", axis)
        .runs(
            (kernels, t) ->
                kernels.copyAlong(t.of("x"), fromX, t.of("out"), fromOut, axis, length));
  }

  private static KernelCall rotary(KernelDraw d) {
    int batch = d.few();
    int time = d.lengthOrNone();
    int heads = d.few();
    int pairs = d.length();
    int headDim = 2 * pairs + d.pick(List.of(0, 1, 5));
    int offset = d.between(0, 3);
    Rotation direction = d.pick(List.of(Rotation.values()));
    int positions = offset + time + d.between(1, 3);
    Shape shape = Shape.of(batch, time, heads, headDim);
    Numbers x = d.spread(shape);
    Numbers angles = d.numbers(Shape.of(positions, pairs), a -> 3 * a);
    return KernelCall.of("rotary")
        .reads("x", x)
        .reads("cos", mapped(angles, Math::cos))
        .reads("sin", mapped(angles, Math::sin))
        .writes("out", shape)
        .mayShare("out", "x")
        .within(ROUNDING, Math.max(1e-30, x.largest()))
        .runs(
            (kernels, t) ->
                kernels.rotary(
                    t.of("x"), t.of("cos"), t.of("sin"), offset, direction, t.of("out")));
  }

  private static Numbers mapped(Numbers numbers, DoubleUnaryOperator function) {
    return new Numbers(
        numbers.shape(),
        Arrays.stream(numbers.values()).map(x -> (float) function.applyAsDouble(x)).toArray());
  }

  private static KernelCall gather(KernelDraw d) {
    int entries = d.length();
    int width = d.lengthOrNone();
    Shape ids = d.shape(d.between(0, 2));
    KernelCall call = KernelCall.of("gather");
    Numbers table = d.normal(entries, width);
    return (d.oneIn(2)
            ? call.reads("table", d.pick(List.of(DType.BF16, DType.F16)), table)
            : call.reads("table", table))
        .readsIds("ids", d.ids(ids, 0, entries))
        .writes("out", with(ids, width))
        .anyLength("table", 0)
        .exactly()
        .runs((kernels, t) -> kernels.gather(t.of("table"), t.of("ids"), t.of("out")));
  }

  private static KernelCall scatterAdd(KernelDraw d) {
    int entries = d.length();
    int width = d.lengthOrNone();
    Shape ids = d.shape(d.between(0, 2));
    // Few of the entries, so that ids repeat.
    Numbers chosen = d.ids(ids, 0, Math.min(entries, 5));
    return KernelCall.of("scatterAdd")
        .readsIds("ids", chosen)
        .reads("gradient", d.normal(with(ids, width)))
        .changes("table", d.normal(entries, width))
        .anyLength("table", 0)
        .within(ROUNDING, Math.max(1, (double) ids.size()))
        .runs((kernels, t) -> kernels.scatterAdd(t.of("ids"), t.of("gradient"), t.of("table")));
  }

  private static Shape with(Shape ids, int width) {
    long[] dims = Arrays.copyOf(ids.dims(), ids.rank() + 1);
    dims[ids.rank()] = width;
    return Shape.of(dims);
  }

  // ---------------------------------------------------------------- rows

  private static KernelCall softmax(KernelDraw d) {
    Shape shape = d.rowShape();
    return KernelCall.of("softmax")
        .reads("x", d.logits(shape))
        .writes("out", shape)
        .mayShare("out", "x")
        .within(1e-6, 1)
        .runs((kernels, t) -> kernels.softmax(t.of("x"), t.of("out")));
  }

  private static KernelCall softmaxBackward(KernelDraw d) {
    Shape shape = d.rowShape();
    Numbers logits = d.logits(shape);
    Numbers gradient = d.spread(shape);
    return KernelCall.of("softmaxBackward")
        .reads("y", softmaxOf(logits))
        .reads("gradient", gradient)
        .writes("out", shape)
        .mayShare("out", "gradient")
        .within(1e-6, Math.max(1e-30, gradient.largest()))
        .runs((kernels, t) -> kernels.softmaxBackward(t.of("y"), t.of("gradient"), t.of("out")));
  }

  private static Numbers softmaxOf(Numbers logits) {
    int columns = logits.shape().length(-1);
    double[] out = new double[logits.values().length];
    for (int from = 0; from < out.length; from += columns) {
      double sum = logSumExp(logits, from, columns);
      for (int i = from; i < from + columns; i++) {
        out[i] = (float) Math.exp(logits.values()[i] - sum);
      }
    }
    return new Numbers(logits.shape(), out);
  }

  private static double logSumExp(Numbers logits, int from, int columns) {
    double max = Arrays.stream(logits.values(), from, from + columns).max().orElse(Double.NaN);
    return max
        + Math.log(
            Arrays.stream(logits.values(), from, from + columns).map(x -> Math.exp(x - max)).sum());
  }

  private static KernelCall maskCausal(KernelDraw d) {
    int keys = d.length();
    int queries = d.between(1, keys);
    long[] dims = new long[d.between(2, 4)];
    Arrays.setAll(dims, i -> d.few());
    dims[dims.length - 2] = queries;
    dims[dims.length - 1] = keys;
    double value = d.pick(List.of(Double.NEGATIVE_INFINITY, 0.0));
    int window = anyWindow(d, keys);
    KernelCall call =
        KernelCall.of("maskCausal")
            .changes("scores", d.normal(dims))
            .exactly()
            .runs((kernels, t) -> kernels.maskCausal(t.of("scores"), window, value));
    for (int axis = 0; axis < dims.length; axis++) {
      call.anyLength("scores", axis);
    }
    return call;
  }

  private static Numbers weight(KernelDraw d, int width) {
    return d.numbers(Shape.of(width), x -> 1 + 0.5 * x);
  }

  /** Rows of one magnitude around one mean, so that the variance keeps its digits. */
  private static Numbers rowsToNormalise(KernelDraw d, Shape shape) {
    double magnitude = d.pick(List.of(1.0, 30.0, 1e-3));
    double mean = d.pick(List.of(0.0, 3.0));
    return d.numbers(shape, x -> magnitude * (x + mean));
  }

  private static Shape perRow(Shape shape) {
    return Shape.of(shape.rows());
  }

  private static KernelCall layerNorm(KernelDraw d) {
    Shape shape = d.rowShape();
    int width = shape.length(-1);
    Numbers x = rowsToNormalise(d, shape);
    double epsilon = d.pick(List.of(1e-5, 1e-6));
    return KernelCall.of("layerNorm")
        .reads("x", x)
        .reads("weight", weight(d, width))
        .reads("bias", d.normal(width))
        .writes("out", shape)
        .writes("mean", perRow(shape))
        .writes("inverse", perRow(shape))
        // A row of two nearly equal numbers is stretched by 1 / sqrt(epsilon).
        .within("out", 3e-5, 1)
        .within("mean", ROUNDING, Math.max(1e-30, x.largest()))
        .within("inverse", 3e-5, 1)
        .runs(
            (kernels, t) ->
                kernels.layerNorm(
                    t.of("x"),
                    t.of("weight"),
                    t.of("bias"),
                    epsilon,
                    t.of("out"),
                    t.of("mean"),
                    t.of("inverse")));
  }

  private static KernelCall layerNormBackward(KernelDraw d) {
    Shape shape = d.rowShape();
    int width = shape.length(-1);
    Numbers x = rowsToNormalise(d, shape);
    Numbers weight = weight(d, width);
    Numbers gradient = d.normal(shape);
    int rows = Math.toIntExact(shape.rows());
    double[] mean = new double[rows];
    double[] inverse = new double[rows];
    for (int row = 0; row < rows; row++) {
      double[] values = Arrays.copyOfRange(x.values(), row * width, (row + 1) * width);
      double centre = (float) Arrays.stream(values).average().orElseThrow();
      double variance =
          Arrays.stream(values).map(v -> (v - centre) * (v - centre)).average().orElseThrow();
      mean[row] = centre;
      inverse[row] = (float) (1 / Math.sqrt(variance + 1e-5));
    }
    double stretch = Math.max(1, Arrays.stream(inverse).max().orElse(1));
    return KernelCall.of("layerNormBackward")
        .reads("x", x)
        .reads("weight", weight)
        .reads("mean", new Numbers(Shape.of(rows), mean))
        .reads("inverse", new Numbers(Shape.of(rows), inverse))
        .reads("gradient", gradient)
        .writes("dx", shape)
        .writes("dweight", Shape.of(width))
        .writes("dbias", Shape.of(width))
        .within("dx", 2e-6, stretch * Math.max(1, gradient.largest() * weight.largest()))
        .within("dweight", ROUNDING, Math.max(1, 10.0 * rows))
        .within("dbias", ROUNDING, Math.max(1, rows))
        .runs(
            (kernels, t) ->
                kernels.layerNormBackward(
                    t.of("x"),
                    t.of("weight"),
                    t.of("mean"),
                    t.of("inverse"),
                    t.of("gradient"),
                    t.of("dx"),
                    t.of("dweight"),
                    t.of("dbias")));
  }

  private static KernelCall rmsNorm(KernelDraw d) {
    Shape shape = d.rowShape();
    Numbers x = rowsToNormalise(d, shape);
    double epsilon = d.pick(List.of(1e-5, 1e-6));
    return KernelCall.of("rmsNorm")
        .reads("x", x)
        .reads("weight", weight(d, shape.length(-1)))
        .writes("out", shape)
        .writes("inverse", perRow(shape))
        .within(1e-6, 1)
        .runs(
            (kernels, t) ->
                kernels.rmsNorm(t.of("x"), t.of("weight"), epsilon, t.of("out"), t.of("inverse")));
  }

  private static KernelCall rmsNormBackward(KernelDraw d) {
    Shape shape = d.rowShape();
    int width = shape.length(-1);
    Numbers x = rowsToNormalise(d, shape);
    Numbers weight = weight(d, width);
    Numbers gradient = d.normal(shape);
    int rows = Math.toIntExact(shape.rows());
    double[] inverse = new double[rows];
    for (int row = 0; row < rows; row++) {
      double square =
          Arrays.stream(x.values(), row * width, (row + 1) * width)
              .map(v -> v * v)
              .average()
              .orElseThrow();
      inverse[row] = (float) (1 / Math.sqrt(square + 1e-5));
    }
    double stretch = Math.max(1, Arrays.stream(inverse).max().orElse(1));
    return KernelCall.of("rmsNormBackward")
        .reads("x", x)
        .reads("weight", weight)
        .reads("inverse", new Numbers(Shape.of(rows), inverse))
        .reads("gradient", gradient)
        .writes("dx", shape)
        .writes("dweight", Shape.of(width))
        .within("dx", 2e-6, stretch * Math.max(1, gradient.largest() * weight.largest()))
        .within("dweight", ROUNDING, Math.max(1, 10.0 * rows))
        .runs(
            (kernels, t) ->
                kernels.rmsNormBackward(
                    t.of("x"),
                    t.of("weight"),
                    t.of("inverse"),
                    t.of("gradient"),
                    t.of("dx"),
                    t.of("dweight")));
  }

  // ---------------------------------------------------------------- losses

  /** Targets that have a finite logit, some of them -1. */
  private static Numbers targets(KernelDraw d, Numbers logits) {
    int rows = logits.shape().length(0);
    int vocabulary = logits.shape().length(1);
    double[] out = new double[rows];
    for (int row = 0; row < rows; row++) {
      int target = d.between(-1, vocabulary - 1);
      boolean scored = target < 0 || Double.isFinite(logits.values()[row * vocabulary + target]);
      out[row] = scored ? target : 0;
    }
    return new Numbers(Shape.of(rows), out);
  }

  private static KernelCall crossEntropy(KernelDraw d) {
    Shape shape = Shape.of(d.rows(), d.length());
    Numbers logits = d.logits(shape);
    return KernelCall.of("crossEntropy")
        .reads("logits", logits)
        .readsIds("targets", targets(d, logits))
        .writes("losses", perRow(shape))
        .writes("logSumExp", perRow(shape))
        .anyLength("logits", 1)
        .within(1e-6, 1)
        .runs(
            (kernels, t) ->
                kernels.crossEntropy(
                    t.of("logits"), t.of("targets"), t.of("losses"), t.of("logSumExp")));
  }

  private static KernelCall crossEntropyBackward(KernelDraw d) {
    Shape shape = Shape.of(d.rows(), d.length());
    Numbers logits = d.logits(shape);
    int columns = shape.length(1);
    double[] sums = new double[shape.length(0)];
    Arrays.setAll(sums, row -> (float) logSumExp(logits, row * columns, columns));
    Numbers gradient = d.normal(shape.dim(0));
    return KernelCall.of("crossEntropyBackward")
        .reads("logits", logits)
        .readsIds("targets", targets(d, logits))
        .reads("logSumExp", new Numbers(perRow(shape), sums))
        .reads("gradient", gradient)
        .writes("out", shape)
        .mayShare("out", "logits")
        // exp(x - logSumExp) with a logSumExp that float32 has rounded
        .within(1e-6 + ROUNDING * logits.largest(), Math.max(1, gradient.largest()))
        .runs(
            (kernels, t) ->
                kernels.crossEntropyBackward(
                    t.of("logits"),
                    t.of("targets"),
                    t.of("logSumExp"),
                    t.of("gradient"),
                    t.of("out")));
  }

  private static KernelCall divergence(KernelDraw d) {
    Shape shape = Shape.of(d.rows(), d.length());
    Numbers student = d.numbers(shape, x -> 3 * x);
    Numbers teacher = d.logits(shape);
    return KernelCall.of("divergence")
        .reads("student", student)
        .reads("teacher", teacher)
        .writes("divergence", perRow(shape))
        .within(1e-6, Math.max(1, teacher.largest()))
        .runs(
            (kernels, t) ->
                kernels.divergence(t.of("student"), t.of("teacher"), t.of("divergence")));
  }

  private static KernelCall divergenceBackward(KernelDraw d) {
    Shape shape = Shape.of(d.rows(), d.length());
    Numbers student = d.logits(shape);
    Numbers teacher = d.logits(shape);
    Numbers gradient = d.normal(shape.dim(0));
    double largest = Math.max(student.largest(), teacher.largest());
    return KernelCall.of("divergenceBackward")
        .reads("student", student)
        .reads("teacher", teacher)
        .reads("gradient", gradient)
        .writes("out", shape)
        .mayShare("out", "student")
        .within(1e-6 + ROUNDING * largest, Math.max(1, gradient.largest()))
        .runs(
            (kernels, t) ->
                kernels.divergenceBackward(
                    t.of("student"), t.of("teacher"), t.of("gradient"), t.of("out")));
  }

  // ---------------------------------------------------------------- gates and attention

  private static Gate anyGate(KernelDraw d) {
    double bias = d.pick(List.of(0.0, 0.7, -0.7, 2.0, -1e4, 1e4));
    NoiseKey key = new NoiseKey(d.seed(), d.between(1, 1000), d.between(0, 100));
    return d.pick(
        List.of(
            Gate.open(), new Gate.Hard(bias), new Gate.Soft(bias), new Gate.Sampled(bias, key)));
  }

  /** The noise of a gate. */
  private static double noise(Gate gate, int batch, int head, int position, int key) {
    return switch (gate) {
      case Gate.Open() -> 0;
      case Gate.Hard(double bias) -> 0;
      case Gate.Soft(double bias) -> 0;
      case Gate.Sampled(double bias, NoiseKey stream) -> {
        float[] four = new float[4];
        stream.uniforms(batch, head, position, key / 4, four);
        double u = four[key % 4];
        yield Math.log(u) - Math.log1p(-u);
      }
    };
  }

  /** What a gate multiplies by, from its logit with noise. */
  private static double value(Gate gate, double z) {
    return switch (gate) {
      case Gate.Open() -> 1;
      case Gate.Soft(double bias) ->
          z < 0 ? Math.exp(z) / (1 + Math.exp(z)) : 1 / (1 + Math.exp(-z));
      case Gate.Hard(double bias) -> z > 0 ? 1 : 0;
      case Gate.Sampled(double bias, NoiseKey stream) -> z > 0 ? 1 : 0;
    };
  }

  /** A table of gate logits, none so near to its threshold that rounding could flip the gate. */
  private static Numbers gateLogits(KernelDraw d, Gate gate) {
    int batch = d.few();
    int heads = d.few();
    int keys = d.length();
    int queries = d.between(1, keys);
    Numbers z = d.numbers(Shape.of(batch, heads, queries, keys), x -> 3 * x);
    for (int i = 0; i < z.values().length; i++) {
      int key = i % keys;
      int query = i / keys % queries;
      int head = i / keys / queries % heads;
      double noise = noise(gate, i / keys / queries / heads, head, keys - queries + query, key);
      if (Math.abs(z.values()[i] + noise) < 1e-4) {
        z.values()[i] += 1;
      }
    }
    return z;
  }

  private static KernelCall gate(KernelDraw d) {
    Gate gate = anyGate(d);
    Numbers z = gateLogits(d, gate);
    return KernelCall.of("gate")
        .reads("z", z)
        .writes("out", z.shape())
        .within(gate instanceof Gate.Soft ? 1e-6 : 0, 1)
        .runs((kernels, t) -> kernels.gate(gate, t.of("z"), t.of("out")));
  }

  private static KernelCall gateBackward(KernelDraw d) {
    Gate gate = anyGate(d);
    Numbers z = gateLogits(d, gate);
    Numbers gradient = d.normal(z.shape());
    return KernelCall.of("gateBackward")
        .reads("z", z)
        .reads("gradient", gradient)
        .writes("out", z.shape())
        .within(1e-6, Math.max(1, gradient.largest()))
        .runs((kernels, t) -> kernels.gateBackward(gate, t.of("z"), t.of("gradient"), t.of("out")));
  }

  /**
   * Operands of attention.
   *
   * @param magnitude the largest sum of |q k| that makes a score: what scores are rounded by
   */
  private record Attended(AttentionSpec spec, Numbers q, Numbers k, Numbers v, double magnitude) {}

  /** Half the time no window; else from itself alone to more than all keys. */
  private static int anyWindow(KernelDraw d, int keys) {
    return d.oneIn(2) ? AttentionSpec.ALL_KEYS : d.between(1, keys + 2);
  }

  private static Attended attended(KernelDraw d) {
    Gate gate = anyGate(d);
    int batch = d.few();
    int kvHeads = d.few();
    int heads = kvHeads * d.between(1, 3);
    int headDim = d.length();
    int keys = d.lengthOrNone();
    // One query after others, as in decoding; fewer queries than keys; whole sequences; none.
    int queries = d.pick(List.of(Math.min(1, keys), d.between(0, keys), keys, keys));
    double scale = 1 / Math.sqrt(headDim);
    AttentionSpec spec =
        new AttentionSpec(heads, kvHeads, headDim, scale, gate, anyWindow(d, keys));
    double magnitude = d.pick(List.of(1.0, 1.0, 12.0));
    for (int attempt = 0; ; attempt++) {
      Numbers q = d.numbers(Shape.of(batch, queries, heads, headDim), x -> magnitude * x);
      Numbers k = d.numbers(Shape.of(batch, keys, kvHeads, headDim), x -> magnitude * x);
      Numbers v = d.normal(batch, keys, kvHeads, headDim);
      Attended drawn = new Attended(spec, q, k, v, 0);
      double[] nearestAndLargest = scan(drawn);
      // Wide enough for the rounding of scores, narrow enough to be found.
      if (nearestAndLargest[0] > 5e-7 * Math.max(1, nearestAndLargest[1])) {
        return new Attended(spec, q, k, v, nearestAndLargest[1]);
      }
      if (attempt == 100) {
        throw new AssertionError("no operands whose gates are clear of their threshold");
      }
    }
  }

  /** The least |z + n| of all causal pairs, and the largest magnitude of a score. */
  private static double[] scan(Attended drawn) {
    AttentionSpec spec = drawn.spec();
    Shape shape = drawn.q().shape();
    int queries = shape.length(1);
    int keys = drawn.k().shape().length(1);
    double nearest = Double.POSITIVE_INFINITY;
    double largest = 0;
    for (int row = 0; row < shape.length(0) * queries * spec.heads(); row++) {
      int head = row % spec.heads();
      int query = row / spec.heads() % queries;
      int b = row / spec.heads() / queries;
      int position = keys - queries + query;
      for (int j = spec.firstKey(position); j <= position; j++) {
        int atK =
            ((b * keys + j) * spec.kvHeads() + head / (spec.heads() / spec.kvHeads()))
                * spec.headDim();
        double s = 0;
        double magnitude = 0;
        for (int e = 0; e < spec.headDim(); e++) {
          double term =
              spec.scale()
                  * drawn.q().values()[row * spec.headDim() + e]
                  * drawn.k().values()[atK + e];
          s += term;
          magnitude += Math.abs(term);
        }
        largest = Math.max(largest, magnitude);
        if (!(spec.gate() instanceof Gate.Open)) {
          double noise = noise(spec.gate(), b, head, position, j);
          nearest = Math.min(nearest, Math.abs(s + spec.gate().biasOrZero() + noise));
          // Counts are of gates without noise, in every mode.
          nearest = Math.min(nearest, Math.abs(s + spec.gate().biasOrZero()));
        }
      }
    }
    return new double[] {nearest, largest};
  }

  private static KernelCall attention(KernelDraw d) {
    Attended a = attended(d);
    Shape shape = a.q().shape();
    Shape heads = Shape.of(shape.dim(0), a.spec().heads());
    // A score is off by its own rounding, and the pattern by as much, relatively.
    double tolerance = 1e-6 + 4 * ROUNDING * a.magnitude();
    return KernelCall.of("attention")
        .reads("q", a.q())
        .reads("k", a.k())
        .reads("v", a.v())
        .writes("out", shape)
        .writes("logSumExp", Shape.of(shape.dim(0), a.spec().heads(), shape.dim(1)))
        .writes("expected", heads)
        .writes("counts", DType.F64, Shape.of(heads.dim(0), heads.dim(1), AttentionSpec.COUNTS))
        .within(tolerance, Math.max(1, a.v().largest()))
        .within("logSumExp", 1e-6, 1 + a.magnitude())
        .within("counts", 0, 1)
        .runs(
            (kernels, t) ->
                kernels.attention(
                    a.spec(),
                    t.of("q"),
                    t.of("k"),
                    t.of("v"),
                    t.of("out"),
                    t.of("logSumExp"),
                    t.of("expected"),
                    t.of("counts")));
  }

  private static KernelCall attentionBackward(KernelDraw d) {
    Attended a = attended(d);
    Shape shape = a.q().shape();
    Outputs forward = outputs(a);
    Numbers dout = d.normal(shape);
    Numbers dexpected = d.normal(shape.dim(0), a.spec().heads());
    double tolerance = 2e-6 + 4 * ROUNDING * a.magnitude();
    // |ds| <= 2 |dy . v| + |dexpected|, and dq, dk are sums of it times k and q.
    double upstream = 1 + a.spec().headDim() * dout.rootMeanSquare() * a.v().rootMeanSquare();
    double inputs = Math.max(1, Math.max(a.q().largest(), a.k().largest()));
    return KernelCall.of("attentionBackward")
        .reads("q", a.q())
        .reads("k", a.k())
        .reads("v", a.v())
        .reads("out", forward.out())
        .reads("logSumExp", forward.logSumExp())
        .reads("dout", dout)
        .reads("dexpected", dexpected)
        .writes("dq", shape)
        .writes("dk", a.k().shape())
        .writes("dv", a.k().shape())
        .within(tolerance, upstream * inputs)
        .within("dv", tolerance, Math.max(1, 2 * dout.largest()))
        .runs(
            (kernels, t) ->
                kernels.attentionBackward(
                    a.spec(),
                    t.of("q"),
                    t.of("k"),
                    t.of("v"),
                    t.of("out"),
                    t.of("logSumExp"),
                    t.of("dout"),
                    t.of("dexpected"),
                    t.of("dq"),
                    t.of("dk"),
                    t.of("dv")));
  }

  /** What the forward kernel leaves for the backward one. */
  private record Outputs(Numbers out, Numbers logSumExp) {}

  private static Outputs outputs(Attended a) {
    AttentionSpec spec = a.spec();
    Shape shape = a.q().shape();
    int d = spec.headDim();
    int queries = shape.length(1);
    int keys = a.k().shape().length(1);
    double[] out = new double[a.q().values().length];
    double[] sums = new double[shape.length(0) * spec.heads() * queries];
    for (int row = 0; row < sums.length; row++) {
      int head = row % spec.heads();
      int query = row / spec.heads() % queries;
      int b = row / spec.heads() / queries;
      int position = keys - queries + query;
      int kv = head / (spec.heads() / spec.kvHeads());
      int first = spec.firstKey(position);
      double[] s = new double[position + 1];
      Arrays.fill(s, 0, first, Double.NEGATIVE_INFINITY);
      for (int j = first; j <= position; j++) {
        int at = ((b * keys + j) * spec.kvHeads() + kv) * d;
        for (int e = 0; e < d; e++) {
          s[j] += a.q().values()[row * d + e] * a.k().values()[at + e] * spec.scale();
        }
      }
      double max = DoubleStream.of(s).max().orElseThrow();
      double logSumExp = max + Math.log(DoubleStream.of(s).map(x -> Math.exp(x - max)).sum());
      sums[(b * spec.heads() + head) * queries + query] = (float) logSumExp;
      for (int j = first; j <= position; j++) {
        double z = s[j] + spec.gate().biasOrZero() + noise(spec.gate(), b, head, position, j);
        double m = value(spec.gate(), z);
        if (m > 0) {
          int at = ((b * keys + j) * spec.kvHeads() + kv) * d;
          double p = Math.exp(s[j] - logSumExp);
          for (int e = 0; e < d; e++) {
            out[row * d + e] += p * m * a.v().values()[at + e];
          }
        }
      }
    }
    Arrays.setAll(out, i -> (float) out[i]);
    return new Outputs(
        new Numbers(shape, out), new Numbers(Shape.of(shape.dim(0), spec.heads(), queries), sums));
  }
}
