package filigree.test.laws;

import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import filigree.autograd.CustomOp;
import filigree.autograd.GradCheck;
import filigree.autograd.Gradients;
import filigree.autograd.Op;
import filigree.autograd.Pass;
import filigree.autograd.Var;
import filigree.tensor.Arithmetic;
import filigree.tensor.AttentionSpec;
import filigree.tensor.DType;
import filigree.tensor.Elementwise;
import filigree.tensor.Gate;
import filigree.tensor.Kernels;
import filigree.tensor.NoiseKey;
import filigree.tensor.Philox;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import filigree.tensor.provider.Backend;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.lifecycle.AfterContainer;
import net.jqwik.api.lifecycle.BeforeContainer;

/** The laws that every operation obeys, on random shapes and numbers. */
class OpLawsTest {
  /** Central differences of step 1e-5 in float64 are right to about 1e-10 of the scale. */
  private static final double TOLERANCE = 1e-7;

  private static Kernels oracle;
  private static Kernels fast;

  // Two for all cases: a new workspace begins with 16 MB that the system clears.
  private static Workspace cases;
  private static Workspace scratch;

  @BeforeContainer
  static void open() {
    oracle = Backend.ND4J.open(1);
    fast = Backend.CPU.open(2);
    cases = new Workspace("law");
    scratch = new Workspace("law pass");
  }

  private static Workspace emptied() {
    cases.reset();
    return cases;
  }

  @AfterContainer
  static void close() {
    scratch.close();
    cases.close();
    oracle.close();
    fast.close();
  }

  @Provide
  Arbitrary<OpCatalogue.Entry> entries() {
    return Arbitraries.of(OpCatalogue.entries());
  }

  @Example
  void everyOperationIsInTheCatalogue() {
    Set<String> operations =
        Arrays.stream(Op.class.getPermittedSubclasses())
            .filter(type -> type != CustomOp.class)
            .map(Class::getName)
            .collect(Collectors.toCollection(TreeSet::new));
    new ClassFileImporter()
            .withImportOption(location -> !location.contains("/test-classes/"))
            .importPackages("filigree")
            .stream()
            .filter(type -> type.isAssignableTo(CustomOp.class) && !type.isInterface())
            .map(JavaClass::getName)
            .forEach(operations::add);
    Set<String> underLaws =
        OpCatalogue.entries().stream()
            .map(entry -> entry.op().getName())
            .collect(Collectors.toCollection(TreeSet::new));
    System.out.printf(
        "operations: %d; operations under the laws: %d (%d cases)%n",
        operations.size(), underLaws.size(), OpCatalogue.entries().size());
    assertThat(underLaws).isEqualTo(operations);
  }

  @Property(tries = 400, seed = "1")
  void gradientAgreesWithCentralDifferences(
      @ForAll("entries") OpCatalogue.Entry entry, @ForAll long seed) {
    if (straightThrough(entry)) {
      return; // the next two properties hold these: their rule is by definition not the derivative
    }
    for (GradCheck.Outcome outcome : outcomes(entry, seed)) {
      assertThat(outcome.error()).as(entry + " " + outcome).isLessThan(TOLERANCE);
    }
  }

  /** The check has power: a rule that is wrong by a thousandth does not pass it. */
  @Example
  void gradientScaledByOneThousandthFails() {
    for (OpCatalogue.Entry entry : OpCatalogue.entries()) {
      if (straightThrough(entry)) {
        continue;
      }
      double worst = 0;
      for (long seed = 1; seed <= 10; seed++) {
        for (GradCheck.Outcome right : outcomes(entry, seed)) {
          GradCheck.Outcome wrong =
              new GradCheck.Outcome(1.001 * right.gradient(), right.difference(), right.scale());
          worst = Math.max(worst, wrong.error());
        }
      }
      assertThat(worst).as(entry.toString()).isGreaterThan(TOLERANCE);
    }
  }

