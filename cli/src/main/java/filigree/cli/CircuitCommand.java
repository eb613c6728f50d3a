package filigree.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.interp.circuit.Ablation;
import filigree.interp.circuit.Bootstrap;
import filigree.interp.circuit.CircuitFiles;
import filigree.interp.circuit.CircuitGraph;
import filigree.interp.circuit.CircuitSearch;
import filigree.interp.circuit.Curve;
import filigree.interp.circuit.Direction;
import filigree.interp.circuit.Finding;
import filigree.interp.circuit.GateRule;
import filigree.interp.circuit.Gradient;
import filigree.interp.circuit.Interval;
import filigree.interp.circuit.JournalFile;
import filigree.interp.circuit.Method;
import filigree.interp.circuit.Metric;
import filigree.interp.circuit.Ranking;
import filigree.interp.circuit.TokenPairs;
import filigree.interp.report.CircuitPage;
import filigree.interp.task.Contrast;
import filigree.interp.task.Task;
import filigree.interp.task.Tasks;
import filigree.sparsity.RunFolder;
import filigree.tensor.Kernels;
import java.math.BigDecimal;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** The parts of a model that do a task. */
@Command(
    name = "circuit",
    mixinStandardHelpOptions = true,
    description =
        "Finds the heads or edges with which a model does a task: scores, the curve of explained"
            + " effect, the smallest circuit, and how many times smaller it is in a second model.")
final class CircuitCommand implements Callable<Integer> {
  private static final int SAMPLES = 1000;
  private static final double CONFIDENCE = 0.95;

  @CommandLine.Spec private CommandLine.Model.CommandSpec spec;
  @Mixin private CommonOptions common;
  @Mixin private GateOptions gateOptions;

  @Parameters(
      paramLabel = "MODEL",
      description = "A Hugging Face model folder, an adapter's folder or a run folder.")
  private Path folder;

  @Option(
      names = "--task",
      required = true,
      paramLabel = "TASK",
      description =
          "NAME or NAME:option=value,... such as induction, ioi:corruption=abc or"
              + " addition:digit=tens (a name that does not exist lists all), or a .jsonl file of"
              + " objects with clean, corrupted, correct and incorrect.")
  private String taskName;

  @Option(
      names = "--method",
      paramLabel = "METHOD",
      description =
          "patch, attribution, eap, eap-ig, eap-ig-midpoint or acdc (default: eap-ig for edges,"
              + " patch for heads and nodes).")
  private String methodName;

  @Option(
      names = "--level",
      defaultValue = "edge",
      paramLabel = "LEVEL",
      description = "What a circuit is made of: head, node or edge (default: ${DEFAULT-VALUE}).")
  private Ranking.Level level;

  @Option(
      names = "--split",
      defaultValue = "whole",
      paramLabel = "SPLIT",
      description =
          "Whether heads read as a whole, or by query, key and value: whole or qkv (default:"
              + " ${DEFAULT-VALUE}).")
  private CircuitGraph.Split split;

  @Option(
      names = "--ablation",
      defaultValue = "resample",
      paramLabel = "ABLATION",
      description =
          "What stands in for the rest: resample, mean or zero (default: ${DEFAULT-VALUE}).")
  private Ablation ablation;

  @Option(
      names = "--baseline",
      paramLabel = "BASELINE",
      description =
          "What an effect of 0 is: corrupted, the corrupted prompts, or empty, everything ablated"
              + " (default: corrupted for resample, empty for mean and zero, as in MIB).")
  private Curve.Baseline baseline;

  @Option(
      names = "--metric",
      defaultValue = "logit-diff",
      paramLabel = "METRIC",
      description = "logit-diff, prob-diff, kl or accuracy (default: ${DEFAULT-VALUE}).")
  private String metricName;

  @Option(
      names = "--direction",
      defaultValue = "corrupt",
      paramLabel = "DIRECTION",
      description =
          "corrupt: corrupted values go into the clean run; restore: clean values into the"
              + " corrupted one (default: ${DEFAULT-VALUE}).")
  private Direction direction;

  @Option(
      names = "--gate-rule",
      paramLabel = "RULE",
      description =
          "Gates in runs that are patched: decide-again, frozen-clean or frozen-corrupted (default:"
              + " decide-again, with --gates-of frozen-clean).")
  private String gateRuleName;

