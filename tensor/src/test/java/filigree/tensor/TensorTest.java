package filigree.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.stream.IntStream;
import org.apache.commons.math3.distribution.NormalDistribution;
import org.junit.jupiter.api.Test;

class TensorTest {
  @Test
  void shapesBroadcastByNumpysRule() {
    assertThat(Shape.of(3, 1).broadcast(Shape.of(4))).isEqualTo(Shape.of(3, 4));
    assertThat(Shape.of(2, 3, 4).broadcast(Shape.of())).isEqualTo(Shape.of(2, 3, 4));
    assertThat(Shape.of(0, 4).broadcast(Shape.of(1, 4))).isEqualTo(Shape.of(0, 4));
    assertThatThrownBy(() -> Shape.of(3).broadcast(Shape.of(4)))
        .hasMessage("shapes [3] and [4] do not broadcast");
  }

  @Test
  void tooManyElementsAreAnErrorNotAnOverflow() {
    assertThatThrownBy(() -> Shape.of(1L << 40, 1L << 40))
        .isInstanceOf(TensorException.class)
        .hasMessageContaining("more than 2^63 elements");
  }

  @Test
  void aMismatchNamesTheAxisAndWhoBoundIt() {
    try (Workspace memory = new Workspace("test")) {
      Tensor query = memory.allocate(Shape.of(4, 3), DType.F32);
      Tensor key = memory.allocate(Shape.of(7, 3), DType.F32);
      ShapeSpec.Check check = ShapeSpec.check("attention").that("query", query, "batch width");
      assertThat(check.length("batch")).isEqualTo(4);
      assertThatThrownBy(() -> check.that("key", key, "batch width"))
          .hasMessage("attention: key has 7 along 'batch' (axis 0 of [7, 3]), but query has 4");
      assertThatThrownBy(() -> check.that("key", key, "batch width head"))
          .hasMessageContaining("expected the 3 axes [batch width head]");
    }
  }

  @Test
  void releasedBytesAreTakenAgainBeforeNewOnes() {
    try (Workspace memory = new Workspace("test")) {
      Tensor first = memory.allocate(Shape.of(100), DType.F32);
      long address = first.address();
      memory.release(first);
      assertThat(memory.allocate(Shape.of(100), DType.F32).address()).isEqualTo(address);
      assertThat(memory.allocate(Shape.of(100), DType.F32).address()).isNotEqualTo(address);
    }
  }

  @Test
  void tensorsStartOnACacheLine() {
    try (Workspace memory = new Workspace("test")) {
      for (int n = 1; n < 40; n++) {
        assertThat(memory.allocate(Shape.of(n), DType.F32).address() % Workspace.ALIGNMENT)
            .isZero();
      }
    }
  }

  @Test
  void theLimitIsNamedWhenItIsReached() {
    try (Workspace memory = new Workspace("weights", 1 << 20)) {
      assertThatThrownBy(() -> memory.allocate(Shape.of(1 << 20), DType.F32))
          .hasMessageContaining("weights")
          .hasMessageContaining("above the limit of 1 MiB")
          .hasMessageContaining("--memory");
    }
  }

  @Test
  void viewsShareBytes() {
    try (Workspace memory = new Workspace("test")) {
      Tensor whole = Tensor.of(memory, Shape.of(3, 2), 1, 2, 3, 4, 5, 6);
      assertThat(whole.rows(1, 3).toFloats()).containsExactly(3, 4, 5, 6);
      assertThat(whole.reshape(Shape.of(6)).address()).isEqualTo(whole.address());
      assertThatThrownBy(() -> whole.reshape(Shape.of(5))).hasMessageContaining("6 elements");
    }
  }

  @Test
  void normalDistributionAgreesWithCommonsMath() {
    NormalDistribution reference = new NormalDistribution();
    for (double x = -12; x <= 12; x += 0.037) {
      double expected = x * reference.cumulativeProbability(x);
      assertThat(Elementwise.GELU.value(x))
          .isCloseTo(expected, within(2e-15 * Math.max(1, Math.abs(x))));
    }
  }

  @Test
  void uniformNumbersStayInsideTheOpenInterval() {
    assertThat(NoiseKey.uniform(0)).isEqualTo(0x1p-24f);
    assertThat(NoiseKey.uniform(-1)).isEqualTo(1 - 0x1p-24f);
    assertThat(1 - NoiseKey.uniform(-1)).isEqualTo(0x1p-24f);
  }

  @Test
  void sequentialNumbersHaveTheirMomentsAndRepeat() {
    Philox random = new Philox(7, 3);
    Philox again = new Philox(7, 3);
    double sum = 0;
    double squares = 0;
    int n = 20_000;
    for (int i = 0; i < n; i++) {
      double x = random.nextGaussian();
      assertThat(again.nextGaussian()).isEqualTo(x);
      sum += x;
      squares += x * x;
    }
    assertThat(sum / n).isCloseTo(0, within(0.03));
    assertThat(squares / n).isCloseTo(1, within(0.04));
  }

  @Test
  void shufflesArePermutations() {
    int[] values = new int[100];
    Arrays.setAll(values, i -> i);
    new Philox(1, 1).shuffle(values);
    assertThat(values).isNotEqualTo(IntStream.range(0, 100).toArray());
    assertThat(Arrays.stream(values).sorted().toArray())
        .isEqualTo(IntStream.range(0, 100).toArray());
  }
}
