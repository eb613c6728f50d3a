package filigree.test.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowable;

import filigree.tensor.AttentionSpec;
import filigree.tensor.DType;
import filigree.tensor.Gate;
import filigree.tensor.Kernels;
import filigree.tensor.Rotation;
import filigree.tensor.Shape;
import filigree.tensor.TensorException;
import filigree.test.Engine;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * What kernels do with operands that do not fit: a {@link TensorException} that names the kernel
 * and where the misfit is, and not a byte written.
 */
class BadInputTest {
  private static final List<Engine> ENGINES =
      List.of(Engine.CPU_VECTOR_2, Engine.CPU_SCALAR, Engine.ND4J_F32, Engine.ND4J_F64);

  /** Any shape fits these, as their only operand. */
  private static final Set<String> WITHOUT_SHAPE = Set.of("fill", "sumOfSquares");

  /** Moves and casts take every type. */
  private static final Set<String> OF_ANY_TYPE = Set.of("cast", "permute", "copyAlong");

  private static final Map<Engine, Kernels> OPEN = new EnumMap<>(Engine.class);

  @BeforeAll
  static void open() {
    ENGINES.forEach(engine -> OPEN.put(engine, engine.open()));
  }

  @AfterAll
  static void close() {
    OPEN.values().forEach(Kernels::close);
    OPEN.clear();
  }

  static Stream<String> kernels() {
    return KernelCatalogue.entries().keySet().stream();
  }

  /** The others have tests of their own. */
  static Stream<String> kernelsOfOneType() {
    return kernels().filter(kernel -> !OF_ANY_TYPE.contains(kernel));
  }

  private static List<KernelCall> calls(String kernel) {
    return Stream.of(1, 2, 3, 4, 5, 6, 7, 8)
        .map(seed -> new KernelDraw(seed, KernelDraw.Lengths.DISTINCT))
        .map(KernelCatalogue.entries().get(kernel))
        .toList();
  }

  /** The calls that are spoilt below are good before. */
  @ParameterizedTest
  @MethodSource("kernels")
  void unspoiltCallsAreTaken(String kernel) {
    for (KernelCall call : calls(kernel)) {
      for (Engine engine : ENGINES) {
        assertThat(attempt(engine, call)).as("%s on %s", call, engine).isNull();
      }
    }
  }

  /** Every axis of every operand, made longer by one. */
  @ParameterizedTest
  @MethodSource("kernels")
  void lengthsThatDoNotFitAreNamed(String kernel) {
    int spoilt = 0;
    for (KernelCall call : calls(kernel)) {
      for (KernelCall.Operand operand : call.operands()) {
        for (int axis = 0; axis < operand.shape().rank(); axis++) {
          if (!call.isFree(operand.name(), axis) && !WITHOUT_SHAPE.contains(kernel)) {
            long[] dims = operand.shape().dims();
            dims[axis]++;
            refused(call.with(operand.withShape(Shape.of(dims))), operand.name());
            spoilt++;
          }
        }
      }
    }
    boolean never = WITHOUT_SHAPE.contains(kernel) || kernel.equals("maskCausal");
    assertThat(spoilt).as("calls of %s that were spoilt", kernel).matches(n -> n > 0 != never);
  }

  /** Every operand, with an axis too many. */
  @ParameterizedTest
  @MethodSource("kernels")
  void ranksThatDoNotFitAreNamed(String kernel) {
    for (KernelCall call : calls(kernel)) {
      for (KernelCall.Operand operand : call.operands()) {
        long[] dims = operand.shape().dims();
        long[] more = new long[dims.length + 1];
        System.arraycopy(dims, 0, more, 1, dims.length);
        more[0] = 2; // twice the elements, so that no size fits either
        KernelCall spoilt = call.with(operand.withShape(Shape.of(more)));
        boolean fits =
            WITHOUT_SHAPE.contains(kernel)
                || kernel.equals("maskCausal")
                || (kernel.equals("sumTo") && stillSums(spoilt));
        if (!fits) {
          refused(spoilt, operand.name());
        }
      }
    }
  }

