package filigree.tensor.cpu;

import filigree.tensor.AttentionSpec;
import filigree.tensor.ShapeSpec;
import filigree.tensor.Tensor;
import filigree.tensor.TensorException;

/** Softmax over rows and the losses that are made of it. */
final class SoftmaxKernels {
  private static final long GRAIN = 8 << 10;

  // What stays in the first-level cache between finding the greatest element and adding
  // exponentials.
  private static final int BLOCK = 4096;

  private final Workers workers;
  private final RowLanes lanes;
  private final ElementLanes elements;

  SoftmaxKernels(Workers workers, Lanes lanes) {
    this.workers = workers;
    this.lanes = lanes.rows();
    this.elements = lanes.elements();
  }

  void softmax(Tensor x, Tensor out) {
    Checks.floats("softmax", x, out);
    int n = Checks.columns("softmax", x);
    Checks.sameShape("softmax", "out", out, "x", x);
    long xs = x.address();
    long outs = out.address();
    forRows(
        x.shape().rows(),
        n,
        r -> {
          long at = r * n * Float.BYTES;
          double sum = lanes.exp(xs + at, lanes.max(xs + at, n), outs + at, n);
          elements.scale((float) (1 / sum), outs + at, outs + at, n);
        });
  }

  void softmaxBackward(Tensor y, Tensor gradient, Tensor out) {
    Checks.floats("softmaxBackward", y, gradient, out);
    int n = Checks.columns("softmaxBackward", y);
    Checks.sameShape("softmaxBackward", "gradient", gradient, "y", y);
    Checks.sameShape("softmaxBackward", "out", out, "y", y);
    long ys = y.address();
    long gradients = gradient.address();
    long outs = out.address();
    forRows(
        y.shape().rows(),
        n,
        r -> {
          long at = r * n * Float.BYTES;
          float d = (float) lanes.dot(ys + at, gradients + at, n);
          lanes.softmaxBackward(ys + at, gradients + at, d, outs + at, n);
        });
  }

  void crossEntropy(Tensor logits, Tensor targets, Tensor losses, Tensor logSumExp) {
    Checks.floats("crossEntropy", logits, losses, logSumExp);
    ShapeSpec.Check check =
        ShapeSpec.check("crossEntropy")
            .that("logits", logits, "rows vocab")
            .that("targets", targets, "rows")
            .that("losses", losses, "rows")
            .that("logSumExp", logSumExp, "rows");
    int n = check.length("vocab");
    Checks.ids("crossEntropy", "target", targets, -1, n);
    long xs = logits.address();
    long ids = targets.address();
    long out = losses.address();
    long sums = logSumExp.address();
    forRows(
        check.length("rows"),
        n,
        r -> {
          long row = xs + r * n * Float.BYTES;
          double sum = logSumExp(row, n);
          int target = Native.getInt(ids + r * Integer.BYTES);
          double loss = target < 0 ? 0 : sum - Native.getFloat(row + (long) target * Float.BYTES);
          Native.putFloat(sums + r * Float.BYTES, (float) sum);
          Native.putFloat(out + r * Float.BYTES, (float) loss);
        });
  }

  void crossEntropyBackward(
      Tensor logits, Tensor targets, Tensor logSumExp, Tensor gradient, Tensor out) {
    Checks.floats("crossEntropyBackward", logits, logSumExp, gradient, out);
    ShapeSpec.Check check =
        ShapeSpec.check("crossEntropyBackward")
            .that("logits", logits, "rows vocab")
            .that("targets", targets, "rows")
            .that("logSumExp", logSumExp, "rows")
            .that("gradient", gradient, "rows")
            .that("out", out, "rows vocab");
    int n = check.length("vocab");
    Checks.ids("crossEntropyBackward", "target", targets, -1, n);
    long xs = logits.address();
    long ids = targets.address();
    long sums = logSumExp.address();
    long gradients = gradient.address();
    long outs = out.address();
    forRows(
        check.length("rows"),
        n,
        r -> {
          long at = r * n * Float.BYTES;
          int target = Native.getInt(ids + r * Integer.BYTES);
          if (target < 0) {
            // Not scored: the loss is 0 whatever the logits, even if they are not finite.
            elements.fill(0, outs + at, n);
            return;
          }
          float g = Native.getFloat(gradients + r * Float.BYTES);
          lanes.expScaled(xs + at, Native.getFloat(sums + r * Float.BYTES), g, outs + at, n);
          long hit = outs + at + (long) target * Float.BYTES;
          Native.putFloat(hit, Native.getFloat(hit) - g);
        });
  }

