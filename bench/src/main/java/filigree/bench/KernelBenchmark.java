package filigree.bench;

import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.Philox;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import filigree.tensor.provider.Backend;
import java.util.Arrays;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * Kernels of one family beside their slow twin. After the measurement each kernel is run once more
 * and once by the other provider, and the run fails where the results differ.
 *
 * <p>All of them: {@code bench/run jmh}. One family on one thread: {@code bench/run jmh Norm -p
 * backend=cpu -p threads=1}.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
public abstract class KernelBenchmark {
  /** The provider that is measured. */
  @Param({"cpu", "nd4j"})
  public String backend;

  /** Threads of the cpu provider. */
  @Param("2")
  public int threads;

  private final Philox random = new Philox(1, 0);
  private Workspace memory;
  private Kernels kernels;

  /** Starts the provider and makes the inputs. */
  @Setup(Level.Trial)
  public void open() {
    memory = new Workspace("benchmark");
    kernels = Backend.of(backend).open(threads);
    make();
  }

  /** Checks the results by the other provider. */
  @TearDown(Level.Trial)
  public void checkAndClose() {
    try (Kernels twin = (backend.equals("cpu") ? Backend.ND4J : Backend.CPU).open(threads)) {
      check(twin);
    } finally {
      kernels.close();
      memory.close();
    }
  }

  /** Makes inputs and outputs. */
  abstract void make();

  /** Compares every kernel of this class with another provider's. */
  abstract void check(Kernels twin);

  Kernels kernels() {
    return kernels;
  }

  Tensor empty(long... dims) {
    return memory.allocate(Shape.of(dims), DType.F32);
  }

  Tensor counts(long... dims) {
    return memory.allocate(Shape.of(dims), DType.F64);
  }

  /** Normal numbers. */
  Tensor normal(long... dims) {
    float[] values = new float[Math.toIntExact(Shape.of(dims).size())];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return Tensor.of(memory, Shape.of(dims), values);
  }

  /** Uniform ids from 0 to bound - 1. */
  Tensor ids(int count, int bound) {
    int[] values = new int[count];
    Arrays.setAll(values, i -> random.nextInt(bound));
    return Tensor.ofInts(memory, Shape.of(count), values);
  }

  /**
   * Runs a kernel by both providers and compares what it wrote.
   *
   * @param twin the other provider
   * @param kernel sets every output from unchanged inputs
   * @param tolerance largest Euclidean distance of an output, relative to its norm
   * @param outputs what the kernel writes
   */
  void same(Kernels twin, Consumer<Kernels> kernel, double tolerance, Tensor... outputs) {
    kernel.accept(kernels);
    float[][] measured = Arrays.stream(outputs).map(Tensor::toFloats).toArray(float[][]::new);
    kernel.accept(twin);
    for (int i = 0; i < outputs.length; i++) {
      float[] expected = outputs[i].toFloats();
      double distance = 0;
      double norm = 0;
      for (int j = 0; j < expected.length; j++) {
        double difference = (double) measured[i][j] - expected[j];
        distance += difference * difference;
        norm += (double) expected[j] * expected[j];
      }
      double relative = Math.sqrt(distance / norm);
      if (!(norm > 0 && relative <= tolerance)) {
        throw new IllegalStateException(
            "%s: output %d %s of %s differs by %.3g from that of %s (norm %.3g), at most %.3g is allowed"
                .formatted(
                    getClass().getSimpleName(),
                    i,
                    outputs[i].shape(),
                    kernels.name(),
                    relative,
                    twin.name(),
                    Math.sqrt(norm),
                    tolerance));
      }
    }
  }
}
