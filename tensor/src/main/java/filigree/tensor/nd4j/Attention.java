package filigree.tensor.nd4j;

import static filigree.tensor.nd4j.Formulas.isPositive;
import static filigree.tensor.nd4j.Formulas.log;
import static filigree.tensor.nd4j.Formulas.product;
import static filigree.tensor.nd4j.Formulas.productTransposed;
import static filigree.tensor.nd4j.Formulas.rowSums;
import static filigree.tensor.nd4j.Formulas.sigmoid;
import static filigree.tensor.nd4j.Formulas.sigmoidSlope;
import static filigree.tensor.nd4j.Formulas.transposedProduct;
import static filigree.tensor.nd4j.Scratch.Level.CALL;
import static filigree.tensor.nd4j.Scratch.Level.STEP;
import static filigree.tensor.nd4j.Scratch.store;
import static filigree.tensor.nd4j.Scratch.wide;

import filigree.tensor.AttentionSpec;
import filigree.tensor.DType;
import filigree.tensor.Gate;
import filigree.tensor.NoiseKey;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import java.util.Arrays;
import java.util.stream.IntStream;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.indexing.NDArrayIndex;

/**
 * Gated causal attention, one head at a time over its whole [query, key] table, as the formulas are
 * written (arXiv 2512.05865, section 3):
 *
 * <pre>
 *   s = scale q k^T, minus infinity where a query may not see a key        z = s + bias
 *   p = softmax(s)          m = 1[z + n > 0]          y = (p m) v
 *   n = log(u) - log(1 - u) with u uniform: logistic noise; 0 without noise
 * </pre>
 *
 * <p>Minus infinity needs no further care: where s is minus infinity, p, m, sigmoid(z) and its
 * slope all come out as exactly 0.
 */
record Attention(Scratch scratch) {

  void maskCausal(Tensor scores, int window, double value) {
    Entry.of("maskCausal").floating("scores", scores).rankAtLeast("scores", scores, 2);
    requireCausal("maskCausal", "scores", scores);
    if (scores.size() > 0) {
      long queries = scores.shape().dim(-2);
      long keys = scores.shape().dim(-1);
      long tables = scores.size() / (queries * keys);
      Bridge.update(
          scores, elements -> mask(elements.reshape(tables, queries, keys), window, value));
    }
  }

  /**
   * Writes a value to the entries of [table, query, key] whose key comes after the query or is left
   * behind by its window.
   */
  private static void mask(INDArray tables, int window, double value) {
    long queries = tables.size(1);
    long keys = tables.size(2);
    for (long i = 0; i < queries; i++) {
      long firstHidden = keys - queries + i + 1;
      if (firstHidden < keys) {
        tables
            .get(
                NDArrayIndex.all(), NDArrayIndex.point(i), NDArrayIndex.interval(firstHidden, keys))
            .assign(value);
      }
      int firstSeen = AttentionSpec.firstKey((int) (keys - queries + i), window);
      if (firstSeen > 0) {
        tables
            .get(NDArrayIndex.all(), NDArrayIndex.point(i), NDArrayIndex.interval(0, firstSeen))
            .assign(value);
      }
    }
  }

  void gate(Gate gate, Tensor z, Tensor out) {
    Entry.of("gate")
        .floating("z", z, "batch head query key")
        .floating("out", out, "batch head query key");
    requireCausal("gate", "z", z);
    for (Head head : Head.all(z.shape().length(0), z.shape().length(1), out.size())) {
      try (var _ = scratch.open()) {
        store(gates(gate, head.wideTable(z), head), head.part(out));
      }
    }
  }

  void gateBackward(Gate gate, Tensor z, Tensor gradient, Tensor out) {
    Entry.of("gateBackward")
        .floating("z", z, "batch head query key")
        .floating("gradient", gradient, "batch head query key")
        .floating("out", out, "batch head query key");
    requireCausal("gateBackward", "z", z);
    for (Head head : Head.all(z.shape().length(0), z.shape().length(1), out.size())) {
      try (var _ = scratch.open()) {
        INDArray slope = gateSlope(gate, head.wideTable(z), head);
        store(head.wideTable(gradient).mul(slope), head.part(out));
      }
    }
  }

