package filigree.cli;

import static filigree.cli.Cli.run;
import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import filigree.cli.Cli.Run;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The contract of the command line: exit codes, one JSON object, one clear sentence. */
class CommandLineTest {
  private static final ObjectMapper MAPPER = new ObjectMapper();

  @TempDir static Path folder;

  private static Path model;
  private static Path text;

  @BeforeAll
  static void trainTinyModel() throws IOException {
    Path config = Cli.tinyConfig(folder);
    text = folder.resolve("text.jsonl");
    List<String> lines = new ArrayList<>();
    for (int i = 0; i < 30; i++) {
      lines.add(
          "{\"text\": \"the cat sat on the mat and the dog sat on the log %d.\"}".formatted(i));
    }
    Files.write(text, lines);
    Path out = folder.resolve("trained");
    Run run =
        run("train", "--config", config, "--data", text, "--out", out, "--steps", 20, "--json");
    assertThat(run.json().path("steps").asInt()).isEqualTo(20);
    model = out.resolve("model");
  }

  @Test
  void evalPrintsTheKeysOfTheContract() throws IOException {
    JsonNode json = run("eval", model, "--data", text, "--limit", 3, "--json").json();
    for (String key :
        List.of(
            "ce",
            "perplexity",
            "tokens",
            "density",
            "expected_density",
            "edges_per_query",
            "empty_rows")) {
      assertThat(json.has(key)).as(key).isTrue();
    }
    assertThat(json.path("density").asDouble()).isEqualTo(1);
  }

  @Test
  void evalWithHardGatesClosesEdges() throws IOException {
    JsonNode json =
        run("eval", model, "--data", text, "--gates", "hard", "--gate-bias", "-0.2", "--json")
            .json();
    assertThat(json.path("density").asDouble()).isBetween(0.0, 0.999);
  }

  @Test
  void evalKeepsEdgesByRule() throws IOException {
    JsonNode json =
        run("eval", model, "--data", text, "--mask", "window:2", "--limit", 2, "--json").json();
    assertThat(json.path("gates").asText()).isEqualTo("mask");
    assertThat(json.path("mask").asText()).isEqualTo("window:2");
    assertThat(json.path("edges_per_query").asDouble()).isBetween(2.0, 3.0);
    run("eval", model, "--data", text, "--mask", "bottom:2").isRefused("bottom:2", "topk:K");
    run("eval", model, "--data", text, "--mask", "topk:2", "--gates", "hard")
        .isRefused("--mask", "--gates");
  }

  @Test
  void evalComparesWithAReference() throws IOException {
    JsonNode same =
        run("eval", model, "--data", text, "--limit", 3, "--reference", model, "--json").json();
    assertThat(same.path("kl").asDouble()).isCloseTo(0, within(1e-6));
    assertThat(same.path("top1_agreement").asDouble()).isEqualTo(1);
    JsonNode cut =
        run(
                "eval",
                model,
                "--data",
                text,
                "--limit",
                3,
                "--mask",
                "random:1",
                "--reference",
                model,
                "--json")
            .json();
    assertThat(cut.path("kl").asDouble()).isGreaterThan(1e-5);
    run("eval", model, "--data", text, "--reference", folder.resolve("nowhere"))
        .isRefused("nowhere");
  }

  @Test
  void evalMeasuresWindowsOfOtherLengths() throws IOException {
    JsonNode json =
        run(
                "eval",
                model,
                "--data",
                text,
                "--contexts",
                "8,16,32",
                "--gates",
                "hard",
                "--gate-bias",
                "-0.1",
                "--measures",
                "all",
                "--json")
            .json();
    assertThat(json.path("by_context")).hasSize(3);
    JsonNode trained = json.path("by_context").get(1);
    assertThat(trained.path("context").asInt()).isEqualTo(16);
    for (String key : List.of("ce", "sampled_ce", "density", "dead_heads")) {
      assertThat(trained.path(key)).as(key).isEqualTo(json.path(key)).isNotNull();
      assertThat(json.path(key).isNumber()).as(key).isTrue();
    }
    assertThat(json.path("sampled_ce").asDouble()).isNotEqualTo(json.path("ce").asDouble());
    assertThat(json.path("by_context").get(2).path("tokens").asInt())
        .isGreaterThan(trained.path("tokens").asInt());
    JsonNode shut =
        run("eval", model, "--data", text, "--gates", "hard", "--gate-bias", "-1000", "--json")
            .json();
    assertThat(shut.path("dead_heads").asInt()).isEqualTo(4);
    run("eval", model, "--data", text, "--contexts", "8,1").isRefused("--contexts has 1");
  }

