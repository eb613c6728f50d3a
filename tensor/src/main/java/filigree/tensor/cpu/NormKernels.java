package filigree.tensor.cpu;

import filigree.tensor.Tensor;
import java.util.Arrays;

/** Layer and root mean square normalisation. */
final class NormKernels {
  private static final long GRAIN = 16 << 10;

  // The gradients of weight and bias are sums over rows. Rows are cut into at most this many parts,
  // by shape alone, so that the result does not depend on the number of threads.
  private static final int PARTS = 32;

  // Rows that a float sum takes before it is added to a double.
  private static final int BLOCK = 64;

  private final Workers workers;
  private final RowLanes rows;
  private final ElementLanes elements;

  NormKernels(Workers workers, Lanes lanes) {
    this.workers = workers;
    this.rows = lanes.rows();
    this.elements = lanes.elements();
  }

  void layerNorm(
      Tensor x,
      Tensor weight,
      Tensor bias,
      double epsilon,
      Tensor out,
      Tensor mean,
      Tensor inverse) {
    Checks.floats("layerNorm", x, weight, bias, out, mean, inverse);
    int n = Checks.columns("layerNorm", x);
    long count = x.shape().rows();
    Checks.sameShape("layerNorm", "out", out, "x", x);
    Checks.perColumn("layerNorm", "weight", weight, n);
    Checks.perColumn("layerNorm", "bias", bias, n);
    Checks.perRow("layerNorm", "mean", mean, count);
    Checks.perRow("layerNorm", "inverse", inverse, count);
    long xs = x.address();
    long w = weight.address();
    long b = bias.address();
    long outs = out.address();
    long means = mean.address();
    long inverses = inverse.address();
    forRows(
        count,
        n,
        r -> {
          long row = xs + r * n * Float.BYTES;
          float centre = (float) (rows.sum(row, n) / n);
          double variance = rows.squaredDeviations(row, centre, n) / n;
          float factor = (float) (1 / Math.sqrt(variance + epsilon));
          Native.putFloat(means + r * Float.BYTES, centre);
          Native.putFloat(inverses + r * Float.BYTES, factor);
          rows.normalise(row, centre, factor, w, b, outs + r * n * Float.BYTES, n);
        });
  }

  void rmsNorm(Tensor x, Tensor weight, double epsilon, Tensor out, Tensor inverse) {
    Checks.floats("rmsNorm", x, weight, out, inverse);
    int n = Checks.columns("rmsNorm", x);
    long count = x.shape().rows();
    Checks.sameShape("rmsNorm", "out", out, "x", x);
    Checks.perColumn("rmsNorm", "weight", weight, n);
    Checks.perRow("rmsNorm", "inverse", inverse, count);
    long xs = x.address();
    long w = weight.address();
    long outs = out.address();
    long inverses = inverse.address();
    forRows(
        count,
        n,
        r -> {
          long row = xs + r * n * Float.BYTES;
          float factor = (float) (1 / Math.sqrt(rows.sumOfSquares(row, n) / n + epsilon));
          Native.putFloat(inverses + r * Float.BYTES, factor);
          rows.normaliseByRoot(row, factor, w, outs + r * n * Float.BYTES, n);
        });
  }

