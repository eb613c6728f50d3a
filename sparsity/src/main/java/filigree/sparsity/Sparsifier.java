package filigree.sparsity;

import filigree.autograd.AdamW;
import filigree.autograd.Gradients;
import filigree.autograd.Param;
import filigree.autograd.Pass;
import filigree.autograd.Var;
import filigree.tensor.AttentionSpec;
import filigree.tensor.Kernels;
import filigree.tensor.Workspace;
import filigree.transformer.Batch;
import filigree.transformer.Evaluation;
import filigree.transformer.GateVariant;
import filigree.transformer.Gates;
import filigree.transformer.LearningRate;
import filigree.transformer.MemoryPlan;
import filigree.transformer.ModelConfig;
import filigree.transformer.Parameters;
import filigree.transformer.TrainingData;
import filigree.transformer.Transformer;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.SequencedMap;
import java.util.Set;
import java.util.function.Predicate;

/**
 * Post-trains a model until almost no attention edge is left, at the loss of the dense model plus a
 * tolerance (arXiv 2512.05865, section 3). A step, in order:
 *
 * <ol>
 *   <li>the student, with its {@link TrainingGates}, and where it is distilled the frozen dense
 *       model (the teacher) read a batch;
 *   <li>the {@link Objective};
 *   <li>backward, clip, AdamW;
 *   <li>the average of the student's weights over recent steps moves on; it is what is measured and
 *       saved, since single steps are noisy;
 *   <li>now and then the average model is measured with hard gates on held-out text, and the {@link
 *       Constraint} chooses the next beta.
 * </ol>
 */
public final class Sparsifier implements AutoCloseable {
  /** Which parameters a run changes. */
  public sealed interface Trainables permits Trained, Lora {
    /**
     * Tells whether a parameter is changed.
     *
     * @param param one of the model's own, or of an adapter
     * @return whether it has a gradient, an average and moments
     */
    boolean includes(Param param);
  }

  /** Weights of the model itself that are trained. */
  public enum Trained implements Trainables {
    /** All. */
    ALL,
    /** Those of the attention layers: q, k, v, o. */
    ATTENTION;

    @Override
    public boolean includes(Param param) {
      return switch (this) {
        case ALL -> true;
        case ATTENTION -> param.name().contains(".attn.");
      };
    }
  }

  /** What the run is compared with. */
  public enum Control {
    /** None: the constrained optimisation itself. */
    NONE,
    /** The same data, steps and optimiser with ordinary attention and no sparsity. */
    DENSE,
    /**
     * Gates without noise, between 0 and 1 while training: the penalty is their L1 norm. The same
     * controller; measured with hard gates.
     */
    L1,
    /** A fixed weight of the density: the constraint is measured, but beta stays. */
    FIXED
  }

  /** The gates that the student is trained with. Measured is always with hard ones. */
  public enum TrainingGates {
    /** With logistic noise: an edge is open with the probability sigmoid(z), as in the paper. */
    SAMPLED,
    /**
     * Without noise, as they are measured: open where z > 0, differentiated straight through as the
     * sampled ones. What is trained is then what is deployed, and gradients have less noise.
     */
    HARD
  }

  /**
   * What may be chosen, and ordinarily is not.
   *
   * @param gates the gates that the student is trained with
   * @param variants how the gates differ from plain ones
   * @param edges how much the edges of each layer and head count in what is minimised
   * @param patience validations after the learning rate's warm-up without fewer edges within the
   *     tolerance, after which a run ends early; empty for never
   */
  public record Choices(
      TrainingGates gates, Set<GateVariant> variants, EdgeWeights edges, OptionalInt patience) {
    /** The paper's gates, every edge alike, all steps. */
    public static final Choices NONE =
        new Choices(TrainingGates.SAMPLED, Set.of(), EdgeWeights.uniform(), OptionalInt.empty());

    /** Checks the ranges. */
    public Choices {
      if (patience.isPresent() && patience.getAsInt() < 1) {
        throw new RunException(
            "--patience is " + patience.getAsInt() + ", expected 1 or more validations");
      }
    }
  }