  @Test
  void runFolderStandsForItsModel() throws IOException {
    JsonNode inside = run("inspect", model, "--json").json();
    assertThat(run("inspect", model.getParent(), "--json").json()).isEqualTo(inside);
    assertThat(inside.path("family").asText()).isEqualTo("llama");
  }

  @Test
  void generationRepeats() throws IOException {
    JsonNode first = run("generate", model, "--prompt", "the ", "--max-tokens", 8, "--json").json();
    JsonNode again = run("generate", model, "--prompt", "the ", "--max-tokens", 8, "--json").json();
    assertThat(first.path("ids")).hasSize(8).isEqualTo(again.path("ids"));
  }

  @Test
  void sparsifyWritesAModelThatEvalRunsWithItsGates() throws IOException {
    Path out = folder.resolve("sparse");
    JsonNode result =
        run("sparsify", model, "--data", text, "--out", out, "--steps", 60, "--json").json();
    for (String key :
        List.of(
            "base_ce",
            "ce",
            "sampled_ce",
            "density",
            "edges_per_query",
            "dead_heads",
            "kl",
            "top1_agreement",
            "steps",
            "out")) {
      assertThat(result.has(key)).as(key).isTrue();
    }
    assertThat(result.path("by_context")).hasSize(4);
    assertThat(result.path("by_context").get(2).path("ce")).isEqualTo(result.path("ce"));
    JsonNode eval = run("eval", out, "--data", text, "--json").json();
    assertThat(eval.path("gates").asText()).isEqualTo("hard");
    try (Stream<Path> files = Files.list(out)) {
      assertThat(files.map(p -> p.getFileName().toString()))
          .contains("run.json", "metrics.jsonl", "model")
          .noneMatch(name -> name.endsWith(".part") || name.endsWith(".safetensors"));
    }
    assertThat(run("report", out, "--json").json().path("page").asText()).endsWith("report.html");
  }

  @Test
  void controlsDifferOnlyInWhatTheyAreAskedFor() throws IOException {
    JsonNode none = control("none");
    JsonNode soft = control("l1");
    JsonNode dense = control("dense");
    assertThat(soft.path("gates").asText()).isEqualTo("hard");
    assertThat(soft.path("base_ce")).isEqualTo(none.path("base_ce"));
    assertThat(soft.path("ce")).isNotEqualTo(none.path("ce"));
    assertThat(soft.path("density").asDouble()).isLessThan(1);
    assertThat(dense.path("density").asDouble()).isEqualTo(1);
    run("sparsify", model, "--data", text, "--out", folder.resolve("x"), "--control", "l2")
        .isRefused("--control", "l2");
  }

  private static JsonNode control(String which) throws IOException {
    Path out = folder.resolve("control-" + which);
    return run(
            "sparsify",
            model,
            "--data",
            text,
            "--out",
            out,
            "--steps",
            60,
            "--lr",
            "1e-2",
            "--gate-bias",
            "0.5",
            "--tolerance",
            "0.5",
            "--control",
            which,
            "--json")
        .json();
  }

