package filigree.interp.circuit;

import filigree.autograd.Op;
import filigree.autograd.Pass;
import filigree.autograd.Site;
import filigree.autograd.Tap;
import filigree.autograd.Var;
import filigree.interp.Recorder;
import filigree.interp.task.Contrast;
import filigree.tensor.Arithmetic;
import filigree.tensor.Kernels;
import filigree.tensor.Memory;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import filigree.transformer.Gates;
import filigree.transformer.ModelConfig;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.IntFunction;
import java.util.function.Supplier;

/**
 * One model on the prompts of one task: what all methods have in common. Prompts are run in batches
 * of one length; of each batch the clean and the corrupted run are kept while methods work on it,
 * and as long as the study where the memory has room. All numbers about prompts are in the order of
 * the task.
 *
 * <p>Not thread-safe.
 */
public final class Study implements AutoCloseable {
  /**
   * The metric of every prompt in the two runs that are compared.
   *
   * @param clean of the clean prompts
   * @param corrupted of the corrupted prompts
   */
  public record References(double[] clean, double[] corrupted) {}

  /** What a method does with one batch. */
  interface Body {
    void run(Pair pair);
  }

  /** Two slabs of short tensors. */
  private static final long SLACK = 16L << 20;

  private final Subject subject;
  private final List<Contrast> contrasts;
  private final Settings settings;
  private final Progress progress;
  private final Journal journal;
  private final List<PromptBatch> batches;
  private final Workspace lasting = new Workspace("circuit maps");
  private final Workspace cache = new Workspace("cached runs");
  private final Map<PromptBatch, Pair> cached = new LinkedHashMap<>();
  private final Workspace kept;
  private final Workspace scratch;
  private final List<Tensor> headMaps = new ArrayList<>();
  private final Map<Integer, Senders> meansByTime = new LinkedHashMap<>();
  private Optional<References> references = Optional.empty();

  /**
   * Begins.
   *
   * @param subject the model; it must outlive the study
   * @param contrasts the prompts of a task; their lengths may differ
   * @param settings how it is looked into
   * @param progress who is told how far a method is
   * @throws CircuitException where there is no prompt, or gates of another model are to decide
   *     again
   */
  public Study(Subject subject, List<Contrast> contrasts, Settings settings, Progress progress) {
    this(subject, contrasts, settings, progress, Journal.none());
  }

  /**
   * Begins, or goes on with what a journal remembers.
   *
   * @param subject the model; it must outlive the study
   * @param contrasts the prompts of a task; their lengths may differ
   * @param settings how it is looked into
   * @param progress who is told how far a method is
   * @param journal remembers what the runs of methods give
   * @throws CircuitException where there is no prompt, or gates of another model are to decide
   *     again
   */
  public Study(
      Subject subject,
      List<Contrast> contrasts,
      Settings settings,
      Progress progress,
      Journal journal) {
    if (contrasts.isEmpty()) {
      throw new CircuitException("a task without prompts has no circuit; give at least one");
    }
    if (subject.gateSource() instanceof GateSource.Of
        && settings.gateRule() == GateRule.DECIDE_AGAIN) {
      throw new CircuitException(
          "gates of another model cannot decide again in a patched run; freeze them from the clean"
              + " or the corrupted run");
    }
    this.subject = subject;
    this.contrasts = List.copyOf(contrasts);
    this.settings = settings;
    this.progress = progress;
    this.journal = journal;
    this.batches = PromptBatch.of(this.contrasts, settings.batchSize());
    this.kept = new Workspace("kept runs", settings.memoryBytes());
    this.scratch = new Workspace("circuit run", settings.memoryBytes());
  }

  /**
   * Returns the model.
   *
   * @return the subject
   */
  public Subject subject() {
    return subject;
  }

  /**
   * Returns the settings.
   *
   * @return how the model is looked into
   */
  public Settings settings() {
    return settings;
  }

  /**
   * Returns the prompts.
   *
   * @return in the order of the task
   */
  public List<Contrast> contrasts() {
    return contrasts;
  }

  /**
   * Measures both runs of every prompt.
   *
   * @return the metric
   */
  public References references() {
    if (references.isEmpty()) {
      double[] clean = new double[contrasts.size()];
      double[] corrupted = new double[contrasts.size()];
      forEach(
          pair -> {
            put(pair, values(pair, rows(pair.clean().logits())), clean);
            put(pair, values(pair, rows(pair.corrupted().logits())), corrupted);
          });
      references = Optional.of(new References(clean, corrupted));
    }
    References found = references.get();
    return new References(found.clean().clone(), found.corrupted().clone());
  }

