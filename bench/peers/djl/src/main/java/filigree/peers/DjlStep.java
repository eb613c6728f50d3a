package filigree.peers;

import ai.djl.Device;
import ai.djl.engine.Engine;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.engine.PtNDManager;
import ai.djl.pytorch.engine.PtSymbolBlock;
import ai.djl.pytorch.jni.IValueUtils;
import ai.djl.pytorch.jni.JniUtils;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;

/**
 * The training step of filigree.bench.StepBenchmark and of bench/peers/pytorch_step.py on libtorch
 * 2.7.1, as DJL 0.35.1 brings it. Prints the same line of JSON.
 *
 * <p>{@code bench/peers/djl/run small dense --threads 2 [--warmup N] [--steps N] [--start FILE]
 * [--losses]}
 *
 * <p>DJL's own operations lack what a PyTorch user of 2.7 takes: scaled_dot_product_attention, the
 * tanh form of GELU, the fused cross-entropy, gradients that are dropped rather than zeroed, and
 * the fused AdamW. All are in the libtorch that it loads, and TorchScript reaches them by name; so
 * the step is one TorchScript method ({@code step.torchscript}), run without the graph optimiser:
 * the operations and the autograd of eager PyTorch, less the time that Python takes.
 */
public final class DjlStep {
  private static final long SEED = 2;
  private static final double DEVIATION = 0.02;

  /** The shapes, as bench/peers/pytorch_step.py has them. */
  private enum Sizes {
    SMALL(4, 256, 4, 128, 8, 512, false),
    LONG(4, 256, 4, 1024, 1, 512, false),
    GPT2(12, 768, 12, 128, 2, 50257, true);

    final int layers;
    final int width;
    final int heads;
    final int time;
    final int batch;
    final int vocabulary;
    final boolean tied;

    Sizes(int layers, int width, int heads, int time, int batch, int vocabulary, boolean tied) {
      this.layers = layers;
      this.width = width;
      this.heads = heads;
      this.time = time;
      this.batch = batch;
      this.vocabulary = vocabulary;
      this.tied = tied;
    }
  }

  private DjlStep() {}

  /**
   * Runs the steps.
   *
   * @param args see the class
   * @throws IOException where a file cannot be read
   */
  public static void main(String[] args) throws IOException {
    try {
      Map<String, String> options = options(args);
      Sizes sizes = Sizes.valueOf(options.get("shape").toUpperCase(Locale.ROOT));
      boolean sparse =
          switch (options.get("mode")) {
            case "dense" -> false;
            case "sparse" -> true;
            default -> throw new IllegalArgumentException("the mode is dense or sparse");
          };
      int threads = Integer.parseInt(options.getOrDefault("threads", "2"));
      // Loads libtorch. Some of its pools read their number of threads then, from OMP_NUM_THREADS,
      // which bench/peers/djl/run sets.
      Engine engine = Engine.getEngine("PyTorch");
      JniUtils.setGraphExecutorOptimize(false);
      JniUtils.setNumThreads(threads);
      PtNDManager manager = (PtNDManager) engine.newBaseManager(Device.cpu());
      try (manager;
          Training training = new Training(sizes, sparse, manager)) {
        run(training, options, threads);
      }
    } catch (IllegalArgumentException e) {
      System.err.println("djl: " + e.getMessage());
      System.exit(2);
    } catch (IllegalStateException e) {
      System.err.println("djl: " + e.getMessage());
      System.exit(1);
    }
  }

  private static Map<String, String> options(String[] args) {
    Map<String, String> options = new HashMap<>();
    List<String> words = new ArrayList<>();
    for (int i = 0; i < args.length; i++) {
      if (args[i].equals("--losses")) {
        options.put("losses", "");
      } else if (args[i].startsWith("--") && i + 1 < args.length) {
        options.put(args[i].substring(2), args[++i]);
      } else {
        words.add(args[i]);
      }
    }
    if (words.size() != 2) {
      throw new IllegalArgumentException("give a shape (small, long, gpt2) and a mode");
    }
    options.put("shape", words.get(0));
    options.put("mode", words.get(1));
    return options;
  }

