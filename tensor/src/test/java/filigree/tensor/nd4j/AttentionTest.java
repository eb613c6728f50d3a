package filigree.tensor.nd4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import filigree.tensor.AttentionSpec;
import filigree.tensor.DType;
import filigree.tensor.Gate;
import filigree.tensor.NoiseKey;
import filigree.tensor.Tensor;
import filigree.tensor.TensorException;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class AttentionTest {
  private static final NoiseKey KEY = new NoiseKey(11, 3, 2);
  private static final List<Gate> GATES =
      List.of(
          Gate.open(),
          new Gate.Hard(0.25),
          new Gate.Hard(-1e6), // every gate closed
          new Gate.Hard(1e6), // every gate open
          new Gate.Soft(0.25),
          new Gate.Sampled(0.5, KEY));

  /** Sizes: batch, queries, keys, heads, key-value heads, head dimension. */
  private static final int[][] SIZES = {
    {2, 5, 5, 4, 2, 3},
    {1, 1, 1, 1, 1, 1},
    {2, 2, 7, 3, 1, 4},
    {1, 1, 6, 2, 2, 2},
    {1, 9, 9, 2, 1, 4}
  };

  /** Plain loops over the formulas: what a head computes for one query. */
  private static final class Plain {
    final double[] out;
    final double[] logSumExp;
    final double[] expected;
    final double[] counts;
    final double[] dq;
    final double[] dk;
    final double[] dv;

    /** With {@code y} null the output of this computation is used for D. */
    Plain(
        AttentionSpec spec, Tensor q, Tensor k, Tensor v, Tensor y, Tensor dout, Tensor dexpected) {
      int batches = q.shape().length(0);
      int queries = q.shape().length(1);
      int keys = k.shape().length(1);
      int heads = spec.heads();
      int dim = spec.headDim();
      out = new double[(int) q.size()];
      dq = new double[(int) q.size()];
      dk = new double[(int) k.size()];
      dv = new double[(int) v.size()];
      logSumExp = new double[batches * heads * queries];
      expected = new double[batches * heads];
      counts = new double[batches * heads * AttentionSpec.COUNTS];
      double pairs = spec.pairs(queries, keys);
      float[] four = new float[4];
      for (int b = 0; b < batches; b++) {
        for (int h = 0; h < heads; h++) {
          int kv = h / (heads / spec.kvHeads());
          int place = b * heads + h;
          for (int i = 0; i < queries; i++) {
            int position = keys - queries + i;
            int qAt = ((b * queries + i) * heads + h) * dim;
            double[] s = new double[position + 1];
            int first = spec.firstKey(position);
            double max = Double.NEGATIVE_INFINITY;
            for (int j = first; j <= position; j++) {
              for (int c = 0; c < dim; c++) {
                s[j] += q.get(qAt + c) * k.get(((b * keys + j) * spec.kvHeads() + kv) * dim + c);
              }
              s[j] *= spec.scale();
              max = Math.max(max, s[j]);
            }
            double sum = 0;
            for (int j = first; j <= position; j++) {
              sum += Math.exp(s[j] - max);
            }
            logSumExp[place * queries + i] = max + Math.log(sum);
            double[] p = new double[s.length];
            double[] m = new double[s.length];
            double[] slope = new double[s.length];
            double[] expectedSlope = new double[s.length];
            int openKeys = 0;
            for (int j = first; j <= position; j++) {
              p[j] = Math.exp(s[j] - max) / sum;
              double z = s[j] + spec.gate().biasOrZero();
              boolean open = z > 0;
              switch (spec.gate()) {
                case Gate.Open() -> {
                  m[j] = 1;
                  open = true;
                  expected[place] += 1 / pairs;
                }
                case Gate.Hard(double bias) -> {
                  m[j] = open ? 1 : 0;
                  slope[j] = slope(z);
                  expectedSlope[j] = slope(z) / pairs;
                  expected[place] += sigmoid(z) / pairs;
                }
                case Gate.Soft(double bias) -> {
                  m[j] = sigmoid(z);
                  slope[j] = slope(z);
                  expectedSlope[j] = slope(z) / pairs;
                  expected[place] += sigmoid(z) / pairs;
                }
                case Gate.Sampled(double bias, NoiseKey key) -> {
                  key.uniforms(b, h, position, j / 4, four);
                  double u = four[j % 4];
                  double n = Math.log(u) - Math.log(1 - u);
                  m[j] = z + n > 0 ? 1 : 0;
                  slope[j] = slope(z + n);
                  expectedSlope[j] = slope(z) / pairs;
                  expected[place] += sigmoid(z) / pairs;
                }
              }
              openKeys += open ? 1 : 0;
              counts[place * 4 + AttentionSpec.FIRST] += open && j == 0 ? 1 : 0;
              counts[place * 4 + AttentionSpec.DIAGONAL] += open && j == position ? 1 : 0;
              for (int c = 0; c < dim; c++) {
                int at = ((b * keys + j) * spec.kvHeads() + kv) * dim + c;
                out[qAt + c] += p[j] * m[j] * v.get(at);
              }
            }
            counts[place * 4 + AttentionSpec.OPEN] += openKeys;
            counts[place * 4 + AttentionSpec.EMPTY_ROWS] += openKeys == 0 ? 1 : 0;
            double d = 0;
            for (int c = 0; c < dim; c++) {
              d += dout.get(qAt + c) * (y == null ? out[qAt + c] : y.get(qAt + c));
            }
            for (int j = first; j <= position; j++) {
              int kAt = ((b * keys + j) * spec.kvHeads() + kv) * dim;
              double g = 0;
              for (int c = 0; c < dim; c++) {
                g += dout.get(qAt + c) * v.get(kAt + c);
              }
              double ds =
                  p[j] * ((slope[j] + m[j]) * g - d) + dexpected.get(place) * expectedSlope[j];
              for (int c = 0; c < dim; c++) {
                dq[qAt + c] += spec.scale() * ds * k.get(kAt + c);
                dk[kAt + c] += spec.scale() * ds * q.get(qAt + c);
                dv[kAt + c] += p[j] * m[j] * dout.get(qAt + c);
              }
            }
          }
        }
      }
    }
  }

  private static double sigmoid(double x) {
    return x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x));
  }

  private static double slope(double x) {
    return sigmoid(x) * sigmoid(-x);
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "F64"})
  void agreesWithPlainLoops(DType type) {
    for (int window : new int[] {AttentionSpec.ALL_KEYS, 1, 3}) {
      agreesWithPlainLoops(type, window);
    }
  }

  private static void agreesWithPlainLoops(DType type, int window) {
    for (Gate gate : GATES) {
      for (int[] n : SIZES) {
        for (double spread : new double[] {1, 100}) { // scores to about 1e4
          try (Fixture f = new Fixture(type)) {
            AttentionSpec spec = new AttentionSpec(n[3], n[4], n[5], 0.7, gate, window);
            Tensor q = f.spread(spread, n[0], n[1], n[3], n[5]);
            Tensor k = f.spread(spread, n[0], n[2], n[4], n[5]);
            Tensor v = f.random(n[0], n[2], n[4], n[5]);
            Tensor dout = f.random(n[0], n[1], n[3], n[5]);
            Tensor dexpected = f.random(n[0], n[3]);
            Tensor out = f.like(q);
            Tensor logSumExp = f.out(n[0], n[3], n[1]);
            Tensor expected = f.out(n[0], n[3]);
            Tensor counts = f.out(DType.F64, n[0], n[3], AttentionSpec.COUNTS);
            f.kernels.attention(spec, q, k, v, out, logSumExp, expected, counts);
            Plain plain = new Plain(spec, q, k, v, out, dout, dexpected);
            assertClose(out, plain.out, spread);
            assertClose(logSumExp, plain.logSumExp, spread);
            assertClose(expected, plain.expected, spread);
            assertThat(counts.toDoubles()).isEqualTo(plain.counts);
            if (gate instanceof Gate.Hard(double bias) && bias < -1e5) {
              assertThat(out.toDoubles()).containsOnly(0.0);
            }
            Tensor dq = f.like(q);
            Tensor dk = f.like(k);
            Tensor dv = f.like(v);
            f.kernels.attentionBackward(spec, q, k, v, out, logSumExp, dout, dexpected, dq, dk, dv);
            assertClose(dq, plain.dq, spread);
            assertClose(dk, plain.dk, spread);
            assertClose(dv, plain.dv, spread);
          }
        }
      }
    }
  }

  /** Scores of 1e4 are good to 1e4 x 2^-53, and so are their exponentials. */
  private static void assertClose(Tensor actual, double[] expected, double spread) {
    double largest = 1;
    for (double value : expected) {
      largest = Math.max(largest, Math.abs(value));
    }
    double[] found = actual.toDoubles();
    assertThat(found).hasSameSizeAs(expected);
    for (int i = 0; i < found.length; i++) {
      double rounding = actual.dtype() == DType.F32 ? 6.1e-8 * Math.abs(expected[i]) : 0;
      assertThat(Math.abs(found[i] - expected[i]))
          .as("element %d: found %s, expected %s", i, found[i], expected[i])
          .isLessThanOrEqualTo(1e-14 * spread * spread * largest + rounding);
    }
  }

  @Test
  void openGatesCountEveryPair() {
    try (Fixture f = new Fixture(DType.F32)) {
      AttentionSpec spec = new AttentionSpec(1, 1, 2, 1, Gate.open());
      Tensor q = f.spread(1e4, 1, 3, 1, 2);
      Tensor k = f.spread(1e4, 1, 5, 1, 2);
      Tensor counts = f.out(DType.F64, 1, 1, 4);
      Tensor expected = f.out(1, 1);
      f.kernels.attention(spec, q, k, k, f.like(q), f.out(1, 1, 3), expected, counts);
      Fixture.assertClose(counts, (double) AttentionSpec.causalPairs(3, 5), 0, 3, 3);
      Fixture.assertClose(expected, 1);
    }
  }

  @Test
  void openGradientsAgreeWithDifferences() {
    try (Fixture f = new Fixture(DType.F64)) {
      AttentionSpec spec = new AttentionSpec(4, 2, 3, 0.6, Gate.open());
      Tensor q = f.random(2, 3, 4, 3);
      Tensor k = f.random(2, 5, 2, 3);
      Tensor v = f.random(2, 5, 2, 3);
      Tensor w = f.random(2, 3, 4, 3);
      Tensor out = f.like(q);
      Tensor logSumExp = f.out(2, 4, 3);
      Tensor expected = f.out(2, 4);
      Tensor counts = f.out(2, 4, 4);
      Tensor[] inputs = {q, k, v};
      Tensor[] gradients = {f.like(q), f.like(k), f.like(v)};
      f.kernels.attention(spec, q, k, v, out, logSumExp, expected, counts);
      f.kernels.attentionBackward(
          spec,
          q,
          k,
          v,
          out,
          logSumExp,
          w,
          f.random(2, 4),
          gradients[0],
          gradients[1],
          gradients[2]);
      for (int i = 0; i < 3; i++) {
        f.assertGradient(
            inputs[i],
            gradients[i],
            () -> {
              f.kernels.attention(spec, q, k, v, out, logSumExp, expected, counts);
              return Fixture.dot(w, out);
            });
      }
    }
  }

  /** Where nothing flows through the output, only the smooth expected share of edges is left. */
  @Test
  void expectedGradientsAgreeWithDifferences() {
    try (Fixture f = new Fixture(DType.F64)) {
      for (Gate gate : List.of(new Gate.Hard(-0.5), new Gate.Soft(0.3), new Gate.Sampled(1, KEY))) {
        AttentionSpec spec = new AttentionSpec(2, 1, 3, 0.6, gate);
        Tensor q = f.random(2, 3, 2, 3);
        Tensor k = f.random(2, 5, 1, 3);
        Tensor w = f.random(2, 2);
        Tensor out = f.like(q);
        Tensor logSumExp = f.out(2, 2, 3);
        Tensor expected = f.out(2, 2);
        Tensor counts = f.out(2, 2, 4);
        Tensor zero = f.like(q);
        f.kernels.fill(zero, 0);
        Tensor[] inputs = {q, k};
        Tensor[] gradients = {f.like(q), f.like(k), f.like(k)};
        f.kernels.attention(spec, q, k, k, out, logSumExp, expected, counts);
        f.kernels.attentionBackward(
            spec, q, k, k, out, logSumExp, zero, w, gradients[0], gradients[1], gradients[2]);
        assertThat(gradients[2].toDoubles()).containsOnly(0.0);
        for (int i = 0; i < 2; i++) {
          f.assertGradient(
              inputs[i],
              gradients[i],
              () -> {
                f.kernels.attention(spec, q, k, k, out, logSumExp, expected, counts);
                return Fixture.dot(w, expected);
              });
        }
      }
    }
  }

  /** One query after another with a cache draws the same noise as the whole sequence at once. */
  @Test
  void decodingDrawsTheSameNoise() {
    try (Fixture f = new Fixture(DType.F64)) {
      AttentionSpec spec = new AttentionSpec(2, 1, 3, 0.6, new Gate.Sampled(0.2, KEY));
      Tensor q = f.random(1, 6, 2, 3);
      Tensor k = f.random(1, 6, 1, 3);
      Tensor whole = f.like(q);
      f.kernels.attention(spec, q, k, k, whole, f.out(1, 2, 6), f.out(1, 2), f.out(1, 2, 4));
      for (int i = 0; i < 6; i++) {
        Tensor query = f.out(1, 1, 2, 3);
        Tensor cache = f.out(1, i + 1, 1, 3);
        f.kernels.copyAlong(q, i, query, 0, 1, 1);
        f.kernels.copyAlong(k, 0, cache, 0, 1, i + 1);
        Tensor one = f.like(query);
        f.kernels.attention(
            spec, query, cache, cache, one, f.out(1, 2, 1), f.out(1, 2), f.out(1, 2, 4));
        for (int c = 0; c < 6; c++) {
          assertThat(one.get(c)).isCloseTo(whole.get(i * 6 + c), within(1e-14));
        }
      }
    }
  }

  private static org.assertj.core.data.Offset<Double> within(double tolerance) {
    return org.assertj.core.data.Offset.offset(tolerance);
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "F64"})
  void gatesAndTheirGradients(DType type) {
    int[][] sizes = {{2, 3, 4, 6}, {1, 1, 1, 1}, {1, 2, 5, 5}};
    for (int[] n : sizes) {
      for (Gate gate : GATES) {
        try (Fixture f = new Fixture(type)) {
          double[] logits = f.numbers(n[0] * n[1] * n[2] * n[3], 2);
          if (logits.length > 4) {
            logits[0] = Double.NEGATIVE_INFINITY;
            logits[1] = 1e4;
            logits[2] = -1e4;
            logits[3] = 0;
          }
          Tensor z = f.of(logits, n[0], n[1], n[2], n[3]);
          Tensor gradient = f.random(n[0], n[1], n[2], n[3]);
          Tensor out = f.like(z);
          Tensor d = f.like(z);
          f.kernels.gate(gate, z, out);
          f.kernels.gateBackward(gate, z, gradient, d);
          double[] gates = new double[logits.length];
          double[] slopes = new double[logits.length];
          float[] four = new float[4];
          for (int at = 0; at < logits.length; at++) {
            int j = at % n[3];
            int i = at / n[3] % n[2];
            int h = at / n[3] / n[2] % n[1];
            int b = at / n[3] / n[2] / n[1];
            double noise = 0;
            if (gate instanceof Gate.Sampled(double bias, NoiseKey key)) {
              key.uniforms(b, h, n[3] - n[2] + i, j / 4, four);
              noise = Math.log(four[j % 4]) - Math.log(1 - (double) four[j % 4]);
            }
            boolean always = gate instanceof Gate.Open;
            gates[at] =
                gate instanceof Gate.Soft
                    ? sigmoid(logits[at])
                    : always || logits[at] + noise > 0 ? 1 : 0;
            slopes[at] = always ? 0 : gradient.get(at) * slope(logits[at] + noise);
          }
          if (gate instanceof Gate.Soft) {
            Fixture.assertClose(out, gates);
          } else {
            assertThat(out.toDoubles()).isEqualTo(gates);
          }
          Fixture.assertClose(d, slopes);
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "F64"})
  void masksWhatAQueryMayNotSee(DType type) {
    try (Fixture f = new Fixture(type)) {
      for (long[] shape : new long[][] {{4, 4}, {2, 3, 5}, {2, 1, 1, 4}, {2, 2, 3, 3}, {1, 1}}) {
        for (double value : new double[] {Double.NEGATIVE_INFINITY, 0}) {
          for (int window : new int[] {AttentionSpec.ALL_KEYS, 1, 2, 4}) {
            Tensor scores = f.random(shape);
            double[] expected = scores.toDoubles();
            int keys = scores.shape().length(-1);
            int queries = scores.shape().length(-2);
            for (int at = 0; at < expected.length; at++) {
              int position = keys - queries + at / keys % queries;
              int key = at % keys;
              if (key > position || key <= (long) position - window) {
                expected[at] = value;
              }
            }
            f.kernels.maskCausal(scores, window, value);
            assertThat(scores.toDoubles()).isEqualTo(expected);
          }
        }
      }
      f.kernels.maskCausal(f.out(0, 2, 3), 1, 0);
      f.kernels.maskCausal(f.out(2, 0, 3), 1, 0);
    }
  }

  @Test
  void attentionOverNothing() {
    try (Fixture f = new Fixture(DType.F64)) {
      AttentionSpec spec = new AttentionSpec(2, 1, 3, 1, new Gate.Hard(0));
      Tensor q = f.out(1, 0, 2, 3);
      Tensor k = f.random(1, 4, 1, 3);
      Tensor expected = f.out(1, 2);
      Tensor counts = f.out(1, 2, 4);
      f.kernels.attention(spec, q, k, k, q, f.out(1, 2, 0), expected, counts);
      assertThat(expected.toDoubles()).containsOnly(0);
      assertThat(counts.toDoubles()).containsOnly(0);
      Tensor dk = f.like(k);
      Tensor dv = f.like(k);
      f.kernels.attentionBackward(spec, q, k, k, q, f.out(1, 2, 0), q, f.random(1, 2), q, dk, dv);
      assertThat(dk.toDoubles()).containsOnly(0);
      assertThat(dv.toDoubles()).containsOnly(0);
      Tensor none = f.out(0, 2, 2, 3);
      Tensor noKeys = f.out(0, 2, 1, 3);
      f.kernels.attention(
          spec, none, noKeys, noKeys, none, f.out(0, 2, 2), f.out(0, 2), f.out(0, 2, 4));
      f.kernels.gate(spec.gate(), f.out(0, 1, 2, 2), f.out(0, 1, 2, 2));
    }
  }

  @Test
  void refusesWhatDoesNotFit() {
    try (Fixture f = new Fixture(DType.F32)) {
      AttentionSpec spec = new AttentionSpec(2, 1, 3, 1, Gate.open());
      Tensor q = f.random(1, 4, 2, 3);
      Tensor k = f.random(1, 3, 1, 3);
      Tensor out = f.like(q);
      Tensor counts = f.out(DType.F64, 1, 2, 4);
      assertThatThrownBy(
              () -> f.kernels.attention(spec, q, k, k, out, f.out(1, 2, 4), f.out(1, 2), counts))
          .isInstanceOf(TensorException.class)
          .hasMessage("attention: q has 4 queries, more than the 3 keys");
      Tensor keys = f.random(1, 4, 1, 3);
      assertThatThrownBy(
              () ->
                  f.kernels.attention(
                      spec, q, keys, keys, out, f.out(1, 2, 4), f.out(1, 2), f.out(1, 2, 4)))
          .hasMessage("attention: counts is F32, expected F64");
      assertThatThrownBy(
              () ->
                  f.kernels.attention(
                      spec,
                      q,
                      keys,
                      f.random(2, 4, 1, 3),
                      out,
                      f.out(1, 2, 4),
                      f.out(1, 2),
                      counts))
          .hasMessage("attention: v has 2 along 'batch' (axis 0 of [2, 4, 1, 3]), but q has 1");
      assertThat(out.toDoubles()).containsOnly(Double.NaN);
    }
  }
}
