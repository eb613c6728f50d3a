package filigree.tensor.cpu;

import static org.assertj.core.api.Assertions.assertThat;

import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.Philox;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import java.util.Arrays;
import java.util.function.Consumer;
import java.util.function.IntToDoubleFunction;

/** Tensors of one test and the providers that it compares. */
final class Fixture implements AutoCloseable {
  final Workspace memory = new Workspace("test");
  private final Philox random = new Philox(7, 0);

  /** Runs a test body with every combination of lanes and thread count. */
  static void everyProvider(Consumer<Kernels> body) {
    for (LaneChoice lanes : new LaneChoice[] {LaneChoice.SCALAR, LaneChoice.VECTOR}) {
      for (int threads : new int[] {1, 2, 3}) {
        try (Kernels kernels = new CpuKernels(threads, lanes)) {
          body.accept(kernels);
        }
      }
    }
  }

  Tensor normal(long... dims) {
    return spread(1, dims);
  }

  Tensor spread(double deviation, long... dims) {
    Shape shape = Shape.of(dims);
    float[] values = new float[Math.toIntExact(shape.size())];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) (deviation * random.nextGaussian());
    }
    return Tensor.of(memory, shape, values);
  }

  Tensor floats(Shape shape, IntToDoubleFunction value) {
    float[] values = new float[Math.toIntExact(shape.size())];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) value.applyAsDouble(i);
    }
    return Tensor.of(memory, shape, values);
  }

  Tensor ints(Shape shape, int... values) {
    return Tensor.ofInts(memory, shape, values);
  }

  /** A tensor full of NaN, so that what a kernel leaves out is seen. */
  Tensor empty(long... dims) {
    return floats(Shape.of(dims), i -> Double.NaN);
  }

  Tensor empty(DType type, long... dims) {
    return memory.allocate(Shape.of(dims), type);
  }

  int nextInt(int bound) {
    return random.nextInt(bound);
  }

  static void assertClose(String what, Tensor found, double[] expected, double tolerance) {
    double[] values = found.toDoubles();
    assertThat(values).as(what).hasSameSizeAs(expected);
    for (int i = 0; i < values.length; i++) {
      double error = Math.abs(values[i] - expected[i]);
      assertThat(error <= tolerance * (1 + Math.abs(expected[i])) || same(values[i], expected[i]))
          .as("%s[%d]: found %s, expected %s", what, i, values[i], expected[i])
          .isTrue();
    }
  }

  private static boolean same(double a, double b) {
    return Double.compare(a, b) == 0;
  }

  static void assertSameBits(String what, Tensor a, Tensor b) {
    int[] left = bits(a);
    int[] right = bits(b);
    assertThat(Arrays.mismatch(left, right)).as(what).isEqualTo(-1);
  }

  private static int[] bits(Tensor tensor) {
    float[] values = tensor.toFloats();
    int[] bits = new int[values.length];
    Arrays.setAll(bits, i -> Float.floatToRawIntBits(values[i]));
    return bits;
  }

  @Override
  public void close() {
    memory.close();
  }
}