  private static void run(Training training, Map<String, String> options, int threads)
      throws IOException {
    boolean large = training.sizes == Sizes.GPT2;
    int warmup = Math.max(1, Integer.parseInt(options.getOrDefault("warmup", large ? "2" : "3")));
    int steps = Integer.parseInt(options.getOrDefault("steps", large ? "5" : "15"));
    if (options.containsKey("start")) {
      training.read(Path.of(options.get("start")));
    } else {
      training.draw();
    }
    List<Double> losses = new ArrayList<>();
    double[] millis = new double[steps];
    double first = 0;
    for (int i = 0; i < warmup + steps; i++) {
      long began = System.nanoTime();
      losses.add(training.step());
      double took = (System.nanoTime() - began) / 1e6;
      if (i == 0) {
        first = took;
      }
      if (i >= warmup) {
        millis[i - warmup] = took;
      }
    }
    double expected = Math.log(training.sizes.vocabulary);
    if (!(Math.abs(losses.getFirst() - expected) < 0.2 && losses.getLast() < losses.getFirst())) {
      throw new IllegalStateException(
          "the loss went from %s to %s; expected ln %d at first, then less"
              .formatted(losses.getFirst(), losses.getLast(), training.sizes.vocabulary));
    }
    Arrays.sort(millis);
    double median = (millis[steps / 2] + millis[(steps - 1) / 2]) / 2;
    System.out.println(
        String.format(
            Locale.ROOT,
            "{\"engine\":\"libtorch-2.7.1\",\"shape\":\"%s\",\"mode\":\"%s\",\"threads\":%d,"
                + "\"first_ms\":%.0f,\"median_ms\":%.2f,\"min_ms\":%.2f,\"max_ms\":%.2f,"
                + "\"peak_mib\":%d,\"first_loss\":%.5f,\"loss\":%.5f%s}",
            options.get("shape"),
            options.get("mode"),
            threads,
            first,
            median,
            millis[0],
            millis[steps - 1],
            peakMib(),
            losses.getFirst(),
            losses.getLast(),
            options.containsKey("losses") ? ",\"losses\":" + losses : ""));
  }

  /** Weights, moments and the one batch. */
  private static final class Training implements AutoCloseable {
    final Sizes sizes;
    private final boolean sparse;
    private final PtNDManager manager;
    private final PtSymbolBlock module;
    private final List<PtNDArray> parameters = new ArrayList<>();
    private final List<PtNDArray> means = new ArrayList<>();
    private final List<PtNDArray> variances = new ArrayList<>();
    private final NDList arguments = new NDList();

    Training(Sizes sizes, boolean sparse, PtNDManager manager) throws IOException {
      this.sizes = sizes;
      this.sparse = sparse;
      this.manager = manager;
      this.module = JniUtils.loadModule(manager, new ByteArrayInputStream(archive()), false, false);
      long width = sizes.width;
      add(sizes.vocabulary, width);
      add(sizes.time, width);
      for (int layer = 0; layer < sizes.layers; layer++) {
        add(width);
        add(width);
        add(3 * width, width);
        add(3 * width);
        add(width, width);
        add(width);
        add(width);
        add(width);
        add(4 * width, width);
        add(4 * width);
        add(width, 4 * width);
        add(width);
      }
      add(width);
      add(width);
      if (!sizes.tied) {
        add(sizes.vocabulary, width);
      }
    }

    private void add(long... dims) {
      Shape shape = new Shape(dims);
      parameters.add((PtNDArray) manager.zeros(shape, DataType.FLOAT32));
      means.add((PtNDArray) manager.zeros(shape, DataType.FLOAT32));
      variances.add((PtNDArray) manager.zeros(shape, DataType.FLOAT32));
    }

    /** Random weights as the other engines draw them, and uniform ids. */
    void draw() {
      manager.getEngine().setRandomSeed((int) SEED);
      for (int i = 0; i < parameters.size(); i++) {
        PtNDArray parameter = parameters.get(i);
        int place = (i - 2) % 12;
        boolean inBlock = i >= 2 && i < 2 + 12 * sizes.layers;
        if (parameter.getShape().dimension() > 1) {
          boolean residual = inBlock && (place == 4 || place == 10);
          double deviation = residual ? DEVIATION / Math.sqrt(2.0 * sizes.layers) : DEVIATION;
          parameters.set(
              i,
              (PtNDArray)
                  manager.randomNormal(
                      0, (float) deviation, parameter.getShape(), DataType.FLOAT32));
          parameter.close();
        } else if (!inBlock ? i == 2 + 12 * sizes.layers : place == 0 || place == 6) {
          parameter.addi(1);
        }
      }
      Random random = new Random(SEED);
      ready(random.ints((long) sizes.batch * sizes.time, 0, sizes.vocabulary).toArray());
    }

    /**
     * Reads what StepBenchmark --start wrote: weights in the order of ModelConfig.parameters(),
     * then the ids. That has query, key and value apart.
     */
    void read(Path file) throws IOException {
      try (FileChannel channel =
          FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
        for (int i = 0; i < parameters.size(); i++) {
          boolean inBlock = i >= 2 && i < 2 + 12 * sizes.layers;
          int place = (i - 2) % 12;
          if (inBlock && place == 2) {
            fillQueryKeyValue(channel, parameters.get(i), parameters.get(i + 1));
            i++;
          } else {
            parameters.get(i).set(next(channel, parameters.get(i).size() * Float.BYTES));
          }
        }
        int count = sizes.batch * sizes.time;
        int[] numbers = new int[count];
        next(channel, (long) count * Integer.BYTES).asIntBuffer().get(numbers);
        ready(numbers);
      }
    }

    private static void fillQueryKeyValue(FileChannel channel, PtNDArray weight, PtNDArray bias)
        throws IOException {
      ByteBuffer weights = buffer(weight.size() * Float.BYTES);
      ByteBuffer biases = buffer(bias.size() * Float.BYTES);
      for (int part = 0; part < 3; part++) {
        weights.put(next(channel, weight.size() * Float.BYTES / 3));
        biases.put(next(channel, bias.size() * Float.BYTES / 3));
      }
      weight.set(weights.flip());
      bias.set(biases.flip());
    }

