package filigree.test.golden;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import filigree.tensor.AdamWStep;
import filigree.tensor.Elementwise;
import filigree.tensor.Kernels;
import filigree.tensor.Rotation;
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
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Single kernels, values and gradients, against the float64 oracle. Errors are absolute below 1 and
 * relative above: 1e-6 in float32 and 1e-12 in float64. Where a kernel is allowed more, it is said
 * there why.
 */
class KernelsGoldenTest {
  private static final Set<String> ELEMENTWISE =
      Set.of("sigmoid", "silu", "gelu", "gelu_tanh", "tanh");

  private static final Set<String> OTHERS =
      Set.of("softmax", "layer_norm", "rms_norm", "cross_entropy", "rotary", "adamw");

  /** The oracle knows them, the engine has no such function or configuration. */
  private static final Set<String> NOT_IN_THE_ENGINE =
      Set.of("softplus", "log_sigmoid", "rotary_llama3");

  private static final List<Engine> ENGINES =
      List.of(Engine.CPU_VECTOR_2, Engine.CPU_SCALAR, Engine.ND4J_F32, Engine.ND4J_F64);

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

  /** A golden case on one engine, in memory of its own. */
  record Example(Engine engine, JsonNode golden) {
    String op() {
      return golden.path("op").asText();
    }

    @Override
    public String toString() {
      return (op() + " " + golden.path("name").asText("")).trim() + " on " + engine;
    }
  }

  static Stream<Example> examples() {
    return ENGINES.stream()
        .flatMap(
            engine ->
                Golden.each(Golden.read("kernels.json").path("cases"))
                    .map(golden -> new Example(engine, golden)))
        .filter(example -> !NOT_IN_THE_ENGINE.contains(example.op()));
  }

  @Test
  void everyGoldenKernelIsComparedOrNamedAsMissing() {
    Set<String> golden =
        Golden.each(Golden.read("kernels.json").path("cases"))
            .map(c -> c.path("op").asText())
            .collect(Collectors.toCollection(TreeSet::new));
    Set<String> known = new TreeSet<>(ELEMENTWISE);
    known.addAll(OTHERS);
    known.addAll(NOT_IN_THE_ENGINE);
    assertThat(golden).isEqualTo(known);
    assertThat(Arrays.stream(Elementwise.values()).map(Enum::name))
        .doesNotContain("SOFTPLUS", "LOG_SIGMOID");
  }

  @ParameterizedTest
  @MethodSource("examples")
  void agreesWithTheOracle(Example example) {
    Workspace memory = emptied();
    Comparison comparison = new Comparison(example, memory);
    switch (example.op()) {
      case "softmax" -> comparison.softmax();
      case "layer_norm" -> comparison.layerNorm();
      case "rms_norm" -> comparison.rmsNorm();
      case "cross_entropy" -> comparison.crossEntropy();
      case "rotary" -> comparison.rotary();
      case "adamw" -> comparison.adamw();
      default -> {
        assertThat(ELEMENTWISE).contains(example.op());
        comparison.elementwise(Elementwise.valueOf(example.op().toUpperCase(Locale.ROOT)));
      }
    }
  }

  /** One case: inputs from the file, outputs held to it. */
  private static final class Comparison {
    private final Engine engine;
    private final JsonNode golden;
    private final Kernels kernels;
    private final Workspace memory;

    Comparison(Example example, Workspace memory) {
      this.engine = example.engine();
      this.golden = example.golden();
      this.kernels = OPEN.get(example.engine());
      this.memory = memory;
    }

    private Tensor in(String key) {
      return Golden.tensor(memory, engine.type(), golden.path(key));
    }

    private Tensor empty(Shape shape) {
      double[] nothing = new double[Math.toIntExact(shape.size())];
      Arrays.fill(nothing, Double.NaN);
      return Tensor.of(memory, engine.type(), shape, nothing);
    }

    private Tensor filled(Shape shape, double value) {
      Tensor out = empty(shape);
      kernels.fill(out, value);
      return out;
    }

