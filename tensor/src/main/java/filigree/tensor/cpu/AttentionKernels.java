package filigree.tensor.cpu;

import filigree.tensor.AttentionSpec;
import filigree.tensor.DType;
import filigree.tensor.Gate;
import filigree.tensor.NoiseKey;
import filigree.tensor.ShapeSpec;
import filigree.tensor.Tensor;
import filigree.tensor.TensorException;

/**
 * Gated causal attention, forward and backward, in tiles of queries. A tile's scores are one matrix
 * product against the keys that its last query sees; softmax and gates work on its rows while they
 * are in the cache; a second product makes the output. No table of all queries and keys exists.
 *
 * <p>Heads are read where they lie, by the strides of the matrix products: nothing is permuted.
 */
final class AttentionKernels {
  // Forward and backward, 12 heads of 64, one core (AVX-512): at batch 4 of 256 keys, tiles of 32
  // queries take 23 ms, of 64 27, of 128 31; at batch 1 of 1024 keys, 32 take 101 ms, 64 80. Small
  // tiles waste less on the upper triangle, large ones have faster products.
  private static final int SHORT_TILE = 32;
  private static final int LONG_TILE = 64;
  private static final int SHORT_KEYS = 384;

  private static final int REPORTED = AttentionRows.REPORTED;

  private final Workers workers;
  private final RowLanes rows;
  private final ElementLanes elements;
  private final GateLanes gates;
  private final Lanes lanes;

  AttentionKernels(Workers workers, Lanes lanes) {
    this.workers = workers;
    this.rows = lanes.rows();
    this.elements = lanes.elements();
    this.gates = lanes.gates();
    this.lanes = lanes;
  }

  /** Sizes and strides of one call; strides in floats. */
  private record Layout(AttentionSpec spec, int batch, int queries, int keys) {
    int strideQ() {
      return spec.heads() * spec.headDim();
    }

    int strideK() {
      return spec.kvHeads() * spec.headDim();
    }

    int group() {
      return spec.heads() / spec.kvHeads();
    }

    int tile() {
      return keys <= SHORT_KEYS ? SHORT_TILE : LONG_TILE;
    }

    int tiles() {
      return (queries + tile() - 1) / tile();
    }

    /** Floats from one row of a tile to the next: whole cache lines, not a power of two. */
    int strideS() {
      return (keys + GateLanes.ROOM + 31) / 32 * 32 + 16;
    }

    long q(int b, int head, int query) {
      return (((long) b * queries + query) * strideQ() + (long) head * spec.headDim())
          * Float.BYTES;
    }

    long k(int b, int kvHead) {
      return ((long) b * keys * strideK() + (long) kvHead * spec.headDim()) * Float.BYTES;
    }

    long row(int b, int head, int query) {
      return ((long) (b * spec.heads() + head) * queries + query) * Float.BYTES;
    }

    /** One past the last key that the query sees. */
    int seen(int query) {
      return keys - queries + query + 1;
    }

    /** The first key that the query sees. */
    int hidden(int query) {
      return spec.firstKey(keys - queries + query);
    }

    long pairs() {
      return spec.pairs(queries, keys);
    }

    /** How many queries see key 0. */
    long firstPairs() {
      return Math.max(0, Math.min(queries, (long) spec.window() - (keys - queries)));
    }
  }

  private static Layout layout(
      String kernel, AttentionSpec spec, ShapeSpec.Check check, Tensor q, Tensor k, Tensor v) {
    String kv = " " + spec.kvHeads() + " " + spec.headDim();
    check
        .that("q", q, "batch query " + spec.heads() + " " + spec.headDim())
        .that("k", k, "batch key" + kv)
        .that("v", v, "batch key" + kv);
    Layout layout =
        new Layout(spec, check.length("batch"), check.length("query"), check.length("key"));
    if (layout.queries > layout.keys) {
      throw new TensorException(
          "%s: %d queries but only %d keys; queries stand at the last positions of the keys"
              .formatted(kernel, layout.queries, layout.keys));
    }
    return layout;
  }