  @Option(
      names = "--gates-of",
      paramLabel = "MODEL3",
      description = "A control: put the gates of this sparse model, frozen, on MODEL.")
  private Path gatesOf;

  @Option(
      names = "--prompts",
      defaultValue = "100",
      paramLabel = "N",
      description = "At most so many prompts (default: ${DEFAULT-VALUE}).")
  private int prompts;

  @Option(
      names = "--targets",
      split = ",",
      defaultValue = "0.8,0.9,0.95",
      paramLabel = "E",
      description =
          "Explained effects whose circuits are sought; 0.9 is always (default: ${DEFAULT-VALUE}).")
  private List<Double> targets;

  @Option(
      names = "--compare",
      paramLabel = "MODEL2",
      description =
          "Search a second model, such as a sparse one, with the gates of its config on the same"
              + " prompts, and print the ratio of the circuits.")
  private Path compared;

  @Option(
      names = "--token-pairs",
      paramLabel = "PATCH",
      description =
          "Patch every open pair of tokens by itself: exchanged or closed. For sparse models and"
              + " short prompts.")
  private TokenPairs.Patch tokenPairs;

  @Option(
      names = "--checks",
      paramLabel = "N",
      description = "Check the circuit: without each member, and without N random subsets.")
  private Integer checks;

  @Option(names = "--out", required = true, paramLabel = "DIR", description = "A new folder.")
  private Path out;

  @Option(
      names = "--resume",
      description =
          "Go on with the search for --out that was interrupted, with the same other options; begin"
              + " it where there is none.")
  private boolean resume;

  @Override
  public Integer call() {
    RunFolder.requireVacant(out);
    CircuitPlan plan = plan();
    if (baseline == null && ablation != Ablation.RESAMPLE) {
      common
          .err()
          .println(
              "baseline: an effect of 0 is the model with everything ablated, as in MIB; --baseline"
                  + " corrupted takes the corrupted prompts");
    }
    try (Kernels kernels = common.open();
        CircuitJournals journals =
            new CircuitJournals(
                out, resume ? JournalFile.IfExists.GO_ON : JournalFile.IfExists.FAIL)) {
      CircuitLooker looker = new CircuitLooker(plan, common, kernels, journals);
      List<String> names = names();
      List<CircuitLook> looks = new ArrayList<>();
      looks.add(
          looker.look(
              new CircuitLooker.Target(
                  names.getFirst(),
                  folder,
                  Optional.of(gateOptions),
                  Optional.ofNullable(gatesOf))));
      if (compared != null) {
        looks.add(
            looker.look(
                new CircuitLooker.Target(
                    names.getLast(), compared, Optional.empty(), Optional.empty())));
        requireSamePrompts(looks);
      }
      write(plan, looks, kernels);
      journals.forget();
    }
    return Main.DONE;
  }

  // ---------------------------------------------------------------- the plan

  private CircuitPlan plan() {
    if (prompts < 1) {
      throw new UsageException("--prompts is " + prompts + ", expected 1 or more");
    }
    if (checks != null && checks < 1) {
      throw new UsageException("--checks is " + checks + ", expected 1 or more");
    }
    for (double target : targets) {
      if (!(target > 0 && target <= 1)) {
        throw new UsageException(
            "--targets has %s, expected shares above 0 and at most 1".formatted(target));
      }
    }
    Task task = Tasks.named(taskName);
    Metric metric = Metric.parse(metricName);
    Method method = method();
    if (metric == Metric.DIVERGENCE
        && direction == Direction.CORRUPT
        && method instanceof Method.Attribute(Gradient.AtBase())) {
      throw new UsageException(
          "--metric kl has no gradient in the clean run, so all scores of --method eap would be 0;"
              + " use eap-ig or --direction restore");
    }
    CircuitSearch.Request request =
        new CircuitSearch.Request(
            method,
            level,
            split,
            direction,
            new Curve.Plan(ablation, baseline(), Curve.Selection.TOP, targets()),
            new Bootstrap.Plan(SAMPLES, CONFIDENCE, common.seed()));
    return new CircuitPlan(
        task,
        prompts,
        request,
        metric,
        gateRule(),
        new CircuitPlan.Extras(
            gatesOf == null ? CircuitPlan.Attention.SHOWN : CircuitPlan.Attention.LEFT_OUT,
            Optional.ofNullable(tokenPairs),
            checks == null ? OptionalInt.empty() : OptionalInt.of(checks)));
  }

