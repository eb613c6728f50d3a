package filigree.interp.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class MetricSeriesTest {
  private static MetricSeries wave(int size) {
    double[] y = IntStream.range(0, size).mapToDouble(i -> Math.sin(i * 0.7)).toArray();
    return new MetricSeries(LongStream.range(0, size).toArray(), y);
  }

  @Test
  void shortSeriesStaysAsItIs() {
    MetricSeries series = wave(100);

    assertThat(series.decimated(100)).isSameAs(series);
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 4_321, 19_998, 19_999})
  void decimationKeepsASpikeAtAnyPlace(int place) {
    MetricSeries series = wave(20_000);
    series.y()[place] = 1_000;
    series.y()[(place + 10_000) % 20_000] = -1_000;

    MetricSeries drawn = series.decimated(1_600);

    assertThat(drawn.size()).isLessThanOrEqualTo(1_600);
    assertThat(Arrays.stream(drawn.y()).max()).hasValue(1_000);
    assertThat(Arrays.stream(drawn.y()).min()).hasValue(-1_000);
  }

  @Test
  void decimationKeepsBothEndsTheOrderAndRealPoints() {
    MetricSeries series = wave(5_003);

    MetricSeries drawn = series.decimated(64);

    assertThat(drawn.x()[0]).isZero();
    assertThat(drawn.x()[drawn.size() - 1]).isEqualTo(5_002);
    assertThat(drawn.x()).isSorted().doesNotHaveDuplicates();
    for (int i = 0; i < drawn.size(); i++) {
      assertThat(drawn.y()[i]).isEqualTo(series.y()[(int) drawn.x()[i]]);
    }
  }

  @Test
  void limitBelowFourIsRefused() {
    MetricSeries series = wave(10);

    assertThatThrownBy(() -> series.decimated(3)).isInstanceOf(IllegalArgumentException.class);
  }
}
