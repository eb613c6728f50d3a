package filigree.tensor.nd4j;

import static filigree.tensor.nd4j.Formulas.rowMeans;
import static filigree.tensor.nd4j.Formulas.rowSums;
import static filigree.tensor.nd4j.Scratch.store;
import static filigree.tensor.nd4j.Scratch.wide;
import static filigree.tensor.nd4j.Scratch.wideRows;

import filigree.tensor.Rotation;
import filigree.tensor.Tensor;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.indexing.INDArrayIndex;
import org.nd4j.linalg.indexing.NDArrayIndex;

/** Kernels over the last axis: softmax, normalisations, rotary embedding. */
record Rows(Scratch scratch) {

  void softmax(Tensor x, Tensor out) {
    Entry.of("softmax")
        .floating("x", x)
        .floating("out", out)
        .rankAtLeast("x", x, 1)
        .shape("out", out, x.shape());
    if (out.size() == 0) {
      return;
    }
    try (var _ = scratch.open()) {
      store(Formulas.softmax(wideRows(x)), out);
    }
  }

  void softmaxBackward(Tensor y, Tensor gradient, Tensor out) {
    Entry.of("softmaxBackward")
        .floating("y", y)
        .floating("gradient", gradient)
        .floating("out", out)
        .rankAtLeast("y", y, 1)
        .shape("gradient", gradient, y.shape())
        .shape("out", out, y.shape());
    if (out.size() == 0) {
      return;
    }
    try (var _ = scratch.open()) {
      INDArray p = wideRows(y);
      INDArray g = wideRows(gradient);
      store(p.mul(g.sub(rowSums(g.mul(p)))), out);
    }
  }

  void layerNorm(
      Tensor x,
      Tensor weight,
      Tensor bias,
      double epsilon,
      Tensor out,
      Tensor mean,
      Tensor inverse) {
    Entry.of("layerNorm")
        .floating("x", x)
        .floating("weight", weight, "width")
        .floating("bias", bias, "width")
        .floating("out", out)
        .floating("mean", mean)
        .floating("inverse", inverse)
        .rankAtLeast("x", x, 1)
        .require(
            weight.size() == x.shape().dim(-1),
            "weight has shape %s, expected the last axis of %s",
            weight.shape(),
            x.shape())
        .shape("out", out, x.shape())
        .onePerRow("mean", mean, x)
        .onePerRow("inverse", inverse, x);
    if (mean.size() == 0) {
      return;
    }
    if (x.size() == 0) { // rows without elements: sums are 0
      Bridge.fill(mean, 0);
      Bridge.fill(inverse, 1 / Math.sqrt(epsilon));
      return;
    }
    try (var _ = scratch.open()) {
      INDArray values = wideRows(x);
      INDArray mu = rowMeans(values);
      INDArray centred = values.sub(mu);
      INDArray variance = rowMeans(centred.mul(centred));
      INDArray scale = Formulas.sqrt(variance.add(epsilon)).rdiv(1.0);
      store(centred.mul(scale).mul(row(weight)).add(row(bias)), out);
      store(mu, mean);
      store(scale, inverse);
    }
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
    Entry.of("layerNormBackward")
        .floating("x", x)
        .floating("weight", weight, "width")
        .floating("mean", mean)
        .floating("inverse", inverse)
        .floating("gradient", gradient)
        .floating("dx", dx)
        .floating("dweight", dweight, "width")
        .floating("dbias", dbias, "width")
        .rankAtLeast("x", x, 1)
        .require(
            weight.size() == x.shape().dim(-1),
            "weight has shape %s, expected the last axis of %s",
            weight.shape(),
            x.shape())
        .onePerRow("mean", mean, x)
        .onePerRow("inverse", inverse, x)
        .shape("gradient", gradient, x.shape())
        .shape("dx", dx, x.shape());
    if (x.size() == 0) {
      Bridge.fill(dweight, 0);
      Bridge.fill(dbias, 0);
      return;
    }
    try (var _ = scratch.open()) {
      INDArray scale = column(inverse);
      INDArray normal = wideRows(x).sub(column(mean)).mul(scale);
      INDArray g = wideRows(gradient);
      INDArray h = g.mul(row(weight)); // gradient with respect to the normalised rows
      INDArray along = normal.mul(rowMeans(h.mul(normal)));
      store(h.sub(rowMeans(h)).sub(along).mul(scale), dx);
      store(columnSums(g.mul(normal)), dweight);
      store(columnSums(g), dbias);
    }
  }

