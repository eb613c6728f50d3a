package filigree.test.golden;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import filigree.tensor.AttentionSpec;
import filigree.tensor.DType;
import filigree.tensor.Gate;
import filigree.tensor.Kernels;
import filigree.tensor.NoiseKey;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import filigree.test.Closeness;
import filigree.test.Engine;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Gated attention against the oracle: output, density, counts, and the gradients of q, k and v.
 *
 * <p>Dense and hard gates go through the kernels as they are. The uniform numbers of the golden
 * file are arbitrary, while a kernel draws its own from a {@link NoiseKey}; so the sampled mode
 * takes a step in between: {@link AttentionFormulas} in plain float64 is held to the golden numbers
 * with the golden noise, and then the kernels are held to the formulas with the kernels' noise.
 *
 * <p>Not compared: the gradient of the bias ({@code db}), which the engine does not compute.
 */
class GatedAttentionGoldenTest {
  private static final List<Engine> ENGINES =
      List.of(
          Engine.CPU_VECTOR_2,
          Engine.CPU_VECTOR,
          Engine.CPU_SCALAR,
          Engine.ND4J_F32,
          Engine.ND4J_F64);

  /** Chosen so that no gate of any case lies nearer to its threshold than {@link #MARGIN}. */
  private static final NoiseKey NOISE = new NoiseKey(2025, 7, 3);

  private static final double MARGIN = 1e-3;

  private static final Map<Engine, Kernels> OPEN = new EnumMap<>(Engine.class);

  // One for all cases: a new workspace begins with 16 MB that the system clears.
  private static Workspace tensors;

  @BeforeAll
  static void open() {
    ENGINES.forEach(engine -> OPEN.put(engine, engine.open()));
    tensors = new Workspace("golden");
  }

  private static Workspace emptied() {
    tensors.reset();
    return tensors;
  }

  @AfterAll
  static void close() {
    tensors.close();
    OPEN.values().forEach(Kernels::close);
    OPEN.clear();
  }

  /** A golden case in one mode. */
  record Example(AttentionFormulas.Mode mode, JsonNode golden) {
    JsonNode expected(String key) {
      return golden.path("expected").path(mode.name().toLowerCase(Locale.ROOT)).path(key);
    }

    double[] numbers(String key) {
      return Golden.numbers(expected(key));
    }

    AttentionFormulas.Inputs inputs() {
      return new AttentionFormulas.Inputs(
          new AttentionFormulas.Sizes(
              size("batch"),
              size("heads"),
              size("kv_heads"),
              size("queries"),
              size("keys"),
              size("head_dim")),
          golden.path("bias").doubleValue(),
          in("q"),
          in("k"),
          in("v"),
          in("u"),
          in("dy"),
          in("ds"));
    }

    private int size(String key) {
      return golden.path(key).intValue();
    }

    private double[] in(String key) {
      return Golden.numbers(golden.path(key));
    }

    @Override
    public String toString() {
      return mode + " " + golden.path("name").asText();
    }
  }

  static Stream<Example> examples() {
    return Arrays.stream(AttentionFormulas.Mode.values())
        .flatMap(
            mode ->
                Golden.each(Golden.read("gated-attention.json").path("cases"))
                    .map(golden -> new Example(mode, golden)));
  }

  /** The formulas of the test itself, in all three modes, with the golden noise. */
  @ParameterizedTest
  @MethodSource("examples")
  void formulasAreTheOracles(Example example) {
    AttentionFormulas found = new AttentionFormulas(example.inputs(), example.mode());
    Closeness.assertClose("y", example.numbers("y"), found.y, 1e-12);
    Closeness.assertClose("density", example.numbers("density"), found.density, 1e-12);
    double[] open = column(found.counts, AttentionSpec.OPEN);
    Closeness.assertClose("hard_open", example.numbers("hard_open"), open, 0);
    Closeness.assertClose("gates_open", example.numbers("gates_open"), found.gatesOpen, 0);
    Closeness.assertClose("empty_rows", example.numbers("empty_rows"), found.emptyRows, 0);
    double scale = scale(example);
    Closeness.assertClose("dq", example.numbers("dq"), found.dq, 1e-12, scale);
    Closeness.assertClose("dk", example.numbers("dk"), found.dk, 1e-12, scale);
    Closeness.assertClose("dv", example.numbers("dv"), found.dv, 1e-12, scale);
    double margin = example.expected("gate_margin").doubleValue();
    assertThat(found.margin).isBetween(margin - 1e-9, margin + 1e-9);
  }