  private Method method() {
    if (methodName != null) {
      return Method.parse(methodName);
    }
    return switch (level) {
      case HEAD, NODE -> Method.parse("patch");
      case EDGE -> Method.parse("eap-ig");
    };
  }

  private Curve.Baseline baseline() {
    if (baseline != null) {
      return baseline;
    }
    return switch (ablation) {
      case RESAMPLE -> Curve.Baseline.CORRUPTED;
      case MEAN, ZERO -> Curve.Baseline.EMPTY;
    };
  }

  /** The search keeps the circuit of the first target. */
  private List<Double> targets() {
    return Stream.concat(Stream.of(CircuitPlan.EFFECT), targets.stream().sorted())
        .distinct()
        .toList();
  }

  private GateRule gateRule() {
    if (gateRuleName == null) {
      return gatesOf == null ? GateRule.DECIDE_AGAIN : GateRule.FROZEN_CLEAN;
    }
    return Arrays.stream(GateRule.values())
        .filter(rule -> CircuitPages.lower(rule).equals(gateRuleName))
        .findFirst()
        .orElseThrow(
            () ->
                new UsageException(
                    "--gate-rule is '%s', expected one of %s"
                        .formatted(
                            gateRuleName,
                            Arrays.stream(GateRule.values())
                                .map(CircuitPages::lower)
                                .collect(Collectors.joining(", ")))));
  }

  // ---------------------------------------------------------------- models

  /** The names of the folders, told apart where they are the same. */
  private List<String> names() {
    String first = name(folder);
    if (compared == null) {
      return List.of(first);
    }
    String second = name(compared);
    return first.equals(second)
        ? List.of(first + " (MODEL)", second + " (MODEL2)")
        : List.of(first, second);
  }

  /** The folder's name; a run calls its model's folder "model", which says nothing by itself. */
  private static String name(Path given) {
    Path path = given.toAbsolutePath().normalize();
    int names = path.getNameCount();
    int shown = path.endsWith(RunFolder.MODEL) ? 2 : 1;
    return names == 0
        ? path.toString()
        : path.subpath(Math.max(0, names - shown), names).toString();
  }

  private void requireSamePrompts(List<CircuitLook> looks) {
    List<Contrast> first = looks.getFirst().contrasts();
    List<Contrast> second = looks.getLast().contrasts();
    boolean same = first.size() == second.size();
    for (int i = 0; same && i < first.size(); i++) {
      same =
          Arrays.equals(first.get(i).clean(), second.get(i).clean())
              && Arrays.equals(first.get(i).corrupted(), second.get(i).corrupted())
              && Arrays.equals(first.get(i).correct(), second.get(i).correct())
              && Arrays.equals(first.get(i).incorrect(), second.get(i).incorrect());
    }
    if (!same) {
      throw new UsageException(
          "--compare %s splits the prompts into other tokens than %s; compare models of one tokenizer"
              .formatted(compared, folder));
    }
  }

  // ---------------------------------------------------------------- results

  private void write(CircuitPlan plan, List<CircuitLook> looks, Kernels kernels) {
    Map<String, String> texts = new LinkedHashMap<>();
    List<CircuitPages.Side> sides = new ArrayList<>();
    for (int i = 0; i < looks.size(); i++) {
      String suffix = i == 0 ? "" : "-2";
      CircuitLook look = looks.get(i);
      switch (look.outcome()) {
        case CircuitLook.Found found -> {
          found.files().forEach((name, text) -> texts.put(name.replace(".", suffix + "."), text));
          sides.add(new CircuitPages.Side(look.name(), found));
        }
        case CircuitLook.Unable(String sentence) -> {
          common.err().println("note: " + sentence);
          texts.put("circuit" + suffix + ".json", figures(plan, look).toPrettyString() + "\n");
        }
      }
    }
    if (sides.size() == 2) {
      texts.put("comparison.json", CircuitFiles.comparison(finding(sides, 0), finding(sides, 1)));
    }
    ObjectNode json = result(plan, looks, sides);
    ObjectNode run = RunDescription.of(spec, common, kernels);
    run.set("result", json.deepCopy());
    texts.put(RunFolder.RUN, run.toPrettyString() + "\n");
    Map<String, CircuitFolder.Page> pages = new LinkedHashMap<>();
    if (!sides.isEmpty()) {
      pages.put("circuit.html", file -> CircuitPage.write(CircuitPages.data(plan, sides), file));
    }
    CircuitFolder.write(out, texts, pages);
    common.print(json);
  }

