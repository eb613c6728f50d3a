package filigree.test.golden;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.checkpoints.Tokenizer;
import filigree.cli.TokenizerCodec;
import filigree.interp.task.Contrast;
import filigree.interp.task.Task;
import filigree.interp.task.TaskException;
import filigree.interp.task.Tasks;
import filigree.test.SharedData;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Tasks against the prompts that others published, with GPT-2's real tokenizer: the words are
 * theirs, the prompts have their form, and their prompts can be read as a file.
 */
class TaskGoldenTest {
  /** MIB's own file has comments and a last comma. */
  private static final JsonMapper MAPPER =
      JsonMapper.builder().enable(JsonReadFeature.ALLOW_TRAILING_COMMA).build();

  private static final Pattern CSV_CELL = Pattern.compile("\"([^\"]*)\"|([^,]+)|(?<=,)(?=,|$)");

  private static final Pattern GREATER_THAN =
      Pattern.compile("The ([a-z]+) lasted from the year (1[1-7])(\\d\\d) to the year \\2");

  @TempDir Path folder;

  private static Tokenizer tokenizer;
  private static TokenizerCodec gpt2;

  @BeforeAll
  static void open() {
    tokenizer = Tokenizer.open(SharedData.require("tokenizers/gpt2/tokenizer.json"));
    gpt2 = new TokenizerCodec(tokenizer, tokenizer.vocabularySize());
  }

  @AfterAll
  static void close() {
    if (tokenizer != null) {
      tokenizer.close();
    }
  }

  private static JsonNode own(String file) throws IOException {
    try (InputStream in = Tasks.class.getResourceAsStream(file)) {
      return MAPPER.readTree(in);
    }
  }

  private static List<String> strings(JsonNode list) {
    List<String> out = new ArrayList<>();
    list.forEach(item -> out.add(item.textValue()));
    return out;
  }

  /** Rows of a table with a head; quoted cells hold commas but no quotation marks. */
  private static List<List<String>> csv(String name) throws IOException {
    List<List<String>> rows = new ArrayList<>();
    for (String line : Files.readAllLines(SharedData.require("tasks/" + name))) {
      rows.add(
          CSV_CELL
              .matcher(line)
              .results()
              .map(cell -> cell.group(1) != null ? cell.group(1) : cell.group())
              .toList());
    }
    return rows.subList(1, rows.size());
  }

  private static List<JsonNode> agreement(String name) throws IOException {
    List<JsonNode> rows = new ArrayList<>();
    for (String line :
        Files.readAllLines(SharedData.require("tasks/sva-feature-circuits/" + name + ".json"))) {
      rows.add(MAPPER.readTree(line));
    }
    return rows;
  }

  private static String text(int... ids) {
    return tokenizer.decode(ids);
  }

  private List<Contrast> throughFile(List<ObjectNode> lines) throws IOException {
    Path file = folder.resolve("published.jsonl");
    Files.write(file, lines.stream().map(ObjectNode::toString).toList());
    return Tasks.named(file.toString()).contrasts(gpt2, lines.size(), 1);
  }

  private static ObjectNode line(String clean, String corrupted) {
    return MAPPER.createObjectNode().put("clean", clean).put("corrupted", corrupted);
  }

  @ParameterizedTest
  @ValueSource(strings = {"names", "places", "objects", "templates"})
  void ioiHasTheWordsOfMib(String list) throws IOException {
    Path file = SharedData.require("tasks/mib-ioi/" + list + ".json");
    assertThat(strings(own("ioi.json").path(list)))
        .isEqualTo(strings(MAPPER.readTree(Files.readString(file))));
  }

  /** Each template as a pattern with a group for each of the names, in the order of the text. */
  private static List<Pattern> ioiForms() throws IOException {
    JsonNode words = own("ioi.json");
    String places = String.join("|", strings(words.path("places")));
    String objects = String.join("|", strings(words.path("objects")));
    return strings(words.path("templates")).stream()
        .map(template -> template.replace(".", "\\."))
        .map(template -> template.replaceAll("\\{name_[ABC]}", "([A-Z][a-z]+)"))
        .map(template -> template.replace("{place}", "(?:" + places + ")"))
        .map(template -> template.replace("{object}", "(?:" + objects + ")"))
        .map(Pattern::compile)
        .toList();
  }

  /** The three names of a prompt of one of MIB's forms. */
  private static List<String> ioiNames(String prompt, List<Pattern> forms) {
    Matcher found =
        forms.stream()
            .map(form -> form.matcher(prompt))
            .filter(Matcher::matches)
            .findFirst()
            .orElseThrow(() -> new AssertionError("no template gives: " + prompt));
    return IntStream.rangeClosed(1, 3).mapToObj(found::group).toList();
  }

