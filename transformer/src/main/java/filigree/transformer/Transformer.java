package filigree.transformer;

import filigree.autograd.Op;
import filigree.autograd.Param;
import filigree.autograd.Pass;
import filigree.autograd.Site;
import filigree.autograd.Var;
import filigree.tensor.Arithmetic;
import filigree.tensor.Kernels;
import filigree.tensor.Memory;
import filigree.tensor.Shape;
import filigree.tensor.ShapeSpec;
import filigree.tensor.Tensor;
import filigree.tensor.Transpose;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * A decoder-only transformer: embedding, blocks, norm, head. One model for all families; a {@link
 * ModelConfig} says what its parts are.
 */
public final class Transformer {
  /** Which positions get logits. */
  public enum Logits {
    /** Every position. */
    ALL,
    /** The last position only, which is all that generation needs. */
    LAST
  }

  /**
   * What a forward run returns.
   *
   * @param logits [batch, time, vocabulary], time being 1 for {@link Logits#LAST}
   * @param expected per layer, the expected density [batch, heads]: mean sigmoid of the gate logits
   *     over causal pairs; differentiable; 1 for dense gates
   * @param counts per layer, F64 [batch, heads, {@value filigree.tensor.AttentionSpec#COUNTS}], see
   *     {@link filigree.tensor.AttentionSpec}
   */
  public record Output(Var logits, List<Var> expected, List<Var> counts) {
    /**
     * Averages the expected density over layers, batch and heads: the statistic S of the objective.
     *
     * @param pass the pass that computed this output
     * @return a differentiable scalar between 0 and 1
     */
    public Var density(Pass pass) {
      return meanOf(pass, expected);
    }
  }

  /**
   * What a run returns that scores tokens.
   *
   * @param losses [batch x time] nats, 0 where not scored
   * @param expected as in {@link Output}
   * @param counts as in {@link Output}
   */
  public record Scored(Var losses, List<Var> expected, List<Var> counts) {
    /**
     * Averages the expected density, as {@link Output#density} does.
     *
     * @param pass the pass that computed this
     * @return a differentiable scalar between 0 and 1
     */
    public Var density(Pass pass) {
      return meanOf(pass, expected);
    }
  }

  private static Var meanOf(Pass pass, List<Var> expected) {
    Var sum = pass.apply(new Op.Sum(Shape.of()), expected.getFirst());
    for (Var layer : expected.subList(1, expected.size())) {
      sum =
          pass.apply(
              new Op.Combine(Arithmetic.ADD), sum, pass.apply(new Op.Sum(Shape.of()), layer));
    }
    double count = (double) expected.size() * expected.getFirst().shape().size();
    return pass.apply(new Op.Scale(1 / count), sum);
  }

  private final ModelConfig config;
  private final Parameters parameters;
  private final Sites sites;
  private final List<Block> blocks = new ArrayList<>();
  private final Tables tables;
  private final Norm norm;

  /**
   * Assembles a model.
   *
   * @param config its description
   * @param parameters its weights; matrices may be stored in 16 bits
   * @param memory owns the tables that the model makes (rotary angles, ones and zeros)
   */
  public Transformer(ModelConfig config, Parameters parameters, Memory memory) {
    this.config = config;
    this.parameters = parameters;
    this.sites = new Sites(config.sizes().layers());
    this.tables = Tables.of(config, parameters.computing(), memory);
    for (int layer = 0; layer < config.sizes().layers(); layer++) {
      blocks.add(new Block(config, parameters, sites.blocks.get(layer), layer, tables));
    }
    this.norm = Norm.of(config.norm(), parameters, "norm", tables);
  }

  /**
   * Returns the description.
   *
   * @return the configuration
   */
  public ModelConfig config() {
    return config;
  }

  /**
   * Returns the weights.
   *
   * @return the parameters
   */
  public Parameters parameters() {
    return parameters;
  }

  /**
   * Lists the names under which a tap can see values of this model.
   *
   * @return sites in the order in which a forward run passes them
   */
  public List<Site> sites() {
    return sites.all(config);
  }

  /**
   * Runs the model on whole sequences.
   *
   * @param pass the pass
   * @param ids I32 [batch, time]
   * @param gates how attention is gated
   * @return logits for every position, and densities
   */
  public Output forward(Pass pass, Tensor ids, Gates gates) {
    return forward(pass, ids, gates, Recompute.NOTHING);
  }

  /**
   * Runs the model on whole sequences, keeping less for the backward pass.
   *
   * @param pass the pass
   * @param ids I32 [batch, time]
   * @param gates how attention is gated; noise is the same when it is drawn again
   * @param recompute what is not kept
   * @return logits for every position, and densities
   */
  public Output forward(Pass pass, Tensor ids, Gates gates, Recompute recompute) {
    return run(pass, ids, gates, Optional.empty(), Logits.ALL, recompute);
  }