  private static Finding finding(List<CircuitPages.Side> sides, int side) {
    return sides.get(side).found().finding();
  }

  private ObjectNode result(
      CircuitPlan plan, List<CircuitLook> looks, List<CircuitPages.Side> sides) {
    ObjectNode json = figures(plan, looks.getFirst());
    Optional<Interval> ratio =
        sides.size() < 2
            ? Optional.empty()
            : Optional.of(
                Curve.ratio(
                    finding(sides, 0).curve(),
                    finding(sides, 1).curve(),
                    CircuitPlan.EFFECT,
                    finding(sides, 0).bootstrap()));
    if (ratio.isPresent()) {
      json.put("ratio", ratio.get().estimate());
      json.set("interval", ends(ratio.get()));
    } else {
      json.putNull("ratio");
      json.putNull("interval");
    }
    if (looks.size() == 2) {
      json.set("compared", figures(plan, looks.getLast()));
      if (!common.isJson() && ratio.isPresent()) {
        common
            .out()
            .printf(
                "%-20s %s of %s%n",
                "compared_k_at_90",
                json.path("compared").path("k_at_90").asText(),
                json.path("compared").path("total").asText());
        common
            .out()
            .printf("%-20s %.4g to %.4g%n", "interval", ratio.get().low(), ratio.get().high());
      }
    }
    json.put("out", out.toString());
    if (!sides.isEmpty()) {
      json.put("page", out.resolve("circuit.html").toString());
    }
    return json;
  }

  private ObjectNode figures(CircuitPlan plan, CircuitLook look) {
    CircuitSearch.Request request = plan.request();
    ObjectNode json = common.object();
    json.put("model", look.name());
    json.put("task", plan.task().name());
    json.put("prompts", look.contrasts().size());
    json.put("method", request.method().describe());
    json.put("level", CircuitPages.lower(request.level()));
    json.put("split", CircuitPages.lower(request.split()));
    json.put("ablation", CircuitPages.lower(request.plan().ablation()));
    json.put("baseline", CircuitPages.lower(request.plan().baseline()));
    json.put("metric", plan.metric().label());
    json.put("accuracy", look.answers().accuracy());
    json.put("clean", look.answers().clean());
    json.put("corrupted", look.answers().corrupted());
    switch (look.outcome()) {
      case CircuitLook.Found found -> {
        json.put("does_task", true);
        addCircuit(json, found.finding());
      }
      case CircuitLook.Unable(String sentence) -> {
        json.put("does_task", false);
        json.put("reason", sentence);
        json.putNull("total");
        json.putNull("k_at_90");
        json.putNull("explained_effect");
      }
    }
    return json;
  }

  private static void addCircuit(ObjectNode json, Finding finding) {
    Curve curve = finding.curve();
    Bootstrap bootstrap = finding.bootstrap();
    json.put("total", curve.total());
    for (double target : curve.plan().targets().stream().sorted().toList()) {
      Interval k = curve.kAt(target, bootstrap);
      String key =
          "k_at_"
              + BigDecimal.valueOf(target).movePointRight(2).stripTrailingZeros().toPlainString();
      json.put(key, (long) k.estimate());
      json.set(key + "_interval", ends(k));
    }
    int k = (int) curve.kAt(CircuitPlan.EFFECT, bootstrap).estimate();
    json.put("explained_effect", curve.effect(k, bootstrap).estimate());
    json.put("cpr", curve.cpr(bootstrap).estimate());
    json.put("cmd", curve.cmd(bootstrap).estimate());
  }

  private static ArrayNode ends(Interval interval) {
    return JsonNodeFactory.instance.arrayNode().add(interval.low()).add(interval.high());
  }
}
