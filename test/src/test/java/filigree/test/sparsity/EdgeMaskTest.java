package filigree.test.sparsity;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import filigree.sparsity.EdgeMask;
import filigree.sparsity.RunException;
import filigree.tensor.Kernels;
import filigree.tensor.Workspace;
import filigree.tensor.provider.Backend;
import filigree.test.TinyModel;
import filigree.transformer.Batch;
import filigree.transformer.Evaluation;
import filigree.transformer.Gates;
import filigree.transformer.Transformer;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Masks that need no training keep exactly the edges that they promise, and nothing else moves. */
class EdgeMaskTest {
  private static final int TIME = TinyModel.TIME;
  private static final int ROWS = 2 * 2; // layers x heads
  private static final long SEQUENCES = 6;

  private static Kernels kernels;

  @BeforeAll
  static void open() {
    kernels = Backend.CPU.open(2);
  }

  @AfterAll
  static void close() {
    kernels.close();
  }

  private static List<Batch.Maker> text(int batchSize) {
    // The same six windows, however they are put into batches.
    return IntStream.range(0, (int) SEQUENCES / batchSize)
        .mapToObj(
            batch ->
                (Batch.Maker)
                    memory ->
                        Batch.nextToken(
                            IntStream.range(0, batchSize)
                                .mapToObj(i -> window(batch * batchSize + i))
                                .toList(),
                            memory))
        .toList();
  }

  private static int[] window(int number) {
    return IntStream.range(0, TIME).map(t -> (7 * number + 3 * t * t + t) % 23).toArray();
  }

  private static Evaluation run(EdgeMask mask, int batchSize, long seed) {
    try (Workspace weights = new Workspace("weights");
        Workspace scratch = new Workspace("scratch")) {
      Transformer model = TinyModel.make(weights, 5);
      return Evaluation.of(
          new Evaluation.Subject(
              model,
              new Gates.Hard(0),
              (pass, first) -> pass.with(mask.tap(model.config(), seed, first))),
          text(batchSize),
          new Evaluation.Run(kernels, scratch, tokens -> {}));
    }
  }

  private static Evaluation dense() {
    try (Workspace weights = new Workspace("weights");
        Workspace scratch = new Workspace("scratch")) {
      return Evaluation.of(
          TinyModel.make(weights, 5),
          text(2),
          Gates.dense(),
          new Evaluation.Run(kernels, scratch, tokens -> {}));
    }
  }

  private static long sum(java.util.function.LongUnaryOperator keptOfQuery) {
    return LongStream.range(0, TIME).map(keptOfQuery).sum();
  }

  private static double edgesPerQuery(long keptInAHead) {
    return (double) keptInAHead / TIME;
  }

  @Test
  void keepingEverythingIsTheDenseModel() {
    Evaluation dense = dense();
    for (EdgeMask all :
        List.of(
            new EdgeMask.TopK(TIME),
            new EdgeMask.Window(TIME),
            new EdgeMask.Window(10 * TIME),
            new EdgeMask.RandomKeys(TIME))) {
      Evaluation kept = run(all, 2, 1);
      assertThat(kept.ce()).as("%s", all).isCloseTo(dense.ce(), within(1e-6));
      assertThat(kept.density()).as("%s", all).isEqualTo(1);
      assertThat(kept.expectedDensity()).as("%s", all).isCloseTo(1, within(1e-6));
      assertThat(kept.edgesPerQueryByHead()).isEqualTo(dense.edgesPerQueryByHead());
      assertThat(kept.firstShare()).isEqualTo(dense.firstShare());
      assertThat(kept.diagonalShare()).isEqualTo(dense.diagonalShare());
    }
  }