  void rmsNorm(Tensor x, Tensor weight, double epsilon, Tensor out, Tensor inverse) {
    Entry.of("rmsNorm")
        .floating("x", x)
        .floating("weight", weight, "width")
        .floating("out", out)
        .floating("inverse", inverse)
        .rankAtLeast("x", x, 1)
        .require(
            weight.size() == x.shape().dim(-1),
            "weight has shape %s, expected the last axis of %s",
            weight.shape(),
            x.shape())
        .shape("out", out, x.shape())
        .onePerRow("inverse", inverse, x);
    if (inverse.size() == 0) {
      return;
    }
    if (x.size() == 0) {
      Bridge.fill(inverse, 1 / Math.sqrt(epsilon));
      return;
    }
    try (var _ = scratch.open()) {
      INDArray values = wideRows(x);
      INDArray scale = Formulas.sqrt(rowMeans(values.mul(values)).add(epsilon)).rdiv(1.0);
      store(values.mul(scale).mul(row(weight)), out);
      store(scale, inverse);
    }
  }

  void rmsNormBackward(
      Tensor x, Tensor weight, Tensor inverse, Tensor gradient, Tensor dx, Tensor dweight) {
    Entry.of("rmsNormBackward")
        .floating("x", x)
        .floating("weight", weight, "width")
        .floating("inverse", inverse)
        .floating("gradient", gradient)
        .floating("dx", dx)
        .floating("dweight", dweight, "width")
        .rankAtLeast("x", x, 1)
        .require(
            weight.size() == x.shape().dim(-1),
            "weight has shape %s, expected the last axis of %s",
            weight.shape(),
            x.shape())
        .onePerRow("inverse", inverse, x)
        .shape("gradient", gradient, x.shape())
        .shape("dx", dx, x.shape());
    if (x.size() == 0) {
      Bridge.fill(dweight, 0);
      return;
    }
    try (var _ = scratch.open()) {
      INDArray scale = column(inverse);
      INDArray normal = wideRows(x).mul(scale);
      INDArray g = wideRows(gradient);
      INDArray h = g.mul(row(weight));
      store(h.sub(normal.mul(rowMeans(h.mul(normal)))).mul(scale), dx);
      store(columnSums(g.mul(normal)), dweight);
    }
  }

  void rotary(Tensor x, Tensor cos, Tensor sin, int offset, Rotation direction, Tensor out) {
    Entry.of("rotary")
        .floating("x", x, "batch time heads headDim")
        .floating("cos", cos, "positions pairs")
        .floating("sin", sin, "positions pairs")
        .floating("out", out, "batch time heads headDim")
        .require(
            2 * cos.shape().dim(1) <= x.shape().dim(3),
            "cos has %d pairs, more than half of the head dimension of %s",
            cos.shape().dim(1),
            x.shape())
        .require(
            offset >= 0 && offset + x.shape().dim(1) <= cos.shape().dim(0),
            "positions %d to %d are asked for, cos has %d",
            offset,
            offset + x.shape().dim(1),
            cos.shape().dim(0));
    if (out.size() == 0) {
      return;
    }
    long time = x.shape().dim(1);
    long pairs = cos.shape().dim(1);
    try (var _ = scratch.open()) {
      INDArray result = wide(x);
      if (pairs > 0) {
        INDArray c = wide(cos.rows(offset, offset + time), 1, time, 1, pairs);
        INDArray s = wide(sin.rows(offset, offset + time), 1, time, 1, pairs);
        INDArray sine =
            switch (direction) {
              case FORWARD -> s;
              case INVERSE -> s.neg();
            };
        INDArrayIndex all = NDArrayIndex.all();
        INDArray first = result.get(all, all, all, NDArrayIndex.interval(0, pairs));
        INDArray second = result.get(all, all, all, NDArrayIndex.interval(pairs, 2 * pairs));
        INDArray newFirst = first.mul(c).sub(second.mul(sine));
        INDArray newSecond = second.mul(c).add(first.mul(sine));
        first.assign(newFirst);
        second.assign(newSecond);
      }
      store(result, out);
    }
  }

  /** A vector as a row [1, n], which broadcasts over rows. */
  private static INDArray row(Tensor vector) {
    return wide(vector, 1, vector.size());
  }

  /** One value for each row as a column [n, 1], which broadcasts over columns. */
  private static INDArray column(Tensor perRow) {
    return wide(perRow, perRow.size(), 1);
  }

  /** Sums of columns: [rows, columns] to [1, columns]. */
  private static INDArray columnSums(INDArray x) {
    return x.sum(true, 0);
  }
}
