package filigree.interp.circuit;

import filigree.interp.task.Contrast;
import filigree.tensor.Kernels;
import filigree.tensor.Memory;
import filigree.tensor.Workspace;
import filigree.tensor.provider.Backend;
import filigree.transformer.Gates;
import filigree.transformer.Transformer;
import java.util.List;
import java.util.function.Function;

/** A study of a toy model in float64, with everything that it needs. */
final class Lab implements AutoCloseable {
  private final Kernels kernels = Backend.ND4J.open(1);
  private final Workspace weights = new Workspace("toy");
  private final Study study;

  Lab(
      Function<Memory, Transformer> model,
      List<Contrast> contrasts,
      Gates gates,
      Settings settings) {
    Subject subject = new Subject(model.apply(weights), gates, kernels);
    study = new Study(subject, contrasts, settings, Progress.ignored());
  }

  static Lab of(ToyModel model, List<Contrast> contrasts) {
    return new Lab(model::build, contrasts, Gates.dense(), Settings.of(Metric.LOGIT_DIFFERENCE));
  }

  Study study() {
    return study;
  }

  @Override
  public void close() {
    study.close();
    weights.close();
    kernels.close();
  }
}
