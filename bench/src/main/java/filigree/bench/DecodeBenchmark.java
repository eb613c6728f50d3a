package filigree.bench;

import filigree.autograd.Param;
import filigree.autograd.Pass;
import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.Philox;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Transpose;
import filigree.tensor.Workspace;
import filigree.tensor.provider.Backend;
import filigree.transformer.Gates;
import filigree.transformer.Generator;
import filigree.transformer.ModelConfig;
import filigree.transformer.Parameters;
import filigree.transformer.Transformer;
import java.lang.foreign.MemorySegment;
import java.lang.management.ManagementFactory;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.LongSupplier;
import java.util.stream.Collectors;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * Generating a token reads every weight once, so that memory sets the pace. This measures products
 * of one row, and whole generation with GPT-2 small's sizes and random weights, beside the rate at
 * which the same threads read a large array in the same run.
 *
 * <pre>
 *   bench/run decode matvec --threads 2            GB/s of products of one row
 *   bench/run decode generate --threads 2          tokens per second
 *   bench/run decode profile --threads 2           where a token's time goes
 * </pre>
 *
 * <p>{@code --rounds K} sets how often each is measured, {@code --tokens N} how many tokens a round
 * generates, {@code --dtype bf16} how the model's matrices are stored. {@code --threads 1 --clock
 * cpu} counts the time of the thread, for a machine that others use. Measurements and the reading
 * of the array take turns; a share is taken within a round.
 */
final class DecodeBenchmark {
  private static final long ARRAY_BYTES = 1L << 30;
  private static final double DEVIATION = 0.02;
  private static final long SEED = 1;

  /** In and out, as a linear map has them: GPT-2's attention, MLP and head, Llama 2's MLP. */
  private static final int[][] MAPS = {{768, 768}, {768, 3072}, {768, 50257}, {4096, 11008}};

  private DecodeBenchmark() {}

  /**
   * Runs a benchmark.
   *
   * @param args see the class
   */
  public static void main(String[] args) {
    Arguments arguments = Arguments.of(args, "matvec");
    int threads = arguments.number("threads", Runtime.getRuntime().availableProcessors());
    try (Kernels kernels = Backend.CPU.open(threads);
        Reader reader = new Reader(threads, clock(arguments.text("clock", "wall"), threads))) {
      switch (arguments.words().getFirst()) {
        case "matvec" -> matvec(kernels, reader, arguments.number("rounds", 5));
        case "generate" -> generate(kernels, reader, arguments);
        case "profile" -> profile(kernels, arguments);
        default -> throw new IllegalArgumentException("what? one of: matvec, generate, profile");
      }
    } catch (IllegalArgumentException e) {
      System.err.println("decode: " + e.getMessage());
      System.exit(2);
    } catch (IllegalStateException e) {
      System.err.println("decode: " + e.getMessage());
      System.exit(1);
    }
  }

  /** Nanoseconds of the wall, or of the calling thread where that does all the work. */
  private static LongSupplier clock(String name, int threads) {
    return switch (name) {
      case "wall" -> System::nanoTime;
      case "cpu" -> {
        if (threads != 1) {
          throw new IllegalArgumentException("--clock cpu needs --threads 1");
        }
        yield ManagementFactory.getThreadMXBean()::getCurrentThreadCpuTime;
      }
      default -> throw new IllegalArgumentException("--clock is wall or cpu");
    };
  }

  /** Reads arrays by several threads, as fast as a plain loop does. */
  private static final class Reader implements AutoCloseable {
    private static final VectorSpecies<Float> SPECIES = FloatVector.SPECIES_PREFERRED;
    // Four runs at a time are read a tenth faster than one.
    private static final int STREAMS = 4;
    // As kernels do, so that a thread that others hold up does not decide alone.
    private static final int PARTS = 4;

    private final int threads;
    private final LongSupplier clock;
    // The calling thread takes part, as it does in kernels.
    private final ExecutorService pool;

    Reader(int threads, LongSupplier clock) {
      this.threads = threads;
      this.clock = clock;
      this.pool = Executors.newFixedThreadPool(Math.max(1, threads - 1));
    }