  @Test
  void gateVariantsAreTrainedSavedAndRun() throws IOException {
    Path out = folder.resolve("variants");
    JsonNode result =
        run(
                "sparsify",
                model,
                "--data",
                text,
                "--out",
                out,
                "--steps",
                20,
                "--lr",
                "1e-2",
                "--gate-bias",
                "0.1",
                "--tolerance",
                "0.5",
                "--variant",
                "head-bias,own-projection,renormalised",
                "--json")
            .json();
    JsonNode config = MAPPER.readTree(Files.readString(out.resolve("model/config.json")));
    assertThat(config.path("filigree").path("variants")).hasSize(3);
    assertThat(Files.readString(out.resolve("model/model.safetensors"), ISO_8859_1))
        .contains("filigree.blocks.1.attn.gate.bias", "filigree.blocks.0.attn.gate_q.weight");
    JsonNode eval = run("eval", out, "--data", text, "--json").json();
    assertThat(eval.path("gates").asText()).isEqualTo("hard");
    assertThat(eval.path("density").asDouble())
        .isCloseTo(result.path("density").asDouble(), within(0.1))
        .isLessThan(1);
    JsonNode dense = run("eval", out, "--data", text, "--gates", "dense", "--json").json();
    assertThat(dense.path("ce")).isNotEqualTo(eval.path("ce"));
    assertThat(run("generate", out, "--prompt", "the ", "--max-tokens", 4, "--json").json())
        .isNotEmpty();
    run("logits", out, "--text", "cat", "--out", folder.resolve("v.safetensors"), "--json").json();
    assertThat(run("inspect", out, "--json").json().path("parameters").asInt())
        .isGreaterThan(run("inspect", model, "--json").json().path("parameters").asInt());
    Path again = folder.resolve("variants-again");
    run("sparsify", out, "--data", text, "--out", again, "--steps", 2, "--json").json();
    assertThat(Files.readString(again.resolve("model/config.json"))).contains("own-projection");
    Path x = folder.resolve("x");
    run("sparsify", model, "--data", text, "--out", x, "--variant", "headbias")
        .isRefused("--variant has 'headbias'", "head-bias");
    run("sparsify", model, "--data", text, "--out", x, "--variant", "head-bias", "--lora", 2)
        .isRefused("--variant", "--lora");
    run("sparsify", out, "--data", text, "--out", x, "--lora", 2).isRefused("--lora");
    assertThat(x).doesNotExist();
  }

  @Test
  void edgesMayWeighDifferently() throws IOException {
    Path weights = folder.resolve("weights.json");
    Files.writeString(weights, "[1, [0.5, 2]]");
    Path out = folder.resolve("weighted");
    JsonNode result =
        run(
                "sparsify",
                model,
                "--data",
                text,
                "--out",
                out,
                "--steps",
                20,
                "--weights",
                weights,
                "--json")
            .json();
    assertThat(result.path("steps").asInt()).isEqualTo(20);
    Path x = folder.resolve("x");
    run("sparsify", model, "--data", text, "--out", x, "--weights", "middle")
        .isRefused("--weights is 'middle'", "late");
    Files.writeString(weights, "[1, 2, 3]");
    run("sparsify", model, "--data", text, "--out", x, "--weights", weights)
        .isRefused("--weights is of 3 layers", "has 2");
    Files.writeString(weights, "[1, [-1, 2]]");
    run("sparsify", model, "--data", text, "--out", x, "--weights", weights)
        .isRefused("--weights has -1");
    assertThat(x).doesNotExist();
  }

  @Test
  void textOfTheDenseModelIsTrainedOnToo() throws IOException {
    List<String> ids = new ArrayList<>();
    List<Double> losses = new ArrayList<>();
    for (String[] more :
        List.of(
            new String[] {"--distill-text", "generated:5"},
            new String[] {"--distill-text", "generated:5"},
            new String[] {"--distill-text", "generated:5", "--seed", "2"},
            new String[] {})) {
      Path out = folder.resolve("generated-" + losses.size());
      List<Object> line = new ArrayList<>();
      line.addAll(List.of("sparsify", model, "--data", text, "--out", out, "--steps", 20));
      line.addAll(List.of("--lr", "1e-2", "--json"));
      line.addAll(Arrays.asList(more));
      run(line.toArray()).json();
      List<String> steps = Files.readAllLines(out.resolve("metrics.jsonl"));
      losses.add(MAPPER.readTree(steps.getLast()).path("ce").asDouble());
      if (more.length > 0) {
        ids.add(Files.readString(out.resolve("generated.json")));
        JsonNode counted =
            MAPPER.readTree(Files.readString(out.resolve("run.json"))).path("generated");
        assertThat(counted.path("documents").asInt()).isEqualTo(5);
        assertThat(counted.path("tokens").asInt()).isBetween(10, 80);
      }
    }
    assertThat(ids.get(1)).isEqualTo(ids.get(0)).isNotEqualTo(ids.get(2));
    assertThat(losses.get(1)).isEqualTo(losses.get(0));
    assertThat(losses.get(3)).isNotEqualTo(losses.get(0));
    Path x = folder.resolve("x");
    run("sparsify", model, "--data", text, "--out", x, "--distill-text", "written")
        .isRefused("--distill-text is 'written'", "generated:N");
    run("sparsify", model, "--data", text, "--out", x, "--distill-text", "generated:0")
        .isRefused("generated:0");
  }