  /** Straight through: the rule of a gate is the derivative of sigmoid(z + n). */
  @Property(tries = 100, seed = "1")
  void gatingIsDifferentiatedAsItsSigmoid(@ForAll long seed) {
    for (OpCatalogue.Entry entry : OpCatalogue.entries()) {
      if (entry.op() != Op.Gating.class) {
        continue;
      }
      Workspace memory = emptied();
      OpCatalogue.Case drawn =
          entry.source().draw(new OpCatalogue.Draw(new Philox(seed, 1), memory));
      Tensor noise = noise(memory, ((Op.Gating) drawn.op()).gate(), drawn.inputs().getFirst());
      List<Tensor> gating = gradients(oracle, drawn, 0, seed, memory);
      GradCheck.Function sigmoid =
          (pass, in) ->
              pass.apply(
                  new Op.Map(Elementwise.SIGMOID),
                  pass.apply(new Op.Combine(Arithmetic.ADD), in.getFirst(), pass.constant(noise)));
      GradCheck.Outcome outcome = GradCheck.check(oracle, seed, sigmoid, drawn.inputs());
      assertThat(outcome.error()).isLessThan(TOLERANCE);
      List<Tensor> smooth =
          gradients(oracle, sigmoid, drawn.inputs(), drawn.inputs().size(), seed, memory);
      assertClose(entry.toString(), gating, smooth, 1e-12);
    }
  }

  /** Gated attention in one kernel has the gradient of the formula written step by step. */
  @Property(tries = 40, seed = "1")
  void attentionIsDifferentiatedAsItsSteps(@ForAll long seed) {
    for (OpCatalogue.Entry entry : OpCatalogue.entries()) {
      if (entry.op() != Op.Attention.class) {
        continue;
      }
      Workspace memory = emptied();
      OpCatalogue.Case drawn =
          entry.source().draw(new OpCatalogue.Draw(new Philox(seed, 1), memory));
      AttentionSpec spec = ((Op.Attention) drawn.op()).spec();
      for (int output = 0; output < 2; output++) {
        if (output == 1 && spec.gate() instanceof Gate.Open) {
          continue; // a constant 1
        }
        int wanted = output;
        GradCheck.Function steps = (pass, in) -> AttentionSteps.apply(pass, spec, in).get(wanted);
        assertClose(
            entry + " output " + output,
            gradients(oracle, drawn, output, seed, memory),
            gradients(oracle, steps, drawn.inputs(), 3, seed, memory),
            1e-11);
      }
    }
  }

  @Property(tries = 300, seed = "1")
  void providersAgree(@ForAll("entries") OpCatalogue.Entry entry, @ForAll long seed) {
    Workspace memory = emptied();
    OpCatalogue.Case exact = entry.source().draw(new OpCatalogue.Draw(new Philox(seed, 1), memory));
    // Both see the same float32 numbers; one computes with them in float64.
    List<Tensor> narrow = exact.inputs().stream().map(t -> as(memory, t, DType.F32)).toList();
    List<Tensor> wide = narrow.stream().map(t -> as(memory, t, DType.F64)).toList();
    int outputs = entry.op() == Op.Attention.class ? 2 : 1;
    for (int output = 0; output < outputs; output++) {
      OpCatalogue.Case a = new OpCatalogue.Case(exact.op(), wide, exact.differentiable());
      OpCatalogue.Case b = new OpCatalogue.Case(exact.op(), narrow, exact.differentiable());
      assertClose(
          entry + " output " + output,
          List.of(value(oracle, a, output, memory)),
          List.of(value(fast, b, output, memory)),
          2e-5);
      assertClose(
          entry + " gradient of output " + output,
          gradients(oracle, a, output, seed, memory),
          gradients(fast, b, output, seed, memory),
          5e-5);
    }
  }

  /** Whose rule is by definition not the derivative; that of soft gates is. */
  private static boolean straightThrough(OpCatalogue.Entry entry) {
    return (entry.op() == Op.Gating.class && !entry.name().equals("Gating soft"))
        || (entry.op() == Op.Attention.class
            && !List.of("Attention open", "Attention soft").contains(entry.name()));
  }

  private static List<GradCheck.Outcome> outcomes(OpCatalogue.Entry entry, long seed) {
    Workspace memory = emptied();
    OpCatalogue.Case drawn = entry.source().draw(new OpCatalogue.Draw(new Philox(seed, 1), memory));
    return List.of(
        GradCheck.check(
            oracle,
            seed,
            (pass, in) -> apply(pass, drawn, 0, in),
            drawn.inputs().subList(0, drawn.differentiable())));
  }

  private static Var apply(Pass pass, OpCatalogue.Case drawn, int output, List<Var> in) {
    List<Var> all = new ArrayList<>(in);
    for (Tensor constant : drawn.inputs().subList(in.size(), drawn.inputs().size())) {
      all.add(pass.constant(constant));
    }
    return pass.applyAll(drawn.op(), all.toArray(Var[]::new)).get(output);
  }