  /**
   * How a run goes.
   *
   * @param steps how many
   * @param rate learning rate by step
   * @param constraint the controller's constants
   * @param weights of the loss in the objective
   * @param gateBias bias of the gates; empty chooses it by the rule of {@link #chooseBias}
   * @param averageSteps steps over which the measured weights are averaged
   * @param measuring when and on how much text the constraint is measured
   * @param trained which parameters are trained
   * @param plan what is kept in memory for the backward pass
   * @param control what it is compared with
   * @param choices what ordinarily is not chosen
   * @param seed of the gate noise
   */
  public record Settings(
      long steps,
      LearningRate rate,
      Constraint.Config constraint,
      Objective.Weights weights,
      OptionalDouble gateBias,
      int averageSteps,
      Measuring measuring,
      Trainables trained,
      MemoryPlan plan,
      Control control,
      Choices choices,
      long seed) {
    /** Checks the ranges. */
    public Settings {
      if (steps < 1) {
        throw new RunException("--steps is " + steps + ", expected 1 or more");
      }
      if (trained instanceof Lora && !choices.variants().isEmpty()) {
        throw new RunException(
            "--variant and --lora exclude each other: gates with weights of their own cannot be"
                + " kept in an adapter; leave one out");
      }
    }

    /**
     * Returns the same with other memory, and so with the same results.
     *
     * @param other what is kept for the backward pass
     * @return the settings
     */
    public Settings with(MemoryPlan other) {
      return new Settings(
          steps,
          rate,
          constraint,
          weights,
          gateBias,
          averageSteps,
          measuring,
          trained,
          other,
          control,
          choices,
          seed);
    }
  }

  /**
   * When a run is measured.
   *
   * @param probeEvery steps between two measurements for the constraint
   * @param probeTokens held-out tokens of one such measurement, at least
   * @param validateEvery steps between two measurements on all held-out batches
   */
  public record Measuring(int probeEvery, int probeTokens, int validateEvery) {}

  /**
   * A model that was measured with hard gates on all held-out text.
   *
   * @param step after which it was measured; 0 is the start
   * @param evaluation its loss and edges
   * @param excess nats per token above the dense model
   * @param satisfied whether the excess is within the tolerance
   */
  public record Candidate(long step, Evaluation evaluation, double excess, boolean satisfied) {
    /**
     * One that satisfies the constraint beats one that does not; then fewer edges, and of equally
     * many, as the dense control always has, less excess; where neither does, less excess.
     */
    boolean beats(Candidate other) {
      if (satisfied != other.satisfied) {
        return satisfied;
      }
      int edges = Double.compare(evaluation.density(), other.evaluation.density());
      return (satisfied && edges != 0) ? edges < 0 : excess < other.excess;
    }
  }

  /** Told what happens. */
  public interface Listener {
    /**
     * A step is done.
     *
     * @param metrics its measures
     */
    void step(Metrics metrics);

    /**
     * The best model so far was found.
     *
     * @param candidate its measures
     * @param weights its weights
     * @param gates the gates it is to be run with
     */
    void best(Candidate candidate, Parameters weights, GateSettings gates);

    /**
     * A good moment to save the state of the run.
     *
     * @param state everything that a resumed run needs
     */
    void state(SparsifierState state);

    /**
     * Something that the user should know.
     *
     * @param sentence what
     */
    void notice(String sentence);
  }

  /**
   * How a run ended.
   *
   * @param best the chosen model
   * @param denseCe the dense model's loss on the held-out text
   * @param tau the highest loss allowed
   * @param gates the gates of the chosen model
   * @param sampledCe the last average model's loss with noise in its gates, or as the control
   *     trains it
   * @param steps steps done; fewer than asked for where it ended early
   */
  public record Result(
      Candidate best,
      double denseCe,
      double tau,
      GateSettings gates,
      double sampledCe,
      long steps) {}

  /**
   * The bias with which training gates cost at most this, in nats, is open enough to start from.
   */
  private static final double START_WITHIN = 0.1;

  private static final int START_PROBES = 4;

  private static final double[] BIASES = {0, 1, 2, 4, 6};

  /** A gradient norm this many times the usual one is a spike, and its step is skipped. */
  private static final double SPIKE = 20;

