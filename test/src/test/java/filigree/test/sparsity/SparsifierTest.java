package filigree.test.sparsity;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowable;

import filigree.autograd.AdamW;
import filigree.sparsity.Constraint;
import filigree.sparsity.GateSettings;
import filigree.sparsity.Metrics;
import filigree.sparsity.Objective;
import filigree.sparsity.Sparsifier;
import filigree.sparsity.SparsifierState;
import filigree.tensor.Kernels;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import filigree.tensor.provider.Backend;
import filigree.test.TinyModel;
import filigree.transformer.Batch;
import filigree.transformer.LearningRate;
import filigree.transformer.MemoryPlan;
import filigree.transformer.Parameters;
import filigree.transformer.TrainingData;
import filigree.transformer.Transformer;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.SequencedMap;
import java.util.stream.LongStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/**
 * Post-training as a whole, on a tiny random model: it can be interrupted, repeated, and closes.
 */
class SparsifierTest {
  private static final int STEPS = 60;
  private static final int STATE_EVERY = 20;

  private static Kernels kernels;

  @BeforeAll
  static void open() {
    kernels = Backend.CPU.open(2);
  }

  @AfterAll
  static void close() {
    kernels.close();
  }

  private static final class Killed extends RuntimeException {
    private static final long serialVersionUID = 1L;
  }

  /** A state that outlives its run, as one that was written to a file does. */
  private record Saved(SequencedMap<String, Tensor> tensors, String numbers) {
    static Saved of(SparsifierState state, Workspace memory) {
      SequencedMap<String, Tensor> copies = new LinkedHashMap<>();
      state.tensors().forEach((name, tensor) -> copies.put(name, tensor.copy(memory)));
      return new Saved(copies, state.numbers());
    }

    SparsifierState read() {
      return SparsifierState.read(tensors, numbers);
    }

    /** The first tensor that differs in a bit, or nothing. */
    Optional<String> differenceFrom(Saved other) {
      assertThat(other.tensors.keySet()).isEqualTo(tensors.keySet());
      return tensors.keySet().stream()
          .filter(name -> !Arrays.equals(bytes(tensors.get(name)), bytes(other.tensors.get(name))))
          .findFirst();
    }

    private static byte[] bytes(Tensor tensor) {
      return tensor.bytes().toArray(ValueLayout.JAVA_BYTE);
    }
  }

  /** Keeps what a run tells; may stop it. */
  private static final class Diary implements Sparsifier.Listener {
    final List<Metrics> steps = new ArrayList<>();
    final Map<Long, Saved> states = new LinkedHashMap<>();
    final List<String> notices = new ArrayList<>();
    final Workspace memory;
    final long killedAt;

    Diary(Workspace memory, long killedAt) {
      this.memory = memory;
      this.killedAt = killedAt;
    }

    @Override
    public void step(Metrics metrics) {
      if (metrics.step() == killedAt) {
        throw new Killed();
      }
      steps.add(metrics);
    }

    @Override
    public void best(Sparsifier.Candidate candidate, Parameters weights, GateSettings settings) {}

    @Override
    public void state(SparsifierState state) {
      states.put(steps.getLast().step(), Saved.of(state, memory));
    }

    @Override
    public void notice(String sentence) {
      notices.add(sentence);
    }

    /** What depends on the model and the data alone: everything but the clock. */
    List<Metrics> withoutClock() {
      return steps.stream()
          .map(
              m ->
                  new Metrics(
                      m.step(),
                      m.ce(),
                      m.ceAverage(),
                      m.density(),
                      m.expectedDensity(),
                      m.edgesPerQuery(),
                      m.beta(),
                      m.rate(),
                      m.gradientNorm(),
                      m.tokens(),
                      0,
                      m.validation()))
          .toList();
    }
  }

  private static Sparsifier.Settings settings(Sparsifier.Control control, double beta, long seed) {
    return new Sparsifier.Settings(
        STEPS,
        LearningRate.constant(3e-3, 5),
        new Constraint.Config(0.05, 5, 0.2, 1, beta, 1e-4, 1e3),
        new Objective.Weights(1, 0.5),
        OptionalDouble.of(1),
        10,
        new Sparsifier.Measuring(3, 2, STATE_EVERY),
        Sparsifier.Trained.ALL,
        MemoryPlan.KEEP_ALL,
        control,
        Sparsifier.Choices.NONE,
        seed);
  }

  private static Sparsifier make(Workspace memory, Sparsifier.Settings settings) {
    Transformer dense = TinyModel.make(memory, 5);
    TrainingData validation = TinyModel.text(99, 4);
    List<Batch.Maker> batches =
        LongStream.rangeClosed(1, 3)
            .mapToObj(step -> (Batch.Maker) to -> validation.batch(step, to))
            .toList();
    return new Sparsifier(
        dense, batches, settings, new AdamW.Config(0.9, 0.95, 1e-8, 0.1, 1), kernels);
  }

  private static Sparsifier.Result run(Sparsifier sparsifier, Diary diary) {
    return sparsifier.run(TinyModel.text(1, 4), diary);
  }

  /** Step by step, so that an error names the first one that differs. */
  private static void assertSameSteps(List<Metrics> expected, List<Metrics> found) {
    assertThat(found).hasSameSizeAs(expected);
    for (int i = 0; i < expected.size(); i++) {
      assertThat(found.get(i)).isEqualTo(expected.get(i));
    }
  }

