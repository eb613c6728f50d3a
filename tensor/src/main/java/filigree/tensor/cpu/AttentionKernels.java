package filigree.tensor.cpu;

import filigree.tensor.AttentionSpec;
import filigree.tensor.DType;
import filigree.tensor.Gate;
import filigree.tensor.NoiseKey;
import filigree.tensor.ShapeSpec;
import filigree.tensor.Tensor;
import filigree.tensor.TensorException;
import filigree.tensor.cpu.AttentionLayout.QueryTile;
import filigree.tensor.cpu.HeadProducts.Before;
import java.util.Arrays;

/**
 * Gated causal attention, forward and backward, in tiles of queries. A tile's scores are a matrix
 * product with the keys that its queries see; softmax and gates work on its rows while they are in
 * the cache; a second product makes the output ({@link HeadProducts}). No table of all queries and
 * keys exists.
 */
final class AttentionKernels {
  // With fewer queries, putting keys into another order would cost more than it saves.
  private static final int FEW_QUERIES = 16;

  // Tiles of one head that share its keys in another order.
  private static final int GROUP = 8;

  // Where fewer edges of a tile are open, values are read one by one: an edge by itself takes as
  // long as that many by matrix products.
  private static final int SPARSE = 8;

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

  private static AttentionLayout layout(
      String kernel, AttentionSpec spec, ShapeSpec.Check check, Tensor q, Tensor k, Tensor v) {
    String kv = " " + spec.kvHeads() + " " + spec.headDim();
    check
        .that("q", q, "batch query " + spec.heads() + " " + spec.headDim())
        .that("k", k, "batch key" + kv)
        .that("v", v, "batch key" + kv);
    AttentionLayout layout =
        new AttentionLayout(
            spec, check.length("batch"), check.length("query"), check.length("key"));
    if (layout.queries() > layout.keys()) {
      throw new TensorException(
          "%s: %d queries but only %d keys; queries stand at the last positions of the keys"
              .formatted(kernel, layout.queries(), layout.keys()));
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
    AttentionLayout layout = layout("attention", spec, check, q, k, v);
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
    AttentionLayout layout = layout(kernel, spec, check, q, k, v);
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

  /** Chooses by form alone. The products have scratch memory of their own. */
  private HeadProducts products(AttentionLayout layout, Scratch scratch) {
    return layout.queries() >= FEW_QUERIES && lanes.tiles().isPresent()
        ? new TileHeadProducts(layout, lanes, scratch.second())
        : new BlasHeadProducts(layout);
  }

  /** Writes a tile's queries times the scale, [query, headDim]. */
  private void scaleQueries(QueryTile tile, long queries, Buffers buffers) {
    AttentionSpec spec = tile.layout().spec();
    long next = (long) tile.layout().strideQ() * Float.BYTES;
    long row = (long) spec.headDim() * Float.BYTES;
    for (int i = 0; i < tile.count(); i++) {
      elements.scale((float) spec.scale(), queries + i * next, buffers.q + i * row, spec.headDim());
    }
  }

  /** Zeroes what a row of a tile does not see, so that the tile's products may run over all. */
  private void clearUnseen(long row, AttentionRows.Row sees, QueryTile tile) {
    int end = sees.first + sees.seen;
    elements.fill(0, row + (long) tile.from() * Float.BYTES, sees.first - tile.from());
    elements.fill(0, row + (long) end * Float.BYTES, tile.to() - end);
  }

  /** One forward call; each task is some tiles of one head. */
  private final class Forward {
    private final AttentionLayout layout;
    private final long q;
    private final long k;
    private final long v;
    private final long out;
    private final long logSumExp;
    private final double[] reports;
    private final AttentionRows rowSteps;

    Forward(AttentionLayout layout, long q, long k, long v, long out, long logSumExp) {
      this.layout = layout;
      this.q = q;
      this.k = k;
      this.v = v;
      this.out = out;
      this.logSumExp = logSumExp;
      this.rowSteps = new AttentionRows(layout.spec().gate(), lanes);
      this.reports = new double[layout.batch() * layout.spec().heads() * layout.tiles() * REPORTED];
    }

    void run() {
      int heads = layout.spec().heads();
      int tiles = layout.tiles();
      int tables = layout.batch() * heads;
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
      HeadProducts products = products(layout, scratch);
      Buffers buffers = Buffers.forward(scratch, layout);
      long kv = layout.k(b, head / layout.group());
      int from = layout.tile(firstTile).from();
      int to = layout.tile(endTile - 1).to();
      long keys = products.forScores(k + kv, from, to);
      long values = products.forMix(v + kv, from, to);
      buffers.row.batch = b;
      buffers.row.head = head;
      for (int index = firstTile; index < endTile; index++) {
        QueryTile tile = layout.tile(index);
        long queries = layout.q(b, head, tile.first());
        scaleQueries(tile, q + queries, buffers);
        products.scores(tile, buffers.q, layout.spec().headDim(), keys, buffers.s);
        float[] factors = rows(tile, buffers);
        if (isSparse(buffers.row.report, tile)) {
          mixOpen(tile, buffers, v + kv, out + queries);
        } else {
          products.mix(tile, buffers.s, values, out + queries);
        }
        for (int i = 0; i < tile.count(); i++) {
          long at = out + queries + (long) i * layout.strideQ() * Float.BYTES;
          elements.scale(factors[i], at, at, layout.spec().headDim());
        }
        int table = b * layout.spec().heads() + head;
        int place = (table * layout.tiles() + index) * REPORTED;
        System.arraycopy(buffers.row.report, 0, reports, place, REPORTED);
      }
    }

    /** Makes gated exponentials of scores and returns what each row has to be multiplied with. */
    private float[] rows(QueryTile tile, Buffers buffers) {
      AttentionRows.Row row = buffers.row;
      Arrays.fill(row.report, 0);
      float[] factors = new float[tile.count()];
      for (int i = 0; i < tile.count(); i++) {
        int query = tile.first() + i;
        long scores = buffers.s + (long) i * layout.strideS() * Float.BYTES;
        row.at(layout.firstKey(query), layout.end(query));
        row.s = scores + (long) row.first * Float.BYTES;
        rowSteps.forward(row);
        factors[i] = (float) (1 / row.sum);
        Native.putFloat(logSumExp + layout.row(row.batch, row.head, query), row.logSumExp);
        clearUnseen(scores, row, tile);
      }
      return factors;
    }

    /** Tells whether so few gates of a tile are open that the closed ones are better left out. */
    private boolean isSparse(double[] report, QueryTile tile) {
      // Of sampled gates the open ones are not counted.
      return layout.spec().gate() instanceof Gate.Hard
          && report[1 + AttentionSpec.OPEN] * SPARSE <= tile.pairs();
    }

    /** The mixture of values over open gates alone, in the order of the keys. */
    private void mixOpen(QueryTile tile, Buffers buffers, long values, long to) {
      int headDim = layout.spec().headDim();
      for (int i = 0; i < tile.count(); i++) {
        int first = layout.firstKey(tile.first() + i);
        long weights = buffers.s + ((long) i * layout.strideS() + first) * Float.BYTES;
        int open = gates.open(weights, layout.end(tile.first() + i) - first, buffers.row.indices);
        long at = to + (long) i * layout.strideQ() * Float.BYTES;
        elements.fill(0, at, headDim);
        for (int j = 0; j < open; j++) {
          int key = Native.getInt(buffers.row.indices + (long) j * Integer.BYTES);
          float weight = Native.getFloat(weights + (long) key * Float.BYTES);
          long value = values + (long) (first + key) * layout.strideK() * Float.BYTES;
          elements.axpy(weight, value, at, headDim);
        }
      }
    }

    /** Adds what the tiles reported, in their order. */
    void report(long expected, long counts) {
      boolean open = layout.spec().gate() instanceof Gate.Open;
      long pairs = layout.pairs();
      int tiles = layout.tiles();
      double[] sums = new double[REPORTED];
      for (int table = 0; table < layout.batch() * layout.spec().heads(); table++) {
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
          sums[1 + AttentionSpec.DIAGONAL] = layout.queries();
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
    private final AttentionLayout layout;
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
        AttentionLayout layout,
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
      this.rowSteps = new AttentionRows(layout.spec().gate(), lanes);
    }

    void run() {
      int kvHeads = layout.spec().kvHeads();
      workers.run(
          layout.batch() * kvHeads,
          (task, scratch) -> {
            int b = task / kvHeads;
            int kvHead = task % kvHeads;
            if (layout.queries() == 0) {
              clear(b, kvHead);
              return;
            }
            HeadProducts products = products(layout, scratch);
            Buffers buffers = Buffers.backward(scratch, layout);
            long kv = layout.k(b, kvHead);
            Head keys =
                new Head(
                    products.forScores(k + kv, 0, layout.keys()),
                    products.forScores(v + kv, 0, layout.keys()),
                    products.forMix(k + kv, 0, layout.keys()));
            // Without a window the last tile sees every key, so it may write dk and dv; the others
            // add to them.
            Before before = Before.NOTHING;
            if (layout.spec().window() < layout.keys()) {
              clear(b, kvHead);
              before = Before.SUM;
            }
            for (int head = kvHead * layout.group(); head < (kvHead + 1) * layout.group(); head++) {
              buffers.row.batch = b;
              buffers.row.head = head;
              for (int tile = layout.tiles() - 1; tile >= 0; tile--) {
                tile(layout.tile(tile), products, keys, before, buffers);
                before = Before.SUM;
              }
            }
          });
    }

    /** Keys and values of a head as {@link HeadProducts} returned them. */
    private record Head(long keysForScores, long valuesForScores, long keysForMix) {}

    private void clear(int b, int kvHead) {
      for (int key = 0; key < layout.keys(); key++) {
        long at = layout.k(b, kvHead) + (long) key * layout.strideK() * Float.BYTES;
        elements.fill(0, dk + at, layout.spec().headDim());
        elements.fill(0, dv + at, layout.spec().headDim());
      }
    }

    private void tile(
        QueryTile tile, HeadProducts products, Head head, Before before, Buffers buffers) {
      AttentionRows.Row row = buffers.row;
      int headDim = layout.spec().headDim();
      int strideQ = layout.strideQ();
      long kv = layout.k(row.batch, row.head / layout.group());
      long queries = layout.q(row.batch, row.head, tile.first());
      scaleQueries(tile, q + queries, buffers);
      // Exactly the product of the forward pass, so that every gate falls as it did there.
      products.scores(tile, buffers.q, headDim, head.keysForScores, buffers.s);
      products.scores(tile, dout + queries, strideQ, head.valuesForScores, buffers.g);
      rows(tile, buffers);
      products.spread(tile, buffers.s, dout + queries, strideQ, before, dv + kv);
      products.spread(tile, buffers.g, buffers.q, headDim, before, dk + kv);
      products.mix(tile, buffers.g, head.keysForMix, dq + queries);
      for (int i = 0; i < tile.count(); i++) {
        long at = dq + queries + (long) i * strideQ * Float.BYTES;
        elements.scale((float) layout.spec().scale(), at, at, headDim);
      }
    }

    /** Makes the gated pattern of scores, and their gradients of those of the gated pattern. */
    private void rows(QueryTile tile, Buffers buffers) {
      AttentionRows.Row row = buffers.row;
      int table = row.batch * layout.spec().heads() + row.head;
      float mean = Native.getFloat(dexpected + (long) table * Float.BYTES);
      row.density = (float) (mean / (double) layout.pairs());
      for (int i = 0; i < tile.count(); i++) {
        int query = tile.first() + i;
        long scores = buffers.s + (long) i * layout.strideS() * Float.BYTES;
        long gradients = buffers.g + (long) i * layout.strideS() * Float.BYTES;
        row.at(layout.firstKey(query), layout.end(query));
        row.s = scores + (long) row.first * Float.BYTES;
        row.g = gradients + (long) row.first * Float.BYTES;
        row.logSumExp = Native.getFloat(logSumExp + layout.row(row.batch, row.head, query));
        long at = layout.q(row.batch, row.head, query);
        row.d = (float) rows.dot(dout + at, out + at, layout.spec().headDim());
        rowSteps.backward(row);
        clearUnseen(scores, row, tile);
        clearUnseen(gradients, row, tile);
      }
    }
  }

  /**
   * Scratch of a task: queries times the scale, [query, headDim]; scores; gradients of the gated
   * pattern in the backward pass; and what a row needs.
   */
  private record Buffers(long q, long s, long g, AttentionRows.Row row) {
    static Buffers forward(Scratch scratch, AttentionLayout layout) {
      return take(scratch, layout, 1);
    }

    static Buffers backward(Scratch scratch, AttentionLayout layout) {
      return take(scratch, layout, 2);
    }

    private static Buffers take(Scratch scratch, AttentionLayout layout, int tables) {
      int stride = layout.strideS();
      int rows = Math.min(AttentionLayout.TILE, layout.queries());
      long queries = (long) rows * layout.spec().headDim();
      long table = (long) rows * stride;
      scratch.reserve(
          queries + tables * table + (long) AttentionRows.BUFFERS * stride,
          1 + tables + AttentionRows.BUFFERS);
      long q = scratch.take(queries);
      long s = scratch.take(table);
      long g = tables == 1 ? 0 : scratch.take(table);
      return new Buffers(q, s, g, new AttentionRows.Row(scratch, stride));
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