    LongSupplier clock() {
      return clock;
    }

    /** Returns bytes per second. */
    double rate(MemorySegment array) {
      int parts = PARTS * threads;
      long part = array.byteSize() / parts / STREAMS / 4096 * 4096 * STREAMS;
      AtomicInteger next = new AtomicInteger();
      Callable<Float> work =
          () -> {
            float sum = 0;
            for (int i = next.getAndIncrement(); i < parts; i = next.getAndIncrement()) {
              sum += sum(array, i * part, part / STREAMS);
            }
            return sum;
          };
      long began = clock.getAsLong();
      float sum = 0;
      try {
        List<Future<Float>> others = new ArrayList<>();
        for (int i = 1; i < threads; i++) {
          others.add(pool.submit(work));
        }
        sum += work.call();
        for (Future<Float> other : others) {
          sum += other.get();
        }
      } catch (Exception e) {
        throw new IllegalStateException("reading failed", e);
      }
      double seconds = (clock.getAsLong() - began) / 1e9;
      if (Float.isNaN(sum)) {
        throw new IllegalStateException("the sum of the array is not a number");
      }
      return part * parts / seconds;
    }

    private static float sum(MemorySegment array, long from, long stream) {
      FloatVector a = FloatVector.zero(SPECIES);
      FloatVector b = FloatVector.zero(SPECIES);
      FloatVector c = FloatVector.zero(SPECIES);
      FloatVector d = FloatVector.zero(SPECIES);
      for (long at = from; at < from + stream; at += SPECIES.vectorByteSize()) {
        a = a.add(load(array, at));
        b = b.add(load(array, at + stream));
        c = c.add(load(array, at + 2 * stream));
        d = d.add(load(array, at + 3 * stream));
      }
      float sum = 0;
      for (float lane : a.add(b).add(c.add(d)).toArray()) {
        sum += lane;
      }
      return sum;
    }

    private static FloatVector load(MemorySegment array, long at) {
      return FloatVector.fromMemorySegment(SPECIES, array, at, ByteOrder.nativeOrder());
    }

    @Override
    public void close() {
      pool.shutdownNow();
    }
  }

  private static void matvec(Kernels kernels, Reader reader, int rounds) {
    System.out.println("| weights | in x out | W as | GB/s | reading GB/s | share |");
    System.out.println("|---|---|---|---:|---:|---:|");
    for (DType type : new DType[] {DType.F32, DType.BF16}) {
      for (int[] map : MAPS) {
        try (Workspace memory = new Workspace("weights")) {
          Matrices matrices = new Matrices(kernels, memory, type, map[0], map[1]);
          for (Transpose transpose : new Transpose[] {Transpose.YES, Transpose.NO}) {
            double[] rates = new double[rounds];
            double[] readings = new double[rounds];
            double[] shares = new double[rounds];
            for (int round = -2; round < rounds; round++) {
              double reading = reader.rate(matrices.all.bytes());
              double rate = matrices.rate(transpose, reader.clock());
              if (round >= 0) {
                rates[round] = rate;
                readings[round] = reading;
                shares[round] = rate / reading;
              }
            }
            matrices.check(transpose);
            System.out.printf(
                Locale.ROOT,
                "| %s | %d x %d | %s | %.1f | %.1f | %.2f |%n",
                type,
                map[0],
                map[1],
                transpose == Transpose.YES ? "[out, in]" : "[in, out]",
                median(rates) / 1e9,
                median(readings) / 1e9,
                median(shares));
          }
        }
      }
    }
  }

  private static double median(double[] values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    int half = sorted.length / 2;
    return sorted.length % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  }

  /** So many matrices that none is in a cache when its turn comes. */
  private static final class Matrices {
    // A prime, so that rows differ.
    private static final int TILE = 1_000_003;

    private final Kernels kernels;
    private final int in;
    private final int out;
    private final int count;
    private final Tensor all;
    private final Tensor x;
    private final Tensor y;

