package filigree.interp.circuit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import filigree.tensor.Elementwise;
import filigree.transformer.ModelConfig;
import java.util.BitSet;
import java.util.List;
import org.junit.jupiter.api.Test;

class CircuitGraphTest {
  private static ModelConfig config(ModelConfig.Residual residual, int layers, int heads) {
    return new ModelConfig(
        new ModelConfig.Sizes(27, 32, layers, 8 * heads),
        residual,
        new ModelConfig.Norm(ModelConfig.NormKind.LAYER, 1e-5),
        new ModelConfig.Positions.Learned(),
        new ModelConfig.Attention(heads, heads, 8, ModelConfig.Bias.PRESENT),
        new ModelConfig.Mlp(
            ModelConfig.MlpKind.PLAIN, 16, Elementwise.GELU, ModelConfig.Bias.PRESENT),
        ModelConfig.Head.TIED);
  }

  private static CircuitGraph graph(ModelConfig.Residual residual, CircuitGraph.Split split) {
    return CircuitGraph.of(config(residual, 2, 2), split);
  }

  /** 15 edges of two layers of one head; 32,491 of GPT-2 small, as published for ACDC and EAP. */
  @Test
  void countsEdges() {
    ModelConfig induction = config(ModelConfig.Residual.PRE_NORM, 2, 1);
    assertThat(CircuitGraph.of(induction, CircuitGraph.Split.WHOLE).edgeCount()).isEqualTo(15);
    ModelConfig gpt2 = config(ModelConfig.Residual.PRE_NORM, 12, 12);
    assertThat(CircuitGraph.of(gpt2, CircuitGraph.Split.QKV).edgeCount()).isEqualTo(32_491);
    assertThat(CircuitGraph.of(gpt2, CircuitGraph.Split.WHOLE).edgeCount()).isEqualTo(11_611);
  }

  @Test
  void numbersAndNamesGoBothWays() {
    for (ModelConfig.Residual residual :
        List.of(ModelConfig.Residual.PRE_NORM, ModelConfig.Residual.PARALLEL)) {
      for (CircuitGraph.Split split : CircuitGraph.Split.values()) {
        CircuitGraph graph = graph(residual, split);
        for (int number = 0; number < graph.edgeCount(); number++) {
          Edge edge = graph.edge(number);
          assertThat(graph.indexOf(edge)).isEqualTo(number);
          assertThat(Edge.parse(edge.label())).isEqualTo(edge);
          assertThat(graph.edge(graph.readerOf(number), graph.senderOf(number))).isEqualTo(number);
        }
      }
    }
  }

  @Test
  void anMlpReadsTheHeadsOfItsBlockUnlessTheyStandSideBySide() {
    Edge edge = Edge.parse("a1.h0->m1");
    CircuitGraph sequential = graph(ModelConfig.Residual.PRE_NORM, CircuitGraph.Split.WHOLE);
    assertThat(sequential.edge(sequential.indexOf(edge))).isEqualTo(edge);
    CircuitGraph parallel = graph(ModelConfig.Residual.PARALLEL, CircuitGraph.Split.WHOLE);
    assertThatThrownBy(() -> parallel.indexOf(edge))
        .hasMessage(
            "this model has no edge a1.h0->m1; edges lead forward, and to heads as a whole");
  }

  @Test
  void refusesEdgesOfHeadsThatAreNormedTogether() {
    CircuitGraph graph = graph(ModelConfig.Residual.POST_NORM, CircuitGraph.Split.WHOLE);
    assertThatThrownBy(() -> Circuit.Edges.all(graph))
        .isInstanceOf(CircuitException.class)
        .hasMessageContaining("use heads instead of edges");
  }

  @Test
  void refusesWhatIsNoName() {
    assertThatThrownBy(() -> Node.parse("h1"))
        .hasMessage("'h1' is no node; nodes are called input, a0.h1, m0 and logits");
    assertThatThrownBy(() -> Edge.parse("input->m0<q>"))
        .hasMessage("m0 reads as a whole; only heads have a query, a key and a value");
    assertThatThrownBy(() -> Edge.parse("input"))
        .hasMessage("'input' is no edge; edges are called a0.h1->m1");
  }

  @Test
  void pruningLeavesPathsFromInputToLogits() {
    CircuitGraph graph = graph(ModelConfig.Residual.PRE_NORM, CircuitGraph.Split.QKV);
    List<Edge> path =
        List.of(
            Edge.parse("input->a0.h1<v>"),
            Edge.parse("a0.h1->a1.h0<k>"),
            Edge.parse("a1.h0->logits"));
    List<Edge> ends =
        List.of(
            Edge.parse("input->a0.h0<q>"), // whose output nobody reads
            Edge.parse("m0->m1"), // m0 reads nothing
            Edge.parse("m1->logits"));
    BitSet kept = new BitSet();
    path.forEach(edge -> kept.set(graph.indexOf(edge)));
    ends.forEach(edge -> kept.set(graph.indexOf(edge)));
    assertThat(new Circuit.Edges(graph, kept).pruned().edges())
        .containsExactlyInAnyOrderElementsOf(path);
    assertThat(Circuit.Edges.all(graph).pruned()).isEqualTo(Circuit.Edges.all(graph));
  }

  @Test
  void ranksByTheSizeOfScores() {
    CircuitGraph graph = graph(ModelConfig.Residual.PRE_NORM, CircuitGraph.Split.WHOLE);
    double[] scores = new double[graph.senders().size()];
    scores[0] = 9;
    scores[graph.senderIndex(new Node.Head(1, 1))] = -3;
    scores[graph.senderIndex(new Node.Head(0, 1))] = 2;
    scores[graph.senderIndex(new Node.Mlp(0))] = 2.5;
    Ranking heads = Ranking.heads(new NodeScores(graph, scores));
    assertThat(heads.total()).isEqualTo(4);
    assertThat(heads.labelAt(0)).isEqualTo("a1.h1");
    assertThat(heads.scoreAt(0)).isEqualTo(-3);
    assertThat(heads.labelAt(2)).isEqualTo("a0.h0"); // equal ones in order
    assertThat(heads.circuit(1).size()).isEqualTo(4); // input and MLPs stay
    Ranking nodes = Ranking.nodes(new NodeScores(graph, scores));
    assertThat(nodes.labelAt(1)).isEqualTo("m0");
    assertThatThrownBy(() -> nodes.circuit(7)).hasMessage("there are no 7 of 6");
  }
}
