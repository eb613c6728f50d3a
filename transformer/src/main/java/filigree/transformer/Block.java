package filigree.transformer;

import filigree.autograd.Op;
import filigree.autograd.Pass;
import filigree.autograd.Var;
import filigree.tensor.Arithmetic;
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
        Var read = norm1.forward(pass, before, sites.norm1);
        AttentionLayer.Output attended = attention.forward(pass, read, gates, cache);
        Var middle = middle(pass, before, pass.at(sites.attnOut, attended.out()));
        Var written = mlp(pass, norm2.forward(pass, middle, sites.norm2));
        yield output(pass, middle, pass.at(sites.mlpOut, written), attended);
      }
      case POST_NORM -> {
        AttentionLayer.Output attended = attention.forward(pass, before, gates, cache);
        Var raw = pass.at(sites.attnWritten, attended.out());
        Var normed = norm1.forward(pass, raw, sites.norm1);
        Var middle = middle(pass, before, pass.at(sites.attnOut, normed));
        Var rawMlp = pass.at(sites.mlpWritten, mlp(pass, middle));
        Var written = norm2.forward(pass, rawMlp, sites.norm2);
        yield output(pass, middle, pass.at(sites.mlpOut, written), attended);
      }
      case PARALLEL -> {
        Var read = norm1.forward(pass, before, sites.norm1);
        AttentionLayer.Output attended = attention.forward(pass, read, gates, cache);
        Var middle = add(pass, before, pass.at(sites.attnOut, attended.out()));
        Var written = mlp(pass, norm2.forward(pass, before, sites.norm2));
        yield output(pass, middle, pass.at(sites.mlpOut, written), attended);
      }
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