    Matrices(Kernels kernels, Workspace memory, DType type, int in, int out) {
      this.kernels = kernels;
      this.in = in;
      this.out = out;
      long size = (long) in * out;
      this.count = Math.toIntExact(Math.max(2, ARRAY_BYTES / (size * type.bytes())));
      this.all = memory.allocate(Shape.of(count, size), type);
      Philox random = new Philox(SEED, 0);
      Tensor tile = memory.allocate(Shape.of(TILE), type);
      kernels.cast(
          Tensor.generate(
              memory, DType.F32, Shape.of(TILE), i -> DEVIATION * random.nextGaussian()),
          tile);
      Tensor flat = all.reshape(Shape.of(all.size()));
      for (long at = 0; at < all.size(); at += TILE) {
        kernels.copyAlong(tile, 0, flat, at, 0, Math.min(TILE, all.size() - at));
      }
      this.x = Tensor.generate(memory, DType.F32, Shape.of(1, in), i -> random.nextGaussian());
      this.y = memory.allocate(Shape.of(1, out), DType.F32);
    }

    private Tensor matrix(int index, Transpose transpose) {
      Shape shape = transpose == Transpose.YES ? Shape.of(out, in) : Shape.of(in, out);
      return all.rows(index, index + 1).reshape(shape);
    }

    /** Multiplies by every matrix once; returns bytes per second. */
    double rate(Transpose transpose, LongSupplier clock) {
      long began = clock.getAsLong();
      for (int i = 0; i < count; i++) {
        kernels.matmul(1, x, Transpose.NO, matrix(i, transpose), transpose, 0, y);
      }
      return all.bytes().byteSize() / ((clock.getAsLong() - began) / 1e9);
    }

    /** Compares some elements of the last product with sums in float64. */
    void check(Transpose transpose) {
      Tensor last = matrix(count - 1, transpose);
      for (int i = 0; i < 64; i++) {
        int column = (int) ((long) i * (out - 1) / 63);
        double sum = 0;
        double squares = 0;
        for (int j = 0; j < in; j++) {
          long at = transpose == Transpose.YES ? (long) column * in + j : (long) j * out + column;
          double term = x.get(j) * last.get(at);
          sum += term;
          squares += term * term;
        }
        double error = Math.abs(y.get(column) - sum);
        if (!(error <= 1e-5 * Math.sqrt(squares))) {
          throw new IllegalStateException(
              "column %d of a product %d x %d is %s, expected %s"
                  .formatted(column, in, out, y.get(column), sum));
        }
      }
    }
  }

  /** GPT-2 small with random weights. */
  private static final class Model implements AutoCloseable {
    private final Workspace memory = new Workspace("weights");
    private final Kernels kernels;
    private final Transformer transformer;
    private final int[] prompt = {464, 2068, 7586, 21831, 18045, 625, 262, 16931};

    Model(Kernels kernels, DType stored) {
      this.kernels = kernels;
      ModelConfig config = Step.GPT2.config();
      Parameters drawn =
          Parameters.random(config, DType.F32, memory, new Parameters.Draw(DEVIATION, SEED));
      Map<String, Tensor> weights = new LinkedHashMap<>();
      for (Param param : drawn.all()) {
        boolean matrix = param.value().shape().rank() == 2;
        Tensor weight = memory.allocate(param.value().shape(), matrix ? stored : DType.F32);
        kernels.cast(param.value(), weight);
        weights.put(param.name(), weight);
      }
      this.transformer = new Transformer(config, Parameters.of(config, weights), memory);
    }

    /** Bytes of weights that a token reads: of the positions it needs one row. */
    long bytesPerToken() {
      long bytes = 0;
      for (Param param : transformer.parameters().all()) {
        bytes += param.name().equals("positions.weight") ? 0 : param.value().bytes().byteSize();
      }
      return bytes;
    }

    /** Generates and returns the tokens; millis gets the time of each but the first. */
    int[] generate(int tokens, double[] millis, LongSupplier clock) {
      Generator generator = new Generator(transformer, kernels, Gates.dense());
      long[] before = {0};
      int[] count = {0};
      return generator.generate(
          prompt,
          tokens,
          Generator.Sampling.GREEDY,
          token -> {
            long now = clock.getAsLong();
            if (count[0] > 0) {
              millis[count[0] - 1] = (now - before[0]) / 1e6;
            }
            count[0]++;
            before[0] = clock.getAsLong();
            return true;
          });
    }

