package filigree.test.circuit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import filigree.checkpoints.Checkpoint;
import filigree.interp.circuit.Ablation;
import filigree.interp.circuit.Acdc;
import filigree.interp.circuit.Attribution;
import filigree.interp.circuit.Bootstrap;
import filigree.interp.circuit.Circuit;
import filigree.interp.circuit.CircuitGraph;
import filigree.interp.circuit.CircuitRunner;
import filigree.interp.circuit.Curve;
import filigree.interp.circuit.Direction;
import filigree.interp.circuit.Edge;
import filigree.interp.circuit.EdgeScores;
import filigree.interp.circuit.Gradient;
import filigree.interp.circuit.Interval;
import filigree.interp.circuit.Metric;
import filigree.interp.circuit.Patching;
import filigree.interp.circuit.Progress;
import filigree.interp.circuit.Ranking;
import filigree.interp.circuit.Settings;
import filigree.interp.circuit.Study;
import filigree.interp.circuit.Subject;
import filigree.interp.task.Contrast;
import filigree.tensor.Kernels;
import filigree.tensor.Philox;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import filigree.test.Engine;
import filigree.test.SharedData;
import filigree.transformer.Gates;
import filigree.transformer.Parameters;
import filigree.transformer.Transformer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/**
 * The induction circuit of a real model, which is known: the head of layer 0 looks at the token
 * before, the head of layer 1 at what followed the current token when it was there last.
 */
class InductionCircuitTest {
  private static final int LETTERS = 26;
  private static final int PERIOD = 10;
  private static final int PROMPTS = 32;

  private static final List<String> PATH =
      List.of("input->a0.h0", "a0.h0->a1.h0", "input->a1.h0", "a1.h0->logits");

  /** What differs between a clean and a corrupted prompt. */
  private enum Corruption {
    /** All letters of the first half: what is copied as well as where it is found. */
    FIRST_HALF {
      @Override
      void apply(int[] corrupted, int shown, int[] others) {
        System.arraycopy(others, 0, corrupted, 0, PERIOD);
      }
    },
    /** The letter that the last one is found again by. */
    MATCH {
      @Override
      void apply(int[] corrupted, int shown, int[] others) {
        corrupted[shown - 1] = others[0];
      }
    };

    abstract void apply(int[] corrupted, int shown, int[] others);
  }

  /** Random letters, and the first of them again. */
  private static List<Contrast> prompts(Corruption corruption) {
    Philox random = new Philox(1, 77);
    List<Contrast> out = new ArrayList<>();
    while (out.size() < PROMPTS) {
      int[] letters = new int[LETTERS];
      Arrays.setAll(letters, i -> i + 1);
      random.shuffle(letters);
      int shown = 2 + random.nextInt(PERIOD - 3);
      int[] clean = Arrays.copyOf(letters, PERIOD + shown);
      System.arraycopy(letters, 0, clean, PERIOD, shown);
      int[] corrupted = clean.clone();
      int[] others = Arrays.copyOfRange(letters, PERIOD, 2 * PERIOD);
      corruption.apply(corrupted, shown, others);
      int[] correct = {letters[shown]};
      out.add(new Contrast(clean, corrupted, clean.length - 1, correct, new int[] {others[shown]}));
    }
    return out;
  }

  private interface Body {
    void run(Study study);
  }

  private static void study(Corruption corruption, Body body) {
    try (Kernels kernels = Engine.CPU_VECTOR_2.open();
        Workspace weights = new Workspace("weights");
        Checkpoint checkpoint = Checkpoint.open(SharedData.require("checkpoints/gpt2-induction"))) {
      Map<String, Tensor> tensors = checkpoint.weights(weights);
      Parameters parameters = Parameters.of(checkpoint.config(), tensors);
      Transformer model = new Transformer(checkpoint.config(), parameters, weights);
      Subject subject = new Subject(model, Gates.dense(), kernels);
      Settings settings = Settings.of(Metric.LOGIT_DIFFERENCE);
      try (Study study = new Study(subject, prompts(corruption), settings, Progress.ignored())) {
        body.run(study);
      }
    }
  }

