package filigree.interp.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SweepTest {
  @TempDir Path folder;

  private static Sweep.Run run(String lr, long seed, double edges, double excess) {
    SequencedMap<String, Double> measures = new LinkedHashMap<>();
    measures.put(Sweep.EDGES, edges);
    measures.put(Sweep.EXCESS, excess);
    return run(lr, seed, Sweep.Status.DONE, "", measures);
  }

  private static Sweep.Run run(
      String lr,
      long seed,
      Sweep.Status status,
      String note,
      SequencedMap<String, Double> measures) {
    SequencedMap<String, String> setting = new LinkedHashMap<>();
    setting.put("lr", lr);
    return new Sweep.Run(setting, seed, status, note, measures);
  }

  private static Sweep sweep() {
    SequencedMap<String, Double> none = new LinkedHashMap<>();
    none.put(Sweep.EXCESS, Double.NaN);
    none.put(Sweep.EDGES, 0.5);
    return new Sweep(
        "a sweep",
        List.of(
            run("1e-4", 1, 10, 0.01),
            run("1e-4", 2, 11, 0.02),
            run("1e-4", 3, 12, 0.03),
            run("2e-4", 1, 6, 0.05),
            run("3e-4", 1, 12, 0.04),
            run("4e-4", 1, Sweep.Status.DIVERGED, "the loss is NaN, \"alas\"", none)));
  }

  /** Student's t with 2 degrees of freedom at 97.5 % is 4.302653 (any table). */
  @Test
  void intervalsAreStudents() {
    Sweep.Mean mean = Sweep.Mean.of(List.of(10.0, 11.0, 12.0));
    assertThat(mean.mean()).isEqualTo(11);
    assertThat(mean.margin().orElseThrow()).isCloseTo(4.302653 / Math.sqrt(3), within(1e-6));
    assertThat(Sweep.Mean.of(List.of(7.0)).margin()).isEmpty();
  }

  @Test
  void theFrontIsWhatNobodyBeatsInBoth() {
    assertThat(sweep().front())
        .extracting(Sweep.Setting::name)
        .containsExactly("lr 2e-4", "lr 1e-4");
  }

  @Test
  void tablesHoldEveryRun() {
    assertThat(sweep().csv().split("\r\n"))
        .hasSize(7)
        .contains("lr,seed,status,edges_per_query,excess,note", "2e-4,1,done,6.0,0.05,")
        .contains("4e-4,1,diverged,0.5,NaN,\"the loss is NaN, \"\"alas\"\"\"");
    assertThat(sweep().markdown())
        .contains("| lr 1e-4 * | 11 ± 2.48414 | 0.02 ± 0.0248414 | 3 | 3 done |")
        .contains("| lr 4e-4 | – | – | 1 | 1 diverged |");
    JsonNode json = sweep().json();
    assertThat(json.at("/settings/0/pareto").asBoolean()).isTrue();
    assertThat(json.at("/settings/2/pareto").asBoolean()).isFalse();
    assertThat(json.at("/runs/5/status").asText()).isEqualTo("diverged");
  }

  @Test
  void thePageStandsAlone() throws IOException {
    Path page = folder.resolve("sweep.html");
    SweepPage.write(sweep(), page);
    String html = Files.readString(page);
    assertThat(html)
        .contains(
            "<polyline class=\"front\"",
            ">lr 2e-4</text>",
            "open edges per query and head",
            "1 diverged")
        .contains("the loss is NaN, &quot;alas&quot;")
        .doesNotContain("{{", "http:", "https:", "<script", "NaN\"");
    // Five runs with figures and three settings with a mean.
    assertThat(html.split("<circle", -1)).hasSize(1 + 5 + 3);
    SweepPage.write(
        new Sweep(
            "none yet", List.of(run("1", 1, Sweep.Status.WAITING, "", new LinkedHashMap<>()))),
        page);
    assertThat(Files.readString(page)).contains("No run has been measured yet");
  }
}
