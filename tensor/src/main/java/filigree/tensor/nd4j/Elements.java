package filigree.tensor.nd4j;

import static filigree.tensor.nd4j.Scratch.store;
import static filigree.tensor.nd4j.Scratch.wide;

import filigree.tensor.AdamWStep;
import filigree.tensor.Arithmetic;
import filigree.tensor.Elementwise;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.TensorException;
import filigree.tensor.Transpose;
import java.util.Arrays;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.ops.transforms.Transforms;

/** Kernels without structure along an axis: maps, broadcasts, sums, products, updates. */
record Elements(Scratch scratch) {

  void fill(Tensor out, double value) {
    Entry.of("fill").floating("out", out);
    Bridge.fill(out, value);
  }

  void map(Elementwise function, Tensor x, Tensor out) {
    Entry.of("map").floating("x", x).floating("out", out).shape("out", out, x.shape());
    if (out.size() == 0) {
      return;
    }
    try (var _ = scratch.open()) {
      store(Formulas.value(function, wide(x)), out);
    }
  }

  void mapBackward(Elementwise function, Tensor x, Tensor y, Tensor gradient, Tensor out) {
    Entry.of("mapBackward")
        .floating("x", x)
        .floating("y", y)
        .floating("gradient", gradient)
        .floating("out", out)
        .shape("y", y, x.shape())
        .shape("gradient", gradient, x.shape())
        .shape("out", out, x.shape());
    if (out.size() == 0) {
      return;
    }
    try (var _ = scratch.open()) {
      store(wide(gradient).mul(Formulas.derivative(function, wide(x))), out);
    }
  }

  void combine(Arithmetic op, Tensor left, Tensor right, Tensor out) {
    Shape common;
    try {
      common = left.shape().broadcast(right.shape());
    } catch (TensorException e) {
      throw new TensorException("combine: " + e.getMessage(), e);
    }
    Entry.of("combine")
        .floating("a", left)
        .floating("b", right)
        .floating("out", out)
        .shape("out", out, common);
    if (out.size() == 0) {
      return;
    }
    try (var _ = scratch.open()) {
      INDArray a = wide(left, padded(left.shape(), common.rank()));
      INDArray b = wide(right, padded(right.shape(), common.rank()));
      INDArray result =
          switch (op) {
            case ADD -> a.add(b);
            case SUBTRACT -> a.sub(b);
            case MULTIPLY -> a.mul(b);
            case DIVIDE -> a.div(b);
          };
      store(result, out);
    }
  }

  /** The axes with ones in front, at least one axis. */
  private static long[] padded(Shape shape, int rank) {
    long[] dims = new long[Math.max(rank, 1)];
    Arrays.fill(dims, 1);
    System.arraycopy(shape.dims(), 0, dims, dims.length - shape.rank(), shape.rank());
    return dims;
  }

  void accumulate(double alpha, Tensor x, Tensor y) {
    Entry.of("accumulate").floating("x", x).floating("y", y).shape("y", y, x.shape());
    if (y.size() == 0) {
      return;
    }
    try (var _ = scratch.open()) {
      store(wide(y).add(wide(x).mul(alpha)), y);
    }
  }

  void scale(double alpha, Tensor x, Tensor out) {
    Entry.of("scale").floating("x", x).floating("out", out).shape("out", out, x.shape());
    if (out.size() == 0) {
      return;
    }
    try (var _ = scratch.open()) {
      store(wide(x).mul(alpha), out);
    }
  }

  void clip(double limit, Tensor x, Tensor out) {
    Entry.of("clip").floating("x", x).floating("out", out).shape("out", out, x.shape());
    if (out.size() == 0) {
      return;
    }
    try (var _ = scratch.open()) {
      INDArray limited = wide(x);
      // max and min by comparison: both keep a NaN.
      store(Transforms.min(Transforms.max(limited, -limit), limit), out);
    }
  }

  void clipBackward(double limit, Tensor x, Tensor gradient, Tensor out) {
    Entry.of("clipBackward")
        .floating("x", x)
        .floating("gradient", gradient)
        .shape("gradient", gradient, x.shape())
        .floating("out", out)
        .shape("out", out, x.shape());
    if (out.size() == 0) {
      return;
    }
    try (var _ = scratch.open()) {
      INDArray within = Transforms.abs(wide(x)).lte(limit).castTo(DataType.DOUBLE);
      store(wide(gradient).mul(within), out);
    }
  }

