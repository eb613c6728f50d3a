package filigree.transformer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import filigree.tensor.Workspace;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class WindowsTest {
  private static int[] document(int from, int to) {
    return IntStream.range(from, to).toArray();
  }

  @Test
  void documentsAreCutIntoConsecutiveWindowsOfTheirOwn() {
    Windows windows = Windows.cut(List.of(document(0, 5), document(10, 12)), 2);
    assertThat(windows.all())
        .containsExactly(new int[] {0, 1}, new int[] {2, 3}, new int[] {4}, new int[] {10, 11});
    assertThat(windows.scored()).isEqualTo(3);
  }

  @Test
  void batchesHoldWindowsOfOneLengthAndScoreAllButTheFirstToken() {
    Windows windows =
        Windows.cut(List.of(document(0, 3), document(3, 6), document(6, 9), document(9, 11)), 3);
    try (Workspace memory = new Workspace("test")) {
      List<Batch> batches = windows.batches(2).stream().map(maker -> maker.make(memory)).toList();
      assertThat(batches).extracting(Batch::scored).containsExactly(4L, 2L, 1L);
      assertThat(batches.getFirst().targets().toInts()).containsExactly(1, 2, -1, 4, 5, -1);
    }
  }

  @Test
  void aWindowThatScoresNothingIsRefused() {
    assertThatThrownBy(() -> Windows.cut(List.of(document(0, 3)), 1))
        .hasMessageContaining("--context of 2 or more");
  }

  @Test
  void trainingSeesEveryWindowOnceAnEpochAndTheSameOnesAgain() {
    List<int[]> documents = List.of(document(0, 10), document(10, 13), document(13, 16));
    WindowSampler sampler = new WindowSampler(documents, 4, 2, 5);
    // 10 tokens: three windows, the last moved back; 3 + 3 tokens joined: one window.
    assertThat(sampler.windowCount()).isEqualTo(4);
    try (Workspace memory = new Workspace("test")) {
      List<List<Integer>> seen = new ArrayList<>();
      for (long step = 1; step <= 2; step++) {
        int[] ids = sampler.batch(step, memory).ids().toInts();
        seen.add(IntStream.range(0, 4).mapToObj(i -> ids[i]).toList());
        seen.add(IntStream.range(4, 8).mapToObj(i -> ids[i]).toList());
      }
      assertThat(seen)
          .containsExactlyInAnyOrder(
              List.of(0, 1, 2, 3),
              List.of(4, 5, 6, 7),
              List.of(6, 7, 8, 9),
              List.of(10, 11, 12, 13));
      int[] once = sampler.batch(7, memory).ids().toInts();
      WindowSampler another = new WindowSampler(documents, 4, 2, 5);
      assertThat(another.batch(7, memory).ids().toInts()).isEqualTo(once);
    }
  }

  @Test
  void tooLittleTrainingTextIsRefusedWithItsLength() {
    assertThatThrownBy(() -> new WindowSampler(List.of(document(0, 3)), 4, 1, 1))
        .hasMessageContaining("3 tokens, fewer than one window of 4");
  }

  @Test
  void theRateWarmsUpStaysAndFalls() {
    LearningRate rate = new LearningRate(1, 10, 50, 100, 0.1);
    assertThat(rate.at(1)).isEqualTo(0.1);
    assertThat(rate.at(10)).isEqualTo(1);
    assertThat(rate.at(50)).isEqualTo(1);
    assertThat(rate.at(75)).isCloseTo(0.55, within(1e-12));
    assertThat(rate.at(100)).isCloseTo(0.1, within(1e-12));
  }
}