  /** Runs a method batch by batch; what it keeps in {@link #kept} lives for one batch. */
  void forEach(Body body) {
    for (PromptBatch batch : batches) {
      kept.reset();
      body.run(pair(batch));
    }
    kept.reset();
  }

  /** Both runs of a batch: those of the first batches stay, as many as the memory has room for. */
  private Pair pair(PromptBatch batch) {
    Pair known = cached.get(batch);
    if (known != null) {
      return known;
    }
    boolean stays = bytes(batch) <= settings.memoryBytes() - cache.reservedBytes();
    Memory memory = stays ? cache : kept;
    Map<Site, Tensor> gates = frozenGates(batch, memory);
    Pair pair =
        new Pair(
            batch,
            record(batch, Contrast::clean, gates, memory),
            record(batch, Contrast::corrupted, gates, memory),
            gates);
    if (stays) {
      cached.put(batch, pair);
    }
    return pair;
  }

  /** What two runs of a batch take, slabs that are not full included. */
  private long bytes(PromptBatch batch) {
    ModelConfig.Sizes sizes = config().sizes();
    ModelConfig.Attention attention = config().attention();
    long tokens = (long) batch.size() * batch.time();
    long perToken = 2L * sizes.width() + (long) attention.heads() * attention.headDim();
    long gates = isFrozen() ? tokens * batch.time() * attention.heads() : 0;
    long numbers =
        sizes.layers() * (tokens * perToken + gates) + (long) batch.size() * sizes.vocabulary();
    return 2 * numbers * subject.model().parameters().computing().bytes() + SLACK;
  }

  int batchCount() {
    return batches.size();
  }

  int promptCount() {
    return contrasts.size();
  }

  void tell(long done, long all) {
    progress.at(done, all);
  }

  /** What a run of a method gives: whatever is worth to be remembered goes this way. */
  double[] remembered(Supplier<double[]> run) {
    return journal.recall(run);
  }

  Kernels kernels() {
    return subject.kernels();
  }

  ModelConfig config() {
    return subject.model().config();
  }

  Workspace kept() {
    return kept;
  }

  Workspace scratch() {
    return scratch;
  }

  // ---------------------------------------------------------------- runs

  private interface Side {
    int[] of(Contrast contrast);
  }

  private Recorded record(PromptBatch batch, Side side, Map<Site, Tensor> gates, Memory memory) {
    int layers = config().sizes().layers();
    List<Site> sites = new ArrayList<>();
    for (int layer = 0; layer < layers; layer++) {
      sites.add(Places.residual(layer));
      sites.add(Places.z(layer));
      sites.add(Places.mlpOutput(layer));
    }
    Recorder recorder = new Recorder(sites, memory);
    Tensor logits;
    try (Pass pass =
        Pass.inference(kernels(), scratch)
            .with(new Taps(List.of(new Replacement(gates), recorder)))) {
      Var all = subject.model().forward(pass, ids(batch, side), subject.gates()).logits();
      logits = atPositions(pass, all, batch).value().copy(memory);
    }
    List<Tensor> residuals = perLayer(layer -> recorder.at(Places.residual(layer)));
    Senders senders =
        new Senders(
            residuals.getFirst(),
            perLayer(layer -> recorder.at(Places.z(layer))),
            perLayer(layer -> recorder.at(Places.mlpOutput(layer))));
    return new Recorded(senders, residuals, logits);
  }

  private <T> List<T> perLayer(IntFunction<T> of) {
    List<T> out = new ArrayList<>();
    for (int layer = 0; layer < config().sizes().layers(); layer++) {
      out.add(of.apply(layer));
    }
    return out;
  }

  /** Own gates that never close are the same in every run. */
  private boolean isFrozen() {
    return switch (subject.gateSource()) {
      case GateSource.Of(Subject _) -> true;
      case GateSource.Own() ->
          settings.gateRule() != GateRule.DECIDE_AGAIN && !(subject.gates() instanceof Gates.Dense);
    };
  }