  @Test
  void resumingKnowsWhatTheFolderHolds() throws IOException {
    Path out = folder.resolve("resumed");
    Object[] line = {
      "sparsify", model, "--data", text, "--out", out, "--steps", 20, "--resume", "--json"
    };
    Run first = run(line); // nothing is there yet
    Run again = run(line);
    assertThat(again.json()).isEqualTo(first.json());
    assertThat(again.err()).contains("the run had ended");
    line[7] = 30;
    run(line).isRefused("--resume", "--steps 20", "--steps 30");
    // As a kill leaves it before the first state is saved.
    Path run = out.resolve("run.json");
    Files.writeString(run, Files.readString(run).replace("\"result\"", "\"unfinished\""));
    line[7] = 20;
    Run begun = run(line);
    assertThat(begun.err()).contains("begins again");
    assertThat(begun.json()).isEqualTo(first.json());
    assertThat(Files.readAllLines(out.resolve("metrics.jsonl"))).hasSize(20);
    // A folder with something else in it.
    run("sparsify", model, "--data", text, "--out", folder, "--resume").isRefused("not empty");
  }

  private static Path sweepSpec(String grid, String seeds) throws IOException {
    Path spec = folder.resolve("spec.json");
    Files.writeString(
        spec,
        """
        {"model": "%s", "data": "%s", "base": {"steps": 10, "lr": 1e-2, "gate-bias": 0.1},
         "grid": %s, "seeds": %s}
        """
            .formatted(model, text, grid, seeds));
    return spec;
  }

  @Test
  void sweepRunsAGridOnce() throws IOException {
    Path out = folder.resolve("sweep");
    Path small = sweepSpec("{\"tolerance\": [0.5]}", "[1, 2]");
    assertThat(run("sweep", small, "--out", out, "--json").json().path("runs")).hasSize(2);
    Path kept = out.resolve("runs/tolerance-0.5_seed-2/run.json");
    byte[] before = Files.readAllBytes(kept);

    Path spec = sweepSpec("{\"tolerance\": [0.5, 0.1]}", "[1, 2]");
    Run second = run("sweep", spec, "--out", out, "--json");
    JsonNode table = second.json();
    assertThat(Files.readAllBytes(kept)).isEqualTo(before);
    assertThat(second.err()).contains("the run had ended", "sweep: run 4 of 4");
    assertThat(table.path("runs")).hasSize(4);
    assertThat(table.path("settings")).hasSize(2);
    for (JsonNode one : table.path("runs")) {
      assertThat(one.path("status").asText()).isIn("done", "violates");
      assertThat(one.path("edges_per_query").isNumber()).isTrue();
    }
    assertThat(Files.readAllLines(out.resolve("table.csv"))).hasSize(5);
    assertThat(out.resolve("table.md")).exists();
    assertThat(Files.readString(out.resolve("sweep.html"))).contains("<svg");

    Path other = sweepSpec("{\"patience\": [9]}", "[1]");
    Files.writeString(other, Files.readString(other).replace("\"steps\": 10", "\"steps\": 11"));
    run("sweep", other, "--out", out).isRefused("another model, text or base");
  }

  @Test
  void aTestTextWithoutTokensIsRefusedBeforeTraining() throws IOException {
    Path single = Files.writeString(folder.resolve("single.jsonl"), "{\"text\": \"a\"}\n");
    Path out = folder.resolve("untested");
    run("sparsify", model, "--data", text, "--test", single, "--out", out)
        .isRefused("--test", "no token to score");
    assertThat(out).doesNotExist();
  }

