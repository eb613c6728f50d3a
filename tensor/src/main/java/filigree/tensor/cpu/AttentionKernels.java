package filigree.tensor.cpu;

import filigree.tensor.AttentionSpec;
import filigree.tensor.DType;
import filigree.tensor.Gate;
import filigree.tensor.NoiseKey;
import filigree.tensor.ShapeSpec;
import filigree.tensor.Tensor;
import filigree.tensor.TensorException;
import java.util.Arrays;

/**
 * Gated causal attention, forward and backward, in tiles of queries. A tile's scores are one matrix
 * product against the keys that its last query sees; softmax and gates work on its rows while they
 * are in the cache; a second product makes the output. No table of all queries and keys exists.
 *
 * <p>Heads are read where they lie, by the strides of the matrix products: nothing is permuted.
 */
final class AttentionKernels {
  private static final int TILE = 32;

  // Up to this many multiply-adds OpenBLAS 0.3.19 has loops for AVX-512 that pack nothing, unless
  // the
  // right matrix is transposed: 160 to 190 GFLOP/s a core over tiles of 32 queries and heads of 64,
  // 90 to 125 beyond.
  private static final int SMALL_PRODUCT = 1_000_000;

  // With fewer queries, transposing keys would cost more than it saves.
  private static final int FEW_QUERIES = 16;

  // Tiles of one head that share its transposed keys.
  private static final int GROUP = 8;

  private static final int REPORTED = AttentionRows.REPORTED;

  private final Workers workers;
  private final RowLanes rows;
  private final ElementLanes elements;
  private final GateLanes gates;
  private final Lanes lanes;
  private final Transposition transposition;