  void layerNormBackward(
      Tensor x,
      Tensor weight,
      Tensor mean,
      Tensor inverse,
      Tensor gradient,
      Tensor dx,
      Tensor dweight,
      Tensor dbias) {
    Checks.floats("layerNormBackward", x, weight, mean, inverse, gradient, dx, dweight, dbias);
    int n = Checks.columns("layerNormBackward", x);
    long count = x.shape().rows();
    Checks.perColumn("layerNormBackward", "weight", weight, n);
    Checks.perRow("layerNormBackward", "mean", mean, count);
    Checks.perRow("layerNormBackward", "inverse", inverse, count);
    Checks.sameShape("layerNormBackward", "gradient", gradient, "x", x);
    Checks.sameShape("layerNormBackward", "dx", dx, "x", x);
    Checks.perColumn("layerNormBackward", "dweight", dweight, n);
    Checks.perColumn("layerNormBackward", "dbias", dbias, n);
    long xs = x.address();
    long w = weight.address();
    long means = mean.address();
    long inverses = inverse.address();
    long gradients = gradient.address();
    long outs = dx.address();
    sumOverRows(
        count,
        n,
        (r, weightSum, biasSum) -> {
          long at = r * n * Float.BYTES;
          float centre = Native.getFloat(means + r * Float.BYTES);
          float factor = Native.getFloat(inverses + r * Float.BYTES);
          double a = rows.dot(gradients + at, w, n) / n;
          double b = rows.dotShifted(gradients + at, w, xs + at, centre, n) * factor / n;
          rows.normBackward(
              new RowLanes.NormRow(
                  xs + at, gradients + at, outs + at, centre, factor, (float) a, (float) b),
              w,
              weightSum,
              n);
          elements.axpy(1, gradients + at, biasSum, n);
        },
        dweight.address(),
        dbias.address());
  }

  void rmsNormBackward(
      Tensor x, Tensor weight, Tensor inverse, Tensor gradient, Tensor dx, Tensor dweight) {
    Checks.floats("rmsNormBackward", x, weight, inverse, gradient, dx, dweight);
    int n = Checks.columns("rmsNormBackward", x);
    long count = x.shape().rows();
    Checks.perColumn("rmsNormBackward", "weight", weight, n);
    Checks.perRow("rmsNormBackward", "inverse", inverse, count);
    Checks.sameShape("rmsNormBackward", "gradient", gradient, "x", x);
    Checks.sameShape("rmsNormBackward", "dx", dx, "x", x);
    Checks.perColumn("rmsNormBackward", "dweight", dweight, n);
    long xs = x.address();
    long w = weight.address();
    long inverses = inverse.address();
    long gradients = gradient.address();
    long outs = dx.address();
    sumOverRows(
        count,
        n,
        (r, weightSum, _) -> {
          long at = r * n * Float.BYTES;
          float factor = Native.getFloat(inverses + r * Float.BYTES);
          double b = rows.dotShifted(gradients + at, w, xs + at, 0, n) * factor / n;
          rows.normBackward(
              new RowLanes.NormRow(xs + at, gradients + at, outs + at, 0, factor, 0, (float) b),
              w,
              weightSum,
              n);
        },
        dweight.address(),
        0);
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

  private interface SummedRow {
    void run(long row, long weightSum, long biasSum);
  }

  /** Runs over rows, each of which adds to the float sums it is given; writes the totals. */
  private void sumOverRows(long count, int n, SummedRow body, long dweight, long dbias) {
    int parts = Math.clamp(count / BLOCK, 1, PARTS);
    boolean biased = dbias != 0;
    int sums = biased ? 2 : 1;
    double[][] totals = new double[parts][];
    workers.run(
        parts,
        (part, scratch) -> {
          scratch.reserve(3L * sums * n, 2);
          long block = scratch.take((long) sums * n);
          long total = scratch.take(2L * sums * n);
          Native.clear(total, 2L * sums * n * Float.BYTES);
          long end = count * (part + 1) / parts;
          for (long from = count * part / parts; from < end; from += BLOCK) {
            Native.clear(block, (long) sums * n * Float.BYTES);
            for (long r = from; r < Math.min(end, from + BLOCK); r++) {
              body.run(r, block, block + (long) n * Float.BYTES);
            }
            elements.addToDoubles(block, total, sums * n);
          }
          totals[part] = Native.doubles(total, sums * n);
        });
    double[] sum = new double[sums * n];
    for (double[] total : totals) {
      Arrays.setAll(sum, i -> sum[i] + total[i]);
    }
    for (int i = 0; i < n; i++) {
      Native.putFloat(dweight + (long) i * Float.BYTES, (float) sum[i]);
      if (biased) {
        Native.putFloat(dbias + (long) i * Float.BYTES, (float) sum[n + i]);
      }
    }
  }
}