    private double number(String key) {
      return golden.path(key).doubleValue();
    }

    private double tolerance() {
      return engine.tolerance(1e-6, 1e-12);
    }

    private void hold(String key, Tensor found) {
      hold(key, found, tolerance());
    }

    private void hold(String key, Tensor found, double tolerance) {
      hold(key, found, tolerance, 1);
    }

    /** A sum of terms whose magnitude is the scale. */
    private void hold(String key, Tensor found, double tolerance, double scale) {
      double[] expected = Golden.numbers(golden.path(key));
      Closeness.assertClose(key, expected, found.toDoubles(), tolerance, scale);
    }

    private double largest(String key) {
      return Arrays.stream(Golden.numbers(golden.path(key))).map(Math::abs).max().orElse(0);
    }

    void elementwise(Elementwise function) {
      Tensor x = in("x");
      Tensor y = empty(x.shape());
      kernels.map(function, x, y);
      hold("y", y);
      Tensor slope = empty(x.shape());
      kernels.mapBackward(function, x, y, filled(x.shape(), 1), slope);
      hold("slope", slope);
    }

    void softmax() {
      Tensor x = in("x");
      Tensor y = empty(x.shape());
      kernels.softmax(x, y);
      hold("y", y);
      Tensor dx = empty(x.shape());
      kernels.softmaxBackward(y, in("dy"), dx);
      hold("dx", dx);
    }

    void layerNorm() {
      Tensor x = in("x");
      Tensor weight = in("weight");
      Tensor y = empty(x.shape());
      Tensor mean = empty(Shape.of(x.shape().rows()));
      Tensor inverse = empty(Shape.of(x.shape().rows()));
      kernels.layerNorm(x, weight, in("bias"), number("eps"), y, mean, inverse);
      hold("y", y, loose());
      Tensor dx = empty(x.shape());
      Tensor dweight = empty(weight.shape());
      Tensor dbias = empty(weight.shape());
      kernels.layerNormBackward(x, weight, mean, inverse, in("dy"), dx, dweight, dbias);
      hold("dx", dx, loose(), Math.max(1, largest("dx")));
      hold("dweight", dweight, loose());
      hold("dbias", dbias);
    }

    /** In float32 the mean of a row is off by 6e-8 of it, and rows near 1e-3 stand on 0.01. */
    private double loose() {
      return engine.tolerance(4e-6, 1e-12);
    }

    void rmsNorm() {
      Tensor x = in("x");
      Tensor weight = in("weight");
      Tensor y = empty(x.shape());
      Tensor inverse = empty(Shape.of(x.shape().rows()));
      kernels.rmsNorm(x, weight, number("eps"), y, inverse);
      hold("y", y);
      Tensor dx = empty(x.shape());
      Tensor dweight = empty(weight.shape());
      kernels.rmsNormBackward(x, weight, inverse, in("dy"), dx, dweight);
      hold("dx", dx, tolerance(), Math.max(1, largest("dx")));
      hold("dweight", dweight);
    }

    void crossEntropy() {
      Tensor logits = in("x");
      int[] ids = Golden.integers(golden.path("targets"));
      Tensor targets = Tensor.ofInts(memory, Shape.of(ids.length), ids);
      Tensor losses = empty(targets.shape());
      Tensor logSumExp = empty(targets.shape());
      kernels.crossEntropy(logits, targets, losses, logSumExp);
      hold("losses", losses);
      double mean = Arrays.stream(losses.toDoubles()).average().orElseThrow();
      Closeness.assertClose(
          "mean", new double[] {number("mean")}, new double[] {mean}, tolerance());
      Tensor dx = empty(logits.shape());
      Tensor each = filled(targets.shape(), 1.0 / ids.length);
      kernels.crossEntropyBackward(logits, targets, logSumExp, each, dx);
      // The probabilities are exp(x - logSumExp); rounded to float32, logSumExp is off by 6e-8 of
      // it.
      double rounding = engine.tolerance(0x1p-24, 0) * largest("x");
      hold("dx_of_mean", dx, tolerance() + rounding);
    }

