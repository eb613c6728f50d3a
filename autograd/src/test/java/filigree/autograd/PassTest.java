package filigree.autograd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import filigree.tensor.Arithmetic;
import filigree.tensor.DType;
import filigree.tensor.Elementwise;
import filigree.tensor.Kernels;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.TensorException;
import filigree.tensor.Transpose;
import filigree.tensor.Workspace;
import filigree.tensor.provider.Backend;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntPredicate;
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

  /** [2, 3] in bfloat16: 1, -2, 3; 0.5, 4, -1. */
  private Tensor stored() {
    Tensor out = kept.allocate(Shape.of(2, 3), DType.BF16);
    kernels.cast(Tensor.of(kept, Shape.of(2, 3), 1, -2, 3, 0.5f, 4, -1), out);
    return out;
  }

  @Test
  void gradientsFlowThroughStoredWeights() {
    Param weight = new Param("weight", stored());
    Tensor x = Tensor.of(kept, Shape.of(1, 3), 1, 2, 3);
    try (Pass pass = Pass.recording(kernels, scratch).training(param -> false)) {
      Var in = pass.variable(x);
      Var y = pass.apply(new Op.Linear(Transpose.YES), in, pass.param(weight));
      assertThat(y.value().toFloats()).containsExactly(6, 5.5f);
      Gradients gradients = pass.backward(pass.apply(SUM, y));
      assertThat(gradients.of(in).orElseThrow().toFloats()).containsExactly(1.5f, 2, 2);
      assertThat(gradients.params()).isEmpty();
    }
  }

  @Test
  void rowsOfAStoredTableAreWidened() {
    Param table = new Param("table", stored());
    try (Pass pass = Pass.inference(kernels, scratch)) {
      Var ids = pass.constant(Tensor.ofInts(kept, Shape.of(2), 1, 0));
      Var rows = pass.apply(new Op.Gather(), pass.param(table), ids);
      assertThat(rows.value().toFloats()).containsExactly(0.5f, 4, -1, 1, -2, 3);
    }
  }

  @Test
  void storedWeightsAreNotTrained() {
    Param weight = new Param("blocks.0.attn.q.weight", stored());
    try (Pass pass = Pass.recording(kernels, scratch)) {
      assertThatThrownBy(() -> pass.param(weight))
          .isInstanceOf(AutogradException.class)
          .hasMessage(
              "parameter blocks.0.attn.q.weight [2, 3] is stored as BF16, and gradients are F32 or"
                  + " F64; freeze it with Pass.training, or load its numbers widened");
      assertThatThrownBy(() -> pass.variable(weight.value()))
          .hasMessageContaining("a variable of shape [2, 3] is stored as BF16");
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

  /** The head makes the gradient of a tied table, and the lookup adds to it. */
  @Test
  void theGradientOfATiedTableIsMadeOnce() {
    int entries = 1 << 14;
    Param table = new Param("table", Tensor.of(kept, Shape.of(entries, 8), new float[8 * entries]));
    long bytes = 4L * 8 * entries;
    try (Pass pass = Pass.recording(kernels, scratch)) {
      Var embedding = pass.param(table);
      Var ids = pass.constant(Tensor.ofInts(kept, Shape.of(1, 2), 7, 7));
      Var x = pass.apply(new Op.Gather(), embedding, ids);
      Var row = pass.apply(new Op.Sum(Shape.of(8)), x);
      Var head = pass.apply(new Op.Sum(Shape.of(8)), embedding);
      Gradients gradients = pass.backward(pass.apply(SUM, pass.apply(ADD, row, head)));
      float[] found = gradients.of(table).orElseThrow().toFloats();
      assertThat(found[6 * 8]).isEqualTo(1);
      assertThat(found[7 * 8]).isEqualTo(3);
    }
    assertThat(scratch.peakBytes()).isLessThan(bytes + (1 << 14));
  }

  /** Cross-entropy writes its gradient over the logits, unless somebody else will read them. */
  @Test
  void logitsAreWrittenOverByTheirLastReaderOnly() {
    int n = 1 << 14;
    Param p = new Param("p", Tensor.of(kept, Shape.of(1, n), new float[n]));
    Tensor target = Tensor.ofInts(kept, Shape.of(1), 5);
    float[] once;
    try (Pass pass = Pass.recording(kernels, scratch)) {
      Var logits = pass.apply(new Op.Scale(1), pass.param(p));
      Var loss = pass.apply(new Op.CrossEntropy(), logits, pass.constant(target));
      once = pass.backward(pass.apply(SUM, loss)).of(p).orElseThrow().toFloats();
    }
    assertThat(scratch.peakBytes()).isLessThan(4L * n + (1 << 12));
    try (Pass pass = Pass.recording(kernels, scratch)) {
      Var logits = pass.apply(new Op.Scale(1), pass.param(p));
      Var first = pass.apply(new Op.CrossEntropy(), logits, pass.constant(target));
      Var second = pass.apply(new Op.CrossEntropy(), logits, pass.constant(target));
      Var both = pass.apply(SUM, pass.apply(ADD, first, second));
      float[] twice = pass.backward(both).of(p).orElseThrow().toFloats();
      for (int i = 0; i < n; i++) {
        assertThat(twice[i]).isEqualTo(2 * once[i]);
      }
    }
  }

  /** A value that enters the pass a second time, or a part of it, is not freed before that use. */
  @Test
  void aValueTakenOutOfTheGraphAndPutBackLivesAsLong() {
    Param p = new Param("p", vector(1, 2, 3, 4));
    try (Pass pass = Pass.recording(kernels, scratch)) {
      Var x = pass.apply(SQUARE, pass.param(p));
      Var sum = pass.apply(ADD, x, x);
      Var part = pass.variable(sum.value().rows(2, 4));
      Var product = pass.apply(MULTIPLY, part, part);
      Gradients gradients = pass.backward(pass.apply(SUM, product));
      assertThat(gradients.of(part).orElseThrow().toFloats()).containsExactly(36, 64);
      assertThat(part.value().toFloats()).containsExactly(18, 32);
    }
  }

  /** What a rule will read outlives its part of the model; what nobody will read does not. */
  @Test
  void onlyWhatIsKeptOrReadByARuleLivesOn() {
    int n = 1 << 14;
    Param p = new Param("p", Tensor.of(kept, Shape.of(n), new float[n]));
    for (boolean recording : new boolean[] {true, false}) {
      try (Workspace memory = new Workspace("chain");
          Pass pass =
              recording ? Pass.recording(kernels, memory) : Pass.inference(kernels, memory)) {
        Var x = pass.param(p);
        Pass.Mark start = pass.mark();
        for (int depth = 0; depth < 10; depth++) {
          Var forgotten = pass.apply(new Op.Scale(2), x);
          x = pass.apply(new Op.Map(Elementwise.EXP), forgotten);
          pass.keepOnly(start, List.of(x));
          assertThatThrownBy(forgotten::value).hasMessageContaining("name it in keepOnly");
        }
        assertThat(x.value().get(0)).isGreaterThan(1);
        // A rule reads every argument and value of exp; without rules, three live at once.
        long tensors = recording ? 20 : 3;
        assertThat(memory.peakBytes()).isLessThanOrEqualTo(tensors * 4 * n);
        if (recording) {
          assertThat(pass.backward(pass.apply(SUM, x)).of(p)).isPresent();
        }
      }
    }
  }

  @Test
  void nothingIsForgottenWhereATapMayHaveKeptIt() {
    List<Var> seen = new ArrayList<>();
    Tap keeping =
        new Tap() {
          @Override
          public boolean wants(Site site) {
            return true;
          }

          @Override
          public Var see(Pass pass, Site site, Var value) {
            seen.add(value);
            return value;
          }
        };
    try (Pass pass = Pass.inference(kernels, scratch).with(keeping)) {
      Pass.Mark start = pass.mark();
      Var x = pass.at(SITE, pass.apply(SQUARE, pass.constant(vector(3))));
      pass.keepOnly(start, List.of(pass.apply(SQUARE, x)));
      assertThat(seen.getFirst().value().toFloats()).containsExactly(9);
    }
  }

  @Test
  void aTapThatCopiesHoldsNothing() {
    Tap copying =
        new Tap() {
          @Override
          public Holding holding() {
            return Holding.COPIES;
          }

          @Override
          public boolean wants(Site site) {
            return true;
          }

          @Override
          public Var see(Pass pass, Site site, Var value) {
            return value;
          }
        };
    try (Pass pass = Pass.inference(kernels, scratch).with(copying)) {
      Pass.Mark start = pass.mark();
      Var x = pass.at(SITE, pass.apply(SQUARE, pass.constant(vector(3))));
      pass.keepOnly(start, List.of(pass.apply(SQUARE, x)));
      assertThatThrownBy(x::value).hasMessageContaining("name it in keepOnly");
    }
  }

  /** Such as an operation of another module would be. */
  private record Undeclared() implements CustomOp {
    @Override
    public Result forward(Scope scope, List<Tensor> inputs) {
      return Result.of(inputs.getFirst().copy(scope.memory()));
    }

    @Override
    public Reads reads(IntPredicate needs) {
      return Reads.NOTHING;
    }

    @Override
    public void vjp(Backward back) {
      back.give(0, back.input(0).copy(back.scope().memory()));
    }
  }

  @Test
  void aRuleThatReadsMoreThanItDeclaresIsAnError() {
    Param p = new Param("p", vector(1));
    try (Pass pass = Pass.recording(kernels, scratch)) {
      Var result = pass.apply(new Undeclared(), pass.param(p));
      assertThatThrownBy(() -> pass.backward(result))
          .isInstanceOf(AutogradException.class)
          .hasMessage("Undeclared[]: the rule reads input 0, which its reads() does not declare");
    }
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