  @ParameterizedTest
  @ValueSource(strings = {"mib", "acdc"})
  void ioiPromptsHaveThePublishedForms(String templates) throws IOException {
    List<Pattern> forms = ioiForms();
    List<Contrast> all = Tasks.named("ioi:templates=" + templates).contrasts(gpt2, 300, 1);
    assertThat(all)
        .hasSize(300)
        .allSatisfy(
            c -> {
              List<String> clean = ioiNames(text(c.clean()), forms);
              List<String> corrupted = ioiNames(text(c.corrupted()), forms);
              String answer = text(c.correct()).strip();
              assertThat(clean.subList(0, 2)).contains(answer, clean.get(2));
              assertThat(text(c.incorrect())).isEqualTo(" " + clean.get(2));
              assertThat(corrupted.get(2)).isEqualTo(answer);
            });
  }

  /** EAP-IG's prompts, of which both corruptions are ours too: S2 to random, and S2 to IO. */
  @ParameterizedTest
  @CsvSource({"corrupted,2", "corrupted_hard,3"})
  void publishedIoiPromptsCanBeReadFromAFile(String column, int cell) throws IOException {
    List<Pattern> forms = ioiForms();
    List<ObjectNode> lines = new ArrayList<>();
    for (List<String> row : csv("eap-ig/ioi_llama.csv")) {
      List<String> names = ioiNames(row.get(1), forms);
      String subject = names.get(2);
      String object = names.get(0).equals(subject) ? names.get(1) : names.get(0);
      List<String> other = ioiNames(row.get(cell), forms);
      assertThat(other.subList(0, 2)).isEqualTo(names.subList(0, 2));
      if (column.equals("corrupted_hard")) {
        assertThat(other.get(2)).isEqualTo(object);
      } else {
        assertThat(names).doesNotContain(other.get(2));
      }
      lines.add(
          line(row.get(1), row.get(cell))
              .put("correct", " " + object)
              .put("incorrect", " " + subject));
    }
    assertThat(lines).hasSize(499);
    assertThat(throughFile(lines)).hasSize(499);
  }

  @Test
  void greaterThanPromptsHaveThePublishedForm() throws IOException {
    List<Contrast> all = Tasks.named("greater-than").contrasts(gpt2, 200, 1);
    assertThat(all)
        .hasSize(200)
        .allSatisfy(
            c -> {
              Matcher clean = GREATER_THAN.matcher(text(c.clean()));
              Matcher corrupted = GREATER_THAN.matcher(text(c.corrupted()));
              assertThat(clean.matches() && corrupted.matches()).isTrue();
              assertThat(corrupted.group(3)).isEqualTo("01");
              assertThat(corrupted.group(1)).isEqualTo(clean.group(1));
              int year = Integer.parseInt(clean.group(3));
              assertThat(c.incorrect()).hasSize(year + 1);
              assertThat(c.correct()).hasSize(99 - year);
              assertThat(text(c.incorrect()[year])).isEqualTo(clean.group(3));
              assertThat(text(c.correct()[98 - year])).isEqualTo("99");
            });
  }

  /** The published prompts, tokens and all, are among those that the task can draw. */
  @Test
  void publishedGreaterThanPromptsAreOurs() throws IOException {
    Set<String> nouns = new HashSet<>(strings(own("greater-than.json").path("nouns")));
    assertThat(nouns).hasSize(120);
    List<ObjectNode> lines = new ArrayList<>();
    for (List<String> row : csv("eap-ig/greater_than_data.csv")) {
      Matcher clean = GREATER_THAN.matcher(row.get(0));
      assertThat(clean.matches()).as(row.get(0)).isTrue();
      assertThat(nouns).contains(clean.group(1));
      String year = clean.group(3);
      assertThat(Integer.parseInt(year)).isEqualTo(Integer.parseInt(row.get(2)));
      assertThat(row.get(1))
          .isEqualTo(row.get(0).replace(clean.group(2) + year, clean.group(2) + "01"));
      ObjectNode line = line(row.get(0), row.get(1));
      for (int digits = 0; digits < 100; digits++) {
        line.withArray(digits > Integer.parseInt(year) ? "correct" : "incorrect")
            .add("%02d".formatted(digits));
      }
      lines.add(line);
    }
    assertThat(lines).hasSize(1000);
    List<Contrast> published = throughFile(lines);
    Contrast own = Tasks.named("greater-than").contrasts(gpt2, 1, 1).getFirst();
    assertThat(published)
        .hasSize(1000)
        .allSatisfy(
            c -> {
              assertThat(c.clean()).hasSameSizeAs(own.clean());
              assertThat(tokens(c)).isEqualTo(tokens(own));
            });
  }

