package filigree.transformer;

import filigree.autograd.Op;
import filigree.autograd.Pass;
import filigree.autograd.Var;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import java.util.List;

/**
 * How alike two models predict, whatever their losses: two models of one loss may be wrong in
 * different places.
 *
 * @param divergence mean {@code KL(reference || model)} over scored positions, nats
 * @param top1 share of scored positions at which both find the same token likeliest
 * @param tokens scored positions
 */
public record Agreement(double divergence, double top1, long tokens) {
  /**
   * Compares a model with another on text.
   *
   * @param reference the model that predictions are compared with
   * @param model the model that is measured; of the same vocabulary
   * @param batches the text, such as {@link Windows#batches}
   * @param run kernels, memory of the model's passes and who is told the scored tokens so far
   * @return the comparison
   * @throws ModelException where the vocabularies differ or no token is scored
   */
  public static Agreement of(
      Evaluation.Subject reference,
      Evaluation.Subject model,
      List<Batch.Maker> batches,
      Evaluation.Run run) {
    int known = reference.model().config().sizes().vocabulary();
    int vocabulary = model.model().config().sizes().vocabulary();
    if (known != vocabulary) {
      throw new ModelException(
          "the reference has a vocabulary of %d and the model one of %d; only models of one vocabulary can be compared"
              .formatted(known, vocabulary));
    }
    double divergence = 0;
    long same = 0;
    long tokens = 0;
    long sequences = 0;
    try (Workspace memory = new Workspace("reference")) {
      for (Batch.Maker maker : batches) {
        try (Pass wantedPass = Pass.inference(run.kernels(), memory);
            Pass foundPass = Pass.inference(run.kernels(), run.workspace())) {
          Batch batch = maker.make(run.workspace());
          Var wanted = reference.logits(wantedPass, batch, sequences);
          Pass pass = model.observer().enter(foundPass, sequences);
          Var found = model.logitsIn(pass, batch);
          Var rows = pass.apply(new Op.Divergence(), found, pass.constant(wanted.value()));
          int[] targets = batch.targets().toInts();
          for (int row = 0; row < targets.length; row++) {
            if (targets[row] >= 0) {
              divergence += rows.value().get(row);
              same += likeliest(wanted.value(), row) == likeliest(found.value(), row) ? 1 : 0;
            }
          }
          tokens += batch.scored();
          sequences += batch.ids().shape().dim(0);
        }
        run.progress().accept(tokens);
      }
    }
    if (tokens == 0) {
      throw new ModelException(
          "no token is scored: every document is empty or a single token; use longer text");
    }
    return new Agreement(divergence / tokens, (double) same / tokens, tokens);
  }

  private static int likeliest(Tensor logits, long row) {
    Shape shape = logits.shape(); // [batch x time, vocabulary]
    int best = 0;
    double highest = Double.NEGATIVE_INFINITY;
    for (int token = 0; token < shape.length(1); token++) {
      double logit = logits.get(row * shape.dim(1) + token);
      if (logit > highest) {
        highest = logit;
        best = token;
      }
    }
    return best;
  }
}
