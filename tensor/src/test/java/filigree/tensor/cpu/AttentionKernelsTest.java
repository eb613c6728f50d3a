package filigree.tensor.cpu;

import static filigree.tensor.cpu.Fixture.assertClose;
import static filigree.tensor.cpu.Fixture.assertSameBits;
import static filigree.tensor.cpu.Fixture.everyProvider;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import filigree.tensor.AttentionSpec;
import filigree.tensor.DType;
import filigree.tensor.Gate;
import filigree.tensor.Kernels;
import filigree.tensor.NoiseKey;
import filigree.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

class AttentionKernelsTest {
  private static final NoiseKey KEY = new NoiseKey(11, 5, 3);
  private static final List<Gate> GATES =
      List.of(
          Gate.open(),
          new Gate.Hard(0.25),
          new Gate.Hard(-2.5),
          new Gate.Sampled(0.5, KEY),
          new Gate.Sampled(0, KEY),
          new Gate.Soft(0.5),
          new Gate.Soft(-1e4),
          new Gate.Hard(-1e4),
          new Gate.Hard(1e4));

  /** Sizes of a case: batch, queries, keys, heads, kvHeads, headDim. */
  private record Sizes(int batch, int queries, int keys, int heads, int kvHeads, int headDim) {}

  private static final List<Sizes> SIZES =
      List.of(
          new Sizes(1, 1, 1, 1, 1, 1),
          new Sizes(2, 1, 9, 2, 2, 8),
          new Sizes(2, 3, 3, 4, 2, 5),
          new Sizes(1, 63, 63, 2, 1, 16),
          new Sizes(1, 65, 65, 2, 2, 8),
          new Sizes(2, 70, 133, 4, 1, 17),
          new Sizes(1, 130, 130, 1, 1, 64),
          new Sizes(1, 100, 100, 2, 1, 40),
          new Sizes(1, 70, 450, 2, 1, 8),
          new Sizes(1, 5, 1100, 1, 1, 4));

  /**
   * No window; itself alone; less than a vector; a window that begins inside a vector or a tile.
   */
  private static final List<Integer> WINDOWS = List.of(AttentionSpec.ALL_KEYS, 1, 3, 40, 100);

  private static final class Case {
    final AttentionSpec spec;
    final Tensor q;
    final Tensor k;
    final Tensor v;
    final Tensor out;
    final Tensor logSumExp;
    final Tensor expected;
    final Tensor counts;
    final Tensor dout;
    final Tensor dexpected;
    final Tensor dq;
    final Tensor dk;
    final Tensor dv;

    Case(Fixture f, Sizes s, Gate gate, double deviation) {
      this(f, s, gate, deviation, AttentionSpec.ALL_KEYS);
    }

    Case(Fixture f, Sizes s, Gate gate, double deviation, int window) {
      double scale = 1 / Math.sqrt(s.headDim);
      spec = new AttentionSpec(s.heads, s.kvHeads, s.headDim, scale, gate, window);
      q = f.spread(deviation, s.batch, s.queries, s.heads, s.headDim);
      k = f.spread(deviation, s.batch, s.keys, s.kvHeads, s.headDim);
      v = f.normal(s.batch, s.keys, s.kvHeads, s.headDim);
      out = f.empty(s.batch, s.queries, s.heads, s.headDim);
      logSumExp = f.empty(s.batch, s.heads, s.queries);
      expected = f.empty(s.batch, s.heads);
      counts = f.empty(DType.F64, s.batch, s.heads, AttentionSpec.COUNTS);
      dout = f.normal(s.batch, s.queries, s.heads, s.headDim);
      dexpected = f.normal(s.batch, s.heads);
      dq = f.empty(s.batch, s.queries, s.heads, s.headDim);
      dk = f.empty(s.batch, s.keys, s.kvHeads, s.headDim);
      dv = f.empty(s.batch, s.keys, s.kvHeads, s.headDim);
    }

    void run(Kernels kernels) {
      kernels.attention(spec, q, k, v, out, logSumExp, expected, counts);
      kernels.attentionBackward(spec, q, k, v, out, logSumExp, dout, dexpected, dq, dk, dv);
    }
  }

  /** The definition, in float64, one pair at a time. */
  private static final class Definition {
    final double[] out;
    final double[] logSumExp;
    final double[] expected;
    final double[] counts;
    final double[] dq;
    final double[] dk;
    final double[] dv;