  /** The hundred answers in order: a prompt may not change which token stands for 32. */
  private static List<Integer> tokens(Contrast c) {
    return Stream.of(c.incorrect(), c.correct())
        .flatMap(list -> IntStream.of(list).boxed())
        .toList();
  }

  @ParameterizedTest
  @CsvSource({
    "simple,simple_test,120,97,90",
    "nounpp,nounpp_test,480,414,10",
    "within-rc,within_rc_test,2400,2400,60"
  })
  void agreementPromptsAreAmongThePublished(
      String structure, String file, int rows, int fit, int least) throws IOException {
    Set<String> published = new HashSet<>();
    List<ObjectNode> lines = new ArrayList<>();
    for (String part : List.of(file, file.replace("test", "train"))) {
      for (JsonNode row : agreement(part)) {
        published.add(
            Stream.of("clean_prefix", "patch_prefix", "clean_answer", "patch_answer")
                .map(key -> row.get(key).textValue())
                .toList()
                .toString());
        if (part.equals(file)) {
          lines.add(
              line(row.get("clean_prefix").textValue(), row.get("patch_prefix").textValue())
                  .put("correct", row.get("clean_answer").textValue())
                  .put("incorrect", row.get("patch_answer").textValue()));
        }
      }
    }
    assertThat(lines).hasSize(rows);
    // "uncle" is one token and "uncles" two: those lines are told, and the others can be read.
    List<ObjectNode> fitting =
        lines.stream().filter(line -> length(line, "clean") == length(line, "corrupted")).toList();
    assertThat(fitting).hasSize(fit);
    assertThat(throughFile(fitting)).hasSize(fit);
    if (fit < rows) {
      assertThatThrownBy(() -> throughFile(lines))
          .isInstanceOf(TaskException.class)
          .hasMessageContaining(": the clean and the corrupted prompt differ in length")
          .hasMessageContaining("(%d more lines are bad".formatted(rows - fit - 1));
    }
    List<Contrast> own = Tasks.named("agreement:structure=" + structure).contrasts(gpt2, 100, 1);
    assertThat(own).hasSize(100);
    assertThat(own.stream().map(TaskGoldenTest::sentence).filter(published::contains).count())
        .as("published prompts among our 100; they published a sample of what can be drawn")
        .isGreaterThanOrEqualTo(least);
    Set<String> words = words(published);
    assertThat(own).allSatisfy(c -> assertThat(words).containsAll(words(Set.of(sentence(c)))));
  }

  /** Words, each with its place among the prompts and answers. */
  private static Set<String> words(Set<String> sentences) {
    Set<String> out = new HashSet<>();
    for (String sentence : sentences) {
      String[] words = sentence.split(" +", -1);
      for (int i = 0; i < words.length; i++) {
        out.add(i + words[i]);
      }
    }
    return out;
  }

  private static int length(ObjectNode line, String key) {
    return tokenizer.encode(line.get(key).textValue()).length;
  }

  private static String sentence(Contrast c) {
    return Stream.of(c.clean(), c.corrupted(), c.correct(), c.incorrect())
        .map(TaskGoldenTest::text)
        .toList()
        .toString();
  }

  @Test
  void docstringsFitTheTokenizer() {
    Task task = Tasks.named("docstring");
    assertThat(task.contrasts(gpt2, 100, 1))
        .hasSize(100)
        .allSatisfy(
            c -> {
              assertThat(text(c.clean()))
                  .contains(text(c.correct()) + ",")
                  .startsWith("\ndef ")
                  .endsWith("    :param");
              assertThat(c.incorrect()).hasSize(11);
            });
  }

  @ParameterizedTest
  @ValueSource(strings = {"induction", "copy"})
  void repetitionDrawsFromGpt2sTokens(String name) {
    assertThat(Tasks.named(name).contrasts(gpt2, 50, 1)).hasSize(50);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "story-names",
        "story-pronouns",
        "story-possessives",
        "story-agreement",
        "story-number",
        "story-words"
      })
  void storiesAreTokensOfTheirOwn(String name) {
    assertThat(Tasks.named(name).contrasts(gpt2, 50, 1))
        .hasSize(50)
        .allSatisfy(c -> assertThat(text(c.correct())).matches(" [A-Za-z]+"));
  }
}
