package filigree.transformer;

import filigree.autograd.Op;
import filigree.autograd.Param;
import filigree.autograd.Pass;
import filigree.autograd.Var;
import filigree.tensor.Arithmetic;
import filigree.tensor.AttentionSpec;
import filigree.tensor.DType;
import filigree.tensor.Elementwise;
import filigree.tensor.Gate;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Transpose;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.IntStream;

/**
 * Attention in five steps: query, key, value, pattern, output. Ordinarily the pattern and what
 * follows from it is one kernel that never stores it; when somebody looks at scores, gates or
 * pattern, the same formula is computed step by step.
 */
final class AttentionLayer {
  /**
   * What attention returns.
   *
   * @param out [batch, time, width], not yet normed or named
   * @param expected [batch, heads]
   * @param counts [batch, heads, 4]
   */
  record Output(Var out, Var expected, Var counts) {}

  /**
   * What the three maps read, normed: [batch, time, width], or [batch, time, heads, width] where
   * each head reads a copy of its own.
   *
   * @param q read by queries
   * @param k read by keys; copies are one for each key-value head, or one for each query head
   * @param v read by values; like k
   */
  record Inputs(Var q, Var k, Var v) {}

  private final ModelConfig.Attention sizes;
  private final Sites.Block sites;
  private final int layer;
  private final Optional<Tables.Rotary> rotary;
  private final Optional<Norm> queryNorm;
  private final Optional<Norm> keyNorm;
  private final Transformer.Linear query;
  private final Transformer.Linear key;
  private final Transformer.Linear value;
  private final Transformer.Linear output;
  private final Set<GateVariant> variants;
  private final Optional<Transformer.Linear> gateQuery;
  private final Optional<Transformer.Linear> gateKey;
  private final Optional<Param> gateBias;

  AttentionLayer(
      ModelConfig config, Parameters parameters, Sites.Block sites, int layer, Tables tables) {
    String name = "blocks." + layer + ".attn.";
    this.sizes = config.attention();
    this.sites = sites;
    this.layer = layer;
    this.rotary = tables.rotary();
    this.query = Transformer.Linear.of(parameters, name + "q", sizes.bias());
    this.key = Transformer.Linear.of(parameters, name + "k", sizes.bias());
    this.value = Transformer.Linear.of(parameters, name + "v", sizes.bias());
    this.output = Transformer.Linear.of(parameters, name + "o", sizes.outputBias());
    boolean normed = sizes.qkNorm() != ModelConfig.QkNorm.ABSENT;
    double epsilon = config.norm().epsilon();
    this.queryNorm = normed ? norm(parameters, name + "qnorm", epsilon) : Optional.empty();
    this.keyNorm = normed ? norm(parameters, name + "knorm", epsilon) : Optional.empty();
    this.variants = config.gating();
    boolean ownMaps = variants.contains(GateVariant.OWN_PROJECTION);
    this.gateQuery = ownMaps ? map(parameters, name + "gate_q") : Optional.empty();
    this.gateKey = ownMaps ? map(parameters, name + "gate_k") : Optional.empty();
    this.gateBias =
        variants.contains(GateVariant.HEAD_BIAS)
            ? Optional.of(parameters.get(name + "gate.bias"))
            : Optional.empty();
  }

  Output forward(Pass pass, Inputs in, Gates gates, Optional<KeyValueCache> cache) {
    int offset = cache.map(KeyValueCache::length).orElse(0);
    Var q = pass.at(sites.q, projected(pass, query, in.q(), sizes.heads()));
    Var k = pass.at(sites.k, projected(pass, key, in.k(), sizes.kvHeads()));
    Var v = pass.at(sites.v, projected(pass, value, in.v(), sizes.kvHeads()));
    if (queryNorm.isPresent()) {
      q = normed(pass, q, queryNorm.get(), sites.normQ);
    }
    if (keyNorm.isPresent()) {
      k = normed(pass, k, keyNorm.get(), sites.normK);
    }
    if (rotary.isPresent()) {
      q = pass.at(sites.rotQ, rotate(pass, q, rotary.get(), offset));
      k = pass.at(sites.rotK, rotate(pass, k, rotary.get(), offset));
    }
    if (cache.isPresent()) {
      KeyValueCache held = cache.get();
      k = pass.constant(held.extendKeys(Transformer.kernels(pass), layer, k.value()));
      v = pass.constant(held.extendValues(Transformer.kernels(pass), layer, v.value()));
    }
    AttentionSpec spec =
        new AttentionSpec(
            sizes.heads(),
            k.shape().length(2),
            sizes.headDim(),
            1 / Math.sqrt(sizes.headDim()),
            gates.of(layer),
            sizes.windowOrAll());
    // Noted in the cache whatever the gates: later tokens may be run with others.
    Optional<Read> ownRead = ownRead(pass, in, cache);
    boolean fused =
        !somebodyLooks(pass) && (variants.isEmpty() || spec.gate() instanceof Gate.Open);
    List<Var> attended =
        fused
            ? pass.applyAll(new Op.Attention(spec), q, k, v)
            : stepByStep(pass, spec, new Read(q, k), v, ownRead);
    Var z = pass.at(sites.z, attended.get(0));
    Var out = pass.wants(sites.result) ? sumOfResults(pass, z) : written(pass, z);
    return new Output(out, attended.get(1), attended.get(2));
  }

