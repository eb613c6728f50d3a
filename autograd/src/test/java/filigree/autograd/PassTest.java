package filigree.autograd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import filigree.tensor.Arithmetic;
import filigree.tensor.Elementwise;
import filigree.tensor.Kernels;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.TensorException;
import filigree.tensor.Workspace;
import filigree.tensor.provider.Backend;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class PassTest {
  private static final Op SQUARE = new Op.Map(Elementwise.SQUARE);
  private static final Op ADD = new Op.Combine(Arithmetic.ADD);
  private static final Op MULTIPLY = new Op.Combine(Arithmetic.MULTIPLY);
  private static final Op SUM = new Op.Sum(Shape.of());
  private static final Site SITE = new Site("here");

  private Kernels kernels;
  private Workspace kept;
  private Workspace scratch;

  @BeforeEach
  void open() {
    kernels = Backend.CPU.open(1);
    kept = new Workspace("kept");
    scratch = new Workspace("scratch");
  }

  @AfterEach
  void close() {
    scratch.close();
    kept.close();
    kernels.close();
  }

  private Tensor vector(float... values) {
    return Tensor.of(kept, Shape.of(values.length), values);
  }

  @Test
  void gradientOfASumOfSquaresIsTwiceTheArgument() {
    Param p = new Param("p", vector(1, -2, 3));
    try (Pass pass = Pass.recording(kernels, scratch)) {
      Gradients gradients = pass.backward(pass.apply(SUM, pass.apply(SQUARE, pass.param(p))));
      assertThat(gradients.of(p).orElseThrow().toFloats()).containsExactly(2, -4, 6);
      assertThat(gradients.norm(kernels)).isEqualTo(Math.sqrt(56));
    }
  }

  /** A sum hands one gradient to both sides; what is added to one must not be seen by the other. */
  @Test
  void sharedGradientsAreNotAddedToInPlace() {
    Param a = new Param("a", vector(1, 2));
    Param b = new Param("b", vector(3, 4));
    try (Pass pass = Pass.recording(kernels, scratch)) {
      Var x = pass.param(a);
      Var y = pass.param(b);
      Var sum = pass.apply(ADD, x, y);
      Var result = pass.apply(SUM, pass.apply(ADD, pass.apply(MULTIPLY, sum, sum), x));
      Gradients gradients = pass.backward(result);
      assertThat(gradients.of(a).orElseThrow().toFloats()).containsExactly(9, 13);
      assertThat(gradients.of(b).orElseThrow().toFloats()).containsExactly(8, 12);
    }
  }

  @Test
  void aValueAddedToItselfHasTwiceTheGradient() {
    Param p = new Param("p", vector(5));
    try (Pass pass = Pass.recording(kernels, scratch)) {
      Var x = pass.param(p);
      Gradients gradients = pass.backward(pass.apply(SUM, pass.apply(ADD, x, x)));
      assertThat(gradients.of(p).orElseThrow().toFloats()).containsExactly(2);
    }
  }

  @Test
  void frozenParametersGetNoGradient() {
    Param trained = new Param("trained", vector(2));
    Param frozen = new Param("frozen", vector(3));
    try (Pass pass = Pass.recording(kernels, scratch).training(p -> p == trained)) {
      Var product = pass.apply(MULTIPLY, pass.param(trained), pass.param(frozen));
      Gradients gradients = pass.backward(pass.apply(SUM, product));
      assertThat(gradients.params().keySet()).containsExactly(trained);
      assertThat(gradients.of(trained).orElseThrow().toFloats()).containsExactly(3);
    }
  }

  @Test
  void secondPassTakesNothingFromTheSystem() {
    Param p = new Param("p", Tensor.of(kept, Shape.of(1000), new float[1000]));
    long reserved = 0;
    for (int i = 0; i < 3; i++) {
      try (Pass pass = Pass.recording(kernels, scratch)) {
        Var x = pass.param(p);
        for (int depth = 0; depth < 50; depth++) {
          x = pass.apply(SQUARE, x);
        }
        assertThat(pass.backward(pass.apply(SUM, x)).of(p)).isPresent();
      }
      if (i > 0) {
        assertThat(scratch.reservedBytes()).isEqualTo(reserved);
      }
      reserved = scratch.reservedBytes();
    }
  }

  @Test
  void backwardReusesWhatItFrees() {
    Param p = new Param("p", Tensor.of(kept, Shape.of(1 << 16), new float[1 << 16]));
    long bytes = 4L << 16;
    try (Pass pass = Pass.recording(kernels, scratch)) {
      Var x = pass.param(p);
      for (int depth = 0; depth < 20; depth++) {
        x = pass.apply(SQUARE, x);
      }
      assertThat(pass.backward(pass.apply(SUM, x)).of(p)).isPresent();
    }
    assertThat(scratch.peakBytes()).isLessThan(24 * bytes);
  }

  @Test
  void aTensorUsedAfterItsPassIsAnError() {
    Tensor leaked;
    try (Pass pass = Pass.inference(kernels, scratch)) {
      leaked = pass.apply(SQUARE, pass.constant(vector(1))).value();
    }
    assertThatThrownBy(() -> leaked.get(0))
        .isInstanceOf(TensorException.class)
        .hasMessageContaining("after its pass was closed");
  }

  @Test
  void aValueReadAfterBackwardIsAnError() {
    Param p = new Param("p", vector(1));
    try (Pass pass = Pass.recording(kernels, scratch)) {
      Var square = pass.apply(SQUARE, pass.param(p));
      assertThat(pass.backward(pass.apply(SUM, square)).of(p)).isPresent();
      assertThatThrownBy(square::value)
          .isInstanceOf(AutogradException.class)
          .hasMessageContaining("after the backward pass freed it");
    }
  }

  @Test
  void onlyAScalarIsDifferentiatedWithoutACovector() {
    try (Pass pass = Pass.recording(kernels, scratch)) {
      Var x = pass.variable(vector(1, 2));
      assertThatThrownBy(() -> pass.backward(pass.apply(SQUARE, x)))
          .hasMessageContaining("shape [2], expected one number");
    }
    try (Pass pass = Pass.inference(kernels, scratch)) {
      Var x = pass.variable(vector(1));
      assertThatThrownBy(() -> pass.backward(x)).hasMessageContaining("no parameter or variable");
    }
  }

  /** What a tap puts in place is used, and gradients flow through it. */
  @Test
  void aTapReplacesDifferentiably() {
    Tap doubling =
        new Tap() {
          @Override
          public boolean wants(Site site) {
            return site.equals(SITE);
          }

          @Override
          public Var see(Pass pass, Site site, Var value) {
            return pass.apply(new Op.Scale(2), value);
          }
        };
    Param p = new Param("p", vector(3));
    try (Pass pass = Pass.recording(kernels, scratch).with(doubling)) {
      Var seen = pass.at(SITE, pass.param(p));
      Var result = pass.apply(SUM, pass.apply(SQUARE, seen));
      assertThat(result.value().item()).isEqualTo(36);
      Gradients gradients = pass.backward(result);
      assertThat(gradients.of(p).orElseThrow().toFloats()).containsExactly(24);
    }
  }

  @Test
  void anUnknownSiteIsAnErrorWithTheNearestNames() {
    List<Site> known =
        List.of(
            new Site("blocks.0.attn.hook_q"),
            new Site("blocks.0.attn.hook_k"),
            new Site("hook_embed"));
    assertThat(Site.find("hook_embed", known)).isEqualTo(new Site("hook_embed"));
    assertThatThrownBy(() -> Site.find("blocks.0.attn.hook_p", known))
        .hasMessageContaining("no value named 'blocks.0.attn.hook_p'")
        .hasMessageContaining("blocks.0.attn.hook_q, blocks.0.attn.hook_k");
  }

  @Test
  void gradientsThatAreNotFiniteAreNotApplied() {
    Param p = new Param("p", vector(1));
    AdamW optimiser = new AdamW(AdamW.Config.DEFAULT, x -> false, kernels, kept);
    try (Pass pass = Pass.recording(kernels, scratch)) {
      Gradients gradients = pass.backward(pass.apply(SUM, pass.apply(SQUARE, pass.param(p))));
      assertThatThrownBy(() -> optimiser.update(gradients, Double.NaN, 0.1))
          .hasMessageContaining("NaN");
    }
    assertThat(p.value().toFloats()).containsExactly(1);
    assertThat(optimiser.steps()).isZero();
  }
}
