package filigree.interp.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class MetricLogTest {
  @TempDir Path temp;

  private MetricLog read(String metrics) {
    return MetricLog.read(RunFixture.in(temp).with("metrics.jsonl", metrics).folder());
  }

  private static MetricSeries series(MetricLog log, String key) {
    return log.find(key).orElseThrow();
  }

  @Test
  void missingKeysLeaveGaps() {
    MetricLog log = read("{\"step\":0,\"ce\":2}\n{\"step\":1,\"beta\":1}\n{\"step\":2,\"ce\":1}\n");

    assertThat(series(log, "ce").x()).containsExactly(0, 2);
    assertThat(series(log, "ce").y()).containsExactly(2, 1);
    assertThat(series(log, "beta").x()).containsExactly(1);
    assertThat(log.find("density")).isEmpty();
    assertThat(log.notes()).isEmpty();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "nonsense | \"nonsense\" (Unrecognized token",
        "[1] | [1], expected",
        "{\"step\":1,\"step\":2} | \"{\"step\":1,\"step\":2}\" (Duplicate",
        "{\"ce\":1} | no \"step\"",
        "{\"step\":-1} | \"step\": -1",
        "{\"step\":1.5} | \"step\": 1.5",
        "{\"step\":1,\"ce\":\"low\"} | \"ce\": \"low\",",
      })
  void malformedLineIsLocatedAndQuoted(String line, String found) {
    assertThatThrownBy(() -> read("{\"step\":0}\n" + line + "\n{\"step\":2}\n"))
        .isInstanceOf(ReportException.class)
        .hasMessageStartingWith(temp.resolve("metrics.jsonl") + ", line 2: found " + found)
        .hasMessageEndingWith(
            ", expected one JSON object with a whole number \"step\" and numbers such as \"ce\";"
                + " mend or delete that line.");
  }

  @Test
  void halfWrittenLastLineIsLeftOutWithANote() {
    MetricLog log = read("{\"step\":0,\"ce\":2}\n{\"step\":1,\"ce\":1.");

    assertThat(series(log, "ce").y()).containsExactly(2);
    assertThat(log.notes())
        .containsExactly(
            "The last line of metrics.jsonl (line 2) is half-written, as after a killed run;"
                + " it is left out.");
  }

  @Test
  void brokenLineWithItsLineEndIsNoHalfWrittenOne() {
    assertThatThrownBy(() -> read("{\"step\":0,\"ce\":2}\n{\"step\":1,\"ce\":1.\n"))
        .isInstanceOf(ReportException.class)
        .hasMessageContaining("line 2");
  }

  @Test
  void wholeLastLineWithoutLineEndCounts() {
    MetricLog log = read("{\"step\":0,\"ce\":2}\n{\"step\":1,\"ce\":1}");

    assertThat(series(log, "ce").y()).containsExactly(2, 1);
    assertThat(log.notes()).isEmpty();
  }

  @Test
  void phasesThatCountAnewStandOneAfterTheOther() {
    MetricLog log =
        read(
            """
            {"step":0,"phase":"dense","ce":4}
            {"step":1,"phase":"dense","ce":3}
            {"step":0,"phase":"sparse","ce":2}
            {"step":1,"phase":"sparse","ce":1}
            """);

    assertThat(series(log, "ce").x()).containsExactly(0, 1, 2, 3);
    assertThat(log.phases())
        .containsExactly(
            new MetricLog.Phase("dense", 0, 1, 0), new MetricLog.Phase("sparse", 0, 1, 2));
  }

  @Test
  void phasesThatCountOnKeepTheirSteps() {
    MetricLog log =
        read("{\"step\":4,\"phase\":\"a\",\"ce\":4}\n{\"step\":9,\"phase\":\"b\",\"ce\":3}\n");

    assertThat(series(log, "ce").x()).containsExactly(4, 9);
  }

  @Test
  void resumedRunShowsRepeatedStepsOnce() {
    MetricLog log =
        read(
            """
            {"step":0,"ce":5}
            {"step":1,"ce":4}
            {"step":2,"ce":3}
            {"step":1,"ce":2}
            {"step":2,"ce":1}
            """);

    assertThat(series(log, "ce").y()).containsExactly(5, 2, 1);
    assertThat(log.notes()).singleElement().asString().contains("stopped and resumed: 2 steps");
  }

  @Test
  void twoLinesOfOneStepAreMerged() {
    MetricLog log = read("{\"step\":1,\"ce\":2}\n{\"step\":1,\"valid_ce\":3}\n");

    assertThat(series(log, "ce").y()).containsExactly(2);
    assertThat(series(log, "valid_ce").y()).containsExactly(3);
  }

  @Test
  void valuesThatAreNotFiniteAreCountedNotDrawn() {
    MetricLog log = read("{\"step\":0,\"ce\":NaN}\n{\"step\":1,\"ce\":\"Infinity\",\"lr\":null}\n");

    assertThat(log.find("ce")).isEmpty();
    assertThat(log.notes())
        .containsExactly("2 logged values are not a finite number and cannot be drawn.");
  }

  @Test
  void missingFileIsANote() {
    assertThat(MetricLog.read(RunFixture.in(temp).folder()).notes())
        .containsExactly("This run has no metrics.jsonl, so there are no curves.");
  }
}