  /**
   * Runs the rest of the model on whole sequences, from a block on: what comes before is not
   * computed again where it is known.
   *
   * @param pass the pass
   * @param residual [batch, time, width]: what {@code hook_resid_pre} of the block held
   * @param layer the block to begin with
   * @param gates how attention is gated
   * @return logits for every position, and densities of the blocks that were run
   * @throws ModelException where there is no such block
   */
  public Output forwardFrom(Pass pass, Var residual, int layer, Gates gates) {
    if (layer < 0 || layer >= blocks.size()) {
      throw new ModelException(
          "a run is to begin at block %d of a model of %d blocks".formatted(layer, blocks.size()));
    }
    ShapeSpec.check("transformer").that("residual", residual.value(), "batch time width");
    Pass.Mark start = pass.mark();
    Trunk trunk =
        through(
            pass,
            start,
            residual,
            blocks.subList(layer, blocks.size()),
            (block, x) -> block.forward(pass, x, gates, Optional.empty()));
    Var hidden = norm.forward(pass, trunk.hidden(), sites.norm);
    return new Output(logits(pass, hidden), trunk.expected(), trunk.counts());
  }

  /**
   * Runs the model on whole sequences and scores what follows each token, without all logits in
   * memory at once where they are more than the plan says.
   *
   * @param pass the pass
   * @param batch sequences and what is to be predicted
   * @param gates how attention is gated
   * @param plan what is kept and what is computed again
   * @return losses for every position, and densities
   */
  public Scored score(Pass pass, Batch batch, Gates gates, MemoryPlan plan) {
    Trunk trunk = trunk(pass, batch.ids(), gates, Optional.empty(), Logits.ALL, plan.recompute());
    Var hidden = trunk.hidden();
    long rows = hidden.shape().rows();
    long atOnce = plan.rowsAtOnce(config.sizes().vocabulary());
    Var losses;
    if (rows <= atOnce || pass.wants(sites.logits)) {
      losses = losses(pass, logits(pass, hidden), batch.targets());
    } else {
      Var head = head(pass);
      Op.HeadCrossEntropy.Order order =
          hidden.differentiable() && !head.differentiable()
              ? Op.HeadCrossEntropy.Order.FORWARD
              : Op.HeadCrossEntropy.Order.BACKWARD;
      Tensor targets = batch.targets();
      losses =
          pass.apply(
              new Op.HeadCrossEntropy(atOnce, order),
              rows(pass, hidden),
              head,
              pass.constant(targets.reshape(Shape.of(targets.size()))));
    }
    return new Scored(losses, trunk.expected(), trunk.counts());
  }

  /**
   * Runs the model on the next tokens of one sequence.
   *
   * @param pass an inference pass
   * @param ids I32 [1, new tokens]
   * @param gates how attention is gated
   * @param cache what came before; extended by these tokens
   * @return logits for the last position, and densities
   */
  public Output next(Pass pass, Tensor ids, Gates gates, KeyValueCache cache) {
    Output out = run(pass, ids, gates, Optional.of(cache), Logits.LAST, Recompute.NOTHING);
    cache.advance(ids.shape().length(1));
    return out;
  }

  private Output run(
      Pass pass,
      Tensor ids,
      Gates gates,
      Optional<KeyValueCache> cache,
      Logits wanted,
      Recompute recompute) {
    Trunk trunk = trunk(pass, ids, gates, cache, wanted, recompute);
    return new Output(logits(pass, trunk.hidden()), trunk.expected(), trunk.counts());
  }

  private Var logits(Pass pass, Var hidden) {
    Var logits = pass.apply(new Op.Linear(Transpose.YES), hidden, head(pass));
    return pass.at(sites.logits, logits);
  }

  private Var head(Pass pass) {
    return pass.param(
        parameters.get(config.head() == ModelConfig.Head.TIED ? "embed.weight" : "head.weight"));
  }

  /**
   * Everything before the head.
   *
   * @param hidden [batch, time, width], normed
   */
  private record Trunk(Var hidden, List<Var> expected, List<Var> counts) {}

  private Trunk trunk(
      Pass pass,
      Tensor ids,
      Gates gates,
      Optional<KeyValueCache> cache,
      Logits wanted,
      Recompute recompute) {
    ShapeSpec.check("transformer").that("ids", ids, "batch time");
    int offset = cache.map(KeyValueCache::length).orElse(0);
    int time = ids.shape().length(1);
    if (offset + time > config.sizes().context()) {
      throw new ModelException(
          "a sequence of %d tokens is longer than the model's context of %d; use a shorter --context"
              .formatted(offset + time, config.sizes().context()));
    }
    if (time == 0) {
      throw new ModelException("an empty sequence has no logits; give at least one token");
    }
    Pass.Mark start = pass.mark();
    Var embedding = pass.param(parameters.get("embed.weight"));
    Var x = pass.at(sites.embed, pass.apply(new Op.Gather(), embedding, pass.constant(ids)));
    if (config.positions() instanceof ModelConfig.Positions.Learned) {
      Var table = pass.param(parameters.get("positions.weight"));
      // Not a slice, which would keep the type that the table is stored in.
      Var numbers = pass.constant(tables.numbers().rows(offset, offset + time));
      Var rows = pass.apply(new Op.Gather(), table, numbers);
      x = pass.apply(new Op.Combine(Arithmetic.ADD), x, pass.at(sites.positions, rows));
    }
    Trunk trunk =
        through(
            pass,
            start,
            x,
            blocks,
            (block, in) ->
                switch (recompute) {
                  case NOTHING -> block.forward(pass, in, gates, cache);
                  case BLOCKS -> recomputed(block, pass, in, gates);
                });
    x = trunk.hidden();
    if (wanted == Logits.LAST && time > 1) {
      x = pass.apply(new Op.Slice(1, time - 1, time), x);
    }
    return new Trunk(norm.forward(pass, x, sites.norm), trunk.expected(), trunk.counts());
  }