    Definition(Case c, Sizes s) {
      out = new double[(int) c.out.size()];
      logSumExp = new double[(int) c.logSumExp.size()];
      expected = new double[(int) c.expected.size()];
      counts = new double[(int) c.counts.size()];
      dq = new double[(int) c.q.size()];
      dk = new double[(int) c.k.size()];
      dv = new double[(int) c.v.size()];
      for (int b = 0; b < s.batch; b++) {
        for (int h = 0; h < s.heads; h++) {
          for (int i = 0; i < s.queries; i++) {
            row(c, s, b, h, i);
          }
        }
      }
    }

    private void row(Case c, Sizes s, int b, int h, int i) {
      int position = s.keys - s.queries + i;
      int d = s.headDim;
      int kv = h / (s.heads / s.kvHeads);
      int atQ = ((b * s.queries + i) * s.heads + h) * d;
      Gate gate = c.spec.gate();
      double pairs = c.spec.pairs(s.queries, s.keys);
      int first = c.spec.firstKey(position);
      int table = b * s.heads + h;
      double[] score = new double[position + 1];
      double max = Double.NEGATIVE_INFINITY;
      for (int j = first; j <= position; j++) {
        int atK = ((b * s.keys + j) * s.kvHeads + kv) * d;
        for (int e = 0; e < d; e++) {
          score[j] += c.q.get(atQ + e) * c.k.get(atK + e) * c.spec.scale();
        }
        max = Math.max(max, score[j]);
      }
      double sum = 0;
      for (int j = first; j <= position; j++) {
        sum += Math.exp(score[j] - max);
      }
      logSumExp[(b * s.heads + h) * s.queries + i] = max + Math.log(sum);
      double[] p = new double[position + 1];
      double[] m = new double[position + 1];
      double[] slope = new double[position + 1];
      double[] quiet = new double[position + 1];
      float[] uniforms = new float[4];
      int open = 0;
      for (int j = first; j <= position; j++) {
        p[j] = Math.exp(score[j] - max) / sum;
        double z = score[j] + gate.biasOrZero();
        double noise = 0;
        if (gate instanceof Gate.Sampled(double bias, NoiseKey key)) {
          key.uniforms(b, h, position, j / 4, uniforms);
          double u = uniforms[j % 4];
          noise = Math.log(u) - Math.log1p(-u);
        }
        boolean isOpenGate = gate instanceof Gate.Open;
        double sigmoid = 1 / (1 + Math.exp(-z));
        double noisy = 1 / (1 + Math.exp(-z - noise));
        m[j] = gate instanceof Gate.Soft ? sigmoid : isOpenGate || z + noise > 0 ? 1 : 0;
        slope[j] = isOpenGate ? 0 : noisy * (1 - noisy);
        quiet[j] = isOpenGate ? 0 : sigmoid * (1 - sigmoid);
        expected[table] += (isOpenGate ? 1 : sigmoid) / pairs;
        boolean quietlyOpen = isOpenGate || z > 0;
        open += quietlyOpen ? 1 : 0;
        counts[table * 4 + AttentionSpec.FIRST] += quietlyOpen && j == 0 ? 1 : 0;
        counts[table * 4 + AttentionSpec.DIAGONAL] += quietlyOpen && j == position ? 1 : 0;
      }
      counts[table * 4 + AttentionSpec.OPEN] += open;
      counts[table * 4 + AttentionSpec.EMPTY_ROWS] += open == 0 ? 1 : 0;
      double dotOut = 0;
      for (int e = 0; e < d; e++) {
        for (int j = first; j <= position; j++) {
          out[atQ + e] += p[j] * m[j] * c.v.get(((b * s.keys + j) * s.kvHeads + kv) * d + e);
        }
        dotOut += out[atQ + e] * c.dout.get(atQ + e);
      }
      for (int j = first; j <= position; j++) {
        int atK = ((b * s.keys + j) * s.kvHeads + kv) * d;
        double g = 0;
        for (int e = 0; e < d; e++) {
          g += c.dout.get(atQ + e) * c.v.get(atK + e);
          dv[atK + e] += p[j] * m[j] * c.dout.get(atQ + e);
        }
        double ds =
            p[j] * ((slope[j] + m[j]) * g - dotOut) + c.dexpected.get(table) * quiet[j] / pairs;
        for (int e = 0; e < d; e++) {
          dq[atQ + e] += c.spec.scale() * ds * c.k.get(atK + e);
          dk[atK + e] += c.spec.scale() * ds * c.q.get(atQ + e);
        }
      }
    }
  }

  @Test
  void agreesWithTheDefinition() {
    everyProvider(
        kernels -> {
          for (Sizes sizes : SIZES) {
            for (Gate gate : GATES) {
              for (int window : WINDOWS) {
                holdToTheDefinition(kernels, sizes, gate, window);
              }
            }
          }
        });
  }