  private Var written(Pass pass, Var z) {
    Shape merged =
        Shape.of(z.shape().dim(0), z.shape().dim(1), (long) sizes.heads() * sizes.headDim());
    return output.forward(pass, pass.apply(new Op.Reshape(merged), z));
  }

  /** The same as {@link #written}, each head's share of it made and named. */
  private Var sumOfResults(Pass pass, Var z) {
    long batch = z.shape().dim(0);
    long time = z.shape().dim(1);
    int heads = sizes.heads();
    Var weight = weight(pass, output);
    long width = weight.shape().dim(0);
    Var split = pass.apply(new Op.Reshape(Shape.of(width, heads, sizes.headDim())), weight);
    Var maps = pass.apply(new Op.Permute(List.of(1, 2, 0)), split); // [heads, headDim, width]
    Var byHead = byHead(pass, z, heads);
    Var products = pass.apply(new Op.MatMul(Transpose.NO, Transpose.NO), byHead, maps);
    Var results = pass.at(sites.result, fromHeads(pass, products, batch, time));
    Var sum = pass.apply(new Op.Sum(Shape.of(batch, time, 1, width)), results);
    Var out = pass.apply(new Op.Reshape(Shape.of(batch, time, width)), sum);
    return output.bias().isPresent()
        ? pass.apply(new Op.Combine(Arithmetic.ADD), out, pass.param(output.bias().get()))
        : out;
  }

  /**
   * Projects what is read to [batch, time, heads, headDim]. Where each head reads a copy of its
   * own, there are as many heads as copies: copies for all query heads give key-value heads that no
   * two query heads share.
   */
  private Var projected(Pass pass, Transformer.Linear map, Var x, int heads) {
    Var y =
        x.shape().rank() == 3
            ? heads(pass, map.forward(pass, x), heads)
            : headByHead(pass, map, x, heads);
    return clipped(pass, y);
  }

  /** The same as one linear map for all heads where all copies are equal. */
  private Var headByHead(Pass pass, Transformer.Linear map, Var x, int heads) {
    long batch = x.shape().dim(0);
    long time = x.shape().dim(1);
    int copies = x.shape().length(2);
    int group = copies / heads; // copies that share a map lie side by side
    long width = x.shape().dim(3);
    Var weight = weight(pass, map);
    Var maps = pass.apply(new Op.Reshape(Shape.of(heads, sizes.headDim(), width)), weight);
    Shape rows = Shape.of(heads, group * batch * time, width);
    Var byHead = pass.apply(new Op.Reshape(rows), byHead(pass, x, copies));
    Var products = pass.apply(new Op.MatMul(Transpose.NO, Transpose.YES), byHead, maps);
    Shape each = Shape.of(copies, batch * time, sizes.headDim());
    Var y = fromHeads(pass, pass.apply(new Op.Reshape(each), products), batch, time);
    if (map.bias().isEmpty()) {
      return y;
    }
    Var bias =
        pass.apply(
            new Op.Reshape(Shape.of(heads, 1, sizes.headDim())), pass.param(map.bias().get()));
    Shape grouped = Shape.of(batch, time, heads, group, sizes.headDim());
    Var sum =
        pass.apply(new Op.Combine(Arithmetic.ADD), pass.apply(new Op.Reshape(grouped), y), bias);
    return pass.apply(new Op.Reshape(Shape.of(batch, time, copies, sizes.headDim())), sum);
  }

