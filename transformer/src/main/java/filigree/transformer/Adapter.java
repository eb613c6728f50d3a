package filigree.transformer;

import filigree.autograd.Op;
import filigree.autograd.Param;
import filigree.autograd.Pass;
import filigree.autograd.Var;
import filigree.tensor.Arithmetic;
import filigree.tensor.Memory;
import filigree.tensor.Transpose;

/**
 * A low-rank addition to a linear map: {@code y = x W^T + scale (x A^T) B^T} (Hu et al., "LoRA",
 * arXiv 2106.09685). The weight W itself is only read, so that it may stay in its file.
 *
 * @param a A [rank, in]
 * @param b B [out, rank]
 * @param scale factor of the addition; LoRA's alpha / rank
 */
public record Adapter(Param a, Param b, double scale) {
  /** Checks that the two factors fit together. */
  public Adapter {
    if (a.value().shape().rank() != 2
        || b.value().shape().rank() != 2
        || a.value().shape().dim(0) != b.value().shape().dim(1)) {
      throw new ModelException(
          "an adapter of %s and %s does not fit together, expected [rank, in] and [out, rank]"
              .formatted(a, b));
    }
    if (!Double.isFinite(scale)) {
      throw new ModelException(
          "the adapter of %s has the scale %s, expected a finite number"
              .formatted(a.name(), scale));
    }
  }

  /**
   * Returns the rank of the addition.
   *
   * @return columns of B and rows of A
   */
  public int rank() {
    return a.value().shape().length(0);
  }

  /**
   * Copies both factors.
   *
   * @param memory owns the copies
   * @return an adapter whose parameters have the same names
   */
  Adapter copy(Memory memory) {
    return new Adapter(
        new Param(a.name(), a.value().copy(memory)),
        new Param(b.name(), b.value().copy(memory)),
        scale);
  }

  /** Adds to what the map made of x. The narrow product is scaled, since it is the cheap one. */
  Var onto(Pass pass, Var y, Var x) {
    Op map = new Op.Linear(Transpose.YES);
    Var narrow = pass.apply(new Op.Scale(scale), pass.apply(map, x, pass.param(a)));
    return pass.apply(new Op.Combine(Arithmetic.ADD), y, pass.apply(map, narrow, pass.param(b)));
  }

  /** Adds to the weight itself, for a use that needs it as one matrix. */
  Var ontoWeight(Pass pass, Var weight) {
    Var product =
        pass.apply(new Op.MatMul(Transpose.NO, Transpose.NO), pass.param(b), pass.param(a));
    return pass.apply(
        new Op.Combine(Arithmetic.ADD), weight, pass.apply(new Op.Scale(scale), product));
  }
}