  private static boolean stillSums(KernelCall call) {
    Shape x = call.operand("x").shape();
    Shape out = call.operand("out").shape();
    return out.rank() <= x.rank()
        && catchThrowable(() -> out.broadcast(x)) == null
        && out.broadcast(x).equals(x);
  }

  /** Every operand, of another type than the others; the error names one of the two types. */
  @ParameterizedTest
  @MethodSource("kernelsOfOneType")
  void typesThatDoNotFitAreNamed(String kernel) {
    for (KernelCall call : calls(kernel)) {
      for (KernelCall.Operand operand : call.operands()) {
        for (Engine engine : ENGINES) {
          DType own = operand.type().orElse(engine.type());
          for (DType other : List.of(DType.F32, DType.F64, DType.I32, DType.U8)) {
            // The only operand of the computing type may be of another, if the provider has it.
            boolean alone =
                operand.type().isEmpty()
                    && call.operands().stream().filter(o -> o.type().isEmpty()).count() == 1
                    && OPEN.get(engine).computes(other);
            // A stored operand may be of the computing type as well.
            boolean widened = (own == DType.BF16 || own == DType.F16) && other == engine.type();
            if (other != own && !alone && !widened) {
              String message =
                  refused(engine, call.with(operand.withType(other)), other.toString());
              assertThat(message).containsAnyOf(other.toString(), own.toString());
            }
          }
        }
      }
    }
  }

  @Test
  void movesKeepTheType() {
    for (String kernel : List.of("permute", "copyAlong")) {
      for (KernelCall call : calls(kernel)) {
        for (Engine engine : ENGINES) {
          DType own = call.operand("x").type().orElse(engine.type());
          DType other = own == DType.I8 ? DType.F32 : DType.I8;
          refused(engine, call.with(call.operand("out").withType(other)), "out");
        }
      }
    }
  }

  @Test
  void castsWriteFloatingTypesOnly() {
    for (KernelCall call : calls("cast")) {
      for (DType other : List.of(DType.I32, DType.I64, DType.I8, DType.U8)) {
        refused(call.with(call.operand("out").withType(other)), "out");
      }
    }
  }

  /** The first bad id in row-major order is named, and nothing is written before it either. */
  @Test
  void idsOutOfRangeAreNamed() {
    for (Engine engine : ENGINES) {
      // [2, 3] ids into 5 entries; the bad one stands at [1, 0], a worse one behind it
      Numbers ids = new Numbers(Shape.of(2, 3), new double[] {0, 4, 2, 5, -1, 3});
      Numbers low = new Numbers(Shape.of(2, 3), new double[] {0, 4, 2, -7, 99, 3});
      KernelDraw d = new KernelDraw(1, KernelDraw.Lengths.ANY);
      for (Numbers bad : List.of(ids, low)) {
        String first = Integer.toString((int) bad.values()[3]);
        namesTheId(
            engine,
            KernelCall.of("gather")
                .reads("table", d.normal(5, 4))
                .readsIds("ids", bad)
                .writes("out", Shape.of(2, 3, 4))
                .runs((k, t) -> k.gather(t.of("table"), t.of("ids"), t.of("out"))),
            first,
            "3|1, 0");
        namesTheId(
            engine,
            KernelCall.of("scatterAdd")
                .readsIds("ids", bad)
                .reads("gradient", d.normal(2, 3, 4))
                .changes("table", d.normal(5, 4))
                .runs((k, t) -> k.scatterAdd(t.of("ids"), t.of("gradient"), t.of("table"))),
            first,
            "3|1, 0");
      }
      for (double[] targets : new double[][] {{1, -1, 5, -2}, {1, -1, -2, 5}}) {
        Numbers bad = new Numbers(Shape.of(4), targets);
        String first = Integer.toString((int) targets[2]);
        namesTheId(
            engine,
            KernelCall.of("crossEntropy")
                .reads("logits", d.normal(4, 5))
                .readsIds("targets", bad)
                .writes("losses", Shape.of(4))
                .writes("logSumExp", Shape.of(4))
                .runs(
                    (k, t) ->
                        k.crossEntropy(
                            t.of("logits"), t.of("targets"), t.of("losses"), t.of("logSumExp"))),
            first,
            "2");
        namesTheId(
            engine,
            KernelCall.of("crossEntropyBackward")
                .reads("logits", d.normal(4, 5))
                .readsIds("targets", bad)
                .reads("logSumExp", d.normal(4))
                .reads("gradient", d.normal(4))
                .writes("out", Shape.of(4, 5))
                .runs(
                    (k, t) ->
                        k.crossEntropyBackward(
                            t.of("logits"),
                            t.of("targets"),
                            t.of("logSumExp"),
                            t.of("gradient"),
                            t.of("out"))),
            first,
            "2");
      }
    }
  }

