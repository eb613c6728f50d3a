package filigree.test.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import filigree.tensor.AttentionSpec;
import filigree.tensor.DType;
import filigree.tensor.Gate;
import filigree.tensor.Kernels;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import filigree.test.Closeness;
import filigree.test.Engine;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What the contract of {@code Kernels} says of numbers that are not finite, on every provider. */
class NotFiniteTest {
  private static final double NONE = Double.NEGATIVE_INFINITY;

  @ParameterizedTest
  @EnumSource
  void divergenceOfLogitsOfMinusInfinity(Engine engine) {
    try (Kernels kernels = engine.open();
        Workspace memory = new Workspace("test")) {
      Shape shape = Shape.of(5, 3);
      Tensor student =
          Tensor.of(
              memory,
              engine.type(),
              shape,
              new double[] {1, NONE, 2, 1, NONE, 2, NONE, NONE, NONE, 1, 2, 3, 1, 2, NONE});
      Tensor teacher =
          Tensor.of(
              memory,
              engine.type(),
              shape,
              new double[] {1, 2, 3, 1, NONE, 2, 1, 2, 3, NONE, NONE, NONE, 1, NONE, NONE});
      Tensor divergence = memory.allocate(Shape.of(5), engine.type());
      kernels.divergence(student, teacher, divergence);
      double studentsShare = Math.log(1 + Math.E); // of the teacher's only class
      Closeness.assertClose(
          engine.toString(),
          new double[] {Double.POSITIVE_INFINITY, 0, Double.NaN, Double.NaN, studentsShare},
          divergence.toDoubles(),
          1e-6);
    }
  }

  /** One head in one sequence has a NaN in its last value: query 2 sees it, other heads do not. */
  @ParameterizedTest
  @EnumSource
  void aNanStaysInItsSequenceAndHead(Engine engine) {
    int time = 3;
    int heads = 2;
    int width = 4;
    try (Kernels kernels = engine.open();
        Workspace memory = new Workspace("test")) {
      DType type = engine.type();
      Shape shape = Shape.of(2, time, heads, width);
      Tensor q = Tensor.generate(memory, type, shape, i -> i % 5 - 2);
      Tensor v =
          Tensor.generate(
              memory, type, shape, i -> i / width == (time - 1L) * heads ? Double.NaN : i % 7);
      Tensor out = memory.allocate(shape, type);
      kernels.attention(
          new AttentionSpec(heads, heads, width, 0.5, Gate.open()),
          q,
          q,
          v,
          out,
          memory.allocate(Shape.of(2, heads, time), type),
          memory.allocate(Shape.of(2, heads), type),
          memory.allocate(Shape.of(2, heads, AttentionSpec.COUNTS), DType.F64));
      for (int row = 0; row < 2 * time * heads; row++) {
        boolean sameHead = row < time * heads && row % heads == 0;
        if (row == (time - 1) * heads) {
          assertThat(out.get((long) row * width)).isNaN();
        } else if (!sameHead) {
          assertThat(out.get((long) row * width)).as("row %d", row).isFinite();
        }
      }
    }
  }
}
