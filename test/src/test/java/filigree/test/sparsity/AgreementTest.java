package filigree.test.sparsity;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import filigree.autograd.Pass;
import filigree.tensor.Kernels;
import filigree.tensor.Workspace;
import filigree.tensor.provider.Backend;
import filigree.test.TinyModel;
import filigree.transformer.Agreement;
import filigree.transformer.Batch;
import filigree.transformer.Evaluation;
import filigree.transformer.Gates;
import filigree.transformer.Transformer;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** Divergence and agreement of two models, against the formulas over their logits. */
class AgreementTest {
  private static final int VOCABULARY = 23;

  private static double[][] logits(Transformer model, Gates gates, Batch.Maker text, Kernels run) {
    try (Workspace scratch = new Workspace("logits");
        Pass pass = Pass.inference(run, scratch)) {
      double[] all =
          model.forward(pass, text.make(scratch).ids(), gates).logits().value().toDoubles();
      return IntStream.range(0, all.length / VOCABULARY)
          .mapToObj(
              row -> java.util.Arrays.copyOfRange(all, row * VOCABULARY, (row + 1) * VOCABULARY))
          .toArray(double[][]::new);
    }
  }

  private static double logSumExp(double[] row) {
    double sum = 0;
    for (double x : row) {
      sum += Math.exp(x);
    }
    return Math.log(sum);
  }

  private static double divergence(double[] from, double[] to) {
    double sum = 0;
    for (int i = 0; i < from.length; i++) {
      double log = from[i] - logSumExp(from);
      sum += Math.exp(log) * (log - to[i] + logSumExp(to));
    }
    return sum;
  }

  private static int likeliest(double[] row) {
    return IntStream.range(0, row.length).reduce(0, (a, b) -> row[b] > row[a] ? b : a);
  }

  @Test
  void theFiguresAreThoseOfTheFormulas() {
    try (Kernels kernels = Backend.CPU.open(2);
        Workspace weights = new Workspace("weights");
        Workspace scratch = new Workspace("scratch")) {
      Transformer one = TinyModel.make(weights, 5);
      Transformer other = TinyModel.make(weights, 6);
      Batch.Maker text = memory -> TinyModel.text(3, 4).batch(1, memory);
      Gates hard = new Gates.Hard(0);
      Agreement found =
          Agreement.of(
              new Evaluation.Subject(one, Gates.dense()),
              new Evaluation.Subject(other, hard),
              List.of(text, text),
              new Evaluation.Run(kernels, scratch, tokens -> {}));

      double[][] wanted = logits(one, Gates.dense(), text, kernels);
      double[][] given = logits(other, hard, text, kernels);
      double sum = 0;
      double same = 0;
      int scored = 0;
      for (int row = 0; row < wanted.length; row++) {
        if ((row + 1) % TinyModel.TIME != 0) { // the last position of a window is not scored
          sum += divergence(wanted[row], given[row]);
          same += likeliest(wanted[row]) == likeliest(given[row]) ? 1 : 0;
          scored++;
        }
      }
      assertThat(found.tokens()).isEqualTo(2L * scored);
      assertThat(found.divergence()).isCloseTo(sum / scored, within(1e-5)).isPositive();
      assertThat(found.top1()).isCloseTo(same / scored, within(1e-12)).isLessThan(1);
    }
  }
}