  /** Dense and hard gates: the kernels against the golden numbers. */
  @ParameterizedTest
  @MethodSource("examples")
  void kernelsAgreeWithTheOracle(Example example) {
    AttentionFormulas.Inputs in = example.inputs();
    Gate hard = new Gate.Hard(in.bias());
    for (Engine engine : ENGINES) {
      Workspace memory = emptied();
      Run run = new Run(OPEN.get(engine), engine.type(), in, memory);
      Found gated = run.with(hard, in.dy(), in.ds());
      switch (example.mode()) {
        case HARD -> {
          hold(example, engine, gated);
          holdCounts("open", example, "gates_open", gated, AttentionSpec.OPEN);
          holdCounts("open", example, "hard_open", gated, AttentionSpec.OPEN);
          holdCounts("empty", example, "empty_rows", gated, AttentionSpec.EMPTY_ROWS);
        }
        case DENSE -> {
          // To the oracle density is a function of q and k in every mode; to the kernel ordinary
          // attention has density 1. So the golden gradient is that of y from ordinary attention
          // plus that of the density from hard gates.
          Found dense = run.with(Gate.open(), in.dy(), in.ds());
          Found density = run.with(hard, new double[in.dy().length], in.ds());
          Found both =
              new Found(
                  dense.y(),
                  density.expected(),
                  dense.counts(),
                  sum(dense.dq(), density.dq()),
                  sum(dense.dk(), density.dk()),
                  dense.dv());
          hold(example, engine, both);
          holdCounts("open", example, "gates_open", dense, AttentionSpec.OPEN);
          holdCounts("empty", example, "empty_rows", dense, AttentionSpec.EMPTY_ROWS);
          assertThat(dense.expected()).containsOnly(1);
          assertThat(density.dv()).containsOnly(0);
        }
        case SAMPLED -> {
          // Counts are of gates without noise, whatever the gates that were used.
          Found noisy = run.with(new Gate.Sampled(in.bias(), NOISE), in.dy(), in.ds());
          holdCounts("open", example, "hard_open", noisy, AttentionSpec.OPEN);
          double tolerance = engine.tolerance(1e-6, 1e-12);
          Closeness.assertClose(
              "density on " + engine, example.numbers("density"), noisy.expected(), tolerance);
        }
      }
    }
  }

  /** All three modes, with the kernels' own noise: the kernels against the formulas. */
  @ParameterizedTest
  @MethodSource("examples")
  void kernelsAgreeWithTheFormulas(Example example) {
    AttentionFormulas.Inputs golden = example.inputs();
    AttentionFormulas.Inputs in =
        new AttentionFormulas.Inputs(
            golden.sizes(),
            golden.bias(),
            golden.q(),
            golden.k(),
            golden.v(),
            uniforms(golden.sizes()),
            golden.dy(),
            golden.ds());
    AttentionFormulas formulas = new AttentionFormulas(in, example.mode());
    if (example.mode() == AttentionFormulas.Mode.SAMPLED) {
      assertThat(formulas.margin).as("distance of the nearest gate").isGreaterThan(MARGIN);
    }
    Gate gate =
        switch (example.mode()) {
          case DENSE -> Gate.open();
          case HARD -> new Gate.Hard(in.bias());
          case SAMPLED -> new Gate.Sampled(in.bias(), NOISE);
        };
    boolean dense = gate instanceof Gate.Open;
    // The kernel's ordinary attention has density 1, so no gradient of it reaches q and k.
    AttentionFormulas wanted =
        dense ? new AttentionFormulas(without(in), example.mode()) : formulas;
    double scale = scale(example);
    for (Engine engine : ENGINES) {
      Workspace memory = emptied();
      Found found =
          new Run(OPEN.get(engine), engine.type(), in, memory).with(gate, in.dy(), in.ds());
      double tolerance = engine.tolerance(2e-6, 1e-12);
      String on = " on " + engine;
      Closeness.assertClose("y" + on, wanted.y, found.y(), tolerance);
      Closeness.assertClose("dq" + on, wanted.dq, found.dq(), tolerance, scale);
      Closeness.assertClose("dk" + on, wanted.dk, found.dk(), tolerance, scale);
      Closeness.assertClose("dv" + on, wanted.dv, found.dv(), tolerance, scale);
      if (!dense) {
        Closeness.assertClose("counts" + on, wanted.counts, found.counts(), 0);
        Closeness.assertClose("density" + on, wanted.density, found.expected(), tolerance);
      }
    }
  }

  private static void hold(Example example, Engine engine, Found found) {
    double tolerance = engine.tolerance(2e-6, 1e-9);
    double scale = scale(example);
    String on = " on " + engine;
    Closeness.assertClose("y" + on, example.numbers("y"), found.y(), tolerance);
    Closeness.assertClose("density" + on, example.numbers("density"), found.expected(), tolerance);
    Closeness.assertClose("dq" + on, example.numbers("dq"), found.dq(), tolerance, scale);
    Closeness.assertClose("dk" + on, example.numbers("dk"), found.dk(), tolerance, scale);
    Closeness.assertClose("dv" + on, example.numbers("dv"), found.dv(), tolerance, scale);
  }