  void sumTo(Tensor x, Tensor out) {
    Entry.of("sumTo")
        .floating("x", x)
        .floating("out", out)
        .require(
            broadcasts(out.shape(), x.shape()),
            "out has shape %s, which does not broadcast to %s",
            out.shape(),
            x.shape());
    if (out.size() == 0) {
      return;
    }
    if (x.size() == 0) { // ND4J throws at an empty sum
      fill(out, 0);
      return;
    }
    int missing = x.shape().rank() - out.shape().rank();
    int[] summed = new int[x.shape().rank()];
    int count = 0;
    for (int axis = 0; axis < summed.length; axis++) {
      if (axis < missing || out.shape().dim(axis - missing) < x.shape().dim(axis)) {
        summed[count++] = axis;
      }
    }
    try (var _ = scratch.open()) {
      // Without axes ND4J would sum over all.
      INDArray values = wide(x);
      INDArray sum = count == 0 ? values : values.sum(true, Arrays.copyOf(summed, count));
      store(sum, out);
    }
  }

  private static boolean broadcasts(Shape from, Shape to) {
    try {
      return from.broadcast(to).equals(to);
    } catch (TensorException e) {
      return false;
    }
  }

  double sumOfSquares(Tensor x) {
    Entry.of("sumOfSquares").floating("x", x);
    if (x.size() == 0) {
      return 0;
    }
    try (var _ = scratch.open()) {
      INDArray values = wide(x, x.size());
      return values.mul(values).sumNumber().doubleValue();
    }
  }

  void matmul(
      double alpha, Tensor a, Transpose ta, Tensor b, Transpose tb, double beta, Tensor out) {
    Entry.of("matmul")
        .floating("a", a)
        .weights("b", b)
        .floating("out", out)
        .rankAtLeast("a", a, 2)
        .rankAtLeast("b", b, 2);
    long m = a.shape().dim(ta == Transpose.NO ? -2 : -1);
    long k = a.shape().dim(ta == Transpose.NO ? -1 : -2);
    long n = b.shape().dim(tb == Transpose.NO ? -1 : -2);
    boolean batched = b.shape().rank() > 2;
    long[] expected = a.shape().dims();
    expected[expected.length - 2] = m;
    expected[expected.length - 1] = n;
    Entry.of("matmul")
        .require(
            k == b.shape().dim(tb == Transpose.NO ? -2 : -1) && (!batched || sameBatch(a, b)),
            "a %s (transposed: %s) and b %s (transposed: %s) do not fit",
            a.shape(),
            ta,
            b.shape(),
            tb)
        .shape("out", out, Shape.of(expected));
    if (out.size() == 0) {
      return;
    }
    long batch = out.size() / (m * n);
    Tensor as = a.reshape(Shape.of(batch, a.shape().dim(-2), a.shape().dim(-1)));
    Tensor bs = b.reshape(Shape.of(batched ? batch : 1, b.shape().dim(-2), b.shape().dim(-1)));
    Tensor outs = out.reshape(Shape.of(batch, m, n));
    for (long i = 0; i < batch; i++) {
      Tensor one = outs.rows(i, i + 1);
      try (var _ = scratch.open()) {
        INDArray result = null;
        if (k > 0) { // ND4J cannot hold an empty matrix; its product is 0
          INDArray left = matrix(as.rows(i, i + 1));
          INDArray right = matrix(batched ? bs.rows(i, i + 1) : bs);
          result = product(left, ta, right, tb).mul(alpha);
        }
        if (beta != 0) {
          INDArray old = matrix(one).mul(beta);
          result = result == null ? old : result.add(old);
        }
        if (result == null) {
          fill(one, 0);
        } else {
          store(result, one);
        }
      }
    }
  }