  void divergence(Tensor student, Tensor teacher, Tensor divergence) {
    Checks.floats("divergence", student, teacher, divergence);
    ShapeSpec.Check check =
        ShapeSpec.check("divergence")
            .that("student", student, "rows vocab")
            .that("teacher", teacher, "rows vocab")
            .that("divergence", divergence, "rows");
    int n = check.length("vocab");
    long s = student.address();
    long t = teacher.address();
    long out = divergence.address();
    forRows(
        check.length("rows"),
        n,
        r -> {
          long at = r * n * Float.BYTES;
          double shiftS = logSumExp(s + at, n);
          double shiftT = logSumExp(t + at, n);
          double value = lanes.divergence(s + at, (float) shiftS, t + at, (float) shiftT, n);
          Native.putFloat(out + r * Float.BYTES, (float) value);
        });
  }

  void divergenceBackward(Tensor student, Tensor teacher, Tensor gradient, Tensor out) {
    Checks.floats("divergenceBackward", student, teacher, gradient, out);
    ShapeSpec.Check check =
        ShapeSpec.check("divergenceBackward")
            .that("student", student, "rows vocab")
            .that("teacher", teacher, "rows vocab")
            .that("gradient", gradient, "rows")
            .that("out", out, "rows vocab");
    int n = check.length("vocab");
    long s = student.address();
    long t = teacher.address();
    long gradients = gradient.address();
    long outs = out.address();
    forRows(
        check.length("rows"),
        n,
        r -> {
          long at = r * n * Float.BYTES;
          float shiftS = (float) logSumExp(s + at, n);
          float shiftT = (float) logSumExp(t + at, n);
          float g = Native.getFloat(gradients + r * Float.BYTES);
          lanes.expScaled(s + at, shiftS, g, outs + at, n);
          lanes.addExpScaled(t + at, shiftT, -g, outs + at, n);
        });
  }

  void maskCausal(Tensor scores, int window, double value) {
    Checks.floats("maskCausal", scores);
    Checks.rank("maskCausal", "scores", scores, 2);
    long queries = scores.shape().dim(-2);
    int keys = scores.shape().length(-1);
    if (queries > keys) {
      throw new TensorException(
          "maskCausal: scores %s have more queries than keys".formatted(scores.shape()));
    }
    long address = scores.address();
    forRows(
        scores.shape().rows(),
        keys,
        r -> {
          int seen = (int) (keys - queries + r % queries) + 1;
          long at = address + (r * keys + seen) * Float.BYTES;
          elements.fill((float) value, at, keys - seen);
          int hidden = AttentionSpec.firstKey(seen - 1, window);
          elements.fill((float) value, address + r * keys * Float.BYTES, hidden);
        });
  }

  /** The logarithm of the sum of exponentials of a row, which is read from memory once. */
  private double logSumExp(long row, int n) {
    float max = Float.NEGATIVE_INFINITY;
    double sum = 0;
    for (int from = 0; from < n; from += BLOCK) {
      long at = row + (long) from * Float.BYTES;
      int length = Math.min(BLOCK, n - from);
      float blockMax = lanes.max(at, length);
      if (blockMax > max) {
        sum *= Math.exp((double) max - blockMax);
        max = blockMax;
      }
      if (max > Float.NEGATIVE_INFINITY) {
        sum += lanes.sumExp(at, max, length);
      }
    }
    return max + Math.log(sum);
  }

  private interface Row {
    void run(long row);
  }

  private void forRows(long count, int n, Row body) {
    workers.ranges(
        count,
        Math.max(1, GRAIN / Math.max(1, n)),
        (from, to) -> {
          for (long r = from; r < to; r++) {
            body.run(r);
          }
        });
  }
}
