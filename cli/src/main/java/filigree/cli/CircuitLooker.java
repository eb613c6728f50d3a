package filigree.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.interp.AttentionMaps;
import filigree.interp.circuit.Attribution;
import filigree.interp.circuit.Bootstrap;
import filigree.interp.circuit.Circuit;
import filigree.interp.circuit.CircuitChecks;
import filigree.interp.circuit.CircuitFiles;
import filigree.interp.circuit.CircuitGraph;
import filigree.interp.circuit.CircuitRunner;
import filigree.interp.circuit.CircuitSearch;
import filigree.interp.circuit.Curve;
import filigree.interp.circuit.Direction;
import filigree.interp.circuit.Finding;
import filigree.interp.circuit.GateSource;
import filigree.interp.circuit.Gradient;
import filigree.interp.circuit.Interval;
import filigree.interp.circuit.JournalFile;
import filigree.interp.circuit.Method;
import filigree.interp.circuit.Metric;
import filigree.interp.circuit.NodeScores;
import filigree.interp.circuit.Patching;
import filigree.interp.circuit.Settings;
import filigree.interp.circuit.Study;
import filigree.interp.circuit.Subject;
import filigree.interp.circuit.TokenPairs;
import filigree.interp.report.CircuitPageData;
import filigree.interp.task.Contrast;
import filigree.interp.task.TokenCodec;
import filigree.sparsity.GateSettings;
import filigree.tensor.Kernels;
import filigree.transformer.MemoryEstimate;
import filigree.transformer.MemoryPlan;
import filigree.transformer.ModelConfig;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/** Looks into models, one after the other, so that only one is in memory. */
final class CircuitLooker {
  private static final int BATCH = 32;
  private static final long MOST_BYTES = 2L << 30;

  /** A study has three stores of one size: kept runs, the run itself, what a method keeps. */
  private static final int STORES = 3;

  private static final int SHOWN_PAIRS = 2;

  /** Maps of longer prompts make the page heavy, and are too fine to be seen on it. */
  private static final int SHOWN_TOKENS = 128;

  /**
   * A model that is looked into.
   *
   * @param name as it is shown
   * @param folder as it was given
   * @param gates how its attention is gated; empty where its config says
   * @param gatesOf the folder of the model whose gates are put on it
   */
  record Target(String name, Path folder, Optional<GateOptions> gates, Optional<Path> gatesOf) {}

  private final CircuitPlan plan;
  private final CommonOptions common;
  private final Kernels kernels;
  private final CircuitJournals journals;

  CircuitLooker(CircuitPlan plan, CommonOptions common, Kernels kernels, CircuitJournals journals) {
    this.plan = plan;
    this.common = common;
    this.kernels = kernels;
    this.journals = journals;
  }

  /** What is known of a model while it is open. */
  private record Opened(Target target, LoadedModel model, Subject subject, TokenCodec codec) {}

  /** The prompts of a model, and room for runs of them. */
  private record Posed(List<Contrast> contrasts, Settings settings) {}

  CircuitLook look(Target target) {
    try (LoadedModel model = LoadedModel.open(target.folder(), common)) {
      TokenCodec codec =
          new TokenizerCodec(
              model.checkpoint().requireTokenizer(),
              model.checkpoint().config().sizes().vocabulary());
      if (target.gatesOf().isEmpty()) {
        return look(target, model, codec, new GateSource.Own());
      }
      try (LoadedModel other = LoadedModel.open(target.gatesOf().get(), common)) {
        GateSettings gates = GateOptions.ofConfig(other.gates());
        if (gates.mode() == GateSettings.Mode.DENSE) {
          throw new UsageException(
              "--gates-of %s: this model has dense attention, so no gate of it ever closes; name a sparse model"
                  .formatted(target.gatesOf().get()));
        }
        return look(
            target,
            model,
            codec,
            new GateSource.Of(
                new Subject(other.transformer(), gates.gates(common.seed()), kernels)));
      }
    }
  }