  void forward(
      AttentionSpec spec,
      Tensor q,
      Tensor k,
      Tensor v,
      Tensor out,
      Tensor logSumExp,
      Tensor expected,
      Tensor counts) {
    checkOperands("attention", spec, q, k, v)
        .floating("out", out, "batch query heads headDim")
        .floating("logSumExp", logSumExp, "batch heads query")
        .floating("expected", expected, "batch heads")
        .axes("counts", counts, "batch heads " + AttentionSpec.COUNTS)
        .exactly("counts", counts, DType.F64);
    if (expected.size() == 0) {
      return;
    }
    if (out.size() == 0) { // no queries, so no pairs: sums and shares of nothing are 0
      Bridge.fill(expected, spec.gate() instanceof Gate.Open ? 1 : 0);
      Bridge.fill(counts, 0);
      return;
    }
    for (Head head : Head.all(q.shape().length(0), spec.heads(), out.size())) {
      try (var _ = scratch.open()) {
        INDArray s = scores(spec, head.wideVectors(q), head.keyHead(spec).wideVectors(k));
        INDArray z = s.add(spec.gate().biasOrZero());
        INDArray kept = Formulas.softmax(s).mul(gates(spec.gate(), z, head));
        head.store(product(kept, head.keyHead(spec).wideVectors(v)), out);
        store(Formulas.logSumExp(s), head.part(logSumExp));
        store(expectedOpen(spec, z), head.part(expected));
        store(count(spec, z), head.part(counts));
      }
    }
  }

  void backward(
      AttentionSpec spec,
      Tensor q,
      Tensor k,
      Tensor v,
      Tensor out,
      Tensor logSumExp,
      Tensor dout,
      Tensor dexpected,
      Tensor dq,
      Tensor dk,
      Tensor dv) {
    checkOperands("attentionBackward", spec, q, k, v)
        .floating("out", out, "batch query heads headDim")
        .floating("logSumExp", logSumExp, "batch heads query")
        .floating("dout", dout, "batch query heads headDim")
        .floating("dexpected", dexpected, "batch heads")
        .floating("dq", dq, "batch query heads headDim")
        .floating("dk", dk, "batch key kvHeads headDim")
        .floating("dv", dv, "batch key kvHeads headDim");
    if (q.size() == 0) {
      Bridge.fill(dk, 0);
      Bridge.fill(dv, 0);
      return;
    }
    int group = spec.heads() / spec.kvHeads();
    for (Head keyHead : Head.all(k.shape().length(0), spec.kvHeads(), k.size())) {
      try (var _ = scratch.open(CALL)) {
        INDArray keys = keyHead.wideVectors(k);
        INDArray values = keyHead.wideVectors(v);
        INDArray keyGradient = keys.mul(0);
        INDArray valueGradient = values.mul(0);
        for (int member = 0; member < group; member++) {
          Head head = new Head(keyHead.batch(), keyHead.head() * group + member, spec.heads());
          try (var _ = scratch.open(STEP)) {
            INDArray queries = head.wideVectors(q);
            INDArray dy = head.wideVectors(dout);
            // From q and k again, not from logSumExp: that saves a fused kernel a pass, but rounded
            // to float32 it would cost the twin digits.
            INDArray s = scores(spec, queries, keys);
            INDArray z = s.add(spec.gate().biasOrZero());
            INDArray p = Formulas.softmax(s);
            INDArray m = gates(spec.gate(), z, head);
            INDArray g = productTransposed(dy, values); // G
            INDArray d = rowSums(dy.mul(head.wideVectors(out))); // D
            INDArray straightThrough = gateSlope(spec.gate(), z, head).add(m);
            INDArray ds =
                p.mul(straightThrough.mul(g).sub(d))
                    .add(expectedSlope(spec, z).mul(head.item(dexpected)));
            head.store(product(ds, keys).mul(spec.scale()), dq);
            keyGradient.addi(transposedProduct(ds, queries).mul(spec.scale()));
            valueGradient.addi(transposedProduct(p.mul(m), dy));
          }
        }
        keyHead.store(keyGradient, dk);
        keyHead.store(valueGradient, dv);
      }
    }
  }