    /** Every token must be the likeliest by a run without a cache, but for rounding. */
    void check(int[] tokens) {
      int[] all = Arrays.copyOf(prompt, prompt.length + tokens.length);
      System.arraycopy(tokens, 0, all, prompt.length, tokens.length);
      try (Workspace scratch = new Workspace("check");
          Pass pass = Pass.inference(kernels, scratch)) {
        Tensor ids = Tensor.ofInts(scratch, Shape.of(1, all.length), all);
        Tensor logits = transformer.forward(pass, ids, Gates.dense()).logits().value();
        int vocabulary = transformer.config().sizes().vocabulary();
        float[] numbers = logits.toFloats();
        for (int i = 0; i < tokens.length; i++) {
          int row = (prompt.length + i - 1) * vocabulary;
          float most = Float.NEGATIVE_INFINITY;
          for (int j = 0; j < vocabulary; j++) {
            most = Math.max(most, numbers[row + j]);
          }
          float chosen = numbers[row + tokens[i]];
          if (!(chosen >= most - 1e-3)) {
            throw new IllegalStateException(
                "token %d has logit %s, but the likeliest has %s".formatted(i, chosen, most));
          }
        }
      }
    }

    @Override
    public void close() {
      memory.close();
    }
  }

  private static void generate(Kernels kernels, Reader reader, Arguments arguments) {
    int rounds = arguments.number("rounds", 5);
    int tokens = arguments.number("tokens", 64);
    DType stored = stored(arguments);
    try (Model model = new Model(kernels, stored);
        Workspace memory = new Workspace("array")) {
      Tensor array = memory.allocate(Shape.of(ARRAY_BYTES / Float.BYTES), DType.F32);
      kernels.fill(array, 1);
      double[] speeds = new double[rounds];
      double[] readings = new double[rounds];
      double[] shares = new double[rounds];
      int[] last = {};
      for (int round = -2; round < rounds; round++) {
        double reading = reader.rate(array.bytes());
        double[] millis = new double[tokens - 1];
        last = model.generate(tokens, millis, reader.clock());
        reading = (reading + reader.rate(array.bytes())) / 2;
        if (round >= 0) {
          speeds[round] = (tokens - 1) * 1e3 / Arrays.stream(millis).sum();
          readings[round] = reading;
          shares[round] = speeds[round] * model.bytesPerToken() / reading;
        }
      }
      model.check(last);
      System.out.printf(
          Locale.ROOT,
          "GPT-2 small, %s, %d MB of weights a token: %.1f tokens/s; reading %.1f GB/s would give"
              + " %.1f; share %.2f (rounds %s)%n",
          stored,
          model.bytesPerToken() / 1_000_000,
          median(speeds),
          median(readings) / 1e9,
          median(readings) / model.bytesPerToken(),
          median(shares),
          Arrays.stream(shares)
              .sorted()
              .mapToObj("%.2f"::formatted)
              .collect(Collectors.joining(", ")));
    }
  }

  private static DType stored(Arguments arguments) {
    return switch (arguments.text("dtype", "f32")) {
      case "f32" -> DType.F32;
      case "bf16" -> DType.BF16;
      default -> throw new IllegalArgumentException("--dtype is f32 or bf16");
    };
  }

  private static void profile(Kernels kernels, Arguments arguments) {
    int tokens = arguments.number("tokens", 64);
    TimedKernels timed = new TimedKernels(kernels);
    try (Model model = new Model(timed.kernels(), stored(arguments))) {
      double[] millis = new double[tokens - 1];
      for (int i = 0; i < 4; i++) {
        model.generate(tokens, millis, System::nanoTime);
      }
      timed.reset();
      long began = System.nanoTime();
      int[] last = model.generate(tokens, millis, System::nanoTime);
      System.out.print(timed.table(tokens, System.nanoTime() - began));
      model.check(last);
    }
  }
}