  private CircuitLook look(Target target, LoadedModel model, TokenCodec codec, GateSource source) {
    GateSettings gates =
        target
            .gates()
            .map(options -> options.settings(model.gates()))
            .orElseGet(() -> GateOptions.ofConfig(model.gates()));
    Subject subject = new Subject(model.transformer(), gates.gates(common.seed()), kernels, source);
    Opened opened = new Opened(target, model, subject, codec);
    Posed posed = posed(opened);
    Map<String, String> hashes = hashes(opened, posed.contrasts());
    try (PhaseProgress progress = new PhaseProgress("circuit of " + target.name(), common.err());
        JournalFile journal = journals.next(search(gates, posed, hashes));
        Study study = new Study(subject, posed.contrasts(), posed.settings(), progress, journal)) {
      if (journal.remembered() > 0) {
        common.err().printf("going on after %d runs that are remembered%n", journal.remembered());
      }
      CircuitLook.Answers answers = answers(study);
      return new CircuitLook(
          target.name(), posed.contrasts(), answers, outcome(opened, study, answers, hashes));
    }
  }

  /** All that decides which runs there are and what they give. */
  private String search(GateSettings gates, Posed posed, Map<String, String> hashes) {
    return RunDescription.sha256(
        "%s %s %s %s %s %s %d"
            .formatted(
                hashes,
                plan.request(),
                plan.extras(),
                gates,
                posed.settings(),
                common.backend(),
                common.threads()));
  }

  // ---------------------------------------------------------------- prompts and room for them

  private Posed posed(Opened opened) {
    List<Contrast> contrasts = plan.task().contrasts(opened.codec(), plan.prompts(), common.seed());
    ModelConfig config = opened.model().transformer().config();
    int longest = contrasts.stream().mapToInt(one -> one.clean().length).max().orElseThrow();
    if (longest > config.sizes().context()) {
      throw new UsageException(
          "%s: a prompt has %d tokens, and the context of %s is %d; choose a task of shorter prompts"
              .formatted(
                  plan.task().name(), longest, opened.target().name(), config.sizes().context()));
    }
    contrasts.forEach(
        one -> {
          opened.model().requireInVocabulary(one.clean());
          opened.model().requireInVocabulary(one.corrupted());
        });
    long weights = opened.model().checkpoint().frozenBytes().residentBytes();
    long held =
        switch (opened.subject().gateSource()) {
          case GateSource.Own() -> weights;
          case GateSource.Of(Subject _) -> 2 * weights;
        };
    long room = Math.min(MOST_BYTES, (common.availableBytes() - held) / STORES);
    int batch = Math.min(BATCH, contrasts.size());
    while (batch > 1 && runBytes(config, batch, longest) > room) {
      batch /= 2;
    }
    long run = runBytes(config, batch, longest);
    String needed =
        "circuit needs %.1f MiB of memory: weights %.1f MiB, and %d stores of %.1f MiB for runs of %d x %d tokens"
            .formatted(
                CommonOptions.mebibytes(held + STORES * run),
                CommonOptions.mebibytes(held),
                STORES,
                CommonOptions.mebibytes(run),
                batch,
                longest);
    common.requireFits(needed, held + STORES * run);
    common.err().println("memory: " + needed);
    return new Posed(
        contrasts, new Settings(plan.metric(), plan.gateRule(), batch, Math.max(room, run)));
  }

  /**
   * What one run takes, its gradients where there are any, its tables where gates are looked at.
   */
  private long runBytes(ModelConfig config, int batch, int time) {
    MemoryEstimate.Trained trained =
        switch (plan.request().method()) {
          case Method.Patch() -> MemoryEstimate.Trained.NOTHING;
          case Method.LeaveOut(double _) -> MemoryEstimate.Trained.NOTHING;
          case Method.Attribute(Gradient _) -> MemoryEstimate.Trained.ALL;
        };
    long bytes =
        MemoryEstimate.of(
                config,
                new MemoryEstimate.Weights(0, 0),
                new MemoryEstimate.Task(batch, time, trained, MemoryPlan.KEEP_ALL))
            .activationBytes();
    return bytes + EvalCommand.tableBytes(config, batch, time);
  }

  // ---------------------------------------------------------------- what the model answers

  private CircuitLook.Answers answers(Study study) {
    Metric metric = plan.metric();
    Study.References metrics = study.references();
    Settings settings = study.settings();
    Settings right =
        new Settings(
            Metric.ACCURACY, settings.gateRule(), settings.batchSize(), settings.memoryBytes());
    try (Study counted = new Study(study.subject(), study.contrasts(), right, (done, all) -> {})) {
      Bootstrap bootstrap = new Bootstrap(metrics.clean().length, plan.request().bootstrap());
      return new CircuitLook.Answers(
          mean(counted.references().clean()),
          mean(metrics.clean()),
          mean(metrics.corrupted()),
          bootstrap.interval(
              draw -> metric.damage(mean(metrics.clean(), draw), mean(metrics.corrupted(), draw))));
    }
  }