  /** How one block is run. */
  private interface BlockRun {
    Block.Output run(Block block, Var x);
  }

  /** The residual stream behind some blocks, not normed; of what they computed no more is kept. */
  private static Trunk through(
      Pass pass, Pass.Mark start, Var residual, List<Block> some, BlockRun run) {
    Var x = residual;
    List<Var> expected = new ArrayList<>();
    List<Var> counts = new ArrayList<>();
    for (Block block : some) {
      Block.Output out = run.run(block, x);
      x = out.residual();
      expected.add(out.expected());
      counts.add(out.counts());
      pass.keepOnly(start, Stream.of(List.of(x), expected, counts).flatMap(List::stream).toList());
    }
    return new Trunk(x, expected, counts);
  }

  private static Block.Output recomputed(Block block, Pass pass, Var x, Gates gates) {
    List<Var> out =
        pass.recomputed(
            (inner, in) -> {
              Block.Output made = block.forward(inner, in.getFirst(), gates, Optional.empty());
              return List.of(made.residual(), made.expected(), made.counts());
            },
            x);
    return new Block.Output(out.get(0), out.get(1), out.get(2));
  }

  /**
   * Mean cross-entropy.
   *
   * @param pass the pass that computed the logits
   * @param logits [batch, time, vocabulary]
   * @param batch what was to be predicted
   * @return a scalar, in nats per scored token
   * @throws ModelException where nothing is scored
   */
  public static Var loss(Pass pass, Var logits, Batch batch) {
    return mean(pass, losses(pass, logits, batch.targets()), batch);
  }

  /**
   * Averages losses.
   *
   * @param pass the pass that computed them
   * @param losses [batch x time] nats, such as {@link Scored#losses}
   * @param batch what was to be predicted
   * @return a scalar, in nats per scored token
   * @throws ModelException where nothing is scored
   */
  public static Var mean(Pass pass, Var losses, Batch batch) {
    if (batch.scored() == 0) {
      throw new ModelException("no token of this batch is scored; give sequences of two or more");
    }
    return pass.apply(
        new Op.Scale(1.0 / batch.scored()), pass.apply(new Op.Sum(Shape.of()), losses));
  }

  /**
   * Cross-entropy, position by position.
   *
   * @param pass the pass that computed the logits
   * @param logits [batch, time, vocabulary]
   * @param targets I32 [batch, time]: the token that follows each position, -1 where not scored
   * @return [batch x time] nats, 0 where not scored
   */
  public static Var losses(Pass pass, Var logits, Tensor targets) {
    return pass.apply(
        new Op.CrossEntropy(),
        rows(pass, logits),
        pass.constant(targets.reshape(Shape.of(targets.size()))));
  }

  /**
   * Views logits as one row per position.
   *
   * @param pass the pass
   * @param logits [batch, time, vocabulary], or other vectors
   * @return [batch x time, vocabulary]
   */
  public static Var rows(Pass pass, Var logits) {
    return pass.apply(
        new Op.Reshape(Shape.of(logits.shape().rows(), logits.shape().dim(-1))), logits);
  }

  /** A linear map: weight [out, in] and, where the model has them, a bias and an adapter. */
  record Linear(Param weight, Optional<Param> bias, Optional<Adapter> adapter) {
    static Linear of(Parameters parameters, String name, ModelConfig.Bias bias) {
      return new Linear(
          parameters.get(name + ".weight"),
          bias == ModelConfig.Bias.PRESENT
              ? Optional.of(parameters.get(name + ".bias"))
              : Optional.empty(),
          parameters.adapter(name + ".weight"));
    }

    Var forward(Pass pass, Var x) {
      Op map = new Op.Linear(Transpose.YES);
      Var y =
          bias.isPresent()
              ? pass.apply(map, x, pass.param(weight), pass.param(bias.get()))
              : pass.apply(map, x, pass.param(weight));
      return adapter.isPresent() ? adapter.get().onto(pass, y, x) : y;
    }
  }

  /** Runs a kernel on a value that no gradient flows through. */
  static Kernels kernels(Pass pass) {
    return pass.scope().kernels();
  }
}