  /** A weight as a batch of matrices needs it: in the type of the call, its adapter added. */
  private static Var weight(Pass pass, Transformer.Linear map) {
    Var own = widened(pass, map.weight());
    return map.adapter().isPresent() ? map.adapter().get().ontoWeight(pass, own) : own;
  }

  private static Var widened(Pass pass, Param weight) {
    Var stored = pass.param(weight);
    if (weight.value().dtype().computes()) {
      return stored;
    }
    int rows = weight.value().shape().length(0);
    int[] all = IntStream.range(0, rows).toArray();
    Tensor numbers = Tensor.ofInts(pass.scope().memory(), Shape.of(rows), all);
    return pass.apply(new Op.Gather(), stored, pass.constant(numbers));
  }

  /** [batch, time, heads, n] as [heads, batch x time, n]. */
  private static Var byHead(Pass pass, Var x, int heads) {
    Var turned = pass.apply(new Op.Permute(List.of(2, 0, 1, 3)), x);
    long rows = x.shape().dim(0) * x.shape().dim(1);
    return pass.apply(new Op.Reshape(Shape.of(heads, rows, x.shape().dim(3))), turned);
  }

  /** [heads, batch x time, n] as [batch, time, heads, n]. */
  private static Var fromHeads(Pass pass, Var x, long batch, long time) {
    Shape split = Shape.of(x.shape().dim(0), batch, time, x.shape().dim(2));
    return pass.apply(new Op.Permute(List.of(1, 2, 0, 3)), pass.apply(new Op.Reshape(split), x));
  }

  private Optional<Transformer.Linear> map(Parameters parameters, String name) {
    return Optional.of(Transformer.Linear.of(parameters, name, sizes.bias()));
  }

  /** Queries and keys, both [batch, time, heads, headDim], ready to be multiplied. */
  private record Read(Var q, Var k) {}

  /** Queries and keys that only the gates read, made as the ordinary ones are. */
  private Optional<Read> ownRead(Pass pass, Inputs in, Optional<KeyValueCache> cache) {
    if (gateQuery.isEmpty() || gateKey.isEmpty()) {
      return Optional.empty();
    }
    int offset = cache.map(KeyValueCache::length).orElse(0);
    Var q = projected(pass, gateQuery.get(), in.q(), sizes.heads());
    Var k = projected(pass, gateKey.get(), in.k(), sizes.kvHeads());
    if (queryNorm.isPresent()) {
      q = normed(pass, q, queryNorm.get(), sites.gateNormQ);
    }
    if (keyNorm.isPresent()) {
      k = normed(pass, k, keyNorm.get(), sites.gateNormK);
    }
    if (rotary.isPresent()) {
      q = rotate(pass, q, rotary.get(), offset);
      k = rotate(pass, k, rotary.get(), offset);
    }
    if (cache.isPresent()) {
      Tensor all = cache.get().extendGateKeys(Transformer.kernels(pass), layer, k.value());
      k = pass.constant(all);
    }
    return Optional.of(new Read(q, k));
  }

  private boolean somebodyLooks(Pass pass) {
    return pass.wants(sites.scores)
        || pass.wants(sites.gateLogits)
        || pass.wants(sites.gate)
        || pass.wants(sites.pattern);
  }

  /** [batch, time, heads x headDim] as [batch, time, heads, headDim]. */
  private Var heads(Pass pass, Var x, int heads) {
    return pass.apply(
        new Op.Reshape(Shape.of(x.shape().dim(0), x.shape().dim(1), heads, sizes.headDim())), x);
  }

  private static Optional<Norm> norm(Parameters parameters, String name, double epsilon) {
    return Optional.of(new Norm.Rms(epsilon, parameters.get(name + ".weight")));
  }

  private Var clipped(Pass pass, Var x) {
    return sizes.clip().isPresent() ? pass.apply(new Op.Clip(sizes.clip().getAsDouble()), x) : x;
  }