  private final Settings settings;
  private final Kernels kernels;
  private final Transformer teacher;
  private final Transformer student;
  private final Transformer average;
  private final Objective objective;
  private final Workspace state = new Workspace("post-training state");
  private final Workspace scratch = new Workspace("post-training step");
  private final Workspace teacherScratch = new Workspace("teacher");
  private final HeldOut heldOut;
  private final AdamW optimiser;
  private final GateSettings gates;
  private Constraint constraint;
  private Optional<Candidate> best = Optional.empty();
  private long step;
  private long tokens;
  private int probes;
  private int stale;
  private double usualNorm;

  /**
   * Prepares a run: copies what it will change twice, measures the dense model, chooses the gate
   * bias. What stays frozen is shared with the dense model.
   *
   * @param dense the model to be post-trained; its weights are not changed
   * @param validation held-out batches: the constraint and the choice of the best model
   * @param settings how the run goes
   * @param optimiser constants of AdamW
   * @param kernels the provider
   */
  public Sparsifier(
      Transformer dense,
      List<Batch.Maker> validation,
      Settings settings,
      AdamW.Config optimiser,
      Kernels kernels) {
    this.settings = settings;
    this.kernels = kernels;
    this.teacher = dense;
    this.student = student(dense);
    this.average = following(student);
    settings.choices().edges().requireFits(dense.config());
    this.objective =
        new Objective(
            teacher, student, settings.weights(), settings.choices().edges(), settings.plan());
    this.constraint = new Constraint(settings.constraint());
    // Decay would pull queries and keys towards 0, and with them every gate logit.
    Predicate<Param> decays =
        param ->
            param.value().shape().rank() > 1
                && !param.name().contains(".attn.q")
                && !param.name().contains(".attn.k")
                && !param.name().contains(".attn.gate");
    this.optimiser = new AdamW(optimiser, decays, kernels, state);
    this.heldOut =
        new HeldOut(validation, dense, settings.measuring().probeTokens(), kernels, scratch);
    this.gates =
        settings.control() == Control.DENSE
            ? GateSettings.NONE
            : new GateSettings(
                GateSettings.Mode.HARD,
                settings.gateBias().isPresent() ? settings.gateBias().getAsDouble() : chooseBias());
  }

  private Transformer student(Transformer dense) {
    Parameters own = dense.parameters();
    if (!own.adapters().isEmpty()) {
      throw new RunException(
          "the model to post-train carries adapters already; merge them first: filigree merge");
    }
    Set<GateVariant> variants = EnumSet.noneOf(GateVariant.class);
    variants.addAll(dense.config().gating());
    variants.addAll(settings.choices().variants());
    if (settings.trained() instanceof Lora && !variants.isEmpty()) {
      throw new RunException(
          "this model's gates have weights of their own, which --lora cannot keep in an adapter;"
              + " leave it out");
    }
    ModelConfig config = dense.config().withGating(variants);
    Parameters changed =
        switch (settings.trained()) {
          case Trained weights -> own.withGating(config, state).copy(state, weights::includes);
          case Lora lora -> own.with(lora.adapters(dense, state, settings.seed()));
        };
    return new Transformer(config, changed, state);
  }

  private Transformer following(Transformer model) {
    Parameters own = model.parameters().copy(state, settings.trained()::includes);
    return new Transformer(model.config(), own, state);
  }

  /** What a run changes in a model, by name. */
  private SequencedMap<String, Param> trained(Transformer model) {
    SequencedMap<String, Param> out = new LinkedHashMap<>();
    for (Param param : model.parameters().everything()) {
      if (settings.trained().includes(param)) {
        out.put(param.name(), param);
      }
    }
    return out;
  }

  /**
   * The smallest bias of 0, 1, 2, 4, 6 with which the untrained model, gates as they are trained,
   * is within 0.1 nats of the dense one (method: initialisation); 6 where none is.
   */
  private double chooseBias() {
    int probes = Math.min(heldOut.probeCount(), START_PROBES);
    for (double bias : BIASES) {
      Gates trained = trainedWith(bias, 0);
      double excess = 0;
      for (int i = 0; i < probes; i++) {
        excess += heldOut.excess(student, trained, i) / probes;
      }
      if (excess <= START_WITHIN) {
        return bias;
      }
    }
    return BIASES[BIASES.length - 1];
  }

  /**
   * Returns the dense model's loss on the held-out text.
   *
   * @return nats per scored token
   */
  public double denseCe() {
    return heldOut.denseCe();
  }

