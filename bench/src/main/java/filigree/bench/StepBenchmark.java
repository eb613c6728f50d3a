package filigree.bench;

import filigree.autograd.AdamW;
import filigree.autograd.Gradients;
import filigree.autograd.Op;
import filigree.autograd.Param;
import filigree.autograd.Pass;
import filigree.autograd.Var;
import filigree.tensor.Arithmetic;
import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.Philox;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import filigree.tensor.cpu.CpuKernels;
import filigree.tensor.cpu.LaneChoice;
import filigree.tensor.os.MallocReserve;
import filigree.tensor.provider.Backend;
import filigree.transformer.Batch;
import filigree.transformer.Gates;
import filigree.transformer.Parameters;
import filigree.transformer.Transformer;
import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/**
 * Times a whole training step: forward, cross-entropy, backward, AdamW. One process for each shape
 * and mode, so that its peak of resident memory means something. {@code bench/compare} interleaves
 * it with the same step in PyTorch; alone it is run by
 *
 * <pre>
 *   bench/run step small dense   --threads 2 [--warmup N] [--steps N] [--start FILE] [--losses]
 *   bench/run step small profile --threads 2 [--mode sparse]
 *   bench/run step gemm          --threads 2
 * </pre>
 *
 * <p>which print one line of JSON (memory resident after the warm-up, at the end, the least and the
 * most between among it), a table of the time by kernel, and the rate of large matrix products with
 * the time that those of each shape take at that rate. {@code --start} writes the initial weights
 * and the batch as raw little-endian numbers, in the order of {@link
 * filigree.transformer.ModelConfig#parameters()}, for a peer to start from; {@code --losses} prints
 * the loss of every step. The first step is always warm-up.
 *
 * <p>Check: every step sees one batch, so the loss must begin within 0.2 of {@code ln vocabulary}
 * (within statistical fluctuation of untrained weights) and fall; otherwise it exits with 1.
 */
public final class StepBenchmark {
  private static final AdamW.Config OPTIMISER =
      new AdamW.Config(0.9, 0.95, 1e-8, 0.1, Double.POSITIVE_INFINITY);

  private static final double RATE = 3e-4;
  private static final long SEED = 1;
  private static final double DEVIATION = 0.02;

  private StepBenchmark() {}

  /**
   * Runs a benchmark.
   *
   * @param args see the class
   * @throws IOException where the file of {@code --start} cannot be written
   */
  public static void main(String[] args) throws IOException {
    MallocReserve.fill();
    Arguments arguments = Arguments.of(args, "gemm");
    try (Kernels kernels = Backend.CPU.open(arguments.number("threads", processors()))) {
      switch (arguments.words().getFirst()) {
        case "gemm" -> System.out.println(gemm(kernels, arguments));
        default -> step(kernels, arguments);
      }
    } catch (IllegalArgumentException e) {
      System.err.println("step: " + e.getMessage());
      System.exit(2);
    } catch (IllegalStateException e) {
      System.err.println("step: " + e.getMessage());
      System.exit(1);
    }
  }

  private static int processors() {
    return Runtime.getRuntime().availableProcessors();
  }