    /** The file's positions are arbitrary, a kernel's are consecutive: so row by row. */
    void rotary() {
      int[] positions = Golden.integers(golden.path("positions"));
      double[] frequency = Golden.numbers(golden.path("inverse_frequency"));
      int last = Arrays.stream(positions).max().orElseThrow();
      Shape table = Shape.of(last + 1, frequency.length);
      double[] cos = new double[(last + 1) * frequency.length];
      double[] sin = new double[cos.length];
      for (int i = 0; i < cos.length; i++) {
        int position = i / frequency.length;
        double angle = position * frequency[i % frequency.length];
        cos[i] = Math.cos(angle);
        sin[i] = Math.sin(angle);
      }
      Tensor cosines = Tensor.of(memory, engine.type(), table, cos);
      Tensor sines = Tensor.of(memory, engine.type(), table, sin);
      Tensor x = in("x");
      Tensor dy = in("dy");
      Tensor y = empty(x.shape());
      Tensor dx = empty(x.shape());
      for (int row = 0; row < positions.length; row++) {
        int at = positions[row];
        kernels.rotary(one(x, row), cosines, sines, at, Rotation.FORWARD, one(y, row));
        kernels.rotary(one(dy, row), cosines, sines, at, Rotation.INVERSE, one(dx, row));
      }
      hold("y", y);
      hold("dx", dx);
    }

    /** A row of [positions, headDim] as [1, 1, 1, headDim]. */
    private static Tensor one(Tensor rows, int row) {
      return rows.rows(row, row + 1).reshape(Shape.of(1, 1, 1, rows.shape().dim(1)));
    }

    void adamw() {
      Tensor parameter = in("parameter");
      Tensor mean = filled(parameter.shape(), 0);
      Tensor variance = filled(parameter.shape(), 0);
      JsonNode gradients = golden.path("gradients");
      assertThat(gradients).hasSize(5);
      for (int step = 1; step <= gradients.size(); step++) {
        AdamWStep constants =
            new AdamWStep(
                step,
                number("lr"),
                number("beta1"),
                number("beta2"),
                number("eps"),
                number("weight_decay"),
                1);
        Tensor gradient = Golden.tensor(memory, engine.type(), gradients.path(step - 1));
        kernels.adamw(constants, parameter, gradient, mean, variance);
        Closeness.assertClose(
            "parameter after step " + step,
            Golden.numbers(golden.path("parameter_after").path(step - 1)),
            parameter.toDoubles(),
            tolerance());
      }
      double largest = largest("gradients");
      hold("m", mean, tolerance(), Math.max(1, largest));
      hold("v", variance, tolerance(), Math.max(1, largest * largest));
    }
  }

  /**
   * A loss of 5e-5 is the difference of two numbers near 12, and log(1 + 5e-5) besides: it is right
   * to the rounding of 1 + 5e-5, not to that of 12, which would leave two digits.
   */
  @Test
  void smallLossesKeepTheirDigits() {
    JsonNode golden =
        Golden.each(Golden.read("kernels.json").path("cases"))
            .filter(c -> c.path("name").asText().startsWith("certain and right"))
            .findFirst()
            .orElseThrow();
    for (Engine engine : ENGINES) {
      Workspace memory = emptied();
      Tensor logits = Golden.tensor(memory, engine.type(), golden.path("x"));
      Tensor targets = Tensor.ofInts(memory, Shape.of(1), 0);
      Tensor loss = memory.allocate(Shape.of(1), engine.type());
      Tensor logSumExp = memory.allocate(Shape.of(1), engine.type());
      OPEN.get(engine).crossEntropy(logits, targets, loss, logSumExp);
      double expected = golden.path("mean").doubleValue();
      assertThat(loss.item() / expected - 1)
          .as("relative error on %s", engine)
          .isBetween(-engine.tolerance(3e-3, 1e-9), engine.tolerance(3e-3, 1e-9));
    }
  }
}