  void attention(
      AttentionSpec spec,
      Tensor q,
      Tensor k,
      Tensor v,
      Tensor out,
      Tensor logSumExp,
      Tensor expected,
      Tensor counts) {
    Checks.floats("attention", q, k, v, out, logSumExp, expected);
    Checks.type("attention", "counts", counts, DType.F64);
    ShapeSpec.Check check = ShapeSpec.check("attention");
    Layout layout = layout("attention", spec, check, q, k, v);
    check
        .that("out", out, "batch query " + spec.heads() + " " + spec.headDim())
        .that("logSumExp", logSumExp, "batch " + spec.heads() + " query")
        .that("expected", expected, "batch " + spec.heads())
        .that("counts", counts, "batch " + spec.heads() + " " + AttentionSpec.COUNTS);
    OpenBlas.singleThreaded();
    Forward forward =
        new Forward(
            layout, q.address(), k.address(), v.address(), out.address(), logSumExp.address());
    forward.run();
    forward.report(expected.address(), counts.address());
  }

  void attentionBackward(
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
    String kernel = "attentionBackward";
    Checks.floats(kernel, q, k, v, out, logSumExp, dout, dexpected, dq, dk, dv);
    ShapeSpec.Check check = ShapeSpec.check(kernel);
    Layout layout = layout(kernel, spec, check, q, k, v);
    String queryShape = "batch query " + spec.heads() + " " + spec.headDim();
    String keyShape = "batch key " + spec.kvHeads() + " " + spec.headDim();
    check
        .that("out", out, queryShape)
        .that("logSumExp", logSumExp, "batch " + spec.heads() + " query")
        .that("dout", dout, queryShape)
        .that("dexpected", dexpected, "batch " + spec.heads())
        .that("dq", dq, queryShape)
        .that("dk", dk, keyShape)
        .that("dv", dv, keyShape);
    OpenBlas.singleThreaded();
    new Backward(
            layout,
            new long[] {q.address(), k.address(), v.address()},
            out.address(),
            logSumExp.address(),
            dout.address(),
            dexpected.address(),
            new long[] {dq.address(), dk.address(), dv.address()})
        .run();
  }

  /** The rows of scores of one tile. */
  private void scores(Layout layout, long q, long k, int count, int seen, long s) {
    AttentionSpec spec = layout.spec;
    if (count == 1) {
      OpenBlas.sgemv(
          false, seen, spec.headDim(), (float) spec.scale(), k, layout.strideK(), q, 1, 0, s, 1);
      return;
    }
    OpenBlas.sgemm(
        false,
        true,
        count,
        seen,
        spec.headDim(),
        (float) spec.scale(),
        q,
        layout.strideQ(),
        k,
        layout.strideK(),
        0,
        s,
        layout.strideS());
  }

  /** Zeroes what a row of a tile does not see, so that the tile's products may run over all. */
  private void clearUnseen(long row, AttentionRows.Row sees, int keys) {
    int end = sees.first + sees.seen;
    elements.fill(0, row, sees.first);
    elements.fill(0, row + (long) end * Float.BYTES, keys - end);
  }

  /** One forward call; each task is one tile of one head. */
  private final class Forward {
    private final Layout layout;
    private final long q;
    private final long k;
    private final long v;
    private final long out;
    private final long logSumExp;
    private final double[] reports;
    private final AttentionRows rowSteps;

    Forward(Layout layout, long q, long k, long v, long out, long logSumExp) {
      this.layout = layout;
      this.q = q;
      this.k = k;
      this.v = v;
      this.out = out;
      this.logSumExp = logSumExp;
      this.rowSteps = new AttentionRows(layout.spec.gate(), lanes);
      this.reports = new double[layout.batch * layout.spec.heads() * layout.tiles() * REPORTED];
    }

