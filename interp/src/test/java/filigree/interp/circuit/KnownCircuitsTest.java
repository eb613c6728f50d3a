package filigree.interp.circuit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Circuits that are known because their weights were set by hand: methods find exactly them. */
class KnownCircuitsTest {
  private static final Set<String> JUNCTION =
      Set.of("input->a0.h0", "input->a0.h1", "a0.h0->m0", "a0.h1->m0", "m0->logits");
  private static final Set<String> INDUCTION =
      Set.of("input->a0.h0", "a0.h0->a1.h0", "a1.h0->logits");
  private static final Set<String> INDUCTION_SPLIT =
      Set.of("input->a0.h0<v>", "a0.h0->a1.h0<k>", "a1.h0->logits");

  private static final Gradient AT_BASE = new Gradient.AtBase();
  private static final Gradient LEFT = new Gradient.AlongInputs(3, Gradient.Rule.LEFT);
  private static final Gradient MIDDLE = new Gradient.AlongInputs(3, Gradient.Rule.MIDPOINT);

  private static Map<String, EdgeScores> scores(
      Study study, CircuitGraph.Split split, Direction direction) {
    Map<String, EdgeScores> out = new LinkedHashMap<>();
    out.put("exact", Patching.edges(study, split, direction));
    out.put("eap", Attribution.edges(study, split, direction, AT_BASE));
    out.put("eap-ig left", Attribution.edges(study, split, direction, LEFT));
    out.put("eap-ig midpoint", Attribution.edges(study, split, direction, MIDDLE));
    return out;
  }

  /** Edges whose score is not nothing. */
  private static Set<String> found(EdgeScores scores) {
    Set<String> out = new TreeSet<>();
    for (int edge = 0; edge < scores.graph().edgeCount(); edge++) {
      if (Math.abs(scores.byEdge()[edge]) > 1e-6) {
        out.add(scores.graph().edge(edge).label());
      }
    }
    return out;
  }

  private static Set<String> labels(Circuit.Edges circuit) {
    return circuit.edges().stream().map(Edge::label).collect(Collectors.toSet());
  }

  @Test
  void everyMethodFindsTheInductionCircuit() {
    try (Lab lab = Lab.of(ToyModel.induction(), ToyModel.inductionPrompts())) {
      Study study = lab.study();
      for (Direction direction : Direction.values()) {
        scores(study, CircuitGraph.Split.WHOLE, direction)
            .forEach((name, s) -> assertThat(found(s)).as(name).isEqualTo(INDUCTION));
        scores(study, CircuitGraph.Split.QKV, direction)
            .forEach((name, s) -> assertThat(found(s)).as(name).isEqualTo(INDUCTION_SPLIT));
        NodeScores patched = Patching.nodes(study, direction);
        NodeScores attributed = Attribution.nodes(study, direction, AT_BASE);
        for (NodeScores nodes : List.of(patched, attributed)) {
          List<String> heads = new ArrayList<>();
          Ranking ranking = Ranking.nodes(nodes);
          for (int rank = 0; rank < ranking.total(); rank++) {
            if (Math.abs(ranking.scoreAt(rank)) > 1e-6) {
              heads.add(ranking.labelAt(rank));
            }
          }
          assertThat(heads).containsExactlyInAnyOrder("a0.h0", "a1.h0");
        }
      }
      CircuitRunner runner = new CircuitRunner(study);
      Acdc.Result acdc = Acdc.search(runner, CircuitGraph.Split.QKV, Ablation.RESAMPLE, 1e-3);
      assertThat(labels(acdc.circuit())).isEqualTo(INDUCTION_SPLIT);
    }
  }

  @Test
  void theInductionCircuitIsThreeEdgesOnTheCurve() {
    try (Lab lab = Lab.of(ToyModel.induction(), ToyModel.inductionPrompts())) {
      CircuitRunner runner = new CircuitRunner(lab.study());
      EdgeScores scores = Patching.edges(lab.study(), CircuitGraph.Split.QKV, Direction.CORRUPT);
      Curve curve = Curve.trace(runner, Ranking.edges(scores), Curve.Plan.of(Ablation.RESAMPLE));
      Bootstrap bootstrap = new Bootstrap(curve.prompts(), new Bootstrap.Plan(200, 0.95, 1));
      assertThat(curve.kAt(0.9, bootstrap)).isEqualTo(new Interval(3, 3, 3));
      assertThat(curve.effect(2, bootstrap).estimate()).isCloseTo(0, within(1e-6));
      assertThat(curve.effect(3, bootstrap).estimate()).isCloseTo(1, within(1e-6));
      assertThat(curve.effect(curve.total(), bootstrap).estimate()).isCloseTo(1, within(1e-12));
      Circuit circuit = Ranking.edges(scores).circuit(3);
      CircuitChecks.minimality(runner, circuit, Ablation.RESAMPLE)
          .forEach(need -> assertThat(need.change()).as("%s", need).isLessThan(-1));
      CircuitChecks.completeness(runner, circuit, Ablation.RESAMPLE, new CircuitChecks.Draws(6, 1))
          .forEach(loss -> assertThat(loss.incompleteness()).as("%s", loss).isLessThan(1e-6));
    }
  }