  private static Entry checkOperands(
      String kernel, AttentionSpec spec, Tensor q, Tensor k, Tensor v) {
    return Entry.of(kernel)
        .floating("q", q, "batch query heads headDim")
        .floating("k", k, "batch key kvHeads headDim")
        .floating("v", v, "batch key kvHeads headDim")
        .require(
            q.shape().dim(2) == spec.heads()
                && k.shape().dim(2) == spec.kvHeads()
                && q.shape().dim(3) == spec.headDim(),
            "q has shape %s and k has shape %s, expected %d query heads and %d key heads of %d",
            q.shape(),
            k.shape(),
            spec.heads(),
            spec.kvHeads(),
            spec.headDim())
        .require(
            q.shape().dim(1) <= k.shape().dim(1),
            "q has %d queries, more than the %d keys",
            q.shape().dim(1),
            k.shape().dim(1));
  }

  private static void requireCausal(String kernel, String name, Tensor table) {
    Entry.of(kernel)
        .require(
            table.shape().dim(-2) <= table.shape().dim(-1),
            "%s has shape %s, more queries than keys",
            name,
            table.shape());
  }

  /** Scores [query, key], minus infinity where the query may not see the key. */
  private static INDArray scores(AttentionSpec spec, INDArray q, INDArray k) {
    INDArray s = productTransposed(q, k).mul(spec.scale());
    mask(s.reshape(1, q.size(0), k.size(0)), spec.window(), Double.NEGATIVE_INFINITY);
    return s;
  }

  /** 1 where {@code z + n > 0}, else 0; between for soft gates. */
  private static INDArray gates(Gate gate, INDArray z, Head head) {
    return switch (gate) {
      case Gate.Open() -> Nd4j.ones(DataType.DOUBLE, z.shape());
      case Gate.Hard(double bias) -> isPositive(z);
      case Gate.Soft(double bias) -> sigmoid(z);
      case Gate.Sampled(double bias, NoiseKey key) -> isPositive(z.add(noise(key, head, z)));
    };
  }

  /**
   * Straight-through derivative of the gates: {@code g (1 - g)} with {@code g = sigmoid(z + n)}.
   */
  private static INDArray gateSlope(Gate gate, INDArray z, Head head) {
    return switch (gate) {
      case Gate.Open() -> Nd4j.zeros(DataType.DOUBLE, z.shape());
      case Gate.Hard(double bias) -> sigmoidSlope(z);
      case Gate.Soft(double bias) -> sigmoidSlope(z);
      case Gate.Sampled(double bias, NoiseKey key) -> sigmoidSlope(z.add(noise(key, head, z)));
    };
  }

  /** Logistic noise, one number for each query and key. */
  private static INDArray noise(NoiseKey key, Head head, INDArray z) {
    int queries = (int) z.size(0);
    int keys = (int) z.size(1);
    double[] uniform = new double[Math.multiplyExact(queries, keys)];
    float[] four = new float[4];
    for (int i = 0; i < queries; i++) {
      int position = keys - queries + i; // so that decoding from a cache draws the same noise
      for (int j = 0; j < keys; j++) {
        if (j % 4 == 0) {
          key.uniforms(head.batch(), head.head(), position, j / 4, four);
        }
        uniform[i * keys + j] = four[j % 4];
      }
    }
    INDArray u = Nd4j.createFromArray(uniform).reshape(queries, keys);
    return log(u).sub(log(u.rsub(1.0)));
  }

  /** Mean over causal pairs of the chance that a gate opens, as [1, 1]. */
  private static INDArray expectedOpen(AttentionSpec spec, INDArray z) {
    return switch (spec.gate()) {
      case Gate.Open() -> Nd4j.ones(DataType.DOUBLE, 1, 1);
      case Gate.Hard(double bias) -> sigmoid(z).sum(true, 0, 1).div(pairs(spec, z));
      case Gate.Soft(double bias) -> sigmoid(z).sum(true, 0, 1).div(pairs(spec, z));
      case Gate.Sampled(double bias, NoiseKey key) ->
          sigmoid(z).sum(true, 0, 1).div(pairs(spec, z));
    };
  }

  /** Derivative of {@link #expectedOpen} with respect to z. */
  private static INDArray expectedSlope(AttentionSpec spec, INDArray z) {
    return switch (spec.gate()) {
      case Gate.Open() -> Nd4j.zeros(DataType.DOUBLE, z.shape());
      case Gate.Hard(double bias) -> sigmoidSlope(z).div(pairs(spec, z));
      case Gate.Soft(double bias) -> sigmoidSlope(z).div(pairs(spec, z));
      case Gate.Sampled(double bias, NoiseKey key) -> sigmoidSlope(z).div(pairs(spec, z));
    };
  }

