package filigree.bench;

import filigree.autograd.Pass;
import filigree.interp.circuit.Attribution;
import filigree.interp.circuit.CircuitGraph;
import filigree.interp.circuit.Direction;
import filigree.interp.circuit.EdgeScores;
import filigree.interp.circuit.Gradient;
import filigree.interp.circuit.Metric;
import filigree.interp.circuit.Progress;
import filigree.interp.circuit.Settings;
import filigree.interp.circuit.Study;
import filigree.interp.circuit.Subject;
import filigree.interp.task.Contrast;
import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.Philox;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import filigree.tensor.provider.Backend;
import filigree.transformer.Gates;
import filigree.transformer.ModelConfig;
import filigree.transformer.Parameters;
import filigree.transformer.Transformer;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/**
 * Edge attribution patching over all edges of GPT-2 small's sizes with random weights, beside one
 * forward run over the same prompts, in turns.
 *
 * <pre>
 *   bench/run circuit --threads 2                   32 prompts of 16 tokens
 *   bench/run circuit --prompts 8 --time 32 --split qkv --rounds 5
 * </pre>
 *
 * <p>Memory is the most that the process had resident (VmHWM), weights and all.
 */
final class CircuitBenchmark {
  private static final double DEVIATION = 0.02;
  private static final long SEED = 1;

  private CircuitBenchmark() {}

  public static void main(String[] args) {
    Arguments arguments = Arguments.of(args, "eap");
    int threads = arguments.number("threads", Runtime.getRuntime().availableProcessors());
    int prompts = arguments.number("prompts", 32);
    int time = arguments.number("time", 16);
    int rounds = arguments.number("rounds", 5);
    CircuitGraph.Split split =
        arguments.text("split", "whole").equals("qkv")
            ? CircuitGraph.Split.QKV
            : CircuitGraph.Split.WHOLE;
    ModelConfig config = Step.GPT2.config();
    try (Kernels kernels = Backend.CPU.open(threads);
        Workspace memory = new Workspace("weights");
        Workspace scratch = new Workspace("forward")) {
      Parameters.Draw draw = new Parameters.Draw(DEVIATION, SEED);
      Transformer model =
          new Transformer(config, Parameters.random(config, DType.F32, memory, draw), memory);
      List<Contrast> contrasts = contrasts(prompts, time, config.sizes().vocabulary());
      double[] forward = new double[rounds];
      double[] eap = new double[rounds];
      for (int round = -1; round < rounds; round++) {
        double before = forward(model, kernels, scratch, contrasts);
        double seconds = attribute(new Subject(model, Gates.dense(), kernels), contrasts, split);
        double after = forward(model, kernels, scratch, contrasts);
        if (round >= 0) {
          forward[round] = (before + after) / 2;
          eap[round] = seconds;
        }
      }
      System.out.printf(
          Locale.ROOT,
          "GPT-2 small, %d prompts of %d tokens, %d edges: forward %.2f s, EAP %.2f s, %.1f times;"
              + " %d MiB resident at most%n",
          prompts,
          time,
          CircuitGraph.of(config, split).edgeCount(),
          median(forward),
          median(eap),
          median(eap) / median(forward),
          residentKib() >> 10);
    }
  }

  private static double forward(
      Transformer model, Kernels kernels, Workspace scratch, List<Contrast> contrasts) {
    int time = contrasts.getFirst().clean().length;
    int[] all = contrasts.stream().flatMapToInt(c -> Arrays.stream(c.clean())).toArray();
    long began = System.nanoTime();
    try (Pass pass = Pass.inference(kernels, scratch)) {
      Tensor ids = Tensor.ofInts(scratch, Shape.of(contrasts.size(), time), all);
      Tensor logits = model.forward(pass, ids, Gates.dense()).logits().value();
      if (!Double.isFinite(logits.get(logits.size() - 1))) {
        throw new IllegalStateException("a logit is not finite");
      }
    }
    return (System.nanoTime() - began) / 1e9;
  }

  /**
   * Runs it, and checks by a way that is not timed that what the input's edges do adds up to what
   * the input does.
   *
   * @return seconds
   */
  private static double attribute(
      Subject subject, List<Contrast> contrasts, CircuitGraph.Split split) {
    try (Study study =
        new Study(subject, contrasts, Settings.of(Metric.LOGIT_DIFFERENCE), Progress.ignored())) {
      long began = System.nanoTime();
      EdgeScores scores = Attribution.edges(study, split, Direction.CORRUPT, new Gradient.AtBase());
      double seconds = (System.nanoTime() - began) / 1e9;
      for (double score : scores.byEdge()) {
        if (!Double.isFinite(score)) {
          throw new IllegalStateException("a score is not finite");
        }
      }
      double input =
          Attribution.nodes(study, Direction.CORRUPT, new Gradient.AtBase()).bySender()[0];
      double sum = 0;
      for (int reader = 0; reader < scores.graph().readers().size(); reader++) {
        sum += scores.byEdge()[scores.graph().edge(reader, 0)];
      }
      if (!(Math.abs(sum - input) < 1e-3 * Math.max(1, Math.abs(input)))) {
        throw new IllegalStateException(
            "edges from the input sum to %s, the input's score is %s".formatted(sum, input));
      }
      return seconds;
    }
  }

  private static List<Contrast> contrasts(int prompts, int time, int vocabulary) {
    Philox random = new Philox(SEED, 5);
    List<Contrast> out = new ArrayList<>();
    for (int i = 0; i < prompts; i++) {
      int[] clean = new int[time];
      Arrays.setAll(clean, t -> random.nextInt(vocabulary));
      int[] corrupted = clean.clone();
      corrupted[random.nextInt(time)] = random.nextInt(vocabulary);
      out.add(new Contrast(clean, corrupted, time - 1, new int[] {2 * i}, new int[] {2 * i + 1}));
    }
    return out;
  }

  private static double median(double[] values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    return sorted[sorted.length / 2];
  }

  private static long residentKib() {
    try {
      return Files.readAllLines(Path.of("/proc/self/status")).stream()
          .filter(line -> line.startsWith("VmHWM:"))
          .mapToLong(line -> Long.parseLong(line.replaceAll("\\D+", "")))
          .findFirst()
          .orElseThrow();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