    private static ByteBuffer buffer(long bytes) {
      return ByteBuffer.allocateDirect(Math.toIntExact(bytes)).order(ByteOrder.nativeOrder());
    }

    /**
     * The next bytes of a file, mapped for this process alone: arrays keep and change the memory
     * that they are set to.
     */
    private static ByteBuffer next(FileChannel channel, long bytes) throws IOException {
      long at = channel.position();
      if (at + bytes > channel.size()) {
        throw new IllegalArgumentException("the file of --start is too short for this shape");
      }
      channel.position(at + bytes);
      return channel.map(FileChannel.MapMode.PRIVATE, at, bytes).order(ByteOrder.nativeOrder());
    }

    /** Makes the batch and the arguments of a step, which are the same in each. */
    private void ready(int[] numbers) {
      long[] tokens = Arrays.stream(numbers).asLongStream().toArray();
      long[] next = new long[tokens.length];
      for (int i = 0; i < next.length; i++) {
        next[i] = (i + 1) % sizes.time == 0 ? -1 : tokens[i + 1];
      }
      NDArray ids = manager.create(tokens, new Shape(sizes.batch, sizes.time));
      NDArray targets = manager.create(next, new Shape(next.length));
      boolean[] masked = new boolean[sizes.time * sizes.time];
      float[] causal = new float[masked.length];
      for (int at = 0; at < masked.length; at++) {
        masked[at] = at % sizes.time > at / sizes.time;
        causal[at] = masked[at] ? 0 : 1;
      }
      Shape table = new Shape(sizes.time, sizes.time);
      parameters.forEach(parameter -> parameter.setRequiresGradient(true));
      arguments.add(named("ids", ids));
      arguments.add(named("targets", targets));
      // Names that end so make one list.
      parameters.forEach(parameter -> arguments.add(named("parameters[]", parameter)));
      means.forEach(mean -> arguments.add(named("means[]", mean)));
      variances.forEach(variance -> arguments.add(named("variances[]", variance)));
      arguments.add(named("steps", manager.create(0f)));
      arguments.add(named("masked", manager.create(masked, table)));
      arguments.add(named("causal", manager.create(causal, table)));
      long[] settings = {sizes.layers, sizes.heads, sizes.tied ? 1 : 0, sparse ? 1 : 0};
      arguments.add(named("settings", manager.create(settings)));
    }

    private static NDArray named(String name, NDArray array) {
      array.setName(name);
      return array;
    }

    /** Returns the cross-entropy, nats per token. */
    double step() {
      // In training mode: the other ways to run a module allow no gradients.
      try (NDList results = IValueUtils.forward(module, arguments, true)) {
        long updated = results.get(1).getLong();
        if (updated != parameters.size()) {
          throw new IllegalStateException(
              updated + " parameters were updated, expected " + parameters.size());
        }
        return results.get(0).getFloat();
      }
    }

    @Override
    public void close() {
      module.close();
    }
  }

  /**
   * A TorchScript archive of one module without attributes: its code as text, and a pickle that
   * says "an object of that class".
   */
  private static byte[] archive() throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (InputStream code = DjlStep.class.getResourceAsStream("step.torchscript");
        ZipOutputStream zip = new ZipOutputStream(bytes)) {
      ByteArrayOutputStream pickle = new ByteArrayOutputStream();
      pickle.write(new byte[] {(byte) 0x80, 2}); // protocol 2
      pickle.write("c__torch__\nStep\n".getBytes(StandardCharsets.US_ASCII)); // the class
      pickle.write(")\u0081}".getBytes(StandardCharsets.ISO_8859_1)); // new object, empty state
      pickle.write("X\u0008\0\0\0training\u0088s".getBytes(StandardCharsets.ISO_8859_1)); // = true
      pickle.write("b.".getBytes(StandardCharsets.US_ASCII)); // set the state, end
      entry(zip, "data.pkl", pickle.toByteArray());
      entry(zip, "code/__torch__.py", code.readAllBytes());
      entry(zip, "constants.pkl", new byte[] {(byte) 0x80, 2, ')', '.'}); // an empty tuple
      entry(zip, "version", "10\n".getBytes(StandardCharsets.US_ASCII));
    }
    return bytes.toByteArray();
  }

  /** Stored, not compressed: the only form that libtorch reads. */
  private static void entry(ZipOutputStream zip, String name, byte[] content) throws IOException {
    ZipEntry entry = new ZipEntry("step/" + name);
    entry.setMethod(ZipEntry.STORED);
    entry.setSize(content.length);
    CRC32 sum = new CRC32();
    sum.update(content);
    entry.setCrc(sum.getValue());
    zip.putNextEntry(entry);
    zip.write(content);
    zip.closeEntry();
  }

  /** VmHWM: the most of this process that was ever in memory at once. */
  private static long peakMib() throws IOException {
    return Files.readAllLines(Path.of("/proc/self/status")).stream()
        .filter(line -> line.startsWith("VmHWM:"))
        .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")) >> 10)
        .findFirst()
        .orElse(-1);
  }
}
