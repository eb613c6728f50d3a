package filigree.test.sparsity;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import filigree.autograd.Gradients;
import filigree.autograd.Pass;
import filigree.autograd.Var;
import filigree.sparsity.EdgeWeights;
import filigree.sparsity.RunException;
import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import filigree.tensor.provider.Backend;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Weights of layers and heads: their mean is 1, and the penalty is the mean of what they weigh. */
class EdgeWeightsTest {
  @Test
  void schemesHaveAMeanOfOne() {
    assertThat(new EdgeWeights.Late().byHead(3, 2))
        .isDeepEqualTo(new double[][] {{0.5, 0.5}, {1, 1}, {1.5, 1.5}});
    assertThat(new EdgeWeights.Early().byHead(3, 1))
        .isDeepEqualTo(new double[][] {{1.5}, {1}, {0.5}});
    assertThat(new EdgeWeights.Table(List.of(List.of(6.0), List.of(0.0, 12.0))).byHead(2, 2))
        .isDeepEqualTo(new double[][] {{1, 1}, {0, 2}});
  }

  @Test
  void thePenaltyAndItsGradientAreWeighted() {
    EdgeWeights weights = new EdgeWeights.Table(List.of(List.of(6.0), List.of(0.0, 12.0)));
    try (Kernels kernels = Backend.CPU.open(1);
        Workspace memory = new Workspace("densities");
        Workspace scratch = new Workspace("scratch");
        Pass pass = Pass.recording(kernels, scratch)) {
      Shape shape = Shape.of(2, 2); // batch, heads
      Var first = pass.variable(Tensor.of(memory, DType.F32, shape, 0.1, 0.2, 0.3, 0.4));
      Var second = pass.variable(Tensor.of(memory, DType.F32, shape, 0.5, 0.6, 0.7, 0.8));
      Var penalty = weights.mean(pass, List.of(first, second));
      assertThat(penalty.value().item())
          .isCloseTo((0.1 + 0.2 + 0.3 + 0.4 + 2 * 0.6 + 2 * 0.8) / 8, within(1e-6));
      Gradients gradients = pass.backward(penalty);
      assertThat(gradients.of(first).orElseThrow().toDoubles())
          .containsExactly(0.125, 0.125, 0.125, 0.125);
      assertThat(gradients.of(second).orElseThrow().toDoubles()).containsExactly(0, 0.25, 0, 0.25);
    }
  }

  @Test
  void badNumbersAreRefused() {
    assertThatThrownBy(() -> new EdgeWeights.Table(List.of(List.of(Double.NaN))))
        .isInstanceOf(RunException.class)
        .hasMessageContaining("--weights has NaN");
    assertThatThrownBy(() -> new EdgeWeights.Table(List.of(List.of(0.0))))
        .hasMessageContaining("all 0");
    assertThatThrownBy(
            () -> new EdgeWeights.Table(List.of(List.of(1.0), List.of(1.0, 2.0, 3.0))).byHead(2, 2))
        .hasMessageContaining("3 numbers for layer 1");
  }
}