  private static void holdCounts(
      String what, Example example, String key, Found found, int column) {
    double[] counts = column(found.counts(), column);
    Closeness.assertClose(what, example.numbers(key), counts, 0);
  }

  /** Gradients are sums of terms as large as the largest of them. */
  private static double scale(Example example) {
    return Stream.of("dq", "dk", "dv")
        .flatMapToDouble(key -> Arrays.stream(example.numbers(key)))
        .map(Math::abs)
        .reduce(1, Math::max);
  }

  private static AttentionFormulas.Inputs without(AttentionFormulas.Inputs in) {
    return new AttentionFormulas.Inputs(
        in.sizes(), in.bias(), in.q(), in.k(), in.v(), in.u(), in.dy(), new double[in.ds().length]);
  }

  /** The numbers that a kernel draws: a function of the key's and the query's absolute position. */
  private static double[] uniforms(AttentionFormulas.Sizes sizes) {
    double[] out = new double[sizes.batch() * sizes.heads() * sizes.queries() * sizes.keys()];
    float[] four = new float[4];
    for (int b = 0; b < sizes.batch(); b++) {
      for (int h = 0; h < sizes.heads(); h++) {
        for (int i = 0; i < sizes.queries(); i++) {
          for (int j = 0; j < sizes.keys(); j++) {
            NOISE.uniforms(b, h, sizes.seen(i) - 1, j / 4, four);
            out[sizes.pair(b, h, i, j)] = four[j % 4];
          }
        }
      }
    }
    return out;
  }

  private static double[] column(double[] counts, int column) {
    return IntStream.range(0, counts.length / AttentionSpec.COUNTS)
        .mapToDouble(table -> counts[table * AttentionSpec.COUNTS + column])
        .toArray();
  }

  private static double[] sum(double[] a, double[] b) {
    return IntStream.range(0, a.length).mapToDouble(i -> a[i] + b[i]).toArray();
  }

  /** What a kernel computed, in the layout of the golden file. */
  private record Found(
      double[] y, double[] expected, double[] counts, double[] dq, double[] dk, double[] dv) {}

  /** Runs the two kernels on one case. */
  private record Run(Kernels kernels, DType type, AttentionFormulas.Inputs in, Workspace memory) {
    Found with(Gate gate, double[] dy, double[] ds) {
      AttentionFormulas.Sizes s = in.sizes();
      AttentionSpec spec =
          new AttentionSpec(s.heads(), s.kvHeads(), s.headDim(), 1 / Math.sqrt(s.headDim()), gate);
      Tensor q = entered(in.q(), s.heads(), s.queries());
      Tensor k = entered(in.k(), s.kvHeads(), s.keys());
      Tensor v = entered(in.v(), s.kvHeads(), s.keys());
      Tensor y = memory.allocate(q.shape(), type);
      Tensor logSumExp = memory.allocate(Shape.of(s.batch(), s.heads(), s.queries()), type);
      Tensor expected = memory.allocate(Shape.of(s.batch(), s.heads()), type);
      Tensor counts =
          memory.allocate(Shape.of(s.batch(), s.heads(), AttentionSpec.COUNTS), DType.F64);
      kernels.attention(spec, q, k, v, y, logSumExp, expected, counts);
      Tensor dq = memory.allocate(q.shape(), type);
      Tensor dk = memory.allocate(k.shape(), type);
      Tensor dv = memory.allocate(v.shape(), type);
      Tensor dout = entered(dy, s.heads(), s.queries());
      Tensor dexpected = Tensor.of(memory, type, expected.shape(), ds);
      kernels.attentionBackward(spec, q, k, v, y, logSumExp, dout, dexpected, dq, dk, dv);
      return new Found(
          left(y), expected.toDoubles(), counts.toDoubles(), left(dq), left(dk), left(dv));
    }

    /** [batch, head, time, headDim], as in the file, to [batch, time, head, headDim]. */
    private Tensor entered(double[] values, int heads, int time) {
      Shape there = Shape.of(in.sizes().batch(), time, heads, in.sizes().headDim());
      return Tensor.of(memory, type, there, exchanged(values, heads, time));
    }

    private double[] left(Tensor tensor) {
      return exchanged(tensor.toDoubles(), tensor.shape().length(1), tensor.shape().length(2));
    }

    /** Exchanges the two middle axes of [batch, first, second, headDim]. */
    private double[] exchanged(double[] values, int first, int second) {
      int d = in.sizes().headDim();
      double[] out = new double[values.length];
      for (int b = 0; b < in.sizes().batch(); b++) {
        for (int i = 0; i < first; i++) {
          for (int j = 0; j < second; j++) {
            int from = ((b * first + i) * second + j) * d;
            System.arraycopy(values, from, out, ((b * second + j) * first + i) * d, d);
          }
        }
      }
      return out;
    }
  }
}