  @Test
  void interruptedRunEndsAsTheUndisturbedOne() {
    Sparsifier.Settings settings = settings(Sparsifier.Control.NONE, 0.05, 7);
    try (Workspace memory = new Workspace("sparsifier test")) {
      Diary undisturbed = new Diary(memory, -1);
      Sparsifier.Result expected;
      try (Sparsifier sparsifier = make(memory, settings)) {
        expected = run(sparsifier, undisturbed);
      }
      assertThat(undisturbed.states.keySet()).containsExactly(20L, 40L, 60L);

      Diary killed = new Diary(memory, 45);
      try (Sparsifier sparsifier = make(memory, settings)) {
        assertThat(catchThrowable(() -> run(sparsifier, killed))).isInstanceOf(Killed.class);
      }
      assertThat(killed.states.keySet()).containsExactly(20L, 40L);

      Diary resumed = new Diary(memory, -1);
      Sparsifier.Result found;
      try (Sparsifier sparsifier = make(memory, settings)) {
        sparsifier.restore(killed.states.get(40L).read());
        found = run(sparsifier, resumed);
      }
      assertSameSteps(undisturbed.withoutClock().subList(40, STEPS), resumed.withoutClock());
      assertThat(found).usingRecursiveComparison().isEqualTo(expected);
      Saved last = undisturbed.states.get(60L);
      Saved lastResumed = resumed.states.get(60L);
      assertThat(lastResumed.numbers()).isEqualTo(last.numbers());
      assertThat(lastResumed.differenceFrom(last)).isEmpty();
      assertThat(last.tensors().keySet())
          .as("student, average and both moments of every parameter")
          .hasSize(4 * TinyModel.make(memory, 5).parameters().all().size());
      // Not trivially equal: the weights moved, and after the state was saved too.
      assertThat(last.differenceFrom(undisturbed.states.get(40L))).isPresent();
    }
  }

  @Test
  void sameSeedGivesTheSameBitsAndAnotherSeedOtherGates() {
    try (Workspace memory = new Workspace("sparsifier test")) {
      List<Diary> diaries = new ArrayList<>();
      for (long seed : new long[] {7, 7, 8}) {
        Diary diary = new Diary(memory, -1);
        try (Sparsifier sparsifier = make(memory, settings(Sparsifier.Control.NONE, 0.05, seed))) {
          run(sparsifier, diary);
        }
        diaries.add(diary);
      }
      Diary once = diaries.get(0);
      Diary again = diaries.get(1);
      Diary other = diaries.get(2);
      assertSameSteps(once.withoutClock(), again.withoutClock());
      assertThat(again.states.get(60L).differenceFrom(once.states.get(60L))).isEmpty();
      assertThat(again.states.get(60L).numbers()).isEqualTo(once.states.get(60L).numbers());
      // The first step has the same weights and text; only the noise of its gates differs.
      assertThat(other.steps.getFirst().ce()).isNotEqualTo(once.steps.getFirst().ce());
      assertThat(other.states.get(60L).differenceFrom(once.states.get(60L))).isPresent();
    }
  }

  @Test
  void gatesCloseUnderPressure() {
    try (Workspace memory = new Workspace("sparsifier test")) {
      Diary pressed = new Diary(memory, -1);
      try (Sparsifier sparsifier = make(memory, settings(Sparsifier.Control.FIXED, 20, 7))) {
        run(sparsifier, pressed);
      }
      Diary left = new Diary(memory, -1);
      try (Sparsifier sparsifier = make(memory, settings(Sparsifier.Control.FIXED, 1e-4, 7))) {
        run(sparsifier, left);
      }
      assertThat(pressed.notices).isEmpty();
      assertThat(pressed.steps).allSatisfy(m -> assertThat(m.beta()).isEqualTo(20));
      Metrics first = pressed.steps.getFirst();
      Metrics last = pressed.steps.getLast();
      assertThat(first.density()).isGreaterThan(0.9); // a bias of 1 opens an untrained model
      assertThat(last.density()).isLessThan(0.5 * first.density());
      assertThat(last.expectedDensity()).isLessThan(0.5 * first.expectedDensity());
      assertThat(last.edgesPerQuery()).isLessThan(0.5 * first.edgesPerQuery());
      assertThat(left.steps.getLast().density())
          .as("without pressure gates stay open")
          .isGreaterThan(0.9);
    }
  }

  /** The dense control trains the same way and gates nothing. */
  @Test
  void denseControlKeepsEveryEdge() {
    try (Workspace memory = new Workspace("sparsifier test")) {
      Diary diary = new Diary(memory, -1);
      try (Sparsifier sparsifier = make(memory, settings(Sparsifier.Control.DENSE, 0.05, 7))) {
        Sparsifier.Result result = run(sparsifier, diary);
        assertThat(result.gates()).isEqualTo(GateSettings.NONE);
        assertThat(result.best().evaluation().density()).isEqualTo(1);
        assertThat(result.sampledCe()).isEqualTo(diary.steps.getLast().validation().get().ce());
        // All have as many edges: the best is the one with the lowest loss, not the first.
        double lowest =
            diary.steps.stream()
                .flatMap(m -> m.validation().stream())
                .mapToDouble(Metrics.Validation::ce)
                .min()
                .orElseThrow();
        assertThat(result.best().step()).isPositive();
        assertThat(result.best().evaluation().ce()).isEqualTo(lowest).isLessThan(result.denseCe());
      }
      assertThat(diary.steps).allSatisfy(m -> assertThat(m.density()).isEqualTo(1));
      assertThat(diary.steps).allSatisfy(m -> assertThat(m.beta()).isZero());
      double firstCe = diary.steps.getFirst().ce();
      assertThat(diary.steps.getLast().ce()).isLessThan(firstCe);
    }
  }
}