  private static double pairs(AttentionSpec spec, INDArray z) {
    return spec.pairs(z.size(0), z.size(1));
  }

  /** 1 where a query may see a key, else 0. */
  private static INDArray seen(AttentionSpec spec, INDArray z) {
    INDArray ones = Nd4j.ones(DataType.DOUBLE, z.shape());
    mask(ones.reshape(1, z.size(0), z.size(1)), spec.window(), 0);
    return ones;
  }

  /** The columns of {@link AttentionSpec}, as [1, 4]: gates without noise. */
  private static INDArray count(AttentionSpec spec, INDArray z) {
    INDArray open =
        switch (spec.gate()) {
          case Gate.Open() -> seen(spec, z);
          case Gate.Hard(double bias) -> isPositive(z);
          case Gate.Soft(double bias) -> isPositive(z);
          case Gate.Sampled(double bias, NoiseKey key) -> isPositive(z);
        };
    double[] counts = new double[AttentionSpec.COUNTS];
    counts[AttentionSpec.OPEN] = open.sumNumber().doubleValue();
    long queries = open.size(0);
    long keys = open.size(1);
    INDArray openKeys = rowSums(open);
    for (long i = 0; i < queries; i++) {
      counts[AttentionSpec.EMPTY_ROWS] += openKeys.getDouble(i, 0) == 0 ? 1 : 0;
      counts[AttentionSpec.FIRST] += open.getDouble(i, 0);
      counts[AttentionSpec.DIAGONAL] += open.getDouble(i, keys - queries + i);
    }
    return Nd4j.createFromArray(counts).reshape(1, counts.length);
  }

  /** One head of one sequence: where its numbers lie. */
  private record Head(int batch, int head, int heads) {
    /** All heads of all sequences; none where there is nothing to write. */
    static Iterable<Head> all(int batches, int heads, long written) {
      return () ->
          IntStream.range(0, written == 0 ? 0 : batches * heads)
              .mapToObj(i -> new Head(i / heads, i % heads, heads))
              .iterator();
    }

    /** The key-value head that serves this query head. */
    Head keyHead(AttentionSpec spec) {
      return new Head(batch, head / (spec.heads() / spec.kvHeads()), spec.kvHeads());
    }

    /** This head's part [1, ...] of a tensor [batch, head, ...]. */
    Tensor part(Tensor tensor) {
      long[] dims = Arrays.copyOfRange(tensor.shape().dims(), 1, tensor.shape().rank());
      dims[0] *= tensor.shape().dim(0);
      long index = (long) batch * heads + head;
      return tensor.reshape(Shape.of(dims)).rows(index, index + 1);
    }

    /** This head's table [query, key] of a tensor [batch, head, query, key], in float64. */
    INDArray wideTable(Tensor tensor) {
      return wide(part(tensor), tensor.shape().dim(2), tensor.shape().dim(3));
    }

    /** This head's number of a tensor [batch, head]. */
    double item(Tensor tensor) {
      return part(tensor).item();
    }

    /** Writes this head's rows [time, headDim] of a tensor [batch, time, head, headDim]. */
    void store(INDArray value, Tensor tensor) {
      Bridge.update(sequence(tensor), elements -> vectors(elements).assign(value));
    }

    /** Copies this head's rows [time, headDim] to a dense float64 array. */
    INDArray wideVectors(Tensor tensor) {
      long[] shape = {tensor.shape().dim(1), tensor.shape().dim(3)};
      return Nd4j.createUninitialized(DataType.DOUBLE, shape)
          .assign(vectors(Bridge.elements(sequence(tensor))));
    }

    // One sequence and not the whole tensor, because on a GPU its elements are copied.
    private Tensor sequence(Tensor tensor) {
      return tensor.rows(batch, batch + 1);
    }

    private INDArray vectors(INDArray sequence) {
      return sequence.get(
          NDArrayIndex.point(0), NDArrayIndex.all(), NDArrayIndex.point(head), NDArrayIndex.all());
    }
  }
}