  private static void holdToTheDefinition(Kernels kernels, Sizes sizes, Gate gate, int window) {
    try (Fixture f = new Fixture()) {
      Case c = new Case(f, sizes, gate, 1.2, window);
      c.run(kernels);
      Definition d = new Definition(c, sizes);
      String what = "%s %s window %d %s ".formatted(sizes, gate, window, kernels.description());
      assertClose(what + "out", c.out, d.out, 2e-6);
      assertClose(what + "logSumExp", c.logSumExp, d.logSumExp, 1e-6);
      assertClose(what + "expected", c.expected, d.expected, 1e-6);
      assertClose(what + "counts", c.counts, d.counts, 0);
      assertClose(what + "dq", c.dq, d.dq, 5e-6);
      assertClose(what + "dk", c.dk, d.dk, 5e-6);
      assertClose(what + "dv", c.dv, d.dv, 5e-6);
    }
  }

  @Test
  void closedRowsAreExactlyZero() {
    everyProvider(
        kernels -> {
          try (Fixture f = new Fixture()) {
            Sizes sizes = new Sizes(1, 70, 70, 2, 1, 9);
            Case c = new Case(f, sizes, new Gate.Hard(-1e4), 1);
            c.run(kernels);
            assertThat(c.out.toFloats()).containsOnly(0f);
            assertThat(c.dv.toFloats()).containsOnly(0f);
            assertThat(c.counts.get(AttentionSpec.EMPTY_ROWS)).isEqualTo(70);
          }
        });
  }

  /** Where few gates are open, a product with closed ones would make NaN of 0 times NaN. */
  @Test
  void valuesBehindClosedGatesAreNotRead() {
    everyProvider(
        kernels -> {
          try (Fixture f = new Fixture()) {
            Sizes sizes = new Sizes(1, 130, 130, 1, 1, 64);
            Gate gate = new Gate.Hard(-3);
            Case whole = new Case(f, sizes, gate, 1);
            whole.run(kernels);
            boolean[] read = new boolean[sizes.keys];
            for (int i = 0; i < sizes.queries; i++) {
              for (int j = 0; j <= i; j++) {
                double score = 0;
                for (int e = 0; e < sizes.headDim; e++) {
                  score += whole.q.get(i * 64L + e) * whole.k.get(j * 64L + e);
                }
                read[j] |= score * whole.spec.scale() + gate.biasOrZero() > -1e-3;
              }
            }
            Tensor v =
                f.floats(
                    whole.v.shape(), at -> read[at / 64] ? (float) whole.v.get(at) : Double.NaN);
            assertThat(v.toFloats()).contains(Float.NaN);
            Tensor out = f.empty(1, 130, 1, 64);
            kernels.attention(
                whole.spec,
                whole.q,
                whole.k,
                v,
                out,
                whole.logSumExp,
                whole.expected,
                whole.counts);
            assertSameBits("out", out, whole.out);
          }
        });
  }

  /** The same rows, in a tile with few open gates and in one whose other rows have many. */
  @Test
  void leavingClosedGatesOutChangesNoBit() {
    try (Fixture f = new Fixture();
        Kernels kernels = new CpuKernels(2, LaneChoice.VECTOR)) {
      assumeTrue(Lanes.of(LaneChoice.VECTOR).tiles().isPresent(), "needs tiles of machine code");
      int few = 24;
      Case c = new Case(f, new Sizes(1, 48, 48, 1, 1, 40), new Gate.Hard(-2.5), 1);
      c.run(kernels);
      float[] alone = Arrays.copyOf(c.out.toFloats(), few * 40);
      assertThat(alone).contains(0f).isNotEqualTo(new float[few * 40]);
      assertThat(c.counts.get(AttentionSpec.OPEN)).isLessThan(48 * 49 / 2 / 8);
      Tensor q = f.floats(c.q.shape(), at -> (float) ((at < few * 40 ? 1 : 100) * c.q.get(at)));
      kernels.attention(c.spec, q, c.k, c.v, c.out, c.logSumExp, c.expected, c.counts);
      assertThat(c.counts.get(AttentionSpec.OPEN)).isGreaterThan(48 * 49 / 2 / 8);
      assertThat(Arrays.copyOf(c.out.toFloats(), few * 40)).containsExactly(alone);
    }
  }

  @Test
  void hugeScoresGiveNoNaN() {
    everyProvider(
        kernels -> {
          for (Gate gate : GATES) {
            try (Fixture f = new Fixture()) {
              Case c = new Case(f, new Sizes(1, 67, 67, 1, 1, 16), gate, 100);
              c.run(kernels);
              for (Tensor t : List.of(c.out, c.logSumExp, c.expected, c.dq, c.dk, c.dv)) {
                for (float value : t.toFloats()) {
                  assertThat(Float.isFinite(value)).isTrue();
                }
              }
            }
          }
        });
  }

