package filigree.test.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.Tensor;
import filigree.tensor.nd4j.CopiedOperands;
import filigree.test.Closeness;
import filigree.test.Engine;
import java.lang.reflect.Method;
import java.lang.reflect.Parameter;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.EdgeCasesMode;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.ShrinkingMode;
import net.jqwik.api.lifecycle.AfterContainer;
import net.jqwik.api.lifecycle.BeforeContainer;

/**
 * Every kernel, on every provider, against its slow twin in float64 on the same float32 numbers:
 * shapes that hit loop tails, broadcasting, empty axes, extremes.
 */
class ProvidersAgreeTest {
  private static final Engine TWIN = Engine.ND4J_F64;

  private static final List<Engine> FAST =
      List.of(Engine.CPU_VECTOR, Engine.CPU_VECTOR_2, Engine.CPU_SCALAR, Engine.CPU_SCALAR_2);

  /** What {@link Kernels} has besides kernels. */
  private static final Set<String> NOT_KERNELS = Set.of("name", "description", "computes", "close");

  private static final Map<Engine, Kernels> OPEN = new EnumMap<>(Engine.class);

  @BeforeContainer
  static void open() {
    OPEN.put(TWIN, TWIN.open());
    OPEN.put(Engine.ND4J_F32, Engine.ND4J_F32.open());
    FAST.forEach(engine -> OPEN.put(engine, engine.open()));
  }

  @AfterContainer
  static void close() {
    OPEN.values().forEach(Kernels::close);
    OPEN.clear();
  }

  @Provide
  Arbitrary<String> kernels() {
    return Arbitraries.of(KernelCatalogue.entries().keySet());
  }

  @Example
  void everyKernelIsInTheCatalogue() {
    Set<String> declared =
        Arrays.stream(Kernels.class.getDeclaredMethods())
            .map(Method::getName)
            .filter(name -> !NOT_KERNELS.contains(name))
            .collect(Collectors.toCollection(TreeSet::new));
    System.out.printf(
        "kernels: %d; kernels compared: %d%n", declared.size(), KernelCatalogue.entries().size());
    assertThat(new TreeSet<>(KernelCatalogue.entries().keySet())).isEqualTo(declared);
    assertThat(Kernels.class.getDeclaredMethods())
        .as("overloads would share a name, and one of them would be forgotten")
        .hasSize(declared.size() + NOT_KERNELS.size());
  }

  /** The names of a call's operands are what errors call them, and all of them are used. */
  @Example
  void callsNameTheirOperandsAsTheirKernelDoes() {
    KernelCatalogue.entries()
        .forEach(
            (kernel, source) -> {
              KernelCall call = source.apply(new KernelDraw(1, KernelDraw.Lengths.DISTINCT));
              assertThat(call.kernel()).isEqualTo(kernel);
              Method method =
                  Arrays.stream(Kernels.class.getDeclaredMethods())
                      .filter(m -> m.getName().equals(kernel))
                      .findFirst()
                      .orElseThrow();
              List<String> tensors =
                  Arrays.stream(method.getParameters())
                      .filter(p -> p.getType() == Tensor.class)
                      .map(Parameter::getName)
                      .toList();
              assertThat(call.operands().stream().map(KernelCall.Operand::name))
                  .as("%s", kernel)
                  .containsExactlyElementsOf(tensors);
            });
  }

  @Property(tries = 1000, seed = "1", edgeCases = EdgeCasesMode.NONE, shrinking = ShrinkingMode.OFF)
  void fastKernelsAgreeWithTheirTwin(@ForAll("kernels") String kernel, @ForAll long seed) {
    KernelCall call = draw(kernel, seed);
    Result expected = run(TWIN, call, Map.of());
    for (Engine engine : FAST) {
      Result found = run(engine, call, Map.of());
      String what = call + " on " + engine;
      assertThat(found.values()).as(what).containsOnlyKeys(expected.values().keySet());
      expected
          .values()
          .forEach(
              (name, values) -> {
                KernelCall.Accuracy accuracy = call.accuracy(name);
                Closeness.assertClose(
                    what + ": " + name,
                    rounded(call, name, values),
                    found.values().get(name),
                    accuracy.tolerance(),
                    accuracy.scale());
              });
      KernelCall.Accuracy accuracy = call.accuracy("");
      Closeness.assertClose(
          what,
          new double[] {expected.returned()},
          new double[] {found.returned()},
          accuracy.tolerance(),
          accuracy.scale());
    }
  }

