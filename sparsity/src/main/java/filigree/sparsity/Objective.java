package filigree.sparsity;

import filigree.autograd.Op;
import filigree.autograd.Pass;
import filigree.autograd.Var;
import filigree.tensor.Arithmetic;
import filigree.tensor.DType;
import filigree.tensor.Memory;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.transformer.Batch;
import filigree.transformer.Gates;
import filigree.transformer.MemoryPlan;
import filigree.transformer.Transformer;
import java.util.Arrays;
import java.util.List;

/**
 * What a step minimises: crossEntropy x CE + distillation x KL(teacher || student) + beta x
 * expected density, whose layers and heads may weigh differently. It looks at no number, so that it
 * can be run dry to know the memory that it takes.
 *
 * @param teacher the frozen dense model
 * @param student the model that is trained
 * @param weights of the terms that hold the loss
 * @param edges weights of layers and heads in the density
 * @param plan what is kept for the backward pass
 */
public record Objective(
    Transformer teacher, Transformer student, Weights weights, EdgeWeights edges, MemoryPlan plan) {
  /**
   * Weights of the terms that hold the loss.
   *
   * @param crossEntropy weight of the cross-entropy with the text
   * @param distillation weight of the divergence from the dense model
   */
  public record Weights(double crossEntropy, double distillation) {
    /** Checks the ranges. */
    public Weights {
      if (crossEntropy < 0 || distillation < 0 || crossEntropy + distillation <= 0) {
        throw new RunException(
            "the objective weighs cross-entropy %s and distillation %s; neither may be below 0 and one must be above"
                .formatted(crossEntropy, distillation));
      }
    }
  }

  /**
   * A batch, and what each of its positions counts in a mean.
   *
   * @param batch sequences and what is to be predicted
   * @param share [batch x time]: 1 / scored positions, 0 where not scored
   */
  record Weighted(Batch batch, Tensor share) {
    static Weighted of(Batch batch, DType type, Memory memory) {
      int[] targets = batch.targets().toInts();
      double[] share = new double[targets.length];
      for (int i = 0; i < targets.length; i++) {
        share[i] = targets[i] >= 0 ? 1.0 / batch.scored() : 0;
      }
      return new Weighted(batch, Tensor.of(memory, type, Shape.of(share.length), share));
    }
  }

  /**
   * A step's values.
   *
   * @param total what is minimised
   * @param ce mean cross-entropy, nats
   * @param density expected density, every edge counted alike
   * @param counts open edges, as in {@link Transformer.Output#counts}
   */
  record Values(Var total, Var ce, Var density, List<Var> counts) {}

  /**
   * Runs teacher and student.
   *
   * @param frozen an inference pass, for the teacher, which must outlive the backward pass
   * @param pass a recording pass, for the student
   * @param weighted the batch
   * @param gates of the student
   * @param beta weight of the expected density
   */
  Values forward(Pass frozen, Pass pass, Weighted weighted, Gates gates, double beta) {
    Batch batch = weighted.batch();
    if (weights.distillation() == 0) {
      Transformer.Scored scored = student.score(pass, batch, gates, plan);
      Var ce = Transformer.mean(pass, scored.losses(), batch);
      Var density = scored.density(pass);
      Var penalty = penalty(pass, scored.expected(), density);
      Var total = sum(pass, new Term(weights.crossEntropy(), ce), new Term(beta, penalty));
      return new Values(total, ce, density, scored.counts());
    }
    Transformer.Output output = student.forward(pass, batch.ids(), gates, plan.recompute());
    Var logits = Transformer.rows(pass, output.logits());
    Var ce = Transformer.loss(pass, output.logits(), batch);
    Var density = output.density(pass);
    Var wanted =
        Transformer.rows(frozen, teacher.forward(frozen, batch.ids(), Gates.dense()).logits());
    Var rows = pass.apply(new Op.Divergence(), logits, pass.constant(wanted.value()));
    Var counted =
        pass.apply(new Op.Combine(Arithmetic.MULTIPLY), rows, pass.constant(weighted.share()));
    Var divergence = pass.apply(new Op.Sum(Shape.of()), counted);
    Var total =
        sum(
            pass,
            new Term(weights.crossEntropy(), ce),
            new Term(weights.distillation(), divergence),
            new Term(beta, penalty(pass, output.expected(), density)));
    return new Values(total, ce, density, output.counts());
  }

  private Var penalty(Pass pass, List<Var> expected, Var density) {
    return switch (edges) {
      case EdgeWeights.Uniform() -> density;
      case EdgeWeights.Late(), EdgeWeights.Early(), EdgeWeights.Table(var _) ->
          edges.mean(pass, expected);
    };
  }

  private record Term(double weight, Var value) {}

  /** A term of weight 0 is left out, and with it its backward pass. */
  private static Var sum(Pass pass, Term... terms) {
    return Arrays.stream(terms)
        .filter(term -> term.weight() != 0)
        .map(term -> pass.apply(new Op.Scale(term.weight()), term.value()))
        .reduce((a, b) -> pass.apply(new Op.Combine(Arithmetic.ADD), a, b))
        .orElseThrow(); // the weights of the loss are not both 0
  }
}