  /** The gates that all runs of a batch have; empty where they decide by themselves. */
  private Map<Site, Tensor> frozenGates(PromptBatch batch, Memory memory) {
    if (!isFrozen()) {
      return Map.of();
    }
    Side side =
        switch (settings.gateRule()) {
          case DECIDE_AGAIN, FROZEN_CLEAN -> Contrast::clean;
          case FROZEN_CORRUPTED -> Contrast::corrupted;
        };
    Subject decides =
        switch (subject.gateSource()) {
          case GateSource.Own() -> subject;
          case GateSource.Of(Subject other) -> other;
        };
    List<Site> sites = perLayer(Places::gate);
    Recorder recorder = new Recorder(sites, memory);
    try (Pass pass = Pass.inference(kernels(), scratch).with(recorder)) {
      var _ = decides.model().forward(pass, ids(batch, side), decides.gates());
    }
    Map<Site, Tensor> gates = new LinkedHashMap<>();
    sites.forEach(site -> gates.put(site, recorder.at(site)));
    return gates;
  }

  private Tensor ids(PromptBatch batch, Side side) {
    int time = batch.time();
    int[] all = new int[batch.size() * time];
    for (int row = 0; row < batch.size(); row++) {
      System.arraycopy(side.of(batch.contrasts().get(row)), 0, all, row * time, time);
    }
    return Tensor.ofInts(scratch, Shape.of(batch.size(), time), all);
  }

  /** [batch, time, vocabulary] as [batch, vocabulary] at the prompts' positions. */
  static Var atPositions(Pass pass, Var logits, PromptBatch batch) {
    int time = batch.time();
    int[] numbers = new int[batch.size()];
    for (int row = 0; row < numbers.length; row++) {
      numbers[row] = row * time + batch.contrasts().get(row).position();
    }
    Shape rows = Shape.of((long) batch.size() * time, logits.shape().dim(-1));
    Var flat = pass.apply(new Op.Reshape(rows), logits);
    Tensor which = Tensor.ofInts(pass.scope().memory(), Shape.of(numbers.length), numbers);
    return pass.apply(new Op.Gather(), flat, pass.constant(which));
  }

  /**
   * Where a run begins, and with what.
   *
   * @param layer the first block that is run
   * @param residual [batch, time, width] before it
   */
  record Start(int layer, Tensor residual) {
    static Start at(int layer, Recorded run) {
      return new Start(layer, run.residuals().get(layer));
    }
  }

  /**
   * Runs the model from a block on with taps, gates by the rule.
   *
   * @return the metric of every prompt of the batch
   */
  double[] run(Pair pair, Start start, List<Tap> taps) {
    try (Pass pass = tapped(Pass.inference(kernels(), scratch), pair, taps)) {
      Var all = logits(pass, pass.constant(start.residual()), start.layer());
      return values(pair, rows(atPositions(pass, all, pair.batch()).value()));
    }
  }

  /** The rest of the model behind a residual stream. */
  Var logits(Pass pass, Var residual, int layer) {
    return subject.model().forwardFrom(pass, residual, layer, subject.gates()).logits();
  }

  /** The pass with these taps and, where gates are frozen, the one that holds them. */
  Pass tapped(Pass pass, Pair pair, List<Tap> taps) {
    List<Tap> all = new ArrayList<>();
    if (!pair.gates().isEmpty()) {
      all.add(new Replacement(pair.gates()));
    }
    all.addAll(taps);
    return all.isEmpty() ? pass : pass.with(new Taps(all));
  }

  private static List<double[]> rows(Tensor logits) {
    List<double[]> out = new ArrayList<>();
    for (long row = 0; row < logits.shape().dim(0); row++) {
      out.add(logits.rows(row, row + 1).toDoubles());
    }
    return out;
  }

  private double[] values(Pair pair, List<double[]> logits) {
    List<double[]> clean = rows(pair.clean().logits());
    double[] out = new double[logits.size()];
    for (int row = 0; row < out.length; row++) {
      Contrast contrast = pair.batch().contrasts().get(row);
      out[row] = settings.metric().value(logits.get(row), clean.get(row), contrast);
    }
    return out;
  }

  /** The metric of a run of the pair. */
  double[] values(Pair pair, Recorded run) {
    return values(pair, rows(run.logits()));
  }

  /** Puts the numbers of a batch to their places among those of all prompts. */
  static void put(Pair pair, double[] values, double[] all) {
    for (int row = 0; row < values.length; row++) {
      all[pair.batch().prompts().get(row)] = values[row];
    }
  }

  // ---------------------------------------------------------------- what stands in for a sender