  @Test
  void tokenPairsOfTheInductionCircuit() {
    try (Lab lab = Lab.of(ToyModel.induction(), ToyModel.inductionPrompts().subList(0, 2))) {
      List<TokenPairs.Score> scores =
          TokenPairs.patch(lab.study(), Direction.CORRUPT, TokenPairs.Patch.EXCHANGED);
      assertThat(scores).hasSize(4 * 15).allSatisfy(s -> assertThat(s.open()).isEqualTo(2));
      List<TokenPairs.Score> strongest =
          scores.stream().filter(score -> score.change() < -1).toList();
      // Position 1 reads the token before it; the last position reads position 1.
      assertThat(strongest)
          .extracting(
              s -> s.head().layer() + " " + s.head().head() + " " + s.query() + "," + s.key())
          .containsExactly("0 0 1,0", "1 0 4,1");
    }
  }

  @ParameterizedTest
  @EnumSource(ToyModel.Junction.class)
  void aJunctionIsFoundInOneDirectionOnly(ToyModel.Junction junction) {
    Direction finds =
        switch (junction) {
          case OR -> Direction.RESTORE;
          case AND -> Direction.CORRUPT;
        };
    Direction fails = finds == Direction.RESTORE ? Direction.CORRUPT : Direction.RESTORE;
    try (Lab lab = Lab.of(ToyModel.junction(junction), ToyModel.junctionPrompts())) {
      Study study = lab.study();
      scores(study, CircuitGraph.Split.WHOLE, finds)
          .forEach((name, s) -> assertThat(found(s)).as(name).isEqualTo(JUNCTION));
      EdgeScores missing = Patching.edges(study, CircuitGraph.Split.WHOLE, fails);
      assertThat(found(missing)).doesNotContain("a0.h0->m0", "a0.h1->m0");
      EdgeScores flat = Attribution.edges(study, CircuitGraph.Split.WHOLE, fails, AT_BASE);
      assertThat(found(flat)).doesNotContain("a0.h0->m0", "a0.h1->m0");
      // Between the two inputs the slope is not 0, so that both directions find it.
      EdgeScores along = Attribution.edges(study, CircuitGraph.Split.WHOLE, fails, MIDDLE);
      assertThat(found(along)).isEqualTo(JUNCTION);
    }
  }

  @Test
  void nodesOfAnOrAreFoundByRestoringOnly() {
    try (Lab lab = Lab.of(ToyModel.junction(ToyModel.Junction.OR), ToyModel.junctionPrompts())) {
      NodeScores restored = Patching.nodes(lab.study(), Direction.RESTORE);
      NodeScores corrupted = Patching.nodes(lab.study(), Direction.CORRUPT);
      for (int head = 0; head < 2; head++) {
        assertThat(restored.of(new Node.Head(0, head))).isCloseTo(0.9, within(1e-9));
        assertThat(corrupted.of(new Node.Head(0, head))).isCloseTo(0, within(1e-9));
      }
      assertThat(restored.of(new Node.Head(0, 2))).isCloseTo(0, within(1e-12));
    }
  }

  /** It tries one edge after the other, and one of two that stand in for each other can go. */
  @Test
  void acdcFindsAnAndButOneBranchOfAnOr() {
    try (Lab lab = Lab.of(ToyModel.junction(ToyModel.Junction.AND), ToyModel.junctionPrompts())) {
      CircuitRunner runner = new CircuitRunner(lab.study());
      assertThat(
              labels(
                  Acdc.search(runner, CircuitGraph.Split.WHOLE, Ablation.RESAMPLE, 1e-3).circuit()))
          .isEqualTo(JUNCTION);
    }
    try (Lab lab = Lab.of(ToyModel.junction(ToyModel.Junction.OR), ToyModel.junctionPrompts())) {
      CircuitRunner runner = new CircuitRunner(lab.study());
      assertThat(
              labels(
                  Acdc.search(runner, CircuitGraph.Split.WHOLE, Ablation.RESAMPLE, 1e-3).circuit()))
          .containsExactlyInAnyOrder("input->a0.h0", "a0.h0->m0", "m0->logits");
    }
  }

  @Test
  void aPathCarriesWhatItsEdgesCarry() {
    try (Lab lab = Lab.of(ToyModel.induction(), ToyModel.inductionPrompts())) {
      Study study = lab.study();
      List<Edge> path =
          List.of("input->a0.h0<v>", "a0.h0->a1.h0<k>", "a1.h0->logits").stream()
              .map(Edge::parse)
              .toList();
      double whole =
          Arrays.stream(study.references().corrupted()).average().orElseThrow()
              - Arrays.stream(study.references().clean()).average().orElseThrow();
      assertThat(Patching.path(study, Direction.CORRUPT, path)).isCloseTo(whole, within(1e-6));
      List<Edge> other =
          List.of("input->a0.h0<v>", "a0.h0->a1.h0<v>", "a1.h0->logits").stream()
              .map(Edge::parse)
              .toList();
      assertThat(Patching.path(study, Direction.CORRUPT, other)).isCloseTo(0, within(1e-9));
    }
  }
}
