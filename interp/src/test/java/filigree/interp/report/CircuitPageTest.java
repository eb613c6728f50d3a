package filigree.interp.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import filigree.interp.circuit.Edge;
import filigree.interp.circuit.Node;
import filigree.interp.circuit.Part;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.OptionalInt;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CircuitPageTest {
  private static final String HOSTILE = "</script><img src=x onerror='alert(1)'>&\"{{data}}";

  @TempDir Path temp;

  private String page(CircuitPageData report) throws IOException {
    Path page = temp.resolve("circuit.html");
    CircuitPage.write(report, page);
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
  void pageSaysInWordsWhatWasFound() throws IOException {
    assertThat(page(CircuitFixture.two()))
        .contains("<title>Filigree: Circuits of babyllama and babyllama-sparse</title>")
        .contains(
            "The task is story-names. EAP-IG, resample ablation: babyllama explains 90 % of the"
                + " effect with 192 of 2,461 edges, and babyllama-sparse explains 90 % of the"
                + " effect with 14 of 2,461 edges; the ratio is 13.7×, with an interval from 9.6×"
                + " to 19.2×.")
        .contains(
            "<th scope=\"row\">EAP-IG, resample ablation, edges</th><td>0.8</td><td>135 of"
                + " 2,461</td><td>10 of 2,461</td><td>13.5×</td><td>9.45× to 18.9×</td>")
        .contains("The strongest edges of babyllama-sparse")
        .contains("<th scope=\"row\">method</th><td>eap-ig, 5 steps</td>");
  }

  @Test
  void tableNamesEdgesAsEapIgDoes() throws IOException {
    CircuitPageData two = CircuitFixture.two();
    CircuitPageData.ScoredEdge first = two.models().getFirst().edges().getFirst();
    assertThat(page(two))
        .contains("<th scope=\"row\">1</th><td>" + first.edge().sender().label() + " → ")
        .containsPattern("a\\d\\.h\\d → a\\d\\.h\\d \\([qkv]\\)");
  }

  @Test
  void scriptGetsCurvesEdgesAndAttention() throws IOException {
    CircuitPageData two = CircuitFixture.two();
    JsonNode data = data(page(two));
    assertThat(data.at("/panels/0/curves/0/k/1").intValue()).isEqualTo(1);
    assertThat(data.at("/panels/0/curves/1/reached/1/k").intValue()).isEqualTo(14);
    assertThat(data.at("/panels/0/ratios/1/effect").doubleValue()).isEqualTo(0.9);
    assertThat(data.at("/panels/1/unit").textValue()).isEqualTo("heads");
    CircuitPageData.ScoredEdge strongest = two.models().get(1).edges().getFirst();
    assertThat(data.at("/models/1/edges/0/0").textValue())
        .isEqualTo(strongest.edge().sender().label());
    assertThat(data.at("/models/1/edges/0/1").textValue())
        .isEqualTo(strongest.edge().reader().label());
    assertThat(data.at("/models/0/nodes").size()).isEqualTo(40);
    assertThat(data.at("/prompts/0/tokens/1").textValue()).isEqualTo("Lily");
    // 40 heads, 66 pairs of the 11 tokens, 2 bytes each; 4 characters of base64 for 3 bytes.
    assertThat(data.at("/models/0/weights/0").textValue()).hasSize(40 * 66 * 2 / 3 * 4);
  }

  @Test
  void graphOfVeryManyEdgesIsCutAndSaysSo() throws IOException {
    CircuitPageData two = CircuitFixture.two();
    CircuitPageData.Model model = two.models().getFirst();
    CircuitPageData.ScoredEdge weak =
        new CircuitPageData.ScoredEdge(new Edge(new Node.Input(), new Node.Logits(), Part.ALL), 0);
    List<CircuitPageData.ScoredEdge> many =
        Stream.concat(model.edges().stream(), Stream.generate(() -> weak).limit(3000)).toList();
    JsonNode drawn =
        data(
            page(
                new CircuitPageData(
                    two.task(),
                    two.settings(),
                    List.of(
                        new CircuitPageData.Model(
                            "many", model.heads(), many, model.nodes(), List.of())),
                    List.of(),
                    List.of())));
    assertThat(drawn.at("/models/0/edges")).hasSize(2000);
    assertThat(drawn.at("/models/0/allEdges").intValue()).isEqualTo(many.size());
  }

  @Test
  void oneModelWithoutEdgesHasAPageToo() throws IOException {
    String html = page(CircuitFixture.one());
    assertThat(html)
        .contains(
            "patching: no circuit of heads that was tried explains 90 % of the effect in alone.")
        .contains("<th scope=\"row\">0.9</th><td>not reached of 40</td>")
        .doesNotContain("<h3>The strongest edges</h3>")
        .doesNotContain("Ratio</th>");
    assertThat(data(html).at("/panels/0/curves/0/reached/0").has("k")).isFalse();
  }

  @Test
  void sameReportGivesTheSameBytes() throws IOException {
    assertThat(page(CircuitFixture.two())).isEqualTo(page(CircuitFixture.two()));
  }

  @Test
  void pageNamesNoAddressOutsideItself() throws IOException {
    assertThat(page(CircuitFixture.two()).toLowerCase(Locale.ROOT))
        .doesNotContain("http:", "https:", "src=", "href=", "@import", "url(", "fetch(")
        .contains("default-src 'none'")
        .endsWith("</html>\n");
  }

  @Test
  void textCannotBecomeMarkupOrScript() throws IOException {
    CircuitPageData two = CircuitFixture.two();
    CircuitPageData.Model model = two.models().getFirst();
    CircuitPageData hostile =
        new CircuitPageData(
            new CircuitPageData.Question(HOSTILE, HOSTILE, HOSTILE),
            List.of(new CircuitPageData.Setting(HOSTILE, HOSTILE)),
            List.of(
                new CircuitPageData.Model(
                    HOSTILE, model.heads(), model.edges(), model.nodes(), model.patterns())),
            List.of(
                new CircuitPageData.Panel(
                    HOSTILE,
                    CircuitPageData.Unit.NODES,
                    List.of(two.panels().getFirst().curves().getFirst()),
                    List.of())),
            List.of(
                new CircuitPageData.Prompt(HOSTILE, two.prompts().get(0).tokens(), HOSTILE),
                two.prompts().get(1)));
    String html = page(hostile);
    assertThat(html).doesNotContain("<img").contains("&lt;/script&gt;&lt;img src=x");
    assertThat(Pattern.compile("</script>").matcher(html).results()).hasSize(2);
    assertThat(data(html).at("/models/0/name").textValue()).isEqualTo(HOSTILE);
    assertThat(data(html).at("/prompts/0/answer").textValue()).isEqualTo(HOSTILE);
  }

  @Test
  void partsMustBelongTogether() {
    CircuitPageData two = CircuitFixture.two();
    CircuitPageData.Model dense = two.models().getFirst();
    refused(
        () -> with(two, List.of(), two.panels()),
        "circuit page, models: found 0 models, expected one or two;");
    refused(
        () -> with(two, List.of(dense, dense), two.panels()),
        "circuit page, models: found one name twice, expected names that tell them apart;");
    refused(
        () -> with(two, List.of(dense), two.panels()),
        "circuit page, panel EAP-IG, resample ablation: found 2 curves, expected one for each of"
            + " the 1 models;");
    refused(
        () ->
            new CircuitPageData.Model(
                "m",
                dense.heads(),
                List.of(
                    new CircuitPageData.ScoredEdge(
                        new Edge(new Node.Input(), new Node.Mlp(5), Part.ALL), 1)),
                List.of(),
                List.of()),
        "circuit page, model: found node m5, expected one of 5 layers of 8 heads;");
    refused(
        () ->
            new CircuitPageData.Model(
                "m",
                dense.heads(),
                List.of(),
                List.of(new CircuitPageData.ScoredNode(new Node.Head(5, 0), 1)),
                List.of()),
        "circuit page, model: found node a5.h0, expected one of 5 layers of 8 heads;");
    refused(
        () -> new CircuitPageData.ScoredNode(new Node.Mlp(0), Double.NaN),
        "circuit page, m0: found NaN, expected a finite number;");
    refused(
        () -> new CircuitPageData.Point(1, 0.5, 0.6, 0.4),
        "circuit page, explained effect: found an interval from 0.6 to 0.4, expected finite ends in"
            + " order;");
    refused(
        () ->
            new CircuitPageData.Curve(
                5,
                List.of(point(2), point(2)),
                List.of(new CircuitPageData.Reach(0.9, OptionalInt.of(1)))),
        "circuit page, curve: found k = 2, expected rising values from 0 to the total of 5;");
    refused(
        () -> new CircuitPageData.Prompt("p", List.of(), ""),
        "circuit page, prompt p: found no tokens, expected at least one;");
  }

  @Test
  void attentionMustFitThePrompt() {
    CircuitPageData two = CircuitFixture.two();
    CircuitPageData.Model dense = two.models().getFirst();
    List<CircuitPageData.Panel> none = List.of();
    CircuitPageData.Model swapped =
        new CircuitPageData.Model(
            "m",
            dense.heads(),
            List.of(),
            List.of(),
            List.of(dense.patterns().get(1), dense.patterns().get(0)));
    refused(
        () -> with(two, List.of(swapped), none),
        "circuit page, attention of m on clean: found another shape, expected 5 layers, 8 heads and"
            + " 11 queries;");
    CircuitPageData.Model missing =
        new CircuitPageData.Model("m", dense.heads(), List.of(), List.of(), List.of());
    refused(
        () -> with(two, List.of(missing), none),
        "circuit page, model m: found attention on 0 prompts, expected on each of the 2;");
    double[][][][] wrong = CircuitFixture.two().models().getFirst().patterns().getFirst();
    wrong[1][2][3][0] = 1.5;
    CircuitPageData.Model strong =
        new CircuitPageData.Model(
            "m", dense.heads(), List.of(), List.of(), List.of(wrong, dense.patterns().get(1)));
    refused(
        () -> with(two, List.of(strong), none),
        "circuit page, attention of m on clean: found the weight 1.5, expected a share from 0 to"
            + " 1;");
  }

  private static CircuitPageData with(
      CircuitPageData report,
      List<CircuitPageData.Model> models,
      List<CircuitPageData.Panel> panels) {
    return new CircuitPageData(report.task(), report.settings(), models, panels, report.prompts());
  }

  private static CircuitPageData.Point point(int k) {
    return new CircuitPageData.Point(k, 0, 0, 0);
  }

  private static void refused(ThrowingCallable made, String message) {
    assertThatThrownBy(made)
        .isInstanceOf(ReportException.class)
        .hasMessageStartingWith(message)
        .hasMessageEndingWith("; correct what is given to the page.");
  }
}