  /** [batch, time, heads, headDim], normed head by head or all heads as one vector. */
  private Var normed(Pass pass, Var x, Norm norm, Sites.Norm names) {
    return switch (sizes.qkNorm()) {
      case ABSENT -> x;
      case PER_HEAD -> norm.forward(pass, x, names);
      case WHOLE -> {
        Shape shape = x.shape();
        boolean keys = names == sites.normK;
        int kept = keys ? sizes.kvHeads() : sizes.heads();
        long group = shape.dim(2) / kept;
        if (group == 1) {
          Shape whole = Shape.of(shape.dim(0), shape.dim(1), kept * shape.dim(3));
          Var y = norm.forward(pass, pass.apply(new Op.Reshape(whole), x), names);
          yield pass.apply(new Op.Reshape(shape), y);
        }
        // Query heads have keys of their own: the first of each group are one vector, and so on.
        Shape grouped = Shape.of(shape.dim(0), shape.dim(1), kept, group, shape.dim(3));
        Shape whole = Shape.of(shape.dim(0), shape.dim(1), group, kept * shape.dim(3));
        Op swap = Op.exchange(5, 2, 3);
        Var turned = pass.apply(swap, pass.apply(new Op.Reshape(grouped), x));
        Var y = norm.forward(pass, pass.apply(new Op.Reshape(whole), turned), names);
        Shape back = Shape.of(shape.dim(0), shape.dim(1), group, kept, shape.dim(3));
        yield pass.apply(
            new Op.Reshape(shape), pass.apply(swap, pass.apply(new Op.Reshape(back), y)));
      }
    };
  }

  private static Var rotate(Pass pass, Var x, Tables.Rotary table, int offset) {
    return pass.apply(
        new Op.Rotary(offset), x, pass.constant(table.cos()), pass.constant(table.sin()));
  }

  /** The formula of {@link Op.Attention}, every table made and named. */
  private List<Var> stepByStep(
      Pass pass, AttentionSpec spec, Read read, Var v, Optional<Read> gateRead) {
    long batch = read.q().shape().dim(0);
    long queries = read.q().shape().dim(1);
    long keys = read.k().shape().dim(1);
    long group = spec.heads() / spec.kvHeads();
    Op swap = Op.exchange(4, 1, 2);
    Shape groupedTable = Shape.of(batch, spec.kvHeads(), group * queries, keys);
    Var vs = pass.apply(swap, v);

    Var scores = pass.at(sites.scores, scores(pass, spec, read));
    Var pattern = pass.at(sites.pattern, pass.apply(new Op.Softmax(), scores));
    Var gateScores = gateRead.isPresent() ? scores(pass, spec, gateRead.get()) : scores;
    Var moved = plus(pass, gateScores, spec.gate().biasOrZero());
    Var logits = pass.at(sites.gateLogits, withHeadBias(pass, moved));
    Var gate = pass.at(sites.gate, pass.apply(new Op.Gating(spec.gate()), logits));
    Var open = pass.apply(new Op.Combine(Arithmetic.MULTIPLY), pattern, gate);
    Var kept = variants.contains(GateVariant.RENORMALISED) ? renormalised(pass, open) : open;

    Var mixed =
        pass.apply(
            new Op.MatMul(Transpose.NO, Transpose.NO),
            pass.apply(new Op.Reshape(groupedTable), kept),
            vs);
    Shape perHead = Shape.of(batch, spec.heads(), queries, spec.headDim());
    Var y = pass.apply(swap, pass.apply(new Op.Reshape(perHead), mixed));
    return List.of(y, expected(pass, spec, logits), counts(pass, spec, logits.value()));
  }

  private Var withHeadBias(Pass pass, Var logits) {
    if (gateBias.isEmpty()) {
      return logits;
    }
    Var byHead =
        pass.apply(new Op.Reshape(Shape.of(sizes.heads(), 1, 1)), pass.param(gateBias.get()));
    return pass.apply(new Op.Combine(Arithmetic.ADD), logits, byHead);
  }

  /** Rows divided by their sums; a row of zeros by 1, so that nothing is divided by 0. */
  private static Var renormalised(Pass pass, Var open) {
    Shape table = open.shape();
    Shape rows = Shape.of(table.dim(0), table.dim(1), table.dim(2), 1);
    Var mass = pass.apply(new Op.Sum(rows), open);
    // Constants: whether a row is empty is not differentiated. A gate's table has no more queries
    // than keys, so sums of rows stand as the keys of one query.
    Shape line = Shape.of(table.dim(0), table.dim(1), 1, table.dim(2));
    Var found = pass.apply(new Op.Reshape(line), pass.constant(mass.value()));
    Var some = pass.apply(new Op.Gating(new Gate.Hard(0)), found);
    Var empty = pass.apply(new Op.Reshape(rows), plus(pass, pass.apply(new Op.Scale(-1), some), 1));
    return pass.apply(
        new Op.Combine(Arithmetic.DIVIDE),
        open,
        pass.apply(new Op.Combine(Arithmetic.ADD), mass, empty));
  }