  AttentionKernels(Workers workers, Lanes lanes) {
    this.workers = workers;
    this.rows = lanes.rows();
    this.elements = lanes.elements();
    this.gates = lanes.gates();
    this.lanes = lanes;
    this.transposition = new Transposition(lanes.tiles());
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

    int tiles() {
      return (queries + TILE - 1) / TILE;
    }

    boolean transposes() {
      return queries >= FEW_QUERIES;
    }

    /** Keys that one product of a tile takes. */
    int chunk() {
      return Math.max(16, SMALL_PRODUCT / (TILE * spec.headDim()) / 16 * 16);
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
    int end(int query) {
      return keys - queries + query + 1;
    }

    /** The first key that the query sees. */
    int firstKey(int query) {
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

  /** The tile of queries that a product is of, and the keys that it sees: {@code [from, to)}. */
  private record Keys(Layout layout, int count, int from, int to) {
    long stride() {
      return (long) layout.strideK() * Float.BYTES;
    }
  }

  /**
   * Scores of a tile, [query, key]: {@code factor a b^T}, with b the keys or values of a head.
   *
   * @param rows the queries, or gradients of outputs
   * @param b [key, headDim]
   * @param transposed b as {@link #transpose} left it, or 0
   */
  private static void scores(
      Keys keys, float factor, long rows, long b, long transposed, long out) {
    Layout layout = keys.layout;
    int headDim = layout.spec.headDim();
    int stride = layout.strideS();
    if (keys.count == 1 || transposed == 0) {
      long first = b + keys.from * keys.stride();
      long to = out + (long) keys.from * Float.BYTES;
      int n = keys.to - keys.from;
      if (keys.count == 1) {
        OpenBlas.sgemv(false, n, headDim, factor, first, layout.strideK(), rows, 1, 0, to, 1);
      } else {
        OpenBlas.sgemm(
            new Product(
                false,
                true,
                keys.count,
                n,
                headDim,
                factor,
                0,
                layout.strideQ(),
                layout.strideK(),
                stride),
            rows,
            first,
            to);
      }
      return;
    }
    for (int key = keys.from; key < keys.to; key += layout.chunk()) {
      int n = Math.min(layout.chunk(), keys.to - key);
      long at = (long) key * Float.BYTES;
      OpenBlas.sgemm(
          new Product(
              false, false, keys.count, n, headDim, factor, 0, layout.strideQ(), stride, stride),
          rows,
          transposed + at,
          out + at);
    }
  }

  /** A mixture of a head's keys or values for each query of a tile: {@code factor weights b}. */
  private static void mix(Keys keys, float factor, long weights, long b, long out) {
    Layout layout = keys.layout;
    int headDim = layout.spec.headDim();
    for (int key = keys.from; key < keys.to; key += layout.chunk()) {
      int n = Math.min(layout.chunk(), keys.to - key);
      long from = weights + (long) key * Float.BYTES;
      long first = b + key * keys.stride();
      float beta = key == keys.from ? 0 : 1;
      if (keys.count == 1) {
        OpenBlas.sgemv(true, n, headDim, factor, first, layout.strideK(), from, 1, beta, out, 1);
      } else {
        OpenBlas.sgemm(
            new Product(
                false,
                false,
                keys.count,
                headDim,
                n,
                factor,
                beta,
                layout.strideS(),
                layout.strideK(),
                layout.strideQ()),
            from,
            first,
            out);
      }
    }
  }

  /** What each key or value gets from a tile's queries: {@code out += factor weights^T rows}. */
  private static void spread(
      Keys keys, float factor, long weights, long rows, float beta, long out) {
    Layout layout = keys.layout;
    for (int key = keys.from; key < keys.to; key += layout.chunk()) {
      int n = Math.min(layout.chunk(), keys.to - key);
      OpenBlas.sgemm(
          new Product(
              true,
              false,
              n,
              layout.spec.headDim(),
              keys.count,
              factor,
              beta,
              layout.strideS(),
              layout.strideQ(),
              layout.strideK()),
          weights + (long) key * Float.BYTES,
          rows,
          out + key * keys.stride());
    }
  }

  /** Writes the keys {@code [from, to)} of a head as columns: [headDim, strideS]. */
  private void transpose(Layout layout, long keys, int from, int to, long out) {
    long row = (long) layout.strideK() * Float.BYTES;
    transposition.run(
        keys + from * row,
        row,
        to - from,
        layout.spec.headDim(),
        out + (long) from * Float.BYTES,
        (long) layout.strideS() * Float.BYTES);
  }

  /** Zeroes what a row of a tile does not see, so that the tile's products may run over all. */
  private void clearUnseen(long row, AttentionRows.Row sees, Keys keys) {
    int end = sees.first + sees.seen;
    elements.fill(0, row + (long) keys.from * Float.BYTES, sees.first - keys.from);
    elements.fill(0, row + (long) end * Float.BYTES, keys.to - end);
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
      int group = Math.clamp((long) tables * tiles / (4L * workers.count()), 1, GROUP);
      int groups = (tiles + group - 1) / group;
      // Long ones first: they are the last queries, and what is left for the end should be short.
      workers.run(
          tables * groups,
          (task, scratch) -> {
            int table = task % tables;
            int last = tiles - task / tables * group;
            tiles(table / heads, table % heads, Math.max(0, last - group), last, scratch);
          });
    }

    private void tiles(int b, int head, int firstTile, int endTile, Scratch scratch) {
      int stride = layout.strideS();
      int headDim = layout.transposes() ? layout.spec.headDim() : 0;
      int rows = Math.min(TILE, layout.queries);
      scratch.reserve(
          (long) (rows + headDim + AttentionRows.BUFFERS) * stride, 2 + AttentionRows.BUFFERS);
      long s = scratch.take((long) rows * stride);
      long transposed = 0;
      long keys = k + layout.k(b, head / layout.group());
      if (layout.transposes()) {
        transposed = scratch.take((long) headDim * stride);
        int end = Math.min(endTile * TILE, layout.queries);
        transpose(layout, keys, layout.firstKey(firstTile * TILE), layout.end(end - 1), transposed);
      }
      AttentionRows.Row row = new AttentionRows.Row(scratch, stride);
      row.batch = b;
      row.head = head;
      for (int tile = firstTile; tile < endTile; tile++) {
        tile(tile, transposed, s, row);
      }
    }

    private void tile(int tile, long transposed, long s, AttentionRows.Row row) {
      AttentionSpec spec = layout.spec;
      int first = tile * TILE;
      int count = Math.min(TILE, layout.queries - first);
      Keys keys = new Keys(layout, count, layout.firstKey(first), layout.end(first + count - 1));
      long kv = layout.k(row.batch, row.head / layout.group());
      long queries = layout.q(row.batch, row.head, first);
      scores(keys, (float) spec.scale(), q + queries, k + kv, transposed, s);
      Arrays.fill(row.report, 0);
      float[] factors = new float[count];
      for (int i = 0; i < count; i++) {
        long scores = s + (long) i * layout.strideS() * Float.BYTES;
        row.at(layout.firstKey(first + i), layout.end(first + i));
        row.s = scores + (long) row.first * Float.BYTES;
        rowSteps.forward(row);
        factors[i] = (float) (1 / row.sum);
        Native.putFloat(logSumExp + layout.row(row.batch, row.head, first + i), row.logSumExp);
        clearUnseen(scores, row, keys);
      }
      mix(keys, 1, s, v + kv, out + queries);
      for (int i = 0; i < count; i++) {
        long at = out + queries + (long) i * layout.strideQ() * Float.BYTES;
        elements.scale(factors[i], at, at, spec.headDim());
      }
      int table = row.batch * spec.heads() + row.head;
      System.arraycopy(
          row.report, 0, reports, (table * layout.tiles() + tile) * REPORTED, REPORTED);
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
            if (layout.transposes()) {
              transpose(layout, k + layout.k(b, kvHead), 0, layout.keys, buffers.keys);
              transpose(layout, v + layout.k(b, kvHead), 0, layout.keys, buffers.values);
            }
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
      int first = tile * TILE;
      int count = Math.min(TILE, layout.queries - first);
      Keys keys = new Keys(layout, count, layout.firstKey(first), layout.end(first + count - 1));
      long kv = layout.k(b, head / layout.group());
      long queries = layout.q(b, head, first);
      float scale = (float) spec.scale();
      // Exactly the product of the forward pass, so that every gate falls as it did there.
      scores(keys, scale, q + queries, k + kv, buffers.keys, buffers.s);
      scores(keys, 1, dout + queries, v + kv, buffers.values, buffers.g);
      AttentionRows.Row row = buffers.row;
      row.batch = b;
      row.head = head;
      row.density =
          (float)
              (Native.getFloat(dexpected + (long) (b * spec.heads() + head) * Float.BYTES)
                  / (double) layout.pairs());
      for (int i = 0; i < count; i++) {
        long scores = buffers.s + (long) i * layout.strideS() * Float.BYTES;
        long gradients = buffers.g + (long) i * layout.strideS() * Float.BYTES;
        row.at(layout.firstKey(first + i), layout.end(first + i));
        row.s = scores + (long) row.first * Float.BYTES;
        row.g = gradients + (long) row.first * Float.BYTES;
        row.logSumExp = Native.getFloat(logSumExp + layout.row(b, head, first + i));
        long at = queries + (long) i * layout.strideQ() * Float.BYTES;
        row.d = (float) rows.dot(dout + at, out + at, spec.headDim());
        rowSteps.backward(row);
        clearUnseen(scores, row, keys);
        clearUnseen(gradients, row, keys);
      }
      spread(keys, 1, buffers.s, dout + queries, beta, dv + kv);
      spread(keys, scale, buffers.g, q + queries, beta, dk + kv);
      mix(keys, scale, buffers.g, k + kv, dq + queries);
    }
  }

  /**
   * Scratch of a backward task: scores, gradients of the gated pattern, keys and values as columns
   * (0 where there are none), and what a row needs.
   */
  private record Tile(long s, long g, long keys, long values, AttentionRows.Row row) {
    static Tile in(Scratch scratch, Layout layout) {
      int stride = layout.strideS();
      int rows = Math.min(TILE, layout.queries);
      int headDim = layout.transposes() ? layout.spec.headDim() : 0;
      scratch.reserve(
          (long) (2 * rows + 2 * headDim + AttentionRows.BUFFERS) * stride,
          4 + AttentionRows.BUFFERS);
      long s = scratch.take((long) rows * stride);
      long g = scratch.take((long) rows * stride);
      long keys = headDim == 0 ? 0 : scratch.take((long) headDim * stride);
      long values = headDim == 0 ? 0 : scratch.take((long) headDim * stride);
      return new Tile(s, g, keys, values, new AttentionRows.Row(scratch, stride));
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
            case Gate.Soft(double bias) -> gates.softGates(from + at, to + at, n);
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
            case Gate.Soft(double bias) -> gates.hardGatesBackward(from + at, g + at, to + at, n);
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