  /** What the senders outside of a circuit write instead, in {@link #kept}. */
  Senders ablated(Pair pair, Ablation ablation) {
    return switch (ablation) {
      case RESAMPLE -> pair.corrupted().senders();
      case MEAN -> {
        Senders mean = means(pair.batch().time());
        Senders like = pair.clean().senders();
        yield new Senders(
            spread(mean.input(), like.input()),
            perLayer(layer -> spread(mean.z().get(layer), like.z().get(layer))),
            perLayer(layer -> spread(mean.mlp().get(layer), like.mlp().get(layer))));
      }
      case ZERO -> {
        Senders like = pair.clean().senders();
        yield new Senders(
            zeros(like.input()),
            perLayer(layer -> zeros(like.z().get(layer))),
            perLayer(layer -> zeros(like.mlp().get(layer))));
      }
    };
  }

  private Tensor zeros(Tensor like) {
    Tensor out = kept.allocate(like.shape(), like.dtype());
    kernels().fill(out, 0);
    return out;
  }

  private Tensor spread(Tensor mean, Tensor like) {
    Tensor out = zeros(like);
    kernels().combine(Arithmetic.ADD, out, mean, out);
    return out;
  }

  /** Means over the prompts of a length, [1, time, ...]; computed before a method begins. */
  private Senders means(int time) {
    Senders found = meansByTime.get(time);
    if (found == null) {
      throw new IllegalStateException("means are computed by prepare(MEAN)");
    }
    return found;
  }

  /** Computes what an ablation needs of all prompts. */
  void prepare(Ablation ablation) {
    switch (ablation) {
      case RESAMPLE, ZERO -> {}
      case MEAN -> {
        if (meansByTime.isEmpty()) {
          computeMeans();
        }
      }
    }
  }

  private void computeMeans() {
    Map<Integer, Integer> counts = new LinkedHashMap<>();
    forEach(
        pair -> {
          int time = pair.batch().time();
          Senders like = pair.clean().senders();
          Senders sums =
              meansByTime.computeIfAbsent(
                  time,
                  t ->
                      new Senders(
                          emptyMean(like.input()),
                          perLayer(layer -> emptyMean(like.z().get(layer))),
                          perLayer(layer -> emptyMean(like.mlp().get(layer)))));
          counts.merge(time, 2 * pair.batch().size(), Integer::sum);
          for (Recorded run : List.of(pair.clean(), pair.corrupted())) {
            addTo(sums.input(), run.senders().input());
            for (int layer = 0; layer < sums.z().size(); layer++) {
              addTo(sums.z().get(layer), run.senders().z().get(layer));
              addTo(sums.mlp().get(layer), run.senders().mlp().get(layer));
            }
          }
        });
    meansByTime.forEach(
        (time, sums) -> {
          double share = 1.0 / counts.get(time);
          kernels().scale(share, sums.input(), sums.input());
          sums.z().forEach(z -> kernels().scale(share, z, z));
          sums.mlp().forEach(mlp -> kernels().scale(share, mlp, mlp));
        });
  }

  private Tensor emptyMean(Tensor like) {
    long[] dims = like.shape().dims();
    dims[0] = 1;
    Tensor out = lasting.allocate(Shape.of(dims), like.dtype());
    kernels().fill(out, 0);
    return out;
  }

  private void addTo(Tensor sums, Tensor values) {
    Tensor sum = kept.allocate(sums.shape(), sums.dtype());
    kernels().sumTo(values, sum);
    kernels().accumulate(1, sum, sums);
    kept.release(sum);
  }

  // ---------------------------------------------------------------- what heads write

  /** A block's output map head by head, [heads, headDim, width]. */
  Tensor headMap(int layer) {
    while (headMaps.size() <= layer) {
      headMaps.add(splitMap(headMaps.size()));
    }
    return headMaps.get(layer);
  }

  private Tensor splitMap(int layer) {
    ModelConfig.Attention sizes = config().attention();
    int width = config().sizes().width();
    Tensor stored = subject.model().parameters().get("blocks." + layer + ".attn.o.weight").value();
    Tensor wide = kept.allocate(stored.shape(), subject.model().parameters().computing());
    kernels().cast(stored, wide);
    Tensor out = lasting.allocate(Shape.of(sizes.heads(), sizes.headDim(), width), wide.dtype());
    Tensor split = wide.reshape(Shape.of(width, sizes.heads(), sizes.headDim()));
    kernels().permute(split, new int[] {1, 2, 0}, out);
    kept.release(wide);
    return out;
  }

  @Override
  public void close() {
    scratch.close();
    kept.close();
    cache.close();
    lasting.close();
  }
}
