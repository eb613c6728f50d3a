package filigree.transformer;

import filigree.autograd.AdamW;
import filigree.autograd.Gradients;
import filigree.autograd.Pass;
import filigree.autograd.Var;
import filigree.tensor.Kernels;
import filigree.tensor.Workspace;
import java.util.function.Consumer;

/** Trains a model with ordinary attention to predict its targets. */
public final class Pretrainer implements AutoCloseable {
  /**
   * What one step reports.
   *
   * @param step from 1
   * @param ce cross-entropy of the batch, nats per scored token
   * @param rate learning rate
   * @param gradientNorm before clipping
   * @param tokens tokens read so far
   */
  public record Step(long step, double ce, double rate, double gradientNorm, long tokens) {}

  private final Transformer model;
  private final Kernels kernels;
  private final Workspace state = new Workspace("optimiser state");
  private final Workspace scratch = new Workspace("training step");
  private final AdamW optimiser;

  /**
   * Makes a trainer.
   *
   * @param model the model, whose weights it changes
   * @param optimiser constants of AdamW; decay is for matrices only
   * @param kernels the provider
   */
  public Pretrainer(Transformer model, AdamW.Config optimiser, Kernels kernels) {
    this.model = model;
    this.kernels = kernels;
    this.optimiser =
        new AdamW(optimiser, param -> param.value().shape().rank() > 1, kernels, state);
  }

  /**
   * Trains.
   *
   * @param data batches
   * @param steps how many
   * @param rate learning rate by step
   * @param each told every step
   * @throws ModelException where the loss is not a number
   */
  public void train(TrainingData data, long steps, LearningRate rate, Consumer<Step> each) {
    long tokens = 0;
    for (long step = 1; step <= steps; step++) {
      try (Pass pass = Pass.recording(kernels, scratch)) {
        Batch batch = data.batch(step, scratch);
        Transformer.Output output = model.forward(pass, batch.ids(), Gates.dense());
        Var loss = Transformer.loss(pass, output.logits(), batch);
        double ce = loss.value().item();
        Gradients gradients = pass.backward(loss);
        double norm = gradients.norm(kernels);
        if (!Double.isFinite(ce) || !Double.isFinite(norm)) {
          throw new ModelException(
              "step %d: the loss is %s and its gradient's norm %s; try a lower --lr"
                  .formatted(step, ce, norm));
        }
        optimiser.update(gradients, norm, rate.at(step));
        tokens += batch.ids().size();
        each.accept(new Step(step, ce, rate.at(step), norm, tokens));
      }
    }
  }

  @Override
  public void close() {
    scratch.close();
    state.close();
  }
}