  private static void step(Kernels kernels, Arguments arguments) throws IOException {
    Step shape = Step.of(arguments.words().getFirst());
    String what = arguments.words().size() > 1 ? arguments.words().get(1) : "dense";
    boolean profile = what.equals("profile");
    Step.Mode mode =
        Step.Mode.valueOf(
            (profile ? arguments.text("mode", "dense") : what).toUpperCase(Locale.ROOT));
    boolean large = shape == Step.GPT2;
    // The compiler works on the same cores: small takes 115 ms after 20 steps and 100 after 150.
    int warmup = arguments.number("warmup", large ? 10 : 150);
    int steps = arguments.number("steps", large ? 5 : 30);
    TimedKernels timed = new TimedKernels(kernels);
    try (Training training = new Training(shape, mode, profile ? timed.kernels() : kernels);
        Resident memory = new Resident()) {
      String start = arguments.text("start", "");
      if (!start.isEmpty()) {
        training.write(Path.of(start));
      }
      List<Double> losses = new ArrayList<>();
      long first = System.nanoTime();
      losses.add(training.step());
      double firstMillis = (System.nanoTime() - first) / 1e6;
      for (int i = 1; i < warmup; i++) {
        losses.add(training.step());
      }
      timed.reset();
      double[] resident = new double[steps + 1];
      resident[0] = memory.mib();
      double[] millis = new double[steps];
      long began = System.nanoTime();
      for (int i = 0; i < steps; i++) {
        long before = System.nanoTime();
        losses.add(training.step());
        millis[i] = (System.nanoTime() - before) / 1e6;
        resident[i + 1] = memory.mib();
      }
      long wall = System.nanoTime() - began;
      check(shape, losses);
      if (profile) {
        System.out.print(timed.table(steps, wall));
        return;
      }
      Arrays.sort(millis);
      System.out.printf(
          Locale.ROOT,
          "{\"engine\":\"filigree\",\"shape\":\"%s\",\"mode\":\"%s\",\"threads\":%d,"
              + "\"first_ms\":%.0f,\"median_ms\":%.2f,\"min_ms\":%.2f,\"max_ms\":%.2f,\"peak_mib\":%.0f,"
              + "\"resident_before_mib\":%.1f,\"resident_mib\":%.1f,"
              + "\"resident_least_mib\":%.1f,\"resident_most_mib\":%.1f,"
              + "\"reserved_mib\":%d,\"used_mib\":%d,\"first_loss\":%.5f,\"loss\":%.5f%s}%n",
          shape.label(),
          mode.name().toLowerCase(Locale.ROOT),
          arguments.number("threads", processors()),
          firstMillis,
          GemmRate.median(millis),
          millis[0],
          millis[steps - 1],
          peakMib(),
          resident[0],
          resident[steps],
          Arrays.stream(resident).min().orElseThrow(),
          Arrays.stream(resident).max().orElseThrow(),
          training.reservedBytes() >> 20,
          training.usedBytes() >> 20,
          losses.getFirst(),
          losses.getLast(),
          arguments.has("losses") ? ",\"losses\":" + losses : "");
    }
  }

  private static void check(Step shape, List<Double> losses) {
    double expected = Math.log(shape.vocabulary);
    if (!(Math.abs(losses.getFirst() - expected) < 0.2)) {
      throw new IllegalStateException(
          "the first loss is %.4f, expected about ln %d = %.4f"
              .formatted(losses.getFirst(), shape.vocabulary, expected));
    }
    if (losses.size() > 1 && !(losses.getLast() < losses.getFirst())) {
      throw new IllegalStateException(
          "the loss went from %.4f to %.4f over %d steps on one batch, expected it to fall"
              .formatted(losses.getFirst(), losses.getLast(), losses.size()));
    }
  }

  /** A model, its optimiser and the one batch that it sees. */
  private static final class Training implements AutoCloseable {
    private final Step.Mode mode;
    private final Kernels kernels;
    private final Workspace weights = new Workspace("weights");
    private final Workspace state = new Workspace("optimiser state");
    private final Workspace scratch = new Workspace("training step");
    private final Transformer model;
    private final AdamW optimiser;
    private final Batch batch;
    private long steps;

    Training(Step shape, Step.Mode mode, Kernels kernels) {
      this.mode = mode;
      this.kernels = kernels;
      Parameters parameters =
          Parameters.random(
              shape.config(), DType.F32, weights, new Parameters.Draw(DEVIATION, SEED));
      this.model = new Transformer(shape.config(), parameters, weights);
      this.optimiser =
          new AdamW(OPTIMISER, param -> param.value().shape().rank() > 1, kernels, state);
      this.batch = batch(shape);
    }

    /** Uniform tokens: a batch that is learned by heart, and that no file is needed for. */
    private Batch batch(Step shape) {
      Philox random = new Philox(SEED, Integer.MAX_VALUE);
      List<int[]> windows = new ArrayList<>();
      for (int row = 0; row < shape.batch; row++) {
        int[] window = new int[shape.time];
        for (int i = 0; i < window.length; i++) {
          window[i] = random.nextInt(shape.vocabulary);
        }
        windows.add(window);
      }
      return Batch.nextToken(windows, weights);
    }

    /** Returns the cross-entropy, nats per token. */
    double step() {
      steps++;
      Gates gates =
          switch (mode) {
            case DENSE -> Gates.dense();
            case SPARSE -> new Gates.Sampled(0, SEED, steps);
          };
      try (Pass pass = Pass.recording(kernels, scratch)) {
        Transformer.Output output = model.forward(pass, batch.ids(), gates);
        Var ce = Transformer.loss(pass, output.logits(), batch);
        Var objective =
            switch (mode) {
              case DENSE -> ce;
              case SPARSE ->
                  pass.apply(
                      new Op.Combine(Arithmetic.ADD),
                      ce,
                      pass.apply(new Op.Scale(Step.BETA), output.density(pass)));
            };
        double loss = ce.value().item();
        Gradients gradients = pass.backward(objective);
        // Nothing is clipped, so that no norm is needed; the peers compute none either.
        optimiser.update(gradients, 0, RATE);
        return loss;
      }
    }

