package filigree.test.golden;

import static org.assertj.core.api.Assertions.assertThat;

import filigree.autograd.Pass;
import filigree.cli.TokenizerCodec;
import filigree.interp.task.Contrast;
import filigree.interp.task.Tasks;
import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import filigree.test.Engine;
import filigree.transformer.Batch;
import filigree.transformer.Gates;
import filigree.transformer.Transformer;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.DoubleStream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Whether the real models can do the tasks at all: a circuit for what a model cannot do means
 * nothing. The figures are printed.
 */
class TaskAccuracyTest {
  private static final int COUNT = 200;
  private static final int BATCH = 40;

  /**
   * Shares of prompts.
   *
   * @param clean whose correct answers have the higher mean logit after the clean prompt
   * @param corrupted whose correct answers have the lower one after the corrupted prompt
   */
  private record Accuracy(double clean, double corrupted) {}

  @ParameterizedTest
  @CsvSource({
    "babyllama,story-names,0.8",
    "babyllama,story-pronouns,0.8",
    "babyllama,story-possessives,0.8",
    "babyllama,story-agreement,0.9",
    "babyllama,story-number,0.8",
    "stories260k,story-names,0.9",
    "stories260k,story-pronouns,0.9",
    "stories260k,story-possessives,0.9",
    "stories260k,story-agreement,0.9",
    "stories260k,story-number,0.9",
    "stories260k,story-words,0.9",
    "gpt2-induction,induction,0.9",
    "gpt2-induction,copy,0.9",
  })
  void denseModelDoesTheTask(String name, String task, double least) {
    try (GoldenModel model = GoldenModel.open(name, DType.F32);
        Kernels kernels = Engine.CPU_VECTOR_2.open();
        Workspace memory = new Workspace("accuracy")) {
      TokenizerCodec codec =
          new TokenizerCodec(
              model.checkpoint().requireTokenizer(),
              model.checkpoint().config().sizes().vocabulary());
      List<Contrast> all = Tasks.named(task).contrasts(codec, COUNT, 1);
      assertThat(all).hasSize(COUNT);
      Map<Integer, List<Contrast>> byLength =
          all.stream()
              .collect(
                  Collectors.groupingBy(c -> c.clean().length, TreeMap::new, Collectors.toList()));
      Run run = new Run(model.transformer(), kernels, memory);
      long clean = 0;
      long corrupted = 0;
      for (List<Contrast> same : byLength.values()) {
        clean += run.differences(same, Contrast::clean).filter(d -> d > 0).count();
        corrupted += run.differences(same, Contrast::corrupted).filter(d -> d < 0).count();
      }
      Accuracy found = new Accuracy((double) clean / COUNT, (double) corrupted / COUNT);
      System.out.printf("%s, %s: %s%n", name, task, found);
      assertThat(found.clean()).as("clean").isGreaterThan(least);
      assertThat(found.corrupted()).as("corrupted").isGreaterThan(least);
    }
  }

  /**
   * A model that runs.
   *
   * @param model the model
   * @param kernels compute
   * @param memory for each pass
   */
  private record Run(Transformer model, Kernels kernels, Workspace memory) {
    /** Mean logit of the correct less that of the incorrect answers, for prompts of one length. */
    DoubleStream differences(List<Contrast> contrasts, Function<Contrast, int[]> prompt) {
      double[] out = new double[contrasts.size()];
      for (int from = 0; from < out.length; from += BATCH) {
        List<Contrast> part = contrasts.subList(from, Math.min(out.length, from + BATCH));
        try (Pass pass = Pass.inference(kernels, memory)) {
          Batch batch = Batch.nextToken(part.stream().map(prompt).toList(), memory);
          Tensor logits = model.forward(pass, batch.ids(), Gates.dense()).logits().value();
          int time = part.getFirst().clean().length;
          long vocabulary = logits.size() / part.size() / time;
          for (int i = 0; i < part.size(); i++) {
            Contrast c = part.get(i);
            long row = ((long) i * time + c.position()) * vocabulary;
            out[from + i] = mean(logits, row, c.correct()) - mean(logits, row, c.incorrect());
          }
        }
      }
      return Arrays.stream(out);
    }

    private static double mean(Tensor logits, long row, int... answers) {
      return Arrays.stream(answers).mapToDouble(id -> logits.get(row + id)).average().orElseThrow();
    }
  }
}