  @Test
  void repeatsBitForBitWhateverTheThreads() {
    try (Fixture f = new Fixture()) {
      Sizes sizes = new Sizes(2, 150, 150, 4, 2, 16);
      Case once = new Case(f, sizes, new Gate.Sampled(0.5, KEY), 1);
      try (Fixture other = new Fixture();
          Kernels one = new CpuKernels(1, LaneChoice.VECTOR);
          Kernels three = new CpuKernels(3, LaneChoice.VECTOR)) {
        Case again = new Case(other, sizes, new Gate.Sampled(0.5, KEY), 1);
        once.run(one);
        for (int i = 0; i < 3; i++) {
          again.run(three);
          assertSameBits("out", once.out, again.out);
          assertSameBits("dq", once.dq, again.dq);
          assertSameBits("dk", once.dk, again.dk);
          assertSameBits("dv", once.dv, again.dv);
          assertSameBits("expected", once.expected, again.expected);
        }
      }
    }
  }

  @Test
  void emptyAxesAreAllowed() {
    everyProvider(
        kernels -> {
          try (Fixture f = new Fixture()) {
            Case none = new Case(f, new Sizes(1, 0, 3, 2, 1, 4), new Gate.Hard(0), 1);
            none.run(kernels);
            assertThat(none.dk.toFloats()).containsOnly(0f);
            assertThat(none.expected.toFloats()).containsOnly(0f);
            new Case(f, new Sizes(0, 3, 3, 2, 1, 4), Gate.open(), 1).run(kernels);
            new Case(f, new Sizes(1, 0, 0, 2, 1, 4), Gate.open(), 1).run(kernels);
          }
        });
  }

  @Test
  void unfusedGatesAreTheFusedOnes() {
    everyProvider(
        kernels -> {
          for (Gate gate : GATES) {
            try (Fixture f = new Fixture()) {
              Tensor z = f.spread(3, 2, 3, 5, 37);
              Tensor m = f.empty(2, 3, 5, 37);
              Tensor g = f.normal(2, 3, 5, 37);
              Tensor dz = f.empty(2, 3, 5, 37);
              kernels.gate(gate, z, m);
              kernels.gateBackward(gate, z, g, dz);
              double[] gates = new double[(int) z.size()];
              double[] gradients = new double[(int) z.size()];
              float[] uniforms = new float[4];
              for (int at = 0; at < gates.length; at++) {
                int key = at % 37;
                double logit = z.get(at);
                if (gate instanceof Gate.Sampled(double bias, NoiseKey stream)) {
                  int query = 32 + at / 37 % 5;
                  stream.uniforms(at / (37 * 15), at / (37 * 5) % 3, query, key / 4, uniforms);
                  double u = uniforms[key % 4];
                  logit += Math.log(u / (1 - u));
                }
                boolean always = gate instanceof Gate.Open;
                double sigmoid = 1 / (1 + Math.exp(-logit));
                gates[at] = gate instanceof Gate.Soft ? sigmoid : always || logit > 0 ? 1 : 0;
                gradients[at] = always ? 0 : g.get(at) * sigmoid * (1 - sigmoid);
              }
              assertClose("gate " + gate, m, gates, gate instanceof Gate.Soft ? 1e-6 : 0);
              assertClose("gateBackward " + gate, dz, gradients, 1e-6);
            }
          }
        });
  }

  @Test
  void shapesAreCheckedBeforeAnythingIsWritten() {
    try (Fixture f = new Fixture();
        Kernels kernels = new CpuKernels(1)) {
      Case c = new Case(f, new Sizes(1, 4, 3, 2, 1, 4), Gate.open(), 1);
      assertThatThrownBy(() -> c.run(kernels))
          .hasMessage(
              "attention: 4 queries but only 3 keys; queries stand at the last positions of the"
                  + " keys");
      assertThat(c.out.toFloats()).containsOnly(Float.NaN);
      Case d = new Case(f, new Sizes(1, 3, 3, 2, 1, 4), Gate.open(), 1);
      assertThatThrownBy(
              () ->
                  kernels.attention(
                      d.spec,
                      d.q,
                      d.k,
                      f.normal(1, 2, 1, 4),
                      d.out,
                      d.logSumExp,
                      d.expected,
                      d.counts))
          .hasMessage("attention: v has 2 along 'key' (axis 1 of [1, 2, 1, 4]), but k has 3");
    }
  }
}
