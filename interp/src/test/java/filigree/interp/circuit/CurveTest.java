package filigree.interp.circuit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import filigree.interp.task.Contrast;
import filigree.transformer.Gates;
import filigree.transformer.ModelConfig;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.apache.commons.math3.distribution.NormalDistribution;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class CurveTest {
  private static final Bootstrap.Plan DRAWS = new Bootstrap.Plan(2_000, 0.95, 11);

  /** Of a mean the percentile interval is that of the normal distribution, nearly. */
  @Test
  void theIntervalOfAMeanIsKnown() {
    int prompts = 400;
    double[] values = new double[prompts];
    Arrays.setAll(values, i -> Math.sin(i));
    double mean = Arrays.stream(values).average().orElseThrow();
    double variance =
        Arrays.stream(values).map(x -> (x - mean) * (x - mean)).average().orElseThrow();
    double deviation = Math.sqrt(variance / prompts);
    Bootstrap bootstrap = new Bootstrap(prompts, DRAWS);
    Interval interval =
        bootstrap.interval(
            draw -> Arrays.stream(draw).mapToDouble(i -> values[i]).average().orElseThrow());
    double reach = new NormalDistribution().inverseCumulativeProbability(0.975) * deviation;
    assertThat(interval.estimate()).isEqualTo(mean);
    assertThat(interval.low()).isCloseTo(mean - reach, within(0.1 * reach));
    assertThat(interval.high()).isCloseTo(mean + reach, within(0.1 * reach));
    assertThat(new Bootstrap(prompts, DRAWS).interval(draw -> draw[0]))
        .isEqualTo(bootstrap.interval(draw -> draw[0]));
  }

  @Test
  void refusesWhatCannotBeMeasured() {
    assertThatThrownBy(() -> new Bootstrap.Plan(0, 0.95, 1))
        .hasMessage("a bootstrap of 0 samples; expected at least 1");
    assertThatThrownBy(() -> new Bootstrap.Plan(10, 1, 1))
        .hasMessage("the confidence is 1.0, expected more than 0 and less than 1");
    Contrast same = new Contrast(new int[] {1}, new int[] {1}, 0, new int[] {2}, new int[] {3});
    try (Lab lab = Lab.of(ToyModel.junction(ToyModel.Junction.OR), List.of(same))) {
      EdgeScores scores = Patching.edges(lab.study(), CircuitGraph.Split.WHOLE, Direction.CORRUPT);
      CircuitRunner runner = new CircuitRunner(lab.study());
      assertThatThrownBy(
              () -> Curve.trace(runner, Ranking.edges(scores), Curve.Plan.of(Ablation.RESAMPLE)))
          .hasMessageContaining("choose prompts or a metric that tell them apart");
    }
    assertThatThrownBy(() -> Metric.parse("loss"))
        .hasMessage("there is no metric 'loss'; there are logit-diff, prob-diff, kl, accuracy");
  }

  @Test
  void accuracyHasNoGradient() {
    try (Lab lab =
        new Lab(
            ToyModel.induction()::build,
            ToyModel.inductionPrompts(),
            Gates.dense(),
            Settings.of(Metric.ACCURACY))) {
      assertThat(lab.study().references().clean()).containsOnly(1);
      assertThatThrownBy(
              () -> Attribution.nodes(lab.study(), Direction.CORRUPT, new Gradient.AtBase()))
          .hasMessageContaining("accuracy has no gradient");
    }
  }

  /** The k, the areas and the files of the circuit of an OR, whose five edges act together. */
  @Test
  void curvesAndFilesOfAKnownCircuit() throws Exception {
    try (Lab lab = Lab.of(ToyModel.junction(ToyModel.Junction.AND), ToyModel.junctionPrompts())) {
      Study study = lab.study();
      EdgeScores scores = Patching.edges(study, CircuitGraph.Split.QKV, Direction.CORRUPT);
      Ranking ranking = Ranking.edges(scores);
      CircuitRunner runner = new CircuitRunner(study);
      Curve curve = Curve.trace(runner, ranking, Curve.Plan.of(Ablation.RESAMPLE));
      Bootstrap bootstrap = new Bootstrap(curve.prompts(), new Bootstrap.Plan(50, 0.95, 1));
      assertThat(curve.total()).isEqualTo(3 * 3 + 4 + 5);
      assertThat(curve.kAt(0.95, bootstrap).estimate()).isEqualTo(5);
      // Of 18 edges: effects 0 at k = 0, 0, 0, 0, 0, 0, 1, 3 and 1 at 9, 18.
      assertThat(curve.cpr(bootstrap).estimate()).isCloseTo(0.5 * 1 + 0.3 * 0.5, within(1e-9));
      assertThat(curve.cmd(bootstrap).estimate()).isCloseTo(0.199 * 1 + 0.3 * 0.5, within(1e-9));
      assertThat(Curve.ratio(curve, curve, 0.9, bootstrap)).isEqualTo(new Interval(1, 1, 1));

      Circuit.Edges circuit = (Circuit.Edges) ranking.circuit(5);
      Finding report =
          new Finding(
              ranking,
              circuit,
              curve,
              bootstrap,
              Map.of("method", "patch"),
              Map.of("model", "sha256:0"));
      String json = CircuitFiles.json(report);
      JsonNode tree = new ObjectMapper().readTree(json);
      assertThat(tree.path("targets").path(1).path("k").path("estimate").doubleValue())
          .isEqualTo(5);
      assertThat(tree.path("scores")).hasSize(18);
      assertThat(tree.path("scores").path(4).path("kept").booleanValue()).isTrue();
      assertThat(tree.path("scores").path(5).path("kept").booleanValue()).isFalse();
      assertThat(json).isEqualTo(CircuitFiles.json(report)).endsWith("}\n").doesNotContain("\r");
      List<String> lines = new ArrayList<>(CircuitFiles.csv(curve, bootstrap).lines().toList());
      assertThat(lines).hasSize(20);
      assertThat(lines.get(0)).isEqualTo("k,kept,share,explained_effect,low,high");
      assertThat(lines.get(19)).startsWith("18,18,1.0,1.0,");

      JsonNode graph =
          new ObjectMapper()
              .readTree(
                  CircuitFiles.eapIgGraph(
                      study.config(), Metric.LOGIT_DIFFERENCE, scores, circuit));
      assertThat(graph.path("cfg").path("n_heads").intValue()).isEqualTo(3);
      JsonNode edge = graph.path("edges").path("input->a0.h0<v>");
      assertThat(edge.path("score").doubleValue()).isCloseTo(1, within(1e-9));
      assertThat(edge.path("in_graph").booleanValue()).isTrue();
      assertThat(graph.path("nodes").path("a0.h2").path("in_graph").booleanValue()).isFalse();
      assertThat(graph.path("nodes").path("m0").path("in_graph").booleanValue()).isTrue();
    }
  }

  /** Against the circuit of nothing, keeping nothing explains nothing, whatever stands in. */
  @Test
  void baselinesAndSelections() {
    try (Lab lab =
        new Lab(
            memory -> ToyModel.smooth(ModelConfig.Residual.PRE_NORM, 0.5, memory),
            ToyModel.randomPrompts(),
            Gates.dense(),
            Settings.of(Metric.PROBABILITY_DIFFERENCE))) {
      CircuitRunner runner = new CircuitRunner(lab.study());
      NodeScores scores = Attribution.nodes(lab.study(), Direction.CORRUPT, new Gradient.AtBase());
      for (Ablation ablation : Ablation.values()) {
        Curve.Plan plan =
            new Curve.Plan(ablation, Curve.Baseline.EMPTY, Curve.Selection.TOP, List.of(0.9));
        Curve curve = Curve.trace(runner, Ranking.heads(scores), plan);
        Bootstrap bootstrap = new Bootstrap(3, new Bootstrap.Plan(20, 0.95, 1));
        assertThat(curve.points()).hasSize(5);
        assertThat(curve.effect(0, bootstrap)).isEqualTo(new Interval(0, 0, 0));
        assertThat(curve.effect(4, bootstrap).estimate()).isCloseTo(1, within(1e-12));
      }
      EdgeScores edges =
          Attribution.edges(
              lab.study(), CircuitGraph.Split.WHOLE, Direction.CORRUPT, new Gradient.AtBase());
      Curve.Plan pruned =
          new Curve.Plan(
              Ablation.RESAMPLE, Curve.Baseline.CORRUPTED, Curve.Selection.TOP_PRUNED, List.of());
      Curve withDeadEnds =
          Curve.trace(
              runner,
              Ranking.edges(edges),
              new Curve.Plan(
                  Ablation.RESAMPLE, Curve.Baseline.CORRUPTED, Curve.Selection.TOP, List.of()));
      Curve without = Curve.trace(runner, Ranking.edges(edges), pruned);
      int dropped = 0;
      for (int i = 0; i < without.points().size(); i++) {
        assertThat(without.points().get(i).values())
            .containsExactly(withDeadEnds.points().get(i).values(), within(1e-9));
        dropped += withDeadEnds.points().get(i).kept() - without.points().get(i).kept();
      }
      assertThat(dropped).isPositive();
    }
  }

  /** The whole search, by every method, ends at the five edges that are known. */
  @ParameterizedTest
  @ValueSource(strings = {"patch", "eap", "eap-ig", "eap-ig-midpoint", "acdc"})
  void aSearchEndsAtTheKnownCircuit(String method) {
    try (Lab lab = Lab.of(ToyModel.junction(ToyModel.Junction.AND), ToyModel.junctionPrompts())) {
      CircuitSearch.Request request = request(method, Ranking.Level.EDGE);
      Finding report = CircuitSearch.run(lab.study(), request, Map.of("model", "none"));
      assertThat(((Circuit.Edges) report.circuit()).edges())
          .extracting(Edge::label)
          .containsExactlyInAnyOrder(
              "input->a0.h0", "input->a0.h1", "a0.h0->m0", "a0.h1->m0", "m0->logits");
      assertThat(report.settings().get("method")).startsWith(method.substring(0, 3));
      assertThat(CircuitFiles.comparison(report, report)).contains("\"ratio\"");
    }
  }

  private static CircuitSearch.Request request(String method, Ranking.Level level) {
    return new CircuitSearch.Request(
        Method.parse(method),
        level,
        CircuitGraph.Split.WHOLE,
        Direction.CORRUPT,
        new Curve.Plan(
            Ablation.RESAMPLE, Curve.Baseline.CORRUPTED, Curve.Selection.TOP, List.of(0.9)),
        new Bootstrap.Plan(100, 0.95, 1));
  }

  @Test
  void refusesSearchesThatCannotBe() {
    assertThatThrownBy(() -> request("acdc", Ranking.Level.HEAD))
        .hasMessage(
            "ACDC finds edges, and heads were asked for; use another method or the level edge");
    assertThatThrownBy(() -> Method.parse("guess"))
        .hasMessage(
            "there is no method 'guess'; there are patch, attribution, eap, eap-ig, eap-ig-midpoint"
                + " and acdc");
  }
}
