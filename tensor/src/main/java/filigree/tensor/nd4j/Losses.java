package filigree.tensor.nd4j;

import static filigree.tensor.nd4j.Formulas.rowSums;
import static filigree.tensor.nd4j.Scratch.store;
import static filigree.tensor.nd4j.Scratch.wide;

import filigree.tensor.DType;
import filigree.tensor.Tensor;
import filigree.tensor.TensorException;
import org.nd4j.linalg.api.ndarray.INDArray;

/** Cross-entropy and divergence of rows of logits, in nats. */
record Losses(Scratch scratch) {
  private static final int NOT_SCORED = -1;

  void crossEntropy(Tensor logits, Tensor targets, Tensor losses, Tensor logSumExp) {
    Entry.of("crossEntropy")
        .floating("logits", logits, "rows vocab")
        .exactly("targets", targets, DType.I32)
        .axes("targets", targets, "rows")
        .floating("losses", losses, "rows")
        .floating("logSumExp", logSumExp, "rows");
    int[] target = checked("crossEntropy", targets, logits.shape().dim(1));
    if (target.length == 0) {
      return;
    }
    if (logits.size() == 0) { // no classes, so nothing is scored; the log of an empty sum
      Bridge.fill(losses, 0);
      Bridge.fill(logSumExp, Double.NEGATIVE_INFINITY);
      return;
    }
    try (var _ = scratch.open()) {
      INDArray x = wide(logits);
      INDArray total = Formulas.logSumExp(x);
      double[] loss = new double[target.length];
      for (int row = 0; row < target.length; row++) {
        if (target[row] != NOT_SCORED) {
          loss[row] = total.getDouble(row, 0) - x.getDouble(row, target[row]);
        }
      }
      store(Formulas.column(loss), losses);
      store(total, logSumExp);
    }
  }

  void crossEntropyBackward(
      Tensor logits, Tensor targets, Tensor logSumExp, Tensor gradient, Tensor out) {
    Entry.of("crossEntropyBackward")
        .floating("logits", logits, "rows vocab")
        .exactly("targets", targets, DType.I32)
        .axes("targets", targets, "rows")
        .floating("logSumExp", logSumExp, "rows")
        .floating("gradient", gradient, "rows")
        .floating("out", out, "rows vocab");
    int[] target = checked("crossEntropyBackward", targets, logits.shape().dim(1));
    if (out.size() == 0) {
      return;
    }
    try (var _ = scratch.open()) {
      // logSumExp saves a fused kernel a pass; rounded to float32 it would cost the twin digits.
      INDArray difference = Formulas.softmax(wide(logits));
      for (int row = 0; row < target.length; row++) {
        if (target[row] == NOT_SCORED) {
          difference.getRow(row).assign(0);
        } else {
          double p = difference.getDouble(row, target[row]);
          difference.putScalar(row, target[row], p - 1);
        }
      }
      store(difference.mul(wide(gradient, gradient.size(), 1)), out);
    }
  }

  void divergence(Tensor student, Tensor teacher, Tensor divergence) {
    Entry.of("divergence")
        .floating("student", student, "rows vocab")
        .floating("teacher", teacher, "rows vocab")
        .floating("divergence", divergence, "rows");
    if (divergence.size() == 0) {
      return;
    }
    if (student.size() == 0) {
      Bridge.fill(divergence, 0);
      return;
    }
    try (var _ = scratch.open()) {
      INDArray s = wide(student);
      INDArray t = wide(teacher);
      INDArray logRatio = t.sub(Formulas.logSumExp(t)).sub(s.sub(Formulas.logSumExp(s)));
      INDArray p = Formulas.softmax(t);
      // 0 log 0 is 0: where the teacher's logit is minus infinity, the ratio is no number.
      store(rowSums(p.mul(logRatio.putWhereWithMask(p.eq(0), 0.0))), divergence);
    }
  }

  void divergenceBackward(Tensor student, Tensor teacher, Tensor gradient, Tensor out) {
    Entry.of("divergenceBackward")
        .floating("student", student, "rows vocab")
        .floating("teacher", teacher, "rows vocab")
        .floating("gradient", gradient, "rows")
        .floating("out", out, "rows vocab");
    if (out.size() == 0) {
      return;
    }
    try (var _ = scratch.open()) {
      INDArray difference = Formulas.softmax(wide(student)).sub(Formulas.softmax(wide(teacher)));
      store(difference.mul(wide(gradient, gradient.size(), 1)), out);
    }
  }

  private static int[] checked(String kernel, Tensor targets, long vocab) {
    int[] values = targets.toInts();
    for (int row = 0; row < values.length; row++) {
      if (values[row] < NOT_SCORED || values[row] >= vocab) {
        throw new TensorException(
            "%s: target %d of row %d is out of range, expected 0 to %d, or -1 for not scored"
                .formatted(kernel, values[row], row, vocab - 1));
      }
    }
    return values;
  }
}