  /**
   * Returns the highest loss that the constraint allows.
   *
   * @return nats per scored token
   */
  public double tau() {
    return heldOut.denseCe() + settings.constraint().tolerance();
  }

  /**
   * Returns the gates that the trained model is to be run with.
   *
   * @return hard gates with the chosen bias; dense for the dense control
   */
  public GateSettings gates() {
    return gates;
  }

  /**
   * Returns how the trained model's gates differ from plain ones.
   *
   * @return what the dense model has and what was chosen
   */
  public Set<GateVariant> gating() {
    return student.config().gating();
  }

  /**
   * Returns the memory taken so far, beside that of the dense model.
   *
   * @return bytes of copies, moments, activations and gradients, as reserved from the system
   */
  public long reservedBytes() {
    return state.reservedBytes() + scratch.reservedBytes() + teacherScratch.reservedBytes();
  }

  /**
   * Goes back to a saved state.
   *
   * @param saved of a run with the same model, data and settings
   */
  public void restore(SparsifierState saved) {
    saved.into(trained(student), trained(average), optimiser, kernels);
    constraint = new Constraint(settings.constraint(), saved.constraint());
    best = saved.best();
    step = saved.step();
    tokens = saved.tokens();
    probes = saved.probes();
    stale = saved.stale();
    usualNorm = saved.usualNorm();
  }

  /**
   * Runs to the end.
   *
   * @param data training batches by step
   * @param listener told what happens
   * @return how it ended
   */
  public Result run(TrainingData data, Listener listener) {
    long began = System.nanoTime();
    if (best.isEmpty()) {
      consider(listener);
    }
    while (step < settings.steps() && !outOfPatience()) {
      step++;
      Taken taken = take(data, listener);
      follow();
      if (step % settings.measuring().probeEvery() == 0) {
        probe();
      }
      Optional<Metrics.Validation> validation = Optional.empty();
      if (step % settings.measuring().validateEvery() == 0 || step == settings.steps()) {
        Evaluation measured = consider(listener).evaluation();
        validation =
            Optional.of(
                new Metrics.Validation(
                    measured.ce(), measured.density(), measured.edgesPerQuery()));
      }
      long millis = (System.nanoTime() - began) / 1_000_000;
      listener.step(
          new Metrics(
              step,
              taken.ce(),
              heldOut.denseCe() + constraint.average(),
              taken.density(),
              taken.expected(),
              taken.edgesPerQuery(),
              taken.beta(),
              settings.rate().at(step),
              taken.norm(),
              tokens,
              millis,
              validation));
      if (validation.isPresent()) {
        listener.state(
            SparsifierState.of(
                trained(student),
                trained(average),
                optimiser,
                new SparsifierState.Progress(
                    step,
                    tokens,
                    probes,
                    usualNorm,
                    constraint.state(),
                    best.orElseThrow(),
                    stale)));
      }
    }
    if (step < settings.steps()) {
      listener.notice(
          "step %d: %d validations in a row found no fewer edges within the tolerance; the run ends early"
              .formatted(step, stale));
    }
    Candidate chosen = best.orElseThrow();
    return new Result(chosen, denseCe(), tau(), gates, sampledCe(), step);
  }

  /** The gates of a training step. */
  private Gates trainedWith(double bias, long step) {
    return switch (settings.control()) {
      case DENSE -> Gates.dense();
      case L1 -> new Gates.Soft(bias);
      case NONE, FIXED ->
          switch (settings.choices().gates()) {
            case SAMPLED -> new Gates.Sampled(bias, settings.seed(), step);
            case HARD -> new Gates.Hard(bias);
          };
    };
  }

  private boolean outOfPatience() {
    OptionalInt patience = settings.choices().patience();
    return patience.isPresent() && stale >= patience.getAsInt();
  }

  /** What a training step measured. */
  private record Taken(
      double ce, double expected, double density, double edgesPerQuery, double beta, double norm) {}