  private static double mean(double[] values) {
    return Arrays.stream(values).average().orElseThrow();
  }

  private static double mean(double[] values, int[] draw) {
    return Arrays.stream(draw).mapToDouble(prompt -> values[prompt]).average().orElseThrow();
  }

  private CircuitLook.Outcome outcome(
      Opened opened, Study study, CircuitLook.Answers answers, Map<String, String> hashes) {
    Interval gain = answers.gain();
    if (!(gain.low() > 0)) {
      return new CircuitLook.Unable(
          "%s does not do %s: %s is %.4g on clean prompts and %.4g on corrupted ones, better by %.4g with a 95 %% interval from %.4g to %.4g over %d prompts, expected above 0; choose a task that it can do, or more prompts"
              .formatted(
                  opened.target().name(),
                  plan.task().name(),
                  plan.metric().label(),
                  answers.clean(),
                  answers.corrupted(),
                  gain.estimate(),
                  gain.low(),
                  gain.high(),
                  study.contrasts().size()));
    }
    Finding finding = named(opened, answers, CircuitSearch.run(study, plan.request(), hashes));
    double empty = mean(finding.curve().points().getFirst().values());
    if (finding.curve().plan().baseline() == Curve.Baseline.EMPTY
        && !(plan.metric().damage(answers.clean(), empty) > 0)) {
      return new CircuitLook.Unable(
          "%s answers %s no worse with everything ablated: %s is %.4g, and %.4g on clean prompts; choose --ablation resample or --baseline corrupted"
              .formatted(
                  opened.target().name(),
                  plan.task().name(),
                  plan.metric().label(),
                  empty,
                  answers.clean()));
    }
    return new CircuitLook.Found(
        finding, nodes(study), attention(opened, study), files(opened, study, finding));
  }

  // ---------------------------------------------------------------- what is found

  /** The finding with what the search cannot know. */
  private Finding named(Opened opened, CircuitLook.Answers answers, Finding found) {
    Map<String, String> settings = new LinkedHashMap<>();
    settings.put("model", opened.target().name());
    settings.put("task", plan.task().name());
    settings.put("source", plan.task().source());
    settings.putAll(found.settings());
    opened.target().gatesOf().ifPresent(other -> settings.put("gate_source", other.toString()));
    settings.put("accuracy", Double.toString(answers.accuracy()));
    settings.put("clean", Double.toString(answers.clean()));
    settings.put("corrupted", Double.toString(answers.corrupted()));
    return new Finding(
        found.ranking(),
        found.circuit(),
        found.curve(),
        found.bootstrap(),
        settings,
        found.hashes());
  }

  private static Map<String, String> hashes(Opened opened, List<Contrast> contrasts) {
    Map<String, String> out = new LinkedHashMap<>();
    Path folder = LoadedModel.folder(opened.target().folder());
    addHashes("", folder, out);
    Path base = opened.model().checkpoint().folder();
    if (!base.equals(folder)) {
      addHashes("base/", base, out);
    }
    opened
        .target()
        .gatesOf()
        .ifPresent(other -> addHashes("gates-of/", LoadedModel.folder(other), out));
    StringBuilder prompts = new StringBuilder();
    for (Contrast one : contrasts) {
      prompts
          .append(Arrays.toString(one.clean()))
          .append(Arrays.toString(one.corrupted()))
          .append(one.position())
          .append(Arrays.toString(one.correct()))
          .append(Arrays.toString(one.incorrect()))
          .append('\n');
    }
    out.put("prompts", RunDescription.sha256(prompts.toString()));
    return out;
  }

  private static void addHashes(String prefix, Path folder, Map<String, String> hashes) {
    for (Path file : modelFiles(folder)) {
      hashes.put(prefix + file.getFileName(), RunDescription.sha256(file));
    }
  }

  private static List<Path> modelFiles(Path folder) {
    try (Stream<Path> files = Files.list(folder)) {
      return files
          .filter(
              file -> file.toString().endsWith(".json") || file.toString().endsWith(".safetensors"))
          .sorted()
          .toList();
    } catch (IOException e) {
      throw new UsageException(folder + ": the folder cannot be read: " + e.getMessage());
    }
  }