  /** What eval finds on the same text, and not what the run chose by. */
  @Test
  void sweepComparesByTheTestText() throws IOException {
    Path test = folder.resolve("test.jsonl");
    Files.writeString(test, "{\"text\": \"the log sat on the dog and the mat sat on the cat.\"}\n");
    Path spec = sweepSpec("{\"test\": [\"%s\"]}".formatted(test), "[1]");
    Path out = folder.resolve("tested-sweep");
    JsonNode run = run("sweep", spec, "--out", out, "--json").json().at("/runs/0");
    Path made;
    try (Stream<Path> runs = Files.list(out.resolve("runs"))) {
      made = runs.findFirst().orElseThrow();
    }
    JsonNode sparse = run("eval", made, "--data", test, "--json").json();
    JsonNode dense = run("eval", model, "--data", test, "--json").json();
    assertThat(run.path("test_ce").asDouble())
        .isEqualTo(sparse.path("ce").asDouble(), within(1e-6));
    assertThat(run.path("edges_per_query")).isEqualTo(sparse.path("edges_per_query"));
    assertThat(run.path("excess").asDouble())
        .isEqualTo(sparse.path("ce").asDouble() - dense.path("ce").asDouble(), within(1e-6));
    assertThat(run.path("valid_excess").asDouble()).isNotEqualTo(run.path("excess").asDouble());
  }

  @Test
  void sweepTellsOfRunsThatFail() throws IOException {
    Path out = folder.resolve("failing-sweep");
    Path spec = sweepSpec("{\"batch-size\": [0, 2]}", "[1]");
    Run run = run("sweep", spec, "--out", out, "--json");
    assertThat(run.code()).isEqualTo(Main.FAILED);
    JsonNode table = MAPPER.readTree(run.out());
    assertThat(table.at("/runs/0/status").asText()).isEqualTo("failed");
    assertThat(table.at("/runs/0/note").asText()).contains("--batch-size is 0");
    assertThat(table.at("/runs/1/status").asText()).isIn("done", "violates");
  }

  @Test
  void badSweepsAreRefused() throws IOException {
    Path out = folder.resolve("never-swept");
    run("sweep", sweepSpec("{\"tolerence\": [1]}", "[1]"), "--out", out)
        .isRefused("'tolerence' is no option of sparsify");
    run("sweep", sweepSpec("{\"seed\": [1]}", "[1]"), "--out", out).isRefused("--seed is given");
    run("sweep", sweepSpec("{\"tolerance\": 1}", "[1]"), "--out", out)
        .isRefused("grid.tolerance is 1", "list");
    run("sweep", sweepSpec("{}", "[1, 1]"), "--out", out).isRefused("seeds is [1,1]");
    run("sweep", sweepSpec("{\"lr\": [1]}", "[1]"), "--out", out)
        .isRefused("lr is both in base and in grid");
    run("sweep", folder.resolve("no.json"), "--out", out).isRefused("no.json");
    assertThat(out).doesNotExist();
  }

  @Test
  void patienceEndsARun() throws IOException {
    Path out = folder.resolve("patient");
    Run run =
        run(
            "sparsify",
            model,
            "--data",
            text,
            "--out",
            out,
            "--steps",
            1000,
            "--lr",
            "1e-9",
            "--patience",
            2,
            "--json");
    assertThat(run.json().path("steps").asInt()).isLessThan(1000);
    assertThat(run.err()).contains("the run ends early");
    assertThat(
            MAPPER.readTree(Files.readString(out.resolve("run.json"))).path("ended_early_at_step"))
        .isEqualTo(run.json().path("steps"));
    run("sparsify", model, "--data", text, "--out", folder.resolve("x"), "--patience", 0)
        .isRefused("--patience is 0");
  }

