package filigree.transformer;

import filigree.autograd.Pass;
import filigree.autograd.Var;
import filigree.tensor.AttentionSpec;
import filigree.tensor.Kernels;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import java.util.ArrayList;
import java.util.List;
import java.util.function.LongConsumer;

/**
 * Loss and edges of a model on text, counted over all windows and divided once.
 *
 * @param ce mean cross-entropy, nats per scored token
 * @param tokens scored tokens
 * @param density open gates (without noise) / causal pairs, over all layers, heads and windows
 * @param expectedDensity the same with sigmoid of the gate logits
 * @param edgesPerQuery open gates / (queries x layers x heads)
 * @param emptyRows query rows all of whose gates are closed, over all layers, heads and windows
 * @param firstShare share of the open gates that lead to position 0
 * @param diagonalShare share of the open gates that lead from a position to itself
 * @param edgesPerQueryByHead edgesPerQuery of each layer and head
 */
public record Evaluation(
    double ce,
    long tokens,
    double density,
    double expectedDensity,
    double edgesPerQuery,
    long emptyRows,
    double firstShare,
    double diagonalShare,
    List<List<Double>> edgesPerQueryByHead) {

  /**
   * Counts dead heads: those none of whose gates was open at any query of the text, so that they
   * wrote nothing but the bias of the output map.
   *
   * @return from 0 to layers x heads
   */
  public int deadHeads() {
    return Math.toIntExact(
        edgesPerQueryByHead.stream()
            .flatMap(List::stream)
            .filter(edges -> edges.doubleValue() == 0)
            .count());
  }

  /** Adds up what runs report. */
  public static final class Counter {
    private final ModelConfig.Attention attention;
    private final double[][] openByHead;
    private double nats;
    private long tokens;
    private double pairs;
    private double expected;
    private double queries;
    private double empty;
    private double first;
    private double diagonal;

    /**
     * Starts at zero.
     *
     * @param config the model
     */
    public Counter(ModelConfig config) {
      attention = config.attention();
      openByHead = new double[config.sizes().layers()][config.attention().heads()];
    }

    /**
     * Adds losses.
     *
     * @param losses nats, one per position; 0 where not scored
     * @param scored scored positions
     */
    public void addLosses(Tensor losses, long scored) {
      for (long i = 0; i < losses.size(); i++) {
        nats += losses.get(i);
      }
      tokens += scored;
    }

    /**
     * Adds the densities of one forward run.
     *
     * @param output the run
     * @param batch sequences
     * @param time tokens of each
     */
    public void addEdges(Transformer.Scored output, long batch, long time) {
      long pairsPerHead = attention.pairs(time);
      for (int layer = 0; layer < openByHead.length; layer++) {
        Tensor counts = output.counts().get(layer).value();
        Tensor shares = output.expected().get(layer).value();
        int heads = openByHead[layer].length;
        for (int row = 0; row < batch * heads; row++) {
          long at = (long) row * AttentionSpec.COUNTS;
          openByHead[layer][row % heads] += counts.get(at + AttentionSpec.OPEN);
          empty += counts.get(at + AttentionSpec.EMPTY_ROWS);
          first += counts.get(at + AttentionSpec.FIRST);
          diagonal += counts.get(at + AttentionSpec.DIAGONAL);
          expected += shares.get(row) * pairsPerHead;
          pairs += pairsPerHead;
        }
      }
      queries += (double) batch * time;
    }

    /**
     * Divides.
     *
     * @return the measures; a density of 0 / 0 is NaN
     */
    public Evaluation result() {
      int layers = openByHead.length;
      int heads = openByHead[0].length;
      double open = 0;
      List<List<Double>> perHead = new ArrayList<>();
      for (int layer = 0; layer < layers; layer++) {
        List<Double> row = new ArrayList<>();
        for (int head = 0; head < heads; head++) {
          open += openByHead[layer][head];
          row.add(openByHead[layer][head] / queries);
        }
        perHead.add(List.copyOf(row));
      }
      double rows = queries * layers * heads;
      return new Evaluation(
          nats / tokens,
          tokens,
          open / pairs,
          expected / pairs,
          open / rows,
          Math.round(empty),
          first / open,
          diagonal / open,
          perHead);
    }
  }

  /**
   * Measures a model.
   *
   * @param model the model
   * @param batches the text, such as {@link Windows#batches}
   * @param gates how attention is gated
   * @param run kernels, memory and who is told the scored tokens so far
   * @return the measures
   * @throws ModelException where no token is scored
   */
  public static Evaluation of(Transformer model, List<Batch.Maker> batches, Gates gates, Run run) {
    return of(new Subject(model, gates), batches, run);
  }

  /**
   * Somebody who looks at the passes of a measurement, and may change what they compute.
   *
   * @see Pass#with
   */
  @FunctionalInterface
  public interface Observer {
    /**
     * Enters a pass.
     *
     * @param pass the pass of one batch
     * @param firstSequence how many sequences the batches before it held
     * @return the pass to be used
     */
    Pass enter(Pass pass, long firstSequence);
  }

  /**
   * A model as it is to be measured.
   *
   * @param model the model
   * @param gates how attention is gated
   * @param observer who looks
   */
  public record Subject(Transformer model, Gates gates, Observer observer) {
    /**
     * A model that nobody looks at.
     *
     * @param model the model
     * @param gates how attention is gated
     */
    public Subject(Transformer model, Gates gates) {
      this(model, gates, (pass, first) -> pass);
    }

    /** All logits [batch x time, vocabulary], computed in a pass that has yet to be entered. */
    Var logits(Pass pass, Batch batch, long firstSequence) {
      return logitsIn(observer.enter(pass, firstSequence), batch);
    }

    /** The same in a pass that the observer has entered. */
    Var logitsIn(Pass pass, Batch batch) {
      return Transformer.rows(pass, model.forward(pass, batch.ids(), gates).logits());
    }
  }

  /**
   * Measures a model.
   *
   * @param subject the model, its gates and who looks
   * @param batches the text, such as {@link Windows#batches}
   * @param run kernels, memory and who is told the scored tokens so far
   * @return the measures
   * @throws ModelException where no token is scored
   */
  public static Evaluation of(Subject subject, List<Batch.Maker> batches, Run run) {
    Transformer model = subject.model();
    Counter counter = new Counter(model.config());
    long sequences = 0;
    for (Batch.Maker maker : batches) {
      try (Pass started = Pass.inference(run.kernels(), run.workspace())) {
        Pass pass = subject.observer().enter(started, sequences);
        Batch batch = maker.make(run.workspace());
        sequences += batch.ids().shape().dim(0);
        Transformer.Scored output =
            model.score(pass, batch, subject.gates(), MemoryPlan.KEEP_BLOCKS);
        counter.addLosses(output.losses().value(), batch.scored());
        counter.addEdges(output, batch.ids().shape().dim(0), batch.ids().shape().dim(1));
      }
      run.progress().accept(counter.tokens);
    }
    if (counter.tokens == 0) {
      throw new ModelException(
          "no token is scored: every document is empty or a single token; use longer text");
    }
    return counter.result();
  }

  /**
   * What a measurement runs with.
   *
   * @param kernels the provider
   * @param workspace memory for its passes
   * @param progress told the number of scored tokens so far
   */
  public record Run(Kernels kernels, Workspace workspace, LongConsumer progress) {}
}
