package filigree.cli;

import static filigree.cli.Cli.run;
import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.cli.Cli.Run;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The verb {@code circuit} on a model of random weights. Its output matrix is its embedding, so it
 * answers with the letter that it has just read; that is a task which it does.
 */
class CircuitCommandTest {
  private static final ObjectMapper MAPPER = new ObjectMapper();
  private static final int LAYERS = 2;
  private static final int HEADS = 2;

  /** Readers see 1, 1, 3 senders in block 0, then 4, 4, 6, and the logits 7. */
  private static final int EDGES = 26;

  /** Queries, keys and values apart. */
  private static final int SPLIT_EDGES = EDGES + 2 * (2 + 8);

  @TempDir static Path folder;

  private static Path model;
  private static Path task;
  private static Path opposite;

  @BeforeAll
  static void makeModelAndTasks() throws IOException {
    Path config = Cli.tinyConfig(folder);
    model = folder.resolve("random");
    assertThat(run("init", "--config", config, "--out", model, "--json").code()).isZero();
    if (Files.notExists(model.resolve("tokenizer.json"))) {
      Files.copy(folder.resolve("tokenizer.json"), model.resolve("tokenizer.json"));
    }
    List<String> does = new ArrayList<>();
    List<String> doesNot = new ArrayList<>();
    for (char letter = 'a'; letter < 'm'; letter++) {
      char other = (char) (letter + 13);
      String line =
          "{\"clean\": \"the %c\", \"corrupted\": \"the %c\", \"correct\": \"%c\", \"incorrect\":"
              + " \"%c\"}";
      does.add(line.formatted(letter, other, letter, other));
      doesNot.add(line.formatted(letter, other, other, letter));
    }
    task = Files.write(folder.resolve("last.jsonl"), does);
    opposite = Files.write(folder.resolve("opposite.jsonl"), doesNot);
  }

  private static Run circuit(Path out, Object... more) {
    List<Object> words = new ArrayList<>(List.of("circuit", model, "--task", task));
    words.addAll(List.of("--out", out, "--json"));
    words.addAll(List.of(more));
    return run(words.toArray());
  }

  private static JsonNode read(Path out, String name) throws IOException {
    return MAPPER.readTree(Files.readString(out.resolve(name)));
  }

  private static List<String> names(Path out) throws IOException {
    try (Stream<Path> inside = Files.list(out)) {
      return inside.map(path -> path.getFileName().toString()).sorted().toList();
    }
  }

  @Test
  void printsTheKeysOfTheContractAndWritesItsFiles(@TempDir Path temp) throws IOException {
    Path out = temp.resolve("new/found");
    JsonNode json = circuit(out).json();
    assertThat(json.path("prompts").asInt()).isEqualTo(12);
    assertThat(json.path("total").asInt()).isEqualTo(EDGES);
    assertThat(json.path("accuracy").asDouble()).isEqualTo(1);
    assertThat(json.path("clean").asDouble()).isGreaterThan(json.path("corrupted").asDouble());
    assertThat(json.path("does_task").asBoolean()).isTrue();
    assertThat(json.path("k_at_80").asInt()).isBetween(1, json.path("k_at_90").asInt());
    assertThat(json.path("k_at_95").asInt()).isBetween(json.path("k_at_90").asInt(), EDGES);
    assertThat(json.path("explained_effect").asDouble()).isBetween(0.9, 1.5);
    assertThat(json.path("cpr").isNumber()).isTrue();
    assertThat(json.path("cmd").isNumber()).isTrue();
    assertThat(json.get("ratio").isNull()).isTrue();
    assertThat(json.get("interval").isNull()).isTrue();
    assertThat(names(out)).containsExactly("circuit.html", "circuit.json", "curve.csv", "run.json");
    JsonNode written = read(out, "circuit.json");
    assertThat(written.path("scores")).hasSize(EDGES);
    assertThat(written.at("/settings/task").asText()).isEqualTo(task.toString());
    assertThat(written.at("/hashes/prompts").asText()).hasSize(64);
    assertThat(written.at("/hashes/model.safetensors").asText()).hasSize(64);
    assertThat(read(out, "run.json").at("/result/k_at_90")).isEqualTo(json.path("k_at_90"));
    assertThat(names(out.getParent())).containsExactly("found");
  }