  @Test
  void adaptersAreTrainedRunAndMerged() throws IOException {
    Path out = folder.resolve("adapted");
    run(
            "sparsify",
            model,
            "--data",
            text,
            "--out",
            out,
            "--steps",
            60,
            "--lora",
            2,
            "--lr",
            "1e-2",
            "--json")
        .json();
    Path adapter = out.resolve("model");
    try (Stream<Path> files = Files.list(adapter)) {
      assertThat(files.map(p -> p.getFileName().toString()))
          .containsExactlyInAnyOrder("adapter_config.json", "adapter_model.safetensors");
    }
    JsonNode seen = run("inspect", out, "--json").json();
    assertThat(seen.path("adapter").path("r").asInt()).isEqualTo(2);
    assertThat(seen.path("adapter").path("lora_alpha").asInt()).isEqualTo(4);
    assertThat(seen.path("memory").path("lora").asLong()).isPositive();
    JsonNode eval = run("eval", out, "--data", text, "--json").json();
    assertThat(eval.path("gates").asText()).isEqualTo("hard");

    Path merged = folder.resolve("merged");
    assertThat(run("merge", out, "--out", merged, "--json").json().path("adapters").asInt())
        .isEqualTo(8);
    JsonNode evalMerged = run("eval", merged, "--data", text, "--json").json();
    assertThat(evalMerged.path("gate_bias")).isEqualTo(eval.path("gate_bias"));
    assertThat(evalMerged.path("ce").asDouble())
        .isCloseTo(eval.path("ce").asDouble(), within(1e-3));

    run("merge", out, "--out", merged).isRefused("not empty", "not overwritten");
    run("merge", model, "--out", folder.resolve("x")).isRefused("adapter_config.json");
    run("sparsify", out, "--data", text, "--out", folder.resolve("x")).isRefused("merge");
    Path config = adapter.resolve("adapter_config.json");
    Files.writeString(
        config, Files.readString(config).replace(model.toAbsolutePath().toString(), "gone/away"));
    run("eval", out, "--data", text).isRefused("gone/away", "base_model_name_or_path");
  }

  @Test
  void badAdapterOptionsAreRefused() {
    Path out = folder.resolve("x");
    run("sparsify", model, "--data", text, "--out", out, "--lora", 0).isRefused("--lora is 0");
    run("sparsify", model, "--data", text, "--out", out, "--lora", 99).isRefused("--lora is 99");
    run("sparsify", model, "--data", text, "--out", out, "--lora-alpha", 8)
        .isRefused("--lora-alpha", "--lora RANK");
    run("sparsify", model, "--data", text, "--out", out, "--lora", 2, "--train", "all")
        .isRefused("--train", "--lora");
    run("sparsify", model, "--data", text, "--out", out, "--lora", 2, "--lora-targets", "q,c_attn")
        .isRefused("c_attn", "attn.q");
    assertThat(out).doesNotExist();
  }

  @Test
  void initWritesAModelThatRuns() throws IOException {
    Path config = model.resolve("config.json");
    Path out = folder.resolve("initial");
    JsonNode made =
        run(
                "init",
                "--config",
                config,
                "--out",
                out,
                "--dtype",
                "bf16",
                "--max-shard-size",
                "4KB",
                "--json")
            .json();
    JsonNode seen = run("inspect", out, "--json").json();
    assertThat(seen.path("parameters")).isEqualTo(made.path("parameters"));
    assertThat(seen.path("dtype").asText()).isEqualTo("BF16");
    assertThat(made.path("files")).hasSizeGreaterThan(1);
    for (JsonNode file : made.path("files")) {
      assertThat(out.resolve(file.asText())).exists();
    }
    assertThat(run("eval", out, "--data", text, "--json").json().path("ce").asDouble())
        .isBetween(1.0, 6.0);
    run("init", "--config", config, "--out", out).isRefused("not empty", "not overwritten");
    Path never = folder.resolve("never-made");
    run("init", "--config", config, "--out", never, "--dtype", "f8").isRefused("--dtype", "f8");
    run("init", "--config", config, "--out", never, "--max-shard-size", "many")
        .isRefused("--max-shard-size", "many");
    assertThat(never).doesNotExist();
  }

  @Test
  void runFolderIsNeverOverwritten() throws IOException {
    Path out = model.getParent();
    byte[] before = Files.readAllBytes(out.resolve("run.json"));
    run("sparsify", model, "--data", text, "--out", out)
        .isRefused("holds another run", "choose a new one");
    assertThat(Files.readAllBytes(out.resolve("run.json"))).isEqualTo(before);
  }

