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

  private final ModelConfig.Mlp mlp;
  private final Sites.Block sites;
  private final Transformer.Norm norm1;
  private final AttentionLayer attention;
  private final Transformer.Norm norm2;
  private final Optional<Transformer.Linear> gate;
  private final Transformer.Linear up;
  private final Transformer.Linear down;

  Block(
      ModelConfig config,
      Parameters parameters,
      Sites.Block sites,
      int layer,
      Optional<Transformer.RotaryTable> rotary) {
    String name = "blocks." + layer + ".";
    this.mlp = config.mlp();
    this.sites = sites;
    this.norm1 = Transformer.Norm.of(config, parameters, name + "norm1");
    this.attention = new AttentionLayer(config, parameters, sites, layer, rotary);
    this.norm2 = Transformer.Norm.of(config, parameters, name + "norm2");
    this.gate =
        mlp.kind() == ModelConfig.MlpKind.GATED
            ? Optional.of(Transformer.Linear.of(parameters, name + "mlp.gate", mlp.bias()))
            : Optional.empty();
    this.up = Transformer.Linear.of(parameters, name + "mlp.up", mlp.bias());
    this.down = Transformer.Linear.of(parameters, name + "mlp.down", mlp.bias());
  }

  Output forward(Pass pass, Var x, Gates gates, Optional<KeyValueCache> cache) {
    Var before = pass.at(sites.residPre, x);
    Var normalized = pass.at(sites.normalized1, norm1.forward(pass, before));
    AttentionLayer.Output attended = attention.forward(pass, normalized, gates, cache);
    Var middle = pass.at(sites.residMid, add(pass, before, attended.out()));
    Var inner = pass.at(sites.normalized2, norm2.forward(pass, middle));
    Var after = pass.at(sites.residPost, add(pass, middle, mlp(pass, inner)));
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
    return pass.at(sites.mlpOut, down.forward(pass, pass.at(sites.post, post)));
  }

  private static Var add(Pass pass, Var a, Var b) {
    return pass.apply(new Op.Combine(Arithmetic.ADD), a, b);
  }
}