    void run() {
      int heads = layout.spec.heads();
      int tiles = layout.tiles();
      int tables = layout.batch * heads;
      // Long tiles first: they are the last queries, and what is left for the end should be short.
      workers.run(
          tables * tiles,
          (task, scratch) -> {
            int table = task % tables;
            int tile = tiles - 1 - task / tables;
            tile(table / heads, table % heads, tile, scratch);
          });
    }

    private void tile(int b, int head, int tile, Scratch scratch) {
      AttentionSpec spec = layout.spec;
      int first = tile * layout.tile();
      int count = Math.min(layout.tile(), layout.queries - first);
      int seen = layout.seen(first + count - 1);
      int stride = layout.strideS();
      scratch.reserve((long) (count + AttentionRows.BUFFERS) * stride, 1 + AttentionRows.BUFFERS);
      long s = scratch.take((long) count * stride);
      AttentionRows.Row row = new AttentionRows.Row(scratch, stride);
      row.batch = b;
      row.head = head;
      long kv = layout.k(b, head / layout.group());
      long queries = layout.q(b, head, first);
      scores(layout, q + queries, k + kv, count, seen, s);
      float[] factors = new float[count];
      for (int i = 0; i < count; i++) {
        long scores = s + (long) i * stride * Float.BYTES;
        row.at(layout.hidden(first + i), layout.seen(first + i));
        row.s = scores + (long) row.first * Float.BYTES;
        rowSteps.forward(row);
        factors[i] = (float) (1 / row.sum);
        Native.putFloat(logSumExp + layout.row(b, head, first + i), row.logSumExp);
        clearUnseen(scores, row, seen);
      }
      outputs(s, kv, count, seen, out + queries);
      for (int i = 0; i < count; i++) {
        long at = out + queries + (long) i * layout.strideQ() * Float.BYTES;
        elements.scale(factors[i], at, at, spec.headDim());
      }
      int table = b * spec.heads() + head;
      System.arraycopy(
          row.report, 0, reports, (table * layout.tiles() + tile) * REPORTED, REPORTED);
    }

    private void outputs(long weights, long kv, int count, int seen, long to) {
      AttentionSpec spec = layout.spec;
      int strideK = layout.strideK();
      if (count == 1) {
        OpenBlas.sgemv(true, seen, spec.headDim(), 1, v + kv, strideK, weights, 1, 0, to, 1);
        return;
      }
      OpenBlas.sgemm(
          false,
          false,
          count,
          spec.headDim(),
          seen,
          1,
          weights,
          layout.strideS(),
          v + kv,
          strideK,
          0,
          to,
          layout.strideQ());
    }

    /** Adds what the tiles reported, in their order. */
    void report(long expected, long counts) {
      boolean open = layout.spec.gate() instanceof Gate.Open;
      long pairs = layout.pairs();
      int tiles = layout.tiles();
      double[] sums = new double[REPORTED];
      for (int table = 0; table < layout.batch * layout.spec.heads(); table++) {
        for (int column = 0; column < REPORTED; column++) {
          sums[column] = 0;
          for (int tile = 0; tile < tiles; tile++) {
            sums[column] += reports[(table * tiles + tile) * REPORTED + column];
          }
        }
        if (open) {
          sums[0] = pairs;
          sums[1 + AttentionSpec.OPEN] = pairs;
          sums[1 + AttentionSpec.FIRST] = layout.firstPairs();
          sums[1 + AttentionSpec.DIAGONAL] = layout.queries;
        }
        double mean = pairs == 0 ? (open ? 1 : 0) : sums[0] / pairs;
        Native.putFloat(expected + (long) table * Float.BYTES, (float) mean);
        for (int column = 0; column < AttentionSpec.COUNTS; column++) {
          long at = (long) table * AttentionSpec.COUNTS + column;
          Native.putDouble(counts + at * Double.BYTES, sums[1 + column]);
        }
      }
    }
  }

