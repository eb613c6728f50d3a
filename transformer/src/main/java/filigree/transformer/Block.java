package filigree.transformer;

import filigree.autograd.Op;
import filigree.autograd.Pass;
import filigree.autograd.Site;
import filigree.autograd.Var;
import filigree.tensor.Arithmetic;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import java.util.Optional;

/** One block: the residual stream plus attention, plus the MLP. */
final class Block {
  /**
   * What a block returns.
   *
   * @param residual [batch, time, width]
   * @param expected [batch, heads]
   * @param counts [batch, heads, 4]
   */
  record Output(Var residual, Var expected, Var counts) {}

  private final ModelConfig.Residual residual;
  private final ModelConfig.Attention sizes;
  private final ModelConfig.Mlp mlp;
  private final Sites.Block sites;
  private final Norm norm1;
  private final AttentionLayer attention;
  private final Norm norm2;
  private final Optional<Transformer.Linear> gate;
  private final Transformer.Linear up;
  private final Transformer.Linear down;

  Block(ModelConfig config, Parameters parameters, Sites.Block sites, int layer, Tables tables) {
    String name = "blocks." + layer + ".";
    this.residual = config.residual();
    this.sizes = config.attention();
    this.mlp = config.mlp();
    this.sites = sites;
    this.norm1 = Norm.of(config.norm(), parameters, name + "norm1", tables);
    this.attention = new AttentionLayer(config, parameters, sites, layer, tables);
    this.norm2 = Norm.of(config.norm(), parameters, name + "norm2", tables);
    this.gate =
        mlp.kind() == ModelConfig.MlpKind.GATED
            ? Optional.of(Transformer.Linear.of(parameters, name + "mlp.gate", mlp.bias()))
            : Optional.empty();
    this.up = Transformer.Linear.of(parameters, name + "mlp.up", mlp.bias());
    this.down = Transformer.Linear.of(parameters, name + "mlp.down", mlp.bias());
  }

  Output forward(Pass pass, Var x, Gates gates, Optional<KeyValueCache> cache) {
    Var before = pass.at(sites.residPre, x);
    return switch (residual) {
      case PRE_NORM -> {
        AttentionLayer.Output attended = attend(pass, before, gates, cache);
        Var middle = middle(pass, before, pass.at(sites.attnOut, attended.out()));
        Var written = mlp(pass, norm2.forward(pass, pass.at(sites.mlpIn, middle), sites.norm2));
        yield output(pass, middle, pass.at(sites.mlpOut, written), attended);
      }
      case POST_NORM -> {
        AttentionLayer.Output attended = attend(pass, before, gates, cache);
        Var raw = pass.at(sites.attnWritten, attended.out());
        Var normed = norm1.forward(pass, raw, sites.norm1);
        Var middle = middle(pass, before, pass.at(sites.attnOut, normed));
        Var rawMlp = pass.at(sites.mlpWritten, mlp(pass, pass.at(sites.mlpIn, middle)));
        Var written = norm2.forward(pass, rawMlp, sites.norm2);
        yield output(pass, middle, pass.at(sites.mlpOut, written), attended);
      }
      case PARALLEL -> {
        AttentionLayer.Output attended = attend(pass, before, gates, cache);
        Var middle = add(pass, before, pass.at(sites.attnOut, attended.out()));
        Var written = mlp(pass, norm2.forward(pass, pass.at(sites.mlpIn, before), sites.norm2));
        yield output(pass, middle, pass.at(sites.mlpOut, written), attended);
      }
    };
  }

  private AttentionLayer.Output attend(
      Pass pass, Var before, Gates gates, Optional<KeyValueCache> cache) {
    return attention.forward(pass, inputs(pass, before, cache), gates, cache);
  }

  /**
   * What queries, keys and values are computed from. Ordinarily one value; where somebody looks at
   * the inputs of single heads, each head gets a copy that is normed and projected on its own.
   */
  private AttentionLayer.Inputs inputs(Pass pass, Var before, Optional<KeyValueCache> cache) {
    boolean everyHead = pass.wants(sites.attnIn);
    if (!everyHead
        && !pass.wants(sites.qInput)
        && !pass.wants(sites.kInput)
        && !pass.wants(sites.vInput)) {
      Var read = read(pass, before);
      return new AttentionLayer.Inputs(read, read, read);
    }
    int heads = sizes.heads();
    int kvHeads = everyHead ? heads : sizes.kvHeads();
    if (kvHeads != sizes.kvHeads() && cache.isPresent()) {
      throw new ModelException(
          "%s gives each of %d heads keys of its own, and the cache has room for %d; look at whole sequences instead"
              .formatted(sites.attnIn, heads, sizes.kvHeads()));
    }
    Var shared = everyHead ? pass.at(sites.attnIn, copies(pass, before, heads)) : before;
    Var q = input(pass, sites.qInput, shared, heads);
    Var k = input(pass, sites.kInput, shared, kvHeads);
    Var v = input(pass, sites.vInput, shared, kvHeads);
    Var readQ = read(pass, q);
    Var readK = k == q ? readQ : read(pass, k);
    Var readV = v == q ? readQ : v == k ? readK : read(pass, v);
    return new AttentionLayer.Inputs(readQ, readK, readV);
  }

  /** One of the three inputs: copies of its own only where somebody looks. */
  private static Var input(Pass pass, Site site, Var shared, int heads) {
    if (!pass.wants(site)) {
      return shared;
    }
    return pass.at(site, shared.shape().rank() == 4 ? shared : copies(pass, shared, heads));
  }

  /** [batch, time, width] as [batch, time, heads, width], the same for every head. */
  private static Var copies(Pass pass, Var x, int heads) {
    Shape shape = x.shape();
    Tensor zeros = pass.make(Shape.of(heads, 1), x.value().dtype());
    pass.scope().kernels().fill(zeros, 0);
    Var one = pass.apply(new Op.Reshape(Shape.of(shape.dim(0), shape.dim(1), 1, shape.dim(2))), x);
    return pass.apply(new Op.Combine(Arithmetic.ADD), one, pass.constant(zeros));
  }

  private Var read(Pass pass, Var x) {
    return switch (residual) {
      case PRE_NORM, PARALLEL -> norm1.forward(pass, x, sites.norm1);
      case POST_NORM -> x;
    };
  }

  private Var middle(Pass pass, Var before, Var attended) {
    return pass.at(sites.residMid, add(pass, before, attended));
  }

  private Output output(Pass pass, Var middle, Var written, AttentionLayer.Output attended) {
    Var after = pass.at(sites.residPost, add(pass, middle, written));
    return new Output(after, attended.expected(), attended.counts());
  }

  private Var mlp(Pass pass, Var x) {
    Var post;
    if (gate.isPresent()) {
      Var pre = pass.at(sites.pre, gate.get().forward(pass, x));
      Var linear = pass.at(sites.preLinear, up.forward(pass, x));
      post =
          pass.apply(
              new Op.Combine(Arithmetic.MULTIPLY),
              pass.apply(new Op.Map(mlp.activation()), pre),
              linear);
    } else {
      Var pre = pass.at(sites.pre, up.forward(pass, x));
      post = pass.apply(new Op.Map(mlp.activation()), pre);
    }
    return down.forward(pass, pass.at(sites.post, post));
  }

  private static Var add(Pass pass, Var a, Var b) {
    return pass.apply(new Op.Combine(Arithmetic.ADD), a, b);
  }
}