  @Test
  void pageShowsWhatHelpsAsAboveZero(@TempDir Path temp) throws IOException {
    for (String direction : List.of("corrupt", "restore")) {
      Path out = temp.resolve(direction);
      circuit(out, "--direction", direction).json();
      assertThat(read(out, "circuit.json").at("/scores/0/name").asText())
          .isEqualTo("input->logits");
      assertThat(read(out, "circuit.json").at("/scores/0/score").asDouble() > 0)
          .isEqualTo(direction.equals("restore"));
      assertThat(Files.readString(out.resolve("circuit.html")))
          .containsPattern("\"edges\":\\[\\[\"input\",\"logits\",\"\",[0-9]");
    }
  }

  @Test
  void sameSeedGivesTheSameBytes(@TempDir Path temp) throws IOException {
    Path first = temp.resolve("first");
    Path second = temp.resolve("second");
    for (Path out : List.of(first, second)) {
      JsonNode json = circuit(out, "--split", "qkv", "--seed", 7, "--threads", 1).json();
      assertThat(json.path("total").asInt()).isEqualTo(SPLIT_EDGES);
    }
    for (String name : List.of("circuit.json", "curve.csv", "graph.json", "circuit.html")) {
      assertThat(first.resolve(name)).hasSameBinaryContentAs(second.resolve(name));
    }
    assertThat(read(first, "graph.json").path("edges").size()).isEqualTo(SPLIT_EDGES);
  }

  @Test
  void modelIsAsLargeAsItself(@TempDir Path temp) throws IOException {
    Path out = temp.resolve("compared");
    JsonNode json = circuit(out, "--compare", model).json();
    assertThat(json.path("ratio").asDouble()).isEqualTo(1);
    assertThat(json.at("/interval/0").asDouble()).isEqualTo(1);
    assertThat(json.at("/interval/1").asDouble()).isEqualTo(1);
    assertThat(json.at("/compared/k_at_90")).isEqualTo(json.path("k_at_90"));
    assertThat(names(out))
        .containsExactly(
            "circuit-2.json",
            "circuit.html",
            "circuit.json",
            "comparison.json",
            "curve-2.csv",
            "curve.csv",
            "run.json");
    assertThat(Files.readString(out.resolve("circuit.html")))
        .contains("random (MODEL)")
        .contains("random (MODEL2)");
  }

  @Test
  void headsAreFoundByPatchingThem(@TempDir Path temp) throws IOException {
    Path out = temp.resolve("heads");
    JsonNode json = circuit(out, "--level", "head").json();
    assertThat(json.path("method").asText()).isEqualTo("patch");
    assertThat(json.path("total").asInt()).isEqualTo(LAYERS * HEADS);
    assertThat(read(out, "circuit.json").path("scores")).hasSize(LAYERS * HEADS);
  }

  @Test
  void acdcFindsEdges(@TempDir Path temp) throws IOException {
    JsonNode json = circuit(temp.resolve("acdc"), "--method", "acdc").json();
    assertThat(json.path("method").asText()).isEqualTo("acdc 0.01");
    assertThat(json.path("k_at_90").asInt()).isBetween(1, EDGES);
  }

  @Test
  void zeroAblationIsMeasuredFromTheEmptyModel(@TempDir Path temp) throws IOException {
    Run zero = circuit(temp.resolve("zero"), "--ablation", "zero");
    assertThat(zero.json().path("baseline").asText()).isEqualTo("empty");
    assertThat(zero.err())
        .contains("baseline: an effect of 0 is the model with everything ablated");
    JsonNode chosen =
        circuit(temp.resolve("chosen"), "--ablation", "mean", "--baseline", "corrupted").json();
    assertThat(chosen.path("baseline").asText()).isEqualTo("corrupted");
  }

  @Test
  void modelThatDoesNotDoTheTaskHasNoCircuit(@TempDir Path temp) throws IOException {
    Path out = temp.resolve("unable");
    Run unable = run("circuit", model, "--task", opposite, "--out", out, "--json");
    JsonNode json = unable.json();
    assertThat(json.path("does_task").asBoolean(true)).isFalse();
    assertThat(json.path("accuracy").asDouble()).isZero();
    assertThat(json.get("k_at_90").isNull()).isTrue();
    assertThat(unable.err().lines().filter(line -> line.startsWith("note: "))).hasSize(1);
    assertThat(unable.err()).contains("note: random does not do " + opposite);
    assertThat(names(out)).containsExactly("circuit.json", "run.json");
    assertThat(read(out, "circuit.json").path("reason").asText()).startsWith("random does not do");
  }

