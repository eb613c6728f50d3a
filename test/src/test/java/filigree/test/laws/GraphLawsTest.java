package filigree.test.laws;

import static org.assertj.core.api.Assertions.assertThat;

import filigree.autograd.GradCheck;
import filigree.autograd.Op;
import filigree.autograd.Pass;
import filigree.autograd.Var;
import filigree.tensor.Arithmetic;
import filigree.tensor.DType;
import filigree.tensor.Elementwise;
import filigree.tensor.Kernels;
import filigree.tensor.Philox;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Transpose;
import filigree.tensor.Workspace;
import filigree.tensor.provider.Backend;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.lifecycle.AfterContainer;
import net.jqwik.api.lifecycle.BeforeContainer;

/**
 * Random graphs in which values are used again, shared, viewed and forgotten: gradients that are
 * added to in place, written over values or over other gradients, and values that are freed early
 * must not be noticed.
 */
class GraphLawsTest {
  private static final int N = 4;
  private static final double TOLERANCE = 1e-7;

  private static Kernels oracle;
  private static Workspace cases;

  @BeforeContainer
  static void open() {
    oracle = Backend.ND4J.open(1);
    cases = new Workspace("graphs");
  }

  @AfterContainer
  static void close() {
    cases.close();
    oracle.close();
  }

  @Property(tries = 150, seed = "1")
  void gradientsOfGraphsAgreeWithCentralDifferences(@ForAll long seed) {
    cases.reset();
    Philox random = new Philox(seed, 1);
    List<Tensor> inputs = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      double[] values = new double[N * N];
      Arrays.setAll(values, j -> random.nextGaussian());
      inputs.add(Tensor.of(cases, DType.F64, Shape.of(N, N), values));
    }
    GradCheck.Outcome outcome =
        GradCheck.check(oracle, seed, (pass, in) -> graph(pass, in, seed), inputs);
    assertThat(outcome.error()).as("graph of seed %d: %s", seed, outcome).isLessThan(TOLERANCE);
  }

  /** The same graph for the same seed; all its values are N x N. */
  private static Var graph(Pass pass, List<Var> in, long seed) {
    Philox random = new Philox(seed, 2);
    List<Var> pool = new ArrayList<>(in);
    Pass.Mark start = pass.mark();
    int steps = 4 + random.nextInt(12);
    for (int i = 0; i < steps; i++) {
      Var a = pool.get(random.nextInt(pool.size()));
      Var b = pool.get(random.nextInt(pool.size()));
      pool.add(step(pass, random.nextInt(17), a, b, in.getFirst()));
      if (random.nextInt(3) == 0) {
        pool.remove(random.nextInt(pool.size()));
      }
      if (random.nextInt(3) == 0) {
        pass.keepOnly(start, pool);
      }
    }
    Var sum = pool.getFirst();
    for (Var other : pool.subList(1, pool.size())) {
      sum = pass.apply(new Op.Combine(Arithmetic.ADD), sum, other);
    }
    return sum;
  }

  private static Var step(Pass pass, int which, Var a, Var b, Var table) {
    Shape flat = Shape.of(N * N);
    return switch (which) {
      case 0, 1 -> pass.apply(new Op.Combine(Arithmetic.ADD), a, b);
      case 2 -> pass.apply(new Op.Combine(Arithmetic.SUBTRACT), a, b);
      case 3 -> pass.apply(new Op.Combine(Arithmetic.MULTIPLY), bounded(pass, a), b);
      case 4 -> bounded(pass, a);
      case 5 -> pass.apply(new Op.Map(Elementwise.GELU_TANH), a);
      case 6 -> pass.apply(new Op.Scale(-0.7), a);
      case 7 -> pass.apply(new Op.Softmax(), a);
      case 8 -> pass.apply(new Op.CausalMask(2, 0), a);
      case 9 -> pass.apply(new Op.MatMul(Transpose.NO, Transpose.YES), bounded(pass, a), b);
      case 10 -> pass.apply(new Op.Linear(Transpose.NO), bounded(pass, a), b, row(pass, a));
      case 11 -> pass.apply(new Op.Linear(Transpose.YES), a, bounded(pass, b));
      case 12 -> view(pass, pass.apply(new Op.Scale(0.5), view(pass, a, flat)), Shape.of(N, N));
      case 13 -> pass.apply(new Op.Combine(Arithmetic.ADD), a, losses(pass, b));
      case 14 -> pass.apply(new Op.Gather(), table, ids(pass));
      case 15 -> pass.apply(new Op.Combine(Arithmetic.ADD), row(pass, a), b);
      case 16 -> again(pass, a, b);
      default -> throw new IllegalArgumentException("no step " + which);
    };
  }

  /** Run again in the backward pass; an input handed through, a value twice, a view of one. */
  private static Var again(Pass pass, Var a, Var b) {
    Op add = new Op.Combine(Arithmetic.ADD);
    List<Var> out =
        pass.recomputed(
            (inner, in) -> {
              Var x = bounded(inner, in.get(0));
              Var sum = inner.apply(add, x, in.get(1));
              return List.of(sum, sum, in.get(1), view(inner, x, Shape.of(N * N)));
            },
            a,
            b);
    Var twice = pass.apply(add, out.get(0), out.get(1));
    Var more = pass.apply(add, twice, out.get(2));
    Var all = pass.apply(add, more, view(pass, out.get(3), Shape.of(N, N)));
    return pass.apply(new Op.Scale(0.25), all); // no larger than what went in
  }

  private static Var bounded(Pass pass, Var a) {
    return pass.apply(new Op.Map(Elementwise.TANH), a);
  }

  private static Var view(Pass pass, Var a, Shape shape) {
    return pass.apply(new Op.Reshape(shape), a);
  }

  private static Var row(Pass pass, Var a) {
    return pass.apply(new Op.Sum(Shape.of(N)), a);
  }

  private static Var ids(Pass pass) {
    return pass.constant(Tensor.ofInts(pass.scope().memory(), Shape.of(N), 3, 0, 3, 1));
  }

  /** Writes over its logits where it is the last to read them. */
  private static Var losses(Pass pass, Var logits) {
    Var own = pass.apply(new Op.Scale(1.5), logits);
    return pass.apply(new Op.CrossEntropy(), own, ids(pass));
  }
}