  private static Tensor value(
      Kernels kernels, OpCatalogue.Case drawn, int output, Workspace memory) {
    try (Pass pass = Pass.inference(kernels, scratch)) {
      List<Var> in = drawn.inputs().stream().map(pass::constant).toList();
      return apply(pass, drawn, output, in).value().copy(memory);
    }
  }

  private static List<Tensor> gradients(
      Kernels kernels, OpCatalogue.Case drawn, int output, long seed, Workspace memory) {
    return gradients(
        kernels,
        (pass, in) -> apply(pass, drawn, output, in),
        drawn.inputs(),
        drawn.differentiable(),
        seed,
        memory);
  }

  /** Pulls back a covector that depends on the seed alone; checks the shapes of what comes. */
  private static List<Tensor> gradients(
      Kernels kernels,
      GradCheck.Function function,
      List<Tensor> inputs,
      int differentiable,
      long seed,
      Workspace memory) {
    try (Pass pass = Pass.recording(kernels, scratch)) {
      List<Var> in =
          inputs.subList(0, differentiable).stream()
              .map(t -> t.dtype().computes() ? pass.variable(t) : pass.constant(t))
              .toList();
      Var out = function.apply(pass, in);
      Philox random = new Philox(seed, 2);
      double[] covector = new double[Math.toIntExact(out.shape().size())];
      Arrays.setAll(covector, i -> (float) random.nextGaussian());
      Tensor gradient = Tensor.of(scratch, out.value().dtype(), out.shape(), covector);
      if (!out.differentiable()) {
        return List.of();
      }
      Gradients all = pass.backward(out, gradient);
      List<Tensor> found = new ArrayList<>();
      for (Var var : in) {
        if (var.differentiable()) {
          // A value that the result does not depend on has the gradient 0.
          Tensor g = all.of(var).orElseGet(() -> pass.scope().zerosLike(var.value()));
          assertThat(g.shape()).isEqualTo(var.shape());
          found.add(g.copy(memory));
        }
      }
      return found;
    }
  }

  private static void assertClose(
      String what, List<Tensor> expected, List<Tensor> found, double tolerance) {
    assertThat(found).as(what).hasSameSizeAs(expected);
    for (int t = 0; t < expected.size(); t++) {
      double[] a = expected.get(t).toDoubles();
      double[] b = found.get(t).toDoubles();
      double scale = Math.max(1, Arrays.stream(a).map(Math::abs).max().orElse(0));
      for (int i = 0; i < a.length; i++) {
        if (a[i] != b[i]) { // also where both are the same infinity
          assertThat(Math.abs(a[i] - b[i]) / scale)
              .as("%s tensor %d element %d: %s, %s", what, t, i, a[i], b[i])
              .isLessThan(tolerance);
        }
      }
    }
  }

  private static Tensor as(Workspace memory, Tensor t, DType dtype) {
    return t.dtype().computes() ? Tensor.of(memory, dtype, t.shape(), t.toDoubles()) : t;
  }

  /** The noise of every gate of a table [batch, head, query, key], as a tensor. */
  private static Tensor noise(Workspace memory, Gate gate, Tensor like) {
    double[] values = new double[Math.toIntExact(like.size())];
    if (gate instanceof Gate.Sampled(double bias, NoiseKey key)) {
      Shape shape = like.shape();
      int heads = shape.length(1);
      int queries = shape.length(2);
      int keys = shape.length(3);
      float[] u = new float[4];
      for (int i = 0; i < values.length; i++) {
        int j = i % keys;
        int query = i / keys % queries;
        int head = i / keys / queries % heads;
        int batch = i / keys / queries / heads;
        key.uniforms(batch, head, keys - queries + query, j / 4, u);
        values[i] = Math.log(u[j % 4]) - Math.log1p(-u[j % 4]);
      }
    }
    return Tensor.of(memory, DType.F64, like.shape(), values);
  }

  /** Names of the catalogue, for a reader of the test report. */
  @Example
  void catalogueNamesAreUnique() {
    Stream<String> names = OpCatalogue.entries().stream().map(OpCatalogue.Entry::name);
    assertThat(names).doesNotHaveDuplicates();
  }
}