  /** One backward call; each task is one key-value head, which owns its dk and dv. */
  private final class Backward {
    private final Layout layout;
    private final long q;
    private final long k;
    private final long v;
    private final long out;
    private final long logSumExp;
    private final long dout;
    private final long dexpected;
    private final long dq;
    private final long dk;
    private final long dv;
    private final AttentionRows rowSteps;

    Backward(
        Layout layout,
        long[] inputs,
        long out,
        long logSumExp,
        long dout,
        long dexpected,
        long[] gradients) {
      this.layout = layout;
      this.q = inputs[0];
      this.k = inputs[1];
      this.v = inputs[2];
      this.out = out;
      this.logSumExp = logSumExp;
      this.dout = dout;
      this.dexpected = dexpected;
      this.dq = gradients[0];
      this.dk = gradients[1];
      this.dv = gradients[2];
      this.rowSteps = new AttentionRows(layout.spec.gate(), lanes);
    }

    void run() {
      int kvHeads = layout.spec.kvHeads();
      workers.run(
          layout.batch * kvHeads,
          (task, scratch) -> {
            int b = task / kvHeads;
            int kvHead = task % kvHeads;
            if (layout.queries == 0) {
              clear(b, kvHead);
              return;
            }
            Tile buffers = Tile.in(scratch, layout);
            // Without a window the last tile sees every key, so it may write dk and dv; the others
            // add to them.
            float beta = 0;
            if (layout.spec.window() < layout.keys) {
              clear(b, kvHead);
              beta = 1;
            }
            for (int head = kvHead * layout.group(); head < (kvHead + 1) * layout.group(); head++) {
              for (int tile = layout.tiles() - 1; tile >= 0; tile--) {
                tile(b, head, tile, beta, buffers);
                beta = 1;
              }
            }
          });
    }

    private void clear(int b, int kvHead) {
      for (int key = 0; key < layout.keys; key++) {
        long at = layout.k(b, kvHead) + (long) key * layout.strideK() * Float.BYTES;
        elements.fill(0, dk + at, layout.spec.headDim());
        elements.fill(0, dv + at, layout.spec.headDim());
      }
    }

    private void tile(int b, int head, int tile, float beta, Tile buffers) {
      AttentionSpec spec = layout.spec;
      int headDim = spec.headDim();
      int strideQ = layout.strideQ();
      int strideK = layout.strideK();
      int stride = layout.strideS();
      int first = tile * layout.tile();
      int count = Math.min(layout.tile(), layout.queries - first);
      int seen = layout.seen(first + count - 1);
      long kv = layout.k(b, head / layout.group());
      long queries = layout.q(b, head, first);
      long s = buffers.s;
      long g = buffers.g;
      float scale = (float) spec.scale();
      // Exactly the product of the forward pass, so that every gate falls as it did there.
      scores(layout, q + queries, k + kv, count, seen, s);
      OpenBlas.sgemm(
          false,
          true,
          count,
          seen,
          headDim,
          1,
          dout + queries,
          strideQ,
          v + kv,
          strideK,
          0,
          g,
          stride);
      AttentionRows.Row row = buffers.row;
      row.batch = b;
      row.head = head;
      row.density =
          (float)
              (Native.getFloat(dexpected + (long) (b * spec.heads() + head) * Float.BYTES)
                  / (double) layout.pairs());
      for (int i = 0; i < count; i++) {
        long scores = s + (long) i * stride * Float.BYTES;
        long gradients = g + (long) i * stride * Float.BYTES;
        row.at(layout.hidden(first + i), layout.seen(first + i));
        row.s = scores + (long) row.first * Float.BYTES;
        row.g = gradients + (long) row.first * Float.BYTES;
        row.logSumExp = Native.getFloat(logSumExp + layout.row(b, head, first + i));
        long at = queries + (long) i * strideQ * Float.BYTES;
        row.d = (float) rows.dot(dout + at, out + at, headDim);
        rowSteps.backward(row);
        clearUnseen(scores, row, seen);
        clearUnseen(gradients, row, seen);
      }
      OpenBlas.sgemm(
          true,
          false,
          seen,
          headDim,
          count,
          1,
          s,
          stride,
          dout + queries,
          strideQ,
          beta,
          dv + kv,
          strideK);
      OpenBlas.sgemm(
          true,
          false,
          seen,
          headDim,
          count,
          scale,
          g,
          stride,
          q + queries,
          strideQ,
          beta,
          dk + kv,
          strideK);
      OpenBlas.sgemm(
          false,
          false,
          count,
          headDim,
          seen,
          scale,
          g,
          stride,
          k + kv,
          strideK,
          0,
          dq + queries,
          strideQ);
    }
  }