    void write(Path file) throws IOException {
      try (OutputStream out = new BufferedOutputStream(Files.newOutputStream(file))) {
        for (Param param : model.parameters().all()) {
          write(out, param.value());
        }
        write(out, batch.ids());
      }
    }

    private static void write(OutputStream out, Tensor tensor) throws IOException {
      ByteBuffer bytes = tensor.bytes().asByteBuffer().order(ByteOrder.nativeOrder());
      byte[] chunk = new byte[1 << 16];
      while (bytes.hasRemaining()) {
        int length = Math.min(chunk.length, bytes.remaining());
        bytes.get(chunk, 0, length);
        out.write(chunk, 0, length);
      }
    }

    long reservedBytes() {
      return weights.reservedBytes() + state.reservedBytes() + scratch.reservedBytes();
    }

    /** The most that tensors took at once, of what is reserved. */
    long usedBytes() {
      return weights.peakBytes() + state.peakBytes() + scratch.peakBytes();
    }

    @Override
    public void close() {
      scratch.close();
      state.close();
      weights.close();
    }
  }

  /**
   * The rate of a large square product, and what the products of each shape take at that rate; and
   * beside it that of OpenBLAS, by which the plain loops compute products.
   */
  private static String gemm(Kernels kernels, Arguments arguments) {
    int threads = arguments.number("threads", processors());
    int repeats = arguments.number("steps", 30);
    GemmRate rate = GemmRate.measure(kernels, repeats);
    GemmRate openBlas;
    try (Kernels plain = new CpuKernels(threads, LaneChoice.SCALAR)) {
      openBlas = GemmRate.measure(plain, repeats);
    }
    StringBuilder floors = new StringBuilder();
    for (Step step : Step.values()) {
      floors.append(
          String.format(
              Locale.ROOT,
              "%s\"%s\":%.2f",
              floors.isEmpty() ? "" : ",",
              step.label(),
              2e3 * step.multiplyAdds() / rate.flops()));
    }
    return String.format(
        Locale.ROOT,
        "{\"engine\":\"gemm\",\"threads\":%d,\"gflops\":%.1f,\"best_gflops\":%.1f,"
            + "\"openblas_gflops\":%.1f,\"floor_ms\":{%s}}",
        threads,
        rate.flops() / 1e9,
        rate.bestFlops() / 1e9,
        openBlas.flops() / 1e9,
        floors);
  }

  /**
   * How much of this process is in memory now, by the second number of /proc/self/statm, in pages;
   * -1 where the system has no such file. It is asked after every step, so it leaves as little
   * behind in the JVM as it can.
   */
  private static final class Resident implements AutoCloseable {
    private static final double PAGE = 4096;
    private static final Path STATM = Path.of("/proc/self/statm");

    private final Optional<RandomAccessFile> statm;
    private final byte[] line = new byte[256];

    Resident() throws IOException {
      statm =
          Files.exists(STATM)
              ? Optional.of(new RandomAccessFile(STATM.toFile(), "r"))
              : Optional.empty();
    }

    double mib() throws IOException {
      if (statm.isEmpty()) {
        return -1;
      }
      statm.get().seek(0);
      int length = statm.get().read(line);
      int at = 0;
      while (line[at++] != ' ') {
        // the size of the address space
      }
      long pages = 0;
      while (at < length && line[at] != ' ') {
        pages = pages * 10 + line[at++] - '0';
      }
      return pages * PAGE / (1 << 20);
    }

    @Override
    public void close() throws IOException {
      if (statm.isPresent()) {
        statm.get().close();
      }
    }
  }

  /** The most of this process that was ever in memory. */
  private static double peakMib() throws IOException {
    Path status = Path.of("/proc/self/status");
    if (!Files.exists(status)) {
      return -1;
    }
    return Files.readAllLines(status).stream()
        .filter(line -> line.startsWith("VmHWM:"))
        .mapToDouble(line -> Long.parseLong(line.replaceAll("\\D", "")) / 1024.0)
        .findFirst()
        .orElse(-1);
  }
}
