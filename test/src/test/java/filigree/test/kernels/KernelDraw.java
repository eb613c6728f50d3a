package filigree.test.kernels;

import filigree.tensor.Elementwise;
import filigree.tensor.Philox;
import filigree.tensor.Shape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.DoubleUnaryOperator;

/** Random shapes and numbers for calls of kernels. */
final class KernelDraw {
  /** Lengths on both sides of what vector registers, tiles and blocks hold. */
  private static final int[] TAILS = {
    1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 70
  };

  private final Philox random;
  private final Lengths lengths;
  private int distinct = 2;

  /** Which lengths are drawn. */
  enum Lengths {
    /** From 1 to 70; now and then 0 where that is allowed, and now and then many rows. */
    ANY,
    /** Small, at least 3 and all different, so that no axis fits in another's place or repeats. */
    DISTINCT
  }

  KernelDraw(long seed, Lengths lengths) {
    this.random = new Philox(seed, 1);
    this.lengths = lengths;
  }

  int between(int low, int high) {
    return low + random.nextInt(high - low + 1);
  }

  boolean oneIn(int times) {
    return random.nextInt(times) == 0;
  }

  <T> T pick(List<T> choices) {
    return choices.get(random.nextInt(choices.size()));
  }

  /** The length of an axis, at least 1. */
  int length() {
    if (lengths == Lengths.DISTINCT) {
      return ++distinct;
    }
    return oneIn(3) ? between(1, 70) : TAILS[random.nextInt(TAILS.length)];
  }

  /** The length of an axis that may be empty. */
  int lengthOrNone() {
    return lengths == Lengths.ANY && oneIn(16) ? 0 : length();
  }

  /** A number of rows: few, or so many that threads share them, or none. */
  int rows() {
    return lengths == Lengths.ANY && oneIn(8) ? between(500, 1500) : lengthOrNone();
  }

  /** A small number of heads or sequences. */
  int few() {
    return lengths == Lengths.DISTINCT ? ++distinct : between(1, 3);
  }

  /** Any shape, from a scalar to four axes. */
  Shape shape() {
    return shape(between(0, 4));
  }

  /** Any shape of some axes; the more of them, the shorter they are. */
  Shape shape(int rank) {
    long[] dims = new long[rank];
    for (int axis = 0; axis < rank; axis++) {
      dims[axis] = rank <= 2 ? lengthOrNone() : axis == rank - 1 ? length() : few();
    }
    if (rank > 2 && lengths == Lengths.ANY && oneIn(16)) {
      dims[random.nextInt(rank)] = 0;
    }
    if (rank == 2 && lengths == Lengths.ANY && oneIn(8)) {
      dims[0] = between(500, 1500);
    }
    return Shape.of(dims);
  }

  /** A shape with rows along its last axis, which is not empty. */
  Shape rowShape() {
    int rank = between(1, 3);
    long[] dims = new long[rank];
    for (int axis = 0; axis < rank; axis++) {
      dims[axis] = axis == rank - 1 ? length() : rank == 2 ? rows() : few();
    }
    return Shape.of(dims);
  }

  /** A shape that broadcasts to another: without some axes in front, some others of length 1. */
  Shape smaller(Shape full) {
    long[] dims = full.dims();
    int missing = oneIn(3) ? between(0, dims.length) : 0;
    for (int axis = 0; axis < dims.length; axis++) {
      dims[axis] = oneIn(3) ? 1 : dims[axis];
    }
    return Shape.of(Arrays.copyOfRange(dims, missing, dims.length));
  }

  int[] order(int rank) {
    int[] out = new int[rank];
    Arrays.setAll(out, i -> i);
    random.shuffle(out);
    return out;
  }

  double normal() {
    return random.nextGaussian();
  }

  double uniform() {
    return random.nextDouble();
  }

  Numbers numbers(Shape shape, DoubleUnaryOperator fromNormal) {
    double[] values = new double[Math.toIntExact(shape.size())];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) fromNormal.applyAsDouble(random.nextGaussian());
    }
    return new Numbers(shape, values);
  }

  Numbers normal(Shape shape) {
    return numbers(shape, x -> x);
  }

  Numbers normal(long... dims) {
    return normal(Shape.of(dims));
  }

  /** Numbers of one magnitude: ordinary, small or large. */
  Numbers spread(Shape shape) {
    double magnitude = magnitude();
    return numbers(shape, x -> magnitude * x);
  }

  double magnitude() {
    return pick(List.of(1.0, 1.0, 1e-4, 1e3, 1e6));
  }

  /** Logits: ordinary, or in the thousands, or some of them minus infinity but none a whole row. */
  Numbers logits(Shape shape) {
    double magnitude = pick(List.of(1.0, 3.0, 50.0, 3000.0));
    Numbers out = numbers(shape, x -> magnitude * x);
    if (oneIn(3) && shape.rank() > 0) {
      int columns = shape.length(-1);
      for (int i = 0; i < out.values().length; i++) {
        boolean kept = i % columns == 0;
        out.values()[i] = !kept && oneIn(4) ? Double.NEGATIVE_INFINITY : out.values()[i];
      }
    }
    return out;
  }

  /** Arguments of a function, extremes of its domain among them. */
  Numbers arguments(Shape shape, Elementwise.Domain domain, double limit) {
    List<Double> extremes = new ArrayList<>();
    for (double x : new double[] {1e4, 709, 104, 88, 30, 17, 9, 5, 1, 0.5, 1e-4, 1e-20}) {
      if (x <= limit) {
        extremes.add(x);
      }
    }
    return numbers(
        shape,
        x -> {
          double value = oneIn(4) ? Math.copySign(pick(extremes), x) : 3 * x;
          return switch (domain) {
            case REAL -> oneIn(40) ? 0 : value;
            case POSITIVE -> Math.abs(value) + 1e-20;
            case NOT_ZERO -> Math.abs(value) < 1e-4 ? Math.copySign(1e-4, x) : value;
          };
        });
  }

  Numbers ids(Shape shape, int from, int to) {
    double[] values = new double[Math.toIntExact(shape.size())];
    Arrays.setAll(values, i -> between(from, to - 1));
    return new Numbers(shape, values);
  }

  long seed() {
    return random.nextInt();
  }
}