  private static void namesTheId(Engine engine, KernelCall call, String id, String place) {
    String message = refused(engine, call, id);
    assertThat(message).containsPattern("(^|[^\\d-])" + Pattern.quote(id) + "($|\\D)");
    assertThat(message).containsPattern("(^|\\D)(" + place + ")($|\\D)");
  }

  @Test
  void moreQueriesThanKeysAreRefused() {
    KernelDraw d = new KernelDraw(1, KernelDraw.Lengths.ANY);
    Gate gate = new Gate.Hard(0);
    AttentionSpec spec = new AttentionSpec(2, 1, 4, 0.5, gate);
    refused(
        KernelCall.of("maskCausal")
            .changes("scores", d.normal(2, 4, 3))
            .runs((k, t) -> k.maskCausal(t.of("scores"), 1, 0)),
        "scores");
    refused(
        KernelCall.of("gate")
            .reads("z", d.normal(1, 2, 4, 3))
            .writes("out", Shape.of(1, 2, 4, 3))
            .runs((k, t) -> k.gate(gate, t.of("z"), t.of("out"))),
        "z");
    refused(
        KernelCall.of("gateBackward")
            .reads("z", d.normal(1, 2, 4, 3))
            .reads("gradient", d.normal(1, 2, 4, 3))
            .writes("out", Shape.of(1, 2, 4, 3))
            .runs((k, t) -> k.gateBackward(gate, t.of("z"), t.of("gradient"), t.of("out"))),
        "z");
    KernelCall attention =
        KernelCall.of("attention")
            .reads("q", d.normal(1, 4, 2, 4))
            .reads("k", d.normal(1, 3, 1, 4))
            .reads("v", d.normal(1, 3, 1, 4))
            .writes("out", Shape.of(1, 4, 2, 4))
            .writes("logSumExp", Shape.of(1, 2, 4))
            .writes("expected", Shape.of(1, 2))
            .writes("counts", DType.F64, Shape.of(1, 2, AttentionSpec.COUNTS))
            .runs(
                (k, t) ->
                    k.attention(
                        spec,
                        t.of("q"),
                        t.of("k"),
                        t.of("v"),
                        t.of("out"),
                        t.of("logSumExp"),
                        t.of("expected"),
                        t.of("counts")));
    for (Engine engine : ENGINES) {
      assertThat(refused(engine, attention, "q")).contains("4 queries").contains("3 keys");
    }
  }

  @Test
  void positionsBeyondTheTableAreRefused() {
    KernelDraw d = new KernelDraw(1, KernelDraw.Lengths.ANY);
    for (int offset : new int[] {-1, 3, Integer.MAX_VALUE}) {
      refused(rotary(d, offset, 2), "positions");
    }
    assertThat(attempt(Engine.CPU_SCALAR, rotary(d, 2, 2))).isNull();
    refused(rotary(d, 0, 3), "pairs"); // 6 of the 5 elements of a head
  }

  private static KernelCall rotary(KernelDraw d, int offset, int pairs) {
    return KernelCall.of("rotary")
        .reads("x", d.normal(1, 4, 2, 5))
        .reads("cos", d.normal(6, pairs))
        .reads("sin", d.normal(6, pairs))
        .writes("out", Shape.of(1, 4, 2, 5))
        .runs(
            (k, t) ->
                k.rotary(
                    t.of("x"), t.of("cos"), t.of("sin"), offset, Rotation.FORWARD, t.of("out")));
  }

