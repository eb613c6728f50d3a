package filigree.test.backend;

import filigree.autograd.AdamW;
import filigree.autograd.Gradients;
import filigree.autograd.Pass;
import filigree.autograd.Var;
import filigree.tensor.Kernels;
import filigree.tensor.TensorException;
import filigree.tensor.Workspace;
import filigree.tensor.provider.Backend;
import filigree.test.TinyModel;
import filigree.transformer.Batch;
import filigree.transformer.Gates;
import filigree.transformer.TrainingData;
import filigree.transformer.Transformer;
import java.util.Arrays;

/**
 * A JVM of its own for {@link BackendProcessTest}: starts a provider, says which, trains a tiny
 * model for a few steps and prints the losses and the last logits.
 */
final class BackendProcess {
  private static final int STEPS = 4;
  private static final int BATCH = 2;
  private static final int REFUSED = 2;

  private BackendProcess() {}

  /** Takes the provider's name; "only start" as a second word leaves out the training. */
  public static void main(String[] args) {
    try (Kernels kernels = Backend.of(args[0]).open(2)) {
      System.out.println(kernels.description());
      if (args.length == 1) {
        train(kernels);
      }
    } catch (TensorException e) {
      System.out.println(e.getMessage());
      System.exit(REFUSED);
    }
  }

  private static void train(Kernels kernels) {
    try (Workspace weights = new Workspace("weights");
        Workspace state = new Workspace("optimiser state");
        Workspace scratch = new Workspace("step")) {
      Transformer model = TinyModel.make(weights, 1);
      TrainingData data = TinyModel.text(1, BATCH);
      AdamW optimiser = new AdamW(AdamW.Config.DEFAULT, param -> true, kernels, state);
      for (int step = 1; step <= STEPS; step++) {
        try (Pass pass = Pass.recording(kernels, scratch)) {
          Batch batch = data.batch(step, scratch);
          Var logits = model.forward(pass, batch.ids(), new Gates.Dense()).logits();
          Var loss = Transformer.loss(pass, logits, batch);
          System.out.println(loss.value().item());
          if (step == STEPS) {
            Arrays.stream(logits.value().toDoubles()).forEach(System.out::println);
          }
          Gradients gradients = pass.backward(loss);
          optimiser.update(gradients, gradients.norm(kernels), 1e-3);
        }
      }
    }
  }
}
