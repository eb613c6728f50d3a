package filigree.interp.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ReportedRunTest {
  @TempDir Path temp;

  @Test
  void missingFolderIsNamed() {
    Path folder = temp.resolve("nowhere");

    assertThatThrownBy(() -> ReportedRun.read(folder))
        .isInstanceOf(ReportException.class)
        .hasMessage(
            folder + ": found nothing, expected a run folder; give the --out folder of a run.");
  }

  @Test
  void folderWithoutRunJsonIsNotARun() {
    assertThatThrownBy(() -> ReportedRun.read(temp))
        .isInstanceOf(ReportException.class)
        .hasMessage(
            temp.resolve("run.json")
                + ": found no such file, expected the record of a run;"
                + " give the --out folder of a run.");
  }

  @Test
  void brokenJsonIsLocated() {
    Path folder = RunFixture.in(temp).with("run.json", "{\"verb\": \"train\",\n oops}").folder();

    assertThatThrownBy(() -> ReportedRun.read(folder))
        .isInstanceOf(ReportException.class)
        .hasMessageContaining(
            "run.json: found text that is not the expected JSON at line 2, column")
        .hasMessageEndingWith("expected one JSON object; mend it or repeat the run.");
  }

  @Test
  void verbIsRequired() {
    Path folder = RunFixture.in(temp).with("run.json", "{\"verb\": 3}").folder();

    assertThatThrownBy(() -> ReportedRun.read(folder))
        .isInstanceOf(ReportException.class)
        .hasMessageContaining("run.json, key \"verb\": found 3, expected the command of the run");
  }

  @Test
  void resultMustBeAnObject() {
    Path folder =
        RunFixture.in(temp).with("run.json", "{\"verb\": \"train\", \"result\": [1]}").folder();

    assertThatThrownBy(() -> ReportedRun.read(folder))
        .isInstanceOf(ReportException.class)
        .hasMessageContaining("key \"result\": found [1], expected an object");
  }

  @Test
  void folderNameStandsInForAMissingName() {
    Path folder =
        RunFixture.in(temp.resolve("gpt2-seed3"))
            .with("run.json", "{\"verb\": \"train\"}")
            .folder();

    assertThat(ReportedRun.read(folder).name()).isEqualTo("gpt2-seed3");
  }
}