  private static Map<String, EdgeScores> scores(Study study, CircuitGraph.Split split) {
    Map<String, EdgeScores> out = new LinkedHashMap<>();
    Gradient left = new Gradient.AlongInputs(8, Gradient.Rule.LEFT);
    Gradient middle = new Gradient.AlongInputs(8, Gradient.Rule.MIDPOINT);
    for (Direction direction : Direction.values()) {
      out.put("exact " + direction, Patching.edges(study, split, direction));
      for (Gradient gradient : List.of(new Gradient.AtBase(), left, middle)) {
        out.put(gradient + " " + direction, Attribution.edges(study, split, direction, gradient));
      }
    }
    return out;
  }

  @Test
  void thePathIsAmongTheFirstOfEveryMethod() {
    study(
        Corruption.FIRST_HALF,
        study -> {
          assertThat(
                  CircuitGraph.of(study.subject().model().config(), CircuitGraph.Split.WHOLE)
                      .edgeCount())
              .isEqualTo(15);
          CircuitRunner runner = new CircuitRunner(study);
          Bootstrap bootstrap = new Bootstrap(PROMPTS, new Bootstrap.Plan(200, 0.95, 1));
          scores(study, CircuitGraph.Split.WHOLE)
              .forEach(
                  (method, scores) -> {
                    Ranking ranking = Ranking.edges(scores);
                    List<String> first = IntStream.range(0, 8).mapToObj(ranking::labelAt).toList();
                    assertThat(first).as(method).containsAll(PATH);
                    Curve curve = Curve.trace(runner, ranking, Curve.Plan.of(Ablation.RESAMPLE));
                    Interval k = curve.kAt(0.9, bootstrap);
                    System.out.printf("%s: 0.9 of the effect with %s of 15 edges%n", method, k);
                    assertThat(k.estimate()).as(method).isLessThanOrEqualTo(8);
                  });
          Acdc.Result acdc = Acdc.search(runner, CircuitGraph.Split.WHOLE, Ablation.RESAMPLE, 0.3);
          assertThat(acdc.circuit().edges()).extracting(Edge::label).containsAll(PATH);
          assertThat(acdc.circuit().size()).isLessThanOrEqualTo(9);
        });
  }

  @Test
  void thePreviousTokenHeadIsReadByTheKeys() {
    study(
        Corruption.MATCH,
        study -> {
          Edge keys = Edge.parse("a0.h0->a1.h0<k>");
          scores(study, CircuitGraph.Split.QKV)
              .forEach(
                  (method, scores) -> {
                    Ranking ranking = Ranking.edges(scores);
                    String strongest =
                        IntStream.range(0, ranking.total())
                            .mapToObj(ranking::labelAt)
                            .filter(label -> label.contains("->a1.h0"))
                            .findFirst()
                            .orElseThrow();
                    assertThat(strongest).as(method).isEqualTo(keys.label());
                  });
          List<Edge> path =
              List.of(Edge.parse("input->a0.h0<v>"), keys, Edge.parse("a1.h0->logits"));
          double direct = Patching.path(study, Direction.CORRUPT, path);
          List<Edge> byMlp = List.of(path.get(0), keys, M1_IN, M1_OUT);
          double throughMlp = Patching.path(study, Direction.CORRUPT, byMlp);
          assertThat(direct).isLessThan(-2);
          assertThat(throughMlp).isLessThan(-2);
        });
  }

  private static final Edge M1_IN = Edge.parse("a1.h0->m1");
  private static final Edge M1_OUT = Edge.parse("m1->logits");

  @Test
  void patchingEverythingGivesTheOtherRun() {
    study(
        Corruption.FIRST_HALF,
        study -> {
          CircuitGraph graph =
              CircuitGraph.of(study.subject().model().config(), CircuitGraph.Split.QKV);
          CircuitRunner runner = new CircuitRunner(study);
          Study.References references = study.references();
          assertThat(runner.run(Circuit.Edges.all(graph), Ablation.RESAMPLE))
              .containsExactly(references.clean());
          assertThat(runner.run(new Circuit.Nodes(graph, new BitSet()), Ablation.RESAMPLE))
              .containsExactly(references.corrupted());
          assertThat(runner.run(new Circuit.Edges(graph, new BitSet()), Ablation.RESAMPLE))
              .containsExactly(references.corrupted(), within(1e-4));
        });
  }
}