  /** Scratch of a backward task: scores, gradients of the gated pattern, and what a row needs. */
  private record Tile(long s, long g, AttentionRows.Row row) {
    static Tile in(Scratch scratch, Layout layout) {
      int stride = layout.strideS();
      long floats = (long) layout.tile() * stride;
      scratch.reserve(
          2 * floats + (long) AttentionRows.BUFFERS * stride, 2 + AttentionRows.BUFFERS);
      return new Tile(
          scratch.take(floats), scratch.take(floats), new AttentionRows.Row(scratch, stride));
    }
  }

  void gate(Gate gate, Tensor z, Tensor out) {
    Checks.floats("gate", z, out);
    checkTable("gate", z);
    Checks.sameShape("gate", "out", out, "z", z);
    long from = z.address();
    long to = out.address();
    forRows(
        z,
        gate,
        (at, u, n) -> {
          switch (gate) {
            case Gate.Open() -> elements.fill(1, to + at, n);
            case Gate.Hard(double bias) -> gates.hardGates(from + at, to + at, n);
            case Gate.Sampled(double bias, NoiseKey key) ->
                gates.sampledGates(from + at, u, to + at, n);
          }
        });
  }

  void gateBackward(Gate gate, Tensor z, Tensor gradient, Tensor out) {
    Checks.floats("gateBackward", z, gradient, out);
    checkTable("gateBackward", z);
    Checks.sameShape("gateBackward", "gradient", gradient, "z", z);
    Checks.sameShape("gateBackward", "out", out, "z", z);
    long from = z.address();
    long g = gradient.address();
    long to = out.address();
    forRows(
        z,
        gate,
        (at, u, n) -> {
          switch (gate) {
            case Gate.Open() -> elements.fill(0, to + at, n);
            case Gate.Hard(double bias) -> gates.hardGatesBackward(from + at, g + at, to + at, n);
            case Gate.Sampled(double bias, NoiseKey key) ->
                gates.sampledGatesBackward(from + at, u, g + at, to + at, n);
          }
        });
  }

  private static void checkTable(String kernel, Tensor z) {
    ShapeSpec.check(kernel).that("z", z, "batch head query key");
    if (z.shape().dim(2) > z.shape().dim(3)) {
      throw new TensorException("%s: z %s has more queries than keys".formatted(kernel, z.shape()));
    }
  }

  private interface GateRow {
    void run(long byteOffset, long uniforms, int n);
  }

  private void forRows(Tensor z, Gate gate, GateRow body) {
    int heads = z.shape().length(1);
    int queries = z.shape().length(2);
    int keys = z.shape().length(3);
    workers.run(
        z.shape().length(0) * heads,
        (table, scratch) -> {
          scratch.reserve(keys + GateLanes.ROOM, 1);
          long u = scratch.take(keys + GateLanes.ROOM);
          for (int query = 0; query < queries; query++) {
            if (gate instanceof Gate.Sampled(double bias, NoiseKey key)) {
              int position = keys - queries + query;
              AttentionRows.Noise noise = AttentionRows.Noise.of(key);
              gates.uniforms(noise.row(table / heads, table % heads, position), u, keys);
            }
            body.run(((long) table * queries + query) * keys * Float.BYTES, u, keys);
          }
        });
  }
}