  @Test
  void countsAreThoseOfTheFormulas() {
    long causal = (long) TIME * (TIME + 1) / 2;
    for (int k : new int[] {1, 3, 7}) {
      long topk = sum(i -> Math.min(i + 1, k));
      long window = sum(i -> Math.min(i + 1, k) + (i >= k ? 1 : 0));
      for (EdgeMask mask : List.of(new EdgeMask.TopK(k), new EdgeMask.RandomKeys(k))) {
        Evaluation kept = run(mask, 3, 1);
        assertThat(kept.edgesPerQuery()).as("%s", mask).isEqualTo(edgesPerQuery(topk));
        assertThat(kept.density()).isEqualTo((double) topk / causal);
        assertThat(kept.expectedDensity()).isCloseTo(kept.density(), within(1e-6));
        assertThat(kept.emptyRows()).isZero();
      }
      Evaluation kept = run(new EdgeMask.Window(k), 3, 1);
      assertThat(kept.edgesPerQuery()).isEqualTo(edgesPerQuery(window));
      assertThat(kept.firstShare()).isCloseTo((double) TIME / window, within(1e-12));
      assertThat(kept.diagonalShare()).isCloseTo((double) TIME / window, within(1e-12));
      assertThat(kept.edgesPerQueryByHead())
          .allSatisfy(
              heads ->
                  assertThat(heads)
                      .allSatisfy(e -> assertThat(e).isEqualTo(window / (double) TIME)));
    }
    assertThat(ROWS * SEQUENCES)
        .isEqualTo(24); // queries x layers x heads divide every figure above
  }

  @Test
  void masksChangeTheLoss() {
    double dense = dense().ce();
    for (EdgeMask mask :
        List.of(new EdgeMask.TopK(1), new EdgeMask.Window(1), new EdgeMask.RandomKeys(1))) {
      assertThat(Math.abs(run(mask, 2, 1).ce() - dense)).as("%s", mask).isGreaterThan(1e-6);
    }
  }

  @Test
  void theDrawDependsOnTheSeedAndNotOnTheBatches() {
    EdgeMask random = new EdgeMask.RandomKeys(3);
    Evaluation once = run(random, 1, 1);
    assertThat(run(random, 1, 1)).isEqualTo(once);
    assertThat(run(random, 6, 1).firstShare()).isEqualTo(once.firstShare());
    assertThat(run(random, 6, 1).ce()).isCloseTo(once.ce(), within(1e-6));
    assertThat(run(random, 1, 2).ce()).isNotEqualTo(once.ce());
  }

  @Test
  void topKeepsTheHighestAndOfEqualsTheLater() {
    EdgeMask.Query query = new EdgeMask.Query(1, 5, new double[] {99, 2, 7, 2, 5, 2, 99});
    EdgeMask.Draw draw = new EdgeMask.Draw(1, 0, 0);
    assertThat(new EdgeMask.TopK(2).kept(query, draw)).containsExactlyInAnyOrder(2, 4);
    assertThat(new EdgeMask.TopK(3).kept(query, draw)).containsExactlyInAnyOrder(2, 4, 5);
    assertThat(new EdgeMask.TopK(9).kept(query, draw)).containsExactlyInAnyOrder(1, 2, 3, 4, 5);
    assertThat(new EdgeMask.Window(2).kept(query, draw)).containsExactlyInAnyOrder(4, 5);
  }

  @Test
  void randomKeysAreEquallyLikely() {
    int[] drawn = new int[10];
    EdgeMask.Query query = new EdgeMask.Query(0, 9, new double[10]);
    for (int sequence = 0; sequence < 10_000; sequence++) {
      int[] kept = new EdgeMask.RandomKeys(3).kept(query, new EdgeMask.Draw(7, 1 << 16, sequence));
      assertThat(kept).doesNotHaveDuplicates().hasSize(3);
      for (int key : kept) {
        drawn[key]++;
      }
    }
    // 3,000 each; a standard deviation is 46.
    for (int count : drawn) {
      assertThat(count).isBetween(2770, 3230);
    }
  }

  @Test
  void badRulesAreRefused() {
    for (String bad : List.of("topk", "topk:", "topk:x", "best:3", "window:1.5", "")) {
      assertThatThrownBy(() -> EdgeMask.parse(bad))
          .isInstanceOf(RunException.class)
          .hasMessageContaining("--mask is '" + bad + "'")
          .hasMessageContaining("topk:K");
    }
    assertThatThrownBy(() -> EdgeMask.parse("window:0")).hasMessageContaining("window:0");
    assertThat(EdgeMask.parse("random:4")).isEqualTo(new EdgeMask.RandomKeys(4));
  }
}