  @Test
  void existingLogitsAreNotReplaced() throws IOException {
    Path out = folder.resolve("logits.safetensors");
    run("logits", model, "--text", "cat", "--out", out, "--json").json();
    run("logits", model, "--text", "dog", "--out", out).isRefused("exists", "not overwritten");
  }

  @Test
  void missingThingsAreNamed() {
    run("eval", folder.resolve("nowhere"), "--data", text).isRefused("nowhere", "no such folder");
    run("eval", model, "--data", folder.resolve("nothing.txt")).isRefused("nothing.txt");
    run("eval", model).isRefused("--data");
    run().isRefused("no verb");
    run("evaluate").isRefused("evaluate");
  }

  @Test
  void malformedWeightsAreRefused() throws IOException {
    Path broken = copy("broken");
    Path weights = broken.resolve("model.safetensors");
    byte[] bytes = Files.readAllBytes(weights);
    Files.write(weights, Arrays.copyOf(bytes, bytes.length - 10));
    run("eval", broken, "--data", text).isRefused("model.safetensors");
    Files.write(weights, new byte[] {1, 2, 3});
    run("inspect", broken).isRefused("model.safetensors");
  }

  @Test
  void unknownFamilyIsRefused() throws IOException {
    Path other = copy("other");
    Path config = other.resolve("config.json");
    Files.writeString(config, Files.readString(config).replace("llama", "mamba"));
    run("inspect", other).isRefused("model_type", "mamba", "llama");
  }

  @Test
  void idsOutOfRangeAreRefused() {
    Path out = folder.resolve("never.safetensors");
    run("logits", model, "--ids", "1,28", "--out", out).isRefused("28", "vocabulary");
    run("logits", model, "--ids", "-1", "--out", out).isRefused("-1");
    assertThat(out).doesNotExist();
  }

  @Test
  void contextBeyondTheModelsIsRefused() {
    run("eval", model, "--data", text, "--context", 17).isRefused("--context", "17", "16");
    run("generate", model, "--prompt", "a".repeat(17), "--max-tokens", 1).isRefused("17", "16");
  }

  @Test
  void emptyDocumentsAreRefused() throws IOException {
    Path empty = folder.resolve("empty.txt");
    Files.writeString(empty, "");
    run("eval", model, "--data", empty).isRefused("empty");
    Path line = folder.resolve("empty.jsonl");
    Files.writeString(line, "{\"text\": \"fine\"}\n{\"text\": \"\"}\n");
    run("eval", model, "--data", line).isRefused("line 2", "empty");
  }

  @Test
  void badNumbersAreRefused() {
    run("eval", model, "--data", text, "--threads", 0).isRefused("--threads");
    run("eval", model, "--data", text, "--memory", "lots").isRefused("--memory", "lots");
    run("eval", model, "--data", text, "--backend", "abacus").isRefused("abacus", "nd4j");
    run("sparsify", model, "--data", text, "--out", folder.resolve("x"), "--gate-bias", "many")
        .isRefused("--gate-bias", "many");
    assertThat(folder.resolve("x")).doesNotExist();
  }

  @Test
  void memoryLimitIsKept() {
    run("eval", model, "--data", text, "--memory", "1K")
        .isRefused("--memory", "limit", "the weights need");
    run("eval", model, "--data", text, "--memory", "8M")
        .isRefused("eval needs 8.", "MiB of memory for windows", "limit of 8.0 MiB");
  }

  @Test
  void bothBackendsAgree() throws IOException {
    JsonNode cpu = run("eval", model, "--data", text, "--limit", 2, "--json").json();
    JsonNode nd4j =
        run("eval", model, "--data", text, "--limit", 2, "--backend", "nd4j", "--json").json();
    assertThat(String.format(Locale.ROOT, "%.5f", nd4j.path("ce").asDouble()))
        .isEqualTo(String.format(Locale.ROOT, "%.5f", cpu.path("ce").asDouble()));
  }

  private static Path copy(String name) throws IOException {
    Path to = Files.createDirectory(folder.resolve(name));
    try (Stream<Path> files = Files.list(model)) {
      for (Path file : files.toList()) {
        Files.copy(file, to.resolve(file.getFileName()));
      }
    }
    return to;
  }
}
