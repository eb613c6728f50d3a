package filigree.interp.circuit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import filigree.autograd.Pass;
import filigree.autograd.Site;
import filigree.autograd.Tap;
import filigree.autograd.Var;
import filigree.tensor.Kernels;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import filigree.tensor.provider.Backend;
import filigree.transformer.Gates;
import filigree.transformer.ModelConfig;
import filigree.transformer.Transformer;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** What holds in every model, and what holds in linear and in smooth ones. */
class CircuitLawsTest {
  private static final Gradient AT_BASE = new Gradient.AtBase();

  static Stream<Arguments> kinds() {
    return Stream.of(ModelConfig.Residual.PRE_NORM, ModelConfig.Residual.PARALLEL)
        .flatMap(
            residual ->
                Stream.of(
                    Arguments.of(residual, Gates.dense(), GateRule.DECIDE_AGAIN),
                    Arguments.of(residual, new Gates.Hard(0), GateRule.DECIDE_AGAIN),
                    Arguments.of(residual, new Gates.Hard(0), GateRule.FROZEN_CLEAN),
                    Arguments.of(residual, new Gates.Hard(0), GateRule.FROZEN_CORRUPTED)));
  }

  private static Lab lab(ModelConfig.Residual residual, Gates gates, GateRule rule) {
    return new Lab(
        memory -> ToyModel.smooth(residual, 0.5, memory),
        ToyModel.randomPrompts(),
        gates,
        new Settings(Metric.LOGIT_DIFFERENCE, rule, 2, 1 << 30));
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void keepingAllChangesNoBitAndKeepingNothingGivesTheOtherRun(
      ModelConfig.Residual residual, Gates gates, GateRule rule) {
    try (Lab lab = lab(residual, gates, rule)) {
      Study study = lab.study();
      CircuitRunner runner = new CircuitRunner(study);
      Study.References references = study.references();
      CircuitGraph whole = CircuitGraph.of(study.config(), CircuitGraph.Split.WHOLE);
      BitSet all = new BitSet();
      all.set(0, whole.senders().size());
      for (Ablation ablation : Ablation.values()) {
        assertThat(runner.run(new Circuit.Nodes(whole, all), ablation))
            .containsExactly(references.clean());
        assertThat(runner.run(Circuit.Edges.all(whole), ablation))
            .containsExactly(references.clean());
      }
      assertThat(runner.run(new Circuit.Nodes(whole, new BitSet()), Ablation.RESAMPLE))
          .as("all nodes")
          .containsExactly(references.corrupted());
      for (CircuitGraph.Split split : CircuitGraph.Split.values()) {
        CircuitGraph graph = CircuitGraph.of(study.config(), split);
        assertThat(runner.run(new Circuit.Edges(graph, new BitSet()), Ablation.RESAMPLE))
            .as("all edges, %s", split)
            .containsExactly(references.corrupted(), within(1e-10));
      }
    }
  }

  /** Two programs for one thing: a run with one edge ablated, and one with one input changed. */
  @ParameterizedTest
  @MethodSource("kinds")
  void anEdgePatchedIsAnEdgeLeftOut(ModelConfig.Residual residual, Gates gates, GateRule rule) {
    try (Lab lab =
        new Lab(
            memory -> ToyModel.smooth(residual, 0.5, memory),
            ToyModel.randomPrompts().subList(0, 2),
            gates,
            new Settings(Metric.LOGIT_DIFFERENCE, rule, 2, 1 << 30))) {
      Study study = lab.study();
      CircuitRunner runner = new CircuitRunner(study);
      double clean = mean(study.references().clean());
      for (CircuitGraph.Split split : CircuitGraph.Split.values()) {
        EdgeScores scores = Patching.edges(study, split, Direction.CORRUPT);
        CircuitGraph graph = scores.graph();
        int seen = 0;
        for (int edge = 0; edge < graph.edgeCount(); edge += 2) {
          BitSet kept = Circuit.Edges.all(graph).kept();
          kept.clear(edge);
          double without = mean(runner.run(new Circuit.Edges(graph, kept), Ablation.RESAMPLE));
          assertThat(without - clean)
              .as(graph.edge(edge).label())
              .isCloseTo(scores.byEdge()[edge], within(1e-10));
          seen += Math.abs(scores.byEdge()[edge]) > 1e-6 ? 1 : 0;
        }
        assertThat(seen).isGreaterThan(4);
      }
    }
  }

  /** The ablated runs of means and zeros, computed another way for the edges into the logits. */
  @Test
  void meansAndZerosStandInForSenders() {
    try (Lab lab = lab(ModelConfig.Residual.PRE_NORM, Gates.dense(), GateRule.DECIDE_AGAIN)) {
      Study study = lab.study();
      CircuitRunner runner = new CircuitRunner(study);
      CircuitGraph graph = CircuitGraph.of(study.config(), CircuitGraph.Split.WHOLE);
      for (Ablation ablation : Ablation.values()) {
        BitSet nodes = new BitSet();
        nodes.set(0, graph.senders().size());
        BitSet edges = Circuit.Edges.all(graph).kept();
        for (Node node : List.of(new Node.Head(1, 1), new Node.Mlp(1))) {
          int sender = graph.senderIndex(node);
          nodes.clear(sender);
          for (int reader = 0; reader < graph.readers().size(); reader++) {
            if (sender < graph.visible(reader)) {
              edges.clear(graph.edge(reader, sender));
            }
          }
        }
        double[] byNodes = runner.run(new Circuit.Nodes(graph, nodes), ablation);
        double[] byEdges = runner.run(new Circuit.Edges(graph, edges), ablation);
        assertThat(byEdges).as("%s", ablation).containsExactly(byNodes, within(1e-10));
        assertThat(byNodes).isNotEqualTo(study.references().clean());
      }
    }
  }

  @ParameterizedTest
  @EnumSource(Direction.class)
  void onALinearModelAttributionIsPatching(Direction direction) {
    try (Lab lab = Lab.of(ToyModel.linear(), ToyModel.randomPrompts())) {
      Study study = lab.study();
      for (CircuitGraph.Split split : CircuitGraph.Split.values()) {
        EdgeScores exact = Patching.edges(study, split, direction);
        assertThat(Attribution.edges(study, split, direction, AT_BASE).byEdge())
            .containsExactly(exact.byEdge(), within(1e-6));
        Gradient left = new Gradient.AlongInputs(3, Gradient.Rule.LEFT);
        assertThat(Attribution.edges(study, split, direction, left).byEdge())
            .containsExactly(exact.byEdge(), within(1e-6));
        assertThat(Arrays.stream(exact.byEdge()).filter(x -> Math.abs(x) > 1e-3).count())
            .isGreaterThan(20);
      }
      NodeScores nodes = Patching.nodes(study, direction);
      assertThat(Attribution.nodes(study, direction, AT_BASE).bySender())
          .containsExactly(nodes.bySender(), within(1e-6));
      EdgeScores edges = Patching.edges(study, CircuitGraph.Split.WHOLE, direction);
      CircuitGraph graph = edges.graph();
      for (int sender = 0; sender < graph.senders().size(); sender++) {
        double sum = 0;
        for (int reader = 0; reader < graph.readers().size(); reader++) {
          sum += sender < graph.visible(reader) ? edges.byEdge()[graph.edge(reader, sender)] : 0;
        }
        assertThat(sum).isCloseTo(nodes.bySender()[sender], within(1e-6));
      }
    }
  }

  /** On a linear model what an edge does is the sum of what the paths do that begin with it. */
  @Test
  void onALinearModelPathsAddUp() {
    try (Lab lab = Lab.of(ToyModel.linear(), ToyModel.randomPrompts())) {
      Study study = lab.study();
      EdgeScores edges = Patching.edges(study, CircuitGraph.Split.WHOLE, Direction.CORRUPT);
      Edge first = Edge.parse("a0.h1->a1.h2");
      double direct = path(study, "a0.h1->a1.h2", "a1.h2->logits");
      double throughMlp = path(study, "a0.h1->a1.h2", "a1.h2->m1", "m1->logits");
      assertThat(direct + throughMlp).isCloseTo(edges.of(first), within(1e-9));
      assertThat(Math.abs(throughMlp)).isGreaterThan(1e-4);
      assertThat(path(study, "m0->logits"))
          .isCloseTo(edges.of(Edge.parse("m0->logits")), within(1e-12));
    }
  }

  private static double path(Study study, String... edges) {
    return Patching.path(study, Direction.CORRUPT, Arrays.stream(edges).map(Edge::parse).toList());
  }

  /**
   * The integral of the gradient along the inputs is the whole effect, and an input's edges share
   * it: the error falls with the steps, with their square by the midpoint rule.
   */
  @ParameterizedTest
  @EnumSource(
      value = ModelConfig.Residual.class,
      names = {"PRE_NORM", "PARALLEL"})
  void alongInputsConvergesOnASmoothModel(ModelConfig.Residual residual) {
    try (Lab lab =
        new Lab(
            memory -> ToyModel.smooth(residual, 0.25, memory),
            ToyModel.randomPrompts().subList(0, 1),
            Gates.dense(),
            Settings.of(Metric.PROBABILITY_DIFFERENCE))) {
      Study study = lab.study();
      double whole = mean(study.references().corrupted()) - mean(study.references().clean());
      for (Gradient.Rule rule : Gradient.Rule.values()) {
        double[] errors = new double[2];
        for (int i = 0; i < errors.length; i++) {
          Gradient gradient = new Gradient.AlongInputs(8 << i, rule);
          double node = Attribution.nodes(study, Direction.CORRUPT, gradient).of(new Node.Input());
          errors[i] = Math.abs(node - whole);
          if (i == 0) {
            assertThat(fromInput(study, gradient)).isCloseTo(node, within(1e-9));
          }
        }
        double order = rule == Gradient.Rule.LEFT ? 1.6 : 2.5;
        assertThat(errors[0]).as("%s %s", rule, Arrays.toString(errors)).isGreaterThan(1e-9);
        assertThat(errors[1]).as("%s", Arrays.toString(errors)).isLessThan(errors[0] / order);
      }
    }
  }

  private static double fromInput(Study study, Gradient gradient) {
    EdgeScores edges =
        Attribution.edges(study, CircuitGraph.Split.QKV, Direction.CORRUPT, gradient);
    double sum = 0;
    for (int reader = 0; reader < edges.graph().readers().size(); reader++) {
      sum += edges.byEdge()[edges.graph().edge(reader, 0)];
    }
    return sum;
  }

  /** Where a norm stands behind the heads, nodes can be patched, and edges do not exist. */
  @Test
  void headsOfAModelNormedBehindHaveNoEdges() {
    try (Lab lab = lab(ModelConfig.Residual.POST_NORM, Gates.dense(), GateRule.DECIDE_AGAIN)) {
      Study study = lab.study();
      CircuitGraph graph = CircuitGraph.of(study.config(), CircuitGraph.Split.WHOLE);
      assertThat(
              new CircuitRunner(study)
                  .run(new Circuit.Nodes(graph, new BitSet()), Ablation.RESAMPLE))
          .containsExactly(study.references().corrupted());
      NodeScores scores = Attribution.nodes(study, Direction.CORRUPT, AT_BASE);
      assertThat(scores.of(new Node.Head(0, 1))).isNotZero();
      assertThatThrownBy(
              () -> Attribution.edges(study, CircuitGraph.Split.WHOLE, Direction.CORRUPT, AT_BASE))
          .isInstanceOf(CircuitException.class)
          .hasMessage(
              "this model normalises what all heads of a block write together, so single heads have"
                  + " no edges; use heads instead of edges");
    }
  }

  /** Gates of another model: its own ones, put on it from outside, change nothing. */
  @Test
  void gatesOfTheSameModelAreItsOwn() {
    try (Kernels kernels = Backend.ND4J.open(1);
        Workspace memory = new Workspace("gates")) {
      Transformer model = ToyModel.smooth(ModelConfig.Residual.PRE_NORM, 0.5, memory);
      Subject sparse = new Subject(model, new Gates.Hard(0), kernels);
      Subject imposed = new Subject(model, Gates.dense(), kernels, new GateSource.Of(sparse));
      Settings settings = new Settings(Metric.LOGIT_DIFFERENCE, GateRule.FROZEN_CLEAN, 2, 1 << 30);
      try (Study own = study(sparse, settings);
          Study others = study(imposed, settings);
          Study dense = study(new Subject(model, Gates.dense(), kernels), settings)) {
        assertThat(others.references().clean())
            .containsExactly(own.references().clean(), within(1e-12));
        assertThat(others.references().corrupted())
            .containsExactly(own.references().corrupted(), within(1e-12));
        assertThat(others.references().clean()).isNotEqualTo(dense.references().clean());
        assertThat(Patching.nodes(others, Direction.CORRUPT).bySender())
            .containsExactly(Patching.nodes(own, Direction.CORRUPT).bySender(), within(1e-12));
      }
      Settings again = Settings.of(Metric.LOGIT_DIFFERENCE);
      assertThatThrownBy(() -> study(imposed, again))
          .hasMessageContaining("freeze them from the clean or the corrupted run");
      Transformer other = ToyModel.junction(ToyModel.Junction.OR).build(memory);
      assertThatThrownBy(
              () -> new Subject(other, Gates.dense(), kernels, new GateSource.Of(sparse)))
          .hasMessage(
              "gates of 2 layers of 2 heads are to be put on a model of 1 layers of 3 heads; they"
                  + " must have as many");
    }
  }

  private static Study study(Subject subject, Settings settings) {
    return new Study(subject, ToyModel.randomPrompts(), settings, Progress.ignored());
  }

  /** A pair that is closed is a gate that is closed: the same run by two programs. */
  @Test
  void aPairClosedIsAGateClosed() {
    try (Lab lab = lab(ModelConfig.Residual.PRE_NORM, new Gates.Hard(0), GateRule.DECIDE_AGAIN)) {
      Study study = lab.study();
      List<TokenPairs.Score> scores =
          TokenPairs.patch(study, Direction.CORRUPT, TokenPairs.Patch.CLOSED);
      int[] checked = {0};
      for (TokenPairs.Score score : scores) {
        if (score.time() == 4 && score.query() == 3) {
          double[] changes = new double[1];
          study.forEach(
              pair -> {
                if (pair.batch().time() == score.time()) {
                  double[] before = study.values(pair, pair.clean());
                  double[] after =
                      study.run(
                          pair, Study.Start.at(0, pair.clean()), List.of(new ClosedGate(score)));
                  changes[0] = mean(after) - mean(before);
                }
              });
          assertThat(changes[0]).as("%s", score).isCloseTo(score.change(), within(1e-10));
          checked[0] += Math.abs(score.change()) > 1e-6 ? 1 : 0;
        }
      }
      assertThat(checked[0]).isGreaterThan(3);
      assertThat(scores).extracting(TokenPairs.Score::open).contains(1); // in one of two prompts
    }
  }

  /** Closes one gate in all prompts. */
  private record ClosedGate(TokenPairs.Score pair) implements Tap {
    @Override
    public boolean wants(Site site) {
      return site.equals(Places.gate(pair.head().layer()));
    }

    @Override
    public Var see(Pass pass, Site site, Var value) {
      double[] gates = value.value().toDoubles();
      int heads = value.shape().length(1);
      int time = value.shape().length(2);
      for (int prompt = 0; prompt < value.shape().length(0); prompt++) {
        int row = (prompt * heads + pair.head().head()) * time + pair.query();
        gates[row * time + pair.key()] = 0;
      }
      return pass.constant(
          Tensor.of(pass.scope().memory(), value.value().dtype(), value.shape(), gates));
    }
  }

  /** A gradient at a sender or reader is the slope of the metric along what is patched. */
  @Test
  void scoresOfSmallChangesAreTheChanges() {
    try (Lab lab = lab(ModelConfig.Residual.PRE_NORM, new Gates.Hard(0), GateRule.FROZEN_CLEAN)) {
      Study study = lab.study();
      EdgeScores exact = Patching.edges(study, CircuitGraph.Split.QKV, Direction.CORRUPT);
      EdgeScores estimated =
          Attribution.edges(study, CircuitGraph.Split.QKV, Direction.CORRUPT, AT_BASE);
      double agreement = 0;
      double exactSquares = 0;
      double estimatedSquares = 0;
      for (int edge = 0; edge < exact.byEdge().length; edge++) {
        agreement += exact.byEdge()[edge] * estimated.byEdge()[edge];
        exactSquares += exact.byEdge()[edge] * exact.byEdge()[edge];
        estimatedSquares += estimated.byEdge()[edge] * estimated.byEdge()[edge];
      }
      assertThat(agreement / Math.sqrt(exactSquares * estimatedSquares)).isGreaterThan(0.5);
    }
  }

  private static double mean(double[] values) {
    return Arrays.stream(values).average().orElseThrow();
  }
}