  /** Where the contract lets an output be an input, the result has the same bits. */
  @Property(tries = 300, seed = "1", edgeCases = EdgeCasesMode.NONE, shrinking = ShrinkingMode.OFF)
  void outputsMayBeInputsWhereTheContractSaysSo(
      @ForAll("kernels") String kernel, @ForAll long seed) {
    KernelCall call = draw(kernel, seed);
    call.sharings()
        .forEach(
            (read, written) -> {
              for (Engine engine : OPEN.keySet()) {
                double[] apart = run(engine, call, Map.of()).values().get(written);
                double[] shared = run(engine, call, Map.of(read, written)).values().get(written);
                assertThat(shared)
                    .as("%s on %s with %s = %s", call, engine, written, read)
                    .containsExactly(apart);
              }
            });
  }

  /** The same call gives the same bits, whichever of two calls comes first. */
  @Property(tries = 200, seed = "1", edgeCases = EdgeCasesMode.NONE, shrinking = ShrinkingMode.OFF)
  void callsRepeatBitForBit(@ForAll("kernels") String kernel, @ForAll long seed) {
    KernelCall call = draw(kernel, seed);
    for (Engine engine : FAST) {
      Result once = run(engine, call, Map.of());
      Result again = run(engine, call, Map.of());
      assertThat(again.returned()).isEqualTo(once.returned());
      once.values()
          .forEach(
              (name, values) ->
                  assertThat(again.values().get(name))
                      .as("%s on %s: %s", call, engine, name)
                      .containsExactly(values));
    }
  }

  /** As on a GPU, whose arrays cannot be views of our memory. */
  @Property(tries = 300, seed = "1", edgeCases = EdgeCasesMode.NONE, shrinking = ShrinkingMode.OFF)
  void nd4jGivesTheSameBitsWhereItsOperandsAreCopied(
      @ForAll("kernels") String kernel, @ForAll long seed) {
    KernelCall call = draw(kernel, seed);
    for (Engine engine : List.of(TWIN, Engine.ND4J_F32)) {
      Result viewed = run(engine, call, Map.of());
      Result copied = CopiedOperands.during(() -> run(engine, call, Map.of()));
      assertThat(copied.returned()).isEqualTo(viewed.returned());
      viewed
          .values()
          .forEach(
              (name, values) ->
                  assertThat(copied.values().get(name))
                      .as("%s on %s: %s", call, engine, name)
                      .containsExactly(values));
    }
  }

  private static KernelCall draw(String kernel, long seed) {
    return KernelCatalogue.entries()
        .get(kernel)
        .apply(new KernelDraw(seed, KernelDraw.Lengths.ANY));
  }

  /** What a float32 kernel writes where it is right: overflow is infinity there. */
  private static double[] rounded(KernelCall call, String name, double[] values) {
    boolean exact = call.operand(name).type().filter(type -> type == DType.F64).isPresent();
    return exact ? values : Arrays.stream(values).map(x -> (float) x).toArray();
  }

  /**
   * What a call wrote.
   *
   * @param values by operand
   * @param returned by the kernel itself
   */
  private record Result(Map<String, double[]> values, double returned) {}

  /** Runs a call; reads must not change, and nothing around any operand. */
  private static Result run(Engine engine, KernelCall call, Map<String, String> sharing) {
    try (GuardedMemory memory = new GuardedMemory()) {
      for (KernelCall.Operand operand : call.operands()) {
        if (!sharing.containsValue(operand.name())) {
          memory.put(operand, engine.type());
        }
      }
      sharing.forEach((read, written) -> memory.share(written, read));
      double returned = call.run(OPEN.get(engine), memory::tensor);
      String what = call + " on " + engine;
      memory.requireGuards(what);
      Map<String, double[]> values = new LinkedHashMap<>();
      for (KernelCall.Operand operand : call.operands()) {
        if (operand.role() == KernelCall.Role.READ) {
          if (!sharing.containsKey(operand.name())) {
            memory.requireUnchanged(what, operand.name());
          }
        } else {
          values.put(operand.name(), memory.tensor(operand.name()).toDoubles());
        }
      }
      return new Result(values, returned);
    }
  }
}
