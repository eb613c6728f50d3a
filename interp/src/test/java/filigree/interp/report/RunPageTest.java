package filigree.interp.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RunPageTest {
  private static final String HOSTILE = "</script><img src=x onerror='alert(1)'>&\"{{data}}";

  @TempDir Path temp;

  private RunFixture wholeRun() {
    return RunFixture.in(temp.resolve("run"))
        .withSteps(20)
        .with("attention.json", RunFixture.ATTENTION);
  }

  private String page(Path... folders) throws IOException {
    Path page = temp.resolve("page.html");
    RunPage.write(List.of(folders), page);
    return Files.readString(page);
  }

  private static JsonNode data(String html) throws IOException {
    Matcher script =
        Pattern.compile("<script type=\"application/json\" id=\"data\">(.*?)</script>")
            .matcher(html);
    assertThat(script.find()).isTrue();
    return Json.MAPPER.readTree(script.group(1));
  }

  @Test
  void pageSaysInWordsWhatTheRunCameTo() throws IOException {
    assertThat(page(wholeRun().folder()))
        .contains("<title>Filigree: a run</title>")
        .contains("The loss went from 3.1100 to 3.1190 nats per token, within the permitted τ of")
        .contains("0.4 % are still open: each query of each head reads 2.05 tokens on average.")
        .contains("<th scope=\"row\">train.sha256</th><td>00ff</td>")
        .contains("<th scope=\"row\">lr</th><td>0.0001</td>")
        .contains("<th scope=\"row\">empty_rows</th><td>0.667</td>");
  }

  @Test
  void pageShowsWindowsOfOtherLengths() throws IOException {
    RunFixture run =
        wholeRun()
            .with(
                "run.json",
                """
                {"verb": "sparsify", "result": {"kl": 0.0125, "dead_heads": 3, "by_context": [
                  {"context": 64, "ce": 1.25, "density": 0.5},
                  {"context": 128, "ce": 1.125, "density": 0.25}]}}
                """);

    assertThat(page(run.folder()))
        .contains("<caption>Windows of other lengths than trained</caption>")
        .contains("<th scope=\"row\">128</th><td>1.125</td><td>0.25</td>")
        .contains("<th scope=\"row\">Dead heads</th><td>3</td>")
        .contains("0.0125 nats per token")
        .doesNotContain("<th scope=\"row\">by_context</th>");
  }

  @Test
  void scriptGetsTheCurvesAndTheAttention() throws IOException {
    JsonNode run = data(page(wholeRun().folder())).at("/runs/0");

    assertThat(run.at("/series/ce/y")).hasSize(20);
    assertThat(run.at("/tau").doubleValue()).isEqualTo(3.12);
    assertThat(run.at("/attention/layers").intValue()).isEqualTo(2);
    assertThat(run.at("/attention/prompts/0/tokens/1").textValue()).isEqualTo("+");
  }

  @Test
  void textFromFilesCannotBecomeMarkupOrScript() throws IOException {
    String json = Json.MAPPER.writeValueAsString(HOSTILE);
    RunFixture run =
        wholeRun()
            .with(
                "run.json",
                """
                {"verb": %1$s, "name": %1$s, "arguments": {%1$s: %1$s}, "result": {%1$s: %1$s},
                 "data": {%1$s: %1$s}, "cpu": %1$s}
                """
                    .formatted(json))
            .with("attention.json", RunFixture.ATTENTION.replace("\"+\"", json))
            .with("metrics.jsonl", "{\"step\": 0, \"phase\": " + json + ", " + json + ": 1}\n");

    String html = page(run.folder());

    assertThat(html).doesNotContain("<img").contains("&lt;/script&gt;&lt;img src=x");
    assertThat(Pattern.compile("</script>").matcher(html).results()).hasSize(2);
    JsonNode data = data(html).at("/runs/0");
    assertThat(data.at("/name").textValue()).isEqualTo(HOSTILE);
    assertThat(data.at("/attention/prompts/0/tokens/1").textValue()).isEqualTo(HOSTILE);
    assertThat(data.at("/phases/0/name").textValue()).isEqualTo(HOSTILE);
  }

  @Test
  void pageNamesNoAddressOutsideItself() throws IOException {
    assertThat(page(wholeRun().folder()).toLowerCase(Locale.ROOT))
        .doesNotContain("http:", "https:", "src=", "href=", "@import", "url(", "fetch(")
        .contains("default-src 'none'");
  }

  @Test
  void sameFoldersGiveTheSameBytes() throws IOException {
    Path folder = wholeRun().folder();

    assertThat(page(folder, folder)).isEqualTo(page(folder, folder));
  }

  @Test
  void severalRunsStandSideBySide() throws IOException {
    Path second = RunFixture.in(temp.resolve("second")).folder();
    Files.writeString(second.resolve("run.json"), "{\"verb\": \"train\"}");

    String html = page(wholeRun().folder(), second);

    assertThat(html)
        .contains("2 runs compared", "<h2>a run</h2>", "<h2>second</h2>", "id=\"comparison\"")
        .contains("<th scope=\"row\">Base loss</th><td>3.1100 nats per token</td><td>–</td>");
  }

  @Test
  void runWithoutResultShowsWhatItLoggedLastAndSaysSo() throws IOException {
    Path folder = wholeRun().with("run.json", "{\"verb\": \"sparsify\"}").folder();

    assertThat(page(folder))
        .contains("The loss came to 3.1810 nats per token.")
        .contains("The run has not written a result: figures are the last that it logged.");
  }

  @Test
  void halfWrittenLastLineIsMentionedOnThePage() throws IOException {
    Path folder =
        wholeRun().with("metrics.jsonl", "{\"step\":0,\"ce\":1}\n{\"step\":1,\"c").folder();

    assertThat(page(folder)).contains("The last line of metrics.jsonl (line 2) is half-written");
  }

  @Test
  void pageReplacesAnOlderOneAndLeavesNoTemporaryFile() throws IOException {
    Path page = temp.resolve("page.html");
    Files.writeString(page, "older");

    RunPage.write(List.of(wholeRun().folder()), page);

    assertThat(Files.readString(page)).startsWith("<!DOCTYPE html>").endsWith("</html>\n");
    assertThat(filesBeside(page)).containsExactlyInAnyOrder("page.html", "run");
  }

  @Test
  void failureToRenameLeavesTheTargetAndNoTemporaryFile() throws IOException {
    Path page = temp.resolve("page.html");
    Files.createDirectories(page.resolve("in the way"));
    Path folder = wholeRun().folder();

    assertThatThrownBy(() -> RunPage.write(List.of(folder), page))
        .isInstanceOf(ReportException.class)
        .hasMessageStartingWith(page + ": cannot be written (")
        .hasMessageEndingWith(
            "), expected a folder that exists and may be written to; give another path.");
    assertThat(filesBeside(page)).containsExactlyInAnyOrder("page.html", "run");
  }

  @Test
  void badRunLeavesTheOlderPageAsItWas() throws IOException {
    Path page = temp.resolve("page.html");
    Files.writeString(page, "older");
    Path folder = wholeRun().with("metrics.jsonl", "nonsense\n").folder();

    assertThatThrownBy(() -> RunPage.write(List.of(folder), page))
        .isInstanceOf(ReportException.class);
    assertThat(Files.readString(page)).isEqualTo("older");
  }

  @Test
  void noFolderIsOneSentence() {
    assertThatThrownBy(() -> RunPage.write(List.of(), temp.resolve("page.html")))
        .isInstanceOf(ReportException.class)
        .hasMessage(
            "report: found no run folder, expected at least one; give the --out folder of a run.");
  }

  private static List<String> filesBeside(Path page) throws IOException {
    try (Stream<Path> files = Files.list(page.getParent())) {
      return files.map(file -> file.getFileName().toString()).toList();
    }
  }
}