  /** Scores [batch, heads, query, key], minus infinity where a query may not see a key. */
  private static Var scores(Pass pass, AttentionSpec spec, Read read) {
    long batch = read.q().shape().dim(0);
    long queries = read.q().shape().dim(1);
    long keys = read.k().shape().dim(1);
    long group = spec.heads() / spec.kvHeads();
    // Query heads that share a key head lie side by side: [batch, kvHeads, group x query, headDim].
    Shape grouped = Shape.of(batch, spec.kvHeads(), group * queries, spec.headDim());
    Shape table = Shape.of(batch, spec.heads(), queries, keys);
    Op swap = Op.exchange(4, 1, 2);
    Var qs = pass.apply(new Op.Reshape(grouped), pass.apply(swap, read.q()));
    Var ks = pass.apply(swap, read.k());
    Var products = pass.apply(new Op.MatMul(Transpose.NO, Transpose.YES), qs, ks);
    Var scaled =
        pass.apply(new Op.Scale(spec.scale()), pass.apply(new Op.Reshape(table), products));
    return pass.apply(new Op.CausalMask(spec.window(), Double.NEGATIVE_INFINITY), scaled);
  }

  private static Var plus(Pass pass, Var x, double number) {
    if (number == 0) {
      return x;
    }
    Tensor constant = pass.scope().make(Shape.of(), x.value().dtype());
    pass.scope().kernels().fill(constant, number);
    return pass.apply(new Op.Combine(Arithmetic.ADD), x, pass.constant(constant));
  }

  /** Mean sigmoid of the gate logits over causal pairs; masked logits are minus infinity, so 0. */
  private static Var expected(Pass pass, AttentionSpec spec, Var logits) {
    Shape heads = Shape.of(logits.shape().dim(0), logits.shape().dim(1));
    if (spec.gate() instanceof Gate.Open) {
      Tensor ones = pass.scope().make(heads, logits.value().dtype());
      pass.scope().kernels().fill(ones, 1);
      return pass.constant(ones);
    }
    long pairs = spec.pairs(logits.shape().dim(2), logits.shape().dim(3));
    Var open = pass.apply(new Op.Map(Elementwise.SIGMOID), logits);
    Var masked = pass.apply(new Op.CausalMask(spec.window(), 0), open);
    Shape kept = Shape.of(heads.dim(0), heads.dim(1), 1, 1);
    Var sum = pass.apply(new Op.Reshape(heads), pass.apply(new Op.Sum(kept), masked));
    return pass.apply(new Op.Scale(1.0 / pairs), sum);
  }

  /** Counts as the kernel does, from the table of gate logits. */
  private static Var counts(Pass pass, AttentionSpec spec, Tensor logits) {
    int rows = Math.toIntExact(logits.shape().dim(0) * logits.shape().dim(1));
    int queries = logits.shape().length(2);
    int keys = logits.shape().length(3);
    double[] counts = new double[rows * AttentionSpec.COUNTS];
    for (int row = 0; row < rows; row++) {
      int at = row * AttentionSpec.COUNTS;
      for (int i = 0; i < queries; i++) {
        int position = keys - queries + i;
        int open = 0;
        for (int j = spec.firstKey(position); j <= position; j++) {
          boolean isOpen =
              spec.gate() instanceof Gate.Open
                  || logits.get(((long) row * queries + i) * keys + j) > 0;
          if (isOpen) {
            open++;
            counts[at + AttentionSpec.FIRST] += j == 0 ? 1 : 0;
            counts[at + AttentionSpec.DIAGONAL] += j == position ? 1 : 0;
          }
        }
        counts[at + AttentionSpec.OPEN] += open;
        counts[at + AttentionSpec.EMPTY_ROWS] += open == 0 ? 1 : 0;
      }
    }
    Shape shape = Shape.of(logits.shape().dim(0), logits.shape().dim(1), AttentionSpec.COUNTS);
    return pass.constant(Tensor.of(pass.scope().memory(), DType.F64, shape, counts));
  }
}