  private NodeScores nodes(Study study) {
    Direction direction = plan.request().direction();
    return switch (plan.request().method()) {
      case Method.Attribute(Gradient gradient) -> Attribution.nodes(study, direction, gradient);
      case Method.Patch() -> Patching.nodes(study, direction);
      case Method.LeaveOut(double _) -> Patching.nodes(study, direction);
    };
  }

  private List<CircuitLook.ShownPrompt> attention(Opened opened, Study study) {
    return switch (plan.extras().attention()) {
      case LEFT_OUT -> List.of();
      case SHOWN -> {
        List<CircuitLook.ShownPrompt> out = new ArrayList<>();
        List<Contrast> first =
            study.contrasts().stream()
                .filter(one -> one.clean().length <= SHOWN_TOKENS)
                .limit(SHOWN_PAIRS)
                .toList();
        for (int i = 0; i < first.size(); i++) {
          Contrast one = first.get(i);
          out.add(shown(opened, "clean " + (i + 1), one.clean(), one.correct()[0]));
          out.add(shown(opened, "corrupted " + (i + 1), one.corrupted(), one.incorrect()[0]));
        }
        yield out;
      }
    };
  }

  private CircuitLook.ShownPrompt shown(Opened opened, String name, int[] ids, int answer) {
    TokenCodec codec = opened.codec();
    return new CircuitLook.ShownPrompt(
        new CircuitPageData.Prompt(
            name, Arrays.stream(ids).mapToObj(codec::piece).toList(), codec.piece(answer)),
        AttentionMaps.of(opened.subject().model(), ids, opened.subject().gates(), kernels)
            .weights());
  }

  private Map<String, String> files(Opened opened, Study study, Finding finding) {
    Map<String, String> out = new LinkedHashMap<>();
    out.put("circuit.json", CircuitFiles.json(finding));
    out.put("curve.csv", CircuitFiles.csv(finding.curve(), finding.bootstrap()));
    if (finding.circuit() instanceof Circuit.Edges edges
        && edges.graph().split() == CircuitGraph.Split.QKV) {
      out.put(
          "graph.json",
          CircuitFiles.eapIgGraph(
              opened.subject().model().config(),
              plan.metric(),
              finding.ranking().edgeScores(),
              edges));
    }
    plan.extras()
        .tokenPairs()
        .ifPresent(
            patch ->
                out.put(
                    "token-pairs.csv",
                    csv(TokenPairs.patch(study, plan.request().direction(), patch))));
    plan.extras()
        .subsets()
        .ifPresent(subsets -> out.put("checks.json", checks(study, finding, subsets)));
    return out;
  }

  private static String csv(List<TokenPairs.Score> pairs) {
    StringBuilder out = new StringBuilder("tokens,head,query,key,open,change\n");
    for (TokenPairs.Score pair : pairs) {
      out.append(pair.time())
          .append(',')
          .append(pair.head().label())
          .append(',')
          .append(pair.query())
          .append(',')
          .append(pair.key())
          .append(',')
          .append(pair.open())
          .append(',')
          .append(pair.change())
          .append('\n');
    }
    return out.toString();
  }

  private String checks(Study study, Finding finding, int subsets) {
    CircuitRunner runner = new CircuitRunner(study);
    Circuit circuit = finding.circuit();
    ObjectNode json = common.object();
    ArrayNode needs = json.putArray("minimality");
    for (CircuitChecks.Need need :
        CircuitChecks.minimality(runner, circuit, finding.curve().plan().ablation())) {
      needs.addObject().put("name", label(circuit, need.member())).put("change", need.change());
    }
    ArrayNode losses = json.putArray("completeness");
    for (CircuitChecks.Loss loss :
        CircuitChecks.completeness(
            runner,
            circuit,
            finding.curve().plan().ablation(),
            new CircuitChecks.Draws(subsets, common.seed()))) {
      ObjectNode line = losses.addObject();
      ArrayNode removed = line.putArray("removed");
      loss.removed().forEach(member -> removed.add(label(circuit, member)));
      line.put("circuit", loss.circuit());
      line.put("model", loss.model());
      line.put("incompleteness", loss.incompleteness());
    }
    return json.toPrettyString() + "\n";
  }

  private static String label(Circuit circuit, int member) {
    return switch (circuit) {
      case Circuit.Nodes nodes -> nodes.graph().senders().get(member).label();
      case Circuit.Edges edges -> edges.graph().edge(member).label();
    };
  }
}