  void affineBackward(Tensor gradient, Tensor x, double beta, Tensor weight, Tensor bias) {
    Entry entry =
        Entry.of("affineBackward")
            .floating("gradient", gradient)
            .floating("x", x)
            .floating("weight", weight)
            .floating("bias", bias)
            .rankAtLeast("gradient", gradient, 1)
            .rankAtLeast("x", x, 1);
    long out = gradient.shape().dim(-1);
    long in = x.shape().dim(-1);
    long[] expected = gradient.shape().dims();
    expected[expected.length - 1] = in;
    entry
        .shape("x", x, Shape.of(expected))
        .shape("weight", weight, Shape.of(out, in))
        .shape("bias", bias, Shape.of(out));
    Tensor g = gradient.reshape(Shape.of(gradient.shape().rows(), out));
    Tensor rows = x.reshape(Shape.of(x.shape().rows(), in));
    matmul(1, g, Transpose.YES, rows, Transpose.NO, beta, weight);
    sumTo(g, bias);
  }

  void affine(Tensor a, Tensor b, Transpose tb, Tensor bias, Tensor out) {
    long k = a.shape().rank() == 0 ? 0 : a.shape().dim(-1);
    long n = bias.size();
    Entry entry =
        Entry.of("affine")
            .floating("a", a)
            .weights("b", b)
            .floating("bias", bias)
            .floating("out", out)
            .rankAtLeast("a", a, 2)
            .shape("bias", bias, Shape.of(n))
            .shape("b", b, tb == Transpose.YES ? Shape.of(n, k) : Shape.of(k, n));
    long[] expected = a.shape().dims();
    expected[expected.length - 1] = n;
    entry.shape("out", out, Shape.of(expected));
    if (out.size() == 0) {
      return;
    }
    long rows = a.shape().rows();
    try (var _ = scratch.open()) {
      INDArray row = wide(bias, 1, n);
      if (k == 0) { // ND4J cannot hold an empty matrix; its product is 0
        fill(out, 0);
        store(wide(out, rows, n).add(row), out);
      } else {
        INDArray right = wide(b, b.shape().dims());
        store(product(wide(a, rows, k), Transpose.NO, right, tb).add(row), out);
      }
    }
  }

  private static INDArray matrix(Tensor one) {
    return wide(one, one.shape().dim(1), one.shape().dim(2));
  }

  private static INDArray product(INDArray a, Transpose ta, INDArray b, Transpose tb) {
    return switch (ta) {
      case NO ->
          switch (tb) {
            case NO -> Formulas.product(a, b);
            case YES -> Formulas.productTransposed(a, b);
          };
      case YES ->
          switch (tb) {
            case NO -> Formulas.transposedProduct(a, b);
            case YES -> Formulas.transposedProductTransposed(a, b);
          };
    };
  }

  private static boolean sameBatch(Tensor a, Tensor b) {
    int axes = a.shape().rank() - 2;
    return b.shape().rank() == axes + 2
        && Arrays.equals(
            Arrays.copyOf(a.shape().dims(), axes), Arrays.copyOf(b.shape().dims(), axes));
  }

  void adamw(AdamWStep step, Tensor parameter, Tensor gradient, Tensor mean, Tensor variance) {
    Entry.of("adamw")
        .floating("parameter", parameter)
        .floating("gradient", gradient)
        .floating("mean", mean)
        .floating("variance", variance)
        .shape("gradient", gradient, parameter.shape())
        .shape("mean", mean, parameter.shape())
        .shape("variance", variance, parameter.shape());
    if (parameter.size() == 0) {
      return;
    }
    try (var _ = scratch.open()) {
      INDArray g = wide(gradient).mul(step.gradientScale());
      INDArray m = wide(mean).mul(step.beta1()).add(g.mul(1 - step.beta1()));
      INDArray v = wide(variance).mul(step.beta2()).add(g.mul(g).mul(1 - step.beta2()));
      INDArray unbiasedMean = m.div(1 - Math.pow(step.beta1(), step.step()));
      INDArray unbiasedVariance = v.div(1 - Math.pow(step.beta2(), step.step()));
      INDArray direction = unbiasedMean.div(Formulas.sqrt(unbiasedVariance).add(step.epsilon()));
      INDArray decayed = wide(parameter).mul(1 - step.rate() * step.weightDecay());
      store(m, mean);
      store(v, variance);
      store(decayed.sub(direction.mul(step.rate())), parameter);
    }
  }
}