  @Test
  void pairsOfTokensAndChecksAreWrittenWhereAskedFor(@TempDir Path temp) throws IOException {
    Path out = temp.resolve("more");
    circuit(out, "--gates", "hard", "--token-pairs", "closed", "--checks", 3).json();
    List<String> pairs = Files.readAllLines(out.resolve("token-pairs.csv"));
    assertThat(pairs.getFirst()).isEqualTo("tokens,head,query,key,open,change");
    int tokens = 5;
    assertThat(pairs).hasSizeBetween(2, 1 + LAYERS * HEADS * tokens * (tokens + 1) / 2 - 1);
    JsonNode checks = read(out, "checks.json");
    assertThat(checks.path("completeness")).hasSize(3);
    assertThat(checks.at("/minimality/0/name").asText()).contains("->");
  }

  @Test
  void gatesOfAnotherModelArePutOnThisOne(@TempDir Path temp) throws IOException {
    Path sparse = temp.resolve("sparse");
    Files.createDirectory(sparse);
    for (String name : names(model)) {
      Files.copy(model.resolve(name), sparse.resolve(name));
    }
    Path config = sparse.resolve("config.json");
    JsonNode json = MAPPER.readTree(Files.readString(config));
    ((ObjectNode) json).putObject("filigree").put("gates", "hard").put("gate_bias", -1000);
    Files.writeString(config, json.toString());
    Path out = temp.resolve("control");
    JsonNode control = circuit(out, "--gates-of", sparse).json();
    JsonNode plain = circuit(temp.resolve("plain")).json();
    assertThat(control.path("clean")).isNotEqualTo(plain.path("clean"));
    assertThat(read(out, "circuit.json").at("/settings/gate_rule").asText())
        .isEqualTo("frozen-clean");
    assertThat(read(out, "circuit.json").path("hashes").has("gates-of/config.json")).isTrue();
    circuit(temp.resolve("dense"), "--gates-of", model).isRefused("--gates-of", "dense attention");
    circuit(temp.resolve("again"), "--gates-of", sparse, "--gate-rule", "decide-again")
        .isRefused("cannot decide again");
  }

  @Test
  void whatAnInterruptedSearchRemembersIsNeverOverwritten(@TempDir Path temp) throws IOException {
    Path out = temp.resolve("found");
    Path journal = Files.writeString(temp.resolve("found.journal-1"), "another search\n");
    circuit(out).isRefused("found.journal-1", "--resume");
    circuit(out, "--resume").isRefused("is of another search");
    assertThat(journal).hasContent("another search\n");
    Files.delete(journal);
    assertThat(circuit(out, "--resume").code()).isZero();
    assertThat(names(temp)).containsExactly("found");
  }

  @Test
  void badInputIsOneSentence(@TempDir Path temp) throws IOException {
    Path out = temp.resolve("out");
    run("circuit", model, "--task", "inductio", "--out", out)
        .isRefused("no task 'inductio'", "induction");
    circuit(out, "--method", "magic").isRefused("no method 'magic'", "eap-ig");
    circuit(out, "--metric", "vibes").isRefused("no metric 'vibes'");
    circuit(out, "--metric", "accuracy").isRefused("accuracy has no gradient");
    circuit(out, "--metric", "kl", "--method", "eap").isRefused("kl has no gradient");
    circuit(out, "--method", "acdc", "--level", "head").isRefused("ACDC finds edges");
    circuit(out, "--gate-rule", "never").isRefused("--gate-rule is 'never'", "frozen-clean");
    circuit(out, "--gates", "sampled").isRefused("gates with noise");
    circuit(out, "--targets", "0.9,1.2").isRefused("--targets has 1.2");
    circuit(out, "--prompts", 0).isRefused("--prompts is 0");
    circuit(out, "--memory", "100K").isRefused("--memory");
    Path lengthy =
        Files.writeString(
            temp.resolve("long.jsonl"),
            Files.readString(task).replace("the ", "the cat sat on the "));
    run("circuit", model, "--task", lengthy, "--out", out).isRefused("context of random is 16");
    Path mute = temp.resolve("mute");
    Files.createDirectory(mute);
    for (String name : List.of("config.json", "model.safetensors")) {
      Files.copy(model.resolve(name), mute.resolve(name));
    }
    run("circuit", mute, "--task", task, "--out", out).isRefused("tokenizer");
    assertThat(names(temp)).containsExactly("long.jsonl", "mute");
  }

  @Test
  void whatIsInTheFolderStays(@TempDir Path temp) throws IOException {
    Path note = Files.writeString(temp.resolve("note.txt"), "mine");
    circuit(temp).isRefused("is not empty");
    assertThat(names(temp)).containsExactly("note.txt");
    assertThat(note).hasContent("mine");
    Path empty = Files.createDirectory(temp.resolve("empty"));
    assertThat(circuit(empty).code()).isZero();
  }
}