  @Test
  void boxesOutsideOfATensorAreRefused() {
    KernelDraw d = new KernelDraw(1, KernelDraw.Lengths.ANY);
    int[][] boxes = {{-1, 0, 2}, {0, -1, 2}, {3, 0, 2}, {0, 5, 2}, {0, 0, 5}, {0, 0, -1}};
    for (int[] box : boxes) {
      for (long far : new long[] {0, Long.MAX_VALUE - 1}) {
        KernelCall call =
            KernelCall.of("copyAlong")
                .reads("x", d.normal(3, 4, 2))
                .changes("out", d.normal(3, 6, 2))
                .runs(
                    (k, t) ->
                        k.copyAlong(
                            t.of("x"), far == 0 ? box[0] : far, t.of("out"), box[1], 1, box[2]));
        if (far == 0 || box[2] > 0) {
          refused(call, "out");
        }
      }
    }
  }

  @Test
  void ordersThatAreNoPermutationAreRefused() {
    KernelDraw d = new KernelDraw(1, KernelDraw.Lengths.ANY);
    int[][] orders = {{0, 1}, {0, 1, 1}, {0, 1, 3}, {-1, 1, 2}, {0, 1, 2, 3}, {}};
    for (int[] order : orders) {
      KernelCall call =
          KernelCall.of("permute")
              .reads("x", d.normal(2, 2, 2))
              .writes("out", Shape.of(2, 2, 2))
              .runs((k, t) -> k.permute(t.of("x"), order, t.of("out")));
      for (Engine engine : ENGINES) {
        assertThat(refused(engine, call, "x")).contains(Arrays.toString(order));
      }
    }
  }

  /** The heads that a spec promises are those of the tensors. */
  @Test
  void headsOtherThanTheSpecsAreNamed() {
    KernelCall call =
        KernelCatalogue.entries()
            .get("attention")
            .apply(new KernelDraw(3, KernelDraw.Lengths.DISTINCT));
    for (String name : List.of("q", "k", "v", "counts")) {
      long[] dims = call.operand(name).shape().dims();
      dims[2]++;
      refused(call.with(call.operand(name).withShape(Shape.of(dims))), name);
    }
  }

  private static void refused(KernelCall call, String operand) {
    ENGINES.forEach(engine -> refused(engine, call, operand));
  }

  /**
   * Holds a call to its refusal: one line that names the kernel, and what is bad or an operand that
   * it does not fit. Returns that line.
   */
  private static String refused(Engine engine, KernelCall call, String bad) {
    Throwable thrown = attempt(engine, call);
    String what = "%s with a bad %s on %s".formatted(call, bad, engine);
    assertThat(thrown).as(what).isInstanceOf(TensorException.class);
    assertThat(thrown.getMessage()).as(what).startsWith(call.kernel() + ": ").doesNotContain("\n");
    List<String> names = new ArrayList<>(List.of(bad));
    for (KernelCall.Operand operand : call.operands()) {
      names.add(operand.name() + " ");
      names.add(operand.shape().toString());
    }
    assertThat(thrown.getMessage()).as(what).containsAnyOf(names.toArray(String[]::new));
    return thrown.getMessage();
  }

  /** Runs a call; where it throws, nothing may have been written, inside of operands or out. */
  private static Throwable attempt(Engine engine, KernelCall call) {
    try (GuardedMemory memory = new GuardedMemory()) {
      call.operands().forEach(operand -> memory.put(operand, engine.type()));
      Throwable thrown = catchThrowable(() -> call.run(OPEN.get(engine), memory::tensor));
      if (thrown != null) {
        String what = "%s on %s, refused with '%s'".formatted(call, engine, thrown.getMessage());
        call.operands().forEach(operand -> memory.requireUnchanged(what, operand.name()));
      }
      return thrown;
    }
  }
}