  private Taken take(TrainingData data, Listener listener) {
    double beta =
        switch (settings.control()) {
          case NONE, L1 -> constraint.beta();
          case FIXED -> settings.constraint().initial();
          case DENSE -> 0;
        };
    Gates trained = trainedWith(gates.bias(), step);
    try (Pass frozen = Pass.inference(kernels, teacherScratch);
        Pass pass = Pass.recording(kernels, scratch).training(settings.trained()::includes)) {
      Batch batch = data.batch(step, scratch);
      tokens += batch.ids().size();
      Objective.Values values =
          objective.forward(
              frozen,
              pass,
              Objective.Weighted.of(batch, student.parameters().computing(), scratch),
              trained,
              beta);
      double open = 0;
      for (Var layer : values.counts()) {
        for (long at = AttentionSpec.OPEN; at < layer.shape().size(); at += AttentionSpec.COUNTS) {
          open += layer.value().get(at);
        }
      }
      long time = batch.ids().shape().dim(1);
      double rows = (double) values.counts().size() * values.counts().getFirst().shape().rows();
      double ce = values.ce().value().item();
      double expected = values.density().value().item();
      Gradients gradients = pass.backward(values.total());
      double norm = update(gradients, listener);
      return new Taken(
          ce,
          expected,
          open / (rows * student.config().attention().pairs(time)),
          open / (rows * time),
          beta,
          norm);
    }
  }

  /** Skips steps whose gradient is not finite or a spike, and says so. */
  private double update(Gradients gradients, Listener listener) {
    double norm = gradients.norm(kernels);
    boolean spike = usualNorm > 0 && norm > SPIKE * usualNorm;
    if (!Double.isFinite(norm) || spike) {
      listener.notice(
          "step %d: gradient norm %s against a usual %s; the step is skipped"
              .formatted(step, norm, usualNorm));
      // A spike that stays is the new usual.
      usualNorm *= Double.isFinite(norm) ? 1.5 : 1;
      return norm;
    }
    usualNorm = usualNorm == 0 ? norm : 0.98 * usualNorm + 0.02 * norm;
    optimiser.update(gradients, norm, settings.rate().at(step));
    return norm;
  }

  /** Moves the average: the plain mean at first, then exponentially over the last steps. */
  private void follow() {
    double weight = 1.0 / Math.min(step + 1, settings.averageSteps());
    Map<String, Param> moved = trained(student);
    for (Param target : trained(average).values()) {
      kernels.scale(1 - weight, target.value(), target.value());
      kernels.accumulate(weight, moved.get(target.name()).value(), target.value());
    }
  }

  /** Measures the average model on the next held-out batches, for the constraint. */
  private void probe() {
    constraint.observe(heldOut.excess(average, gates.gates(settings.seed()), probes));
    probes = (probes + 1) % heldOut.probeCount();
  }

  /** Measures the average model on everything, and keeps it where it is the best so far. */
  private Candidate consider(Listener listener) {
    Evaluation measured = heldOut.evaluate(average, gates.gates(settings.seed()));
    double excess = measured.ce() - heldOut.denseCe();
    Candidate candidate =
        new Candidate(step, measured, excess, excess <= settings.constraint().tolerance());
    if (!Double.isFinite(excess)) {
      listener.notice(
          "step %d: the loss on held-out text is %s; the run has diverged, try a lower --lr"
              .formatted(step, measured.ce()));
    } else if (measured.edgesPerQuery() == 0 && !candidate.satisfied()) {
      listener.notice(
          "step %d: no gate is open on the held-out text; the gates have collapsed"
              .formatted(step));
    }
    boolean fewer = candidate.satisfied() && (best.isEmpty() || candidate.beats(best.get()));
    stale = fewer || step <= settings.rate().warmup() ? 0 : stale + 1;
    if (best.isEmpty() || candidate.beats(best.get())) {
      best = Optional.of(candidate);
      listener.best(candidate, average.parameters(), gates);
    }
    return candidate;
  }

  /** The last average model's loss with noise in its gates, or as the control trains it. */
  private double sampledCe() {
    long after = settings.steps() + 1;
    Gates noisy =
        switch (settings.control()) {
          case DENSE, L1 -> trainedWith(gates.bias(), after);
          case NONE, FIXED -> new Gates.Sampled(gates.bias(), settings.seed(), after);
        };
    return heldOut.evaluate(average, noisy).ce();
  }

  @Override
  public void close() {
    teacherScratch.close();
    scratch.close();
    state.close();
  }
}
