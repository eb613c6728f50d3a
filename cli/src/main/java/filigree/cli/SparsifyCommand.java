package filigree.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.autograd.AdamW;
import filigree.checkpoints.Corpus;
import filigree.checkpoints.Safetensors;
import filigree.checkpoints.Tokenizer;
import filigree.sparsity.Constraint;
import filigree.sparsity.GateSettings;
import filigree.sparsity.GeneratedText;
import filigree.sparsity.Lora;
import filigree.sparsity.Objective;
import filigree.sparsity.RunFolder;
import filigree.sparsity.Sparsifier;
import filigree.sparsity.SparsifierMemory;
import filigree.sparsity.SparsifierState;
import filigree.tensor.Kernels;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import filigree.transformer.Batch;
import filigree.transformer.Evaluation;
import filigree.transformer.GateVariant;
import filigree.transformer.Gates;
import filigree.transformer.LearningRate;
import filigree.transformer.MemoryEstimate;
import filigree.transformer.MemoryPlan;
import filigree.transformer.ModelConfig;
import filigree.transformer.WindowSampler;
import filigree.transformer.Windows;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.SequencedMap;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Post-training under the loss constraint. */
@Command(
    name = "sparsify",
    mixinStandardHelpOptions = true,
    description =
        "Closes attention edges while the loss stays within a tolerance of the dense model's.")
final class SparsifyCommand implements Callable<Integer> {
  /** Without --valid, one training document in this many is held out. */
  private static final int HELD_OUT_EVERY = 10;

  /** Held-out tokens of one measurement for the constraint. */
  private static final int PROBE_TOKENS = 1000;

  /** Length of the sequences whose attention the page shows. */
  private static final int SHOWN_TOKENS = 32;

  private static final int SHOWN_SEQUENCES = 3;

  @CommandLine.Spec private CommandLine.Model.CommandSpec spec;
  @Mixin private CommonOptions common;

  @CommandLine.Parameters(paramLabel = "MODEL", description = "A Hugging Face model folder.")
  private Path folder;

  @Option(names = "--data", required = true, paramLabel = "DATA", description = "Training text.")
  private Path data;

  @Option(
      names = "--valid",
      paramLabel = "DATA",
      description =
          "Held-out text for the constraint and the choice of the best model (default: every tenth"
              + " training document, which is then not trained on).")
  private Path valid;

  @Option(
      names = "--test",
      paramLabel = "DATA",
      description =
          "Text that chooses nothing: both models are measured on it at the end, and sweep compares"
              + " runs by it.")
  private Path test;

  // By default enough for a standard error well below the tolerance.
  @Option(
      names = "--valid-tokens",
      defaultValue = "40000",
      paramLabel = "N",
      description =
          "Held-out tokens at most, to the end of a document (default: ${DEFAULT-VALUE}).")
  private long validTokens;

  @Option(names = "--out", required = true, paramLabel = "DIR", description = "A new folder.")
  private Path out;

  @Option(
      names = "--tolerance",
      defaultValue = "0.01",
      paramLabel = "NATS",
      description = "Loss allowed above the dense model's (default: ${DEFAULT-VALUE}).")
  private double tolerance;

  @Option(
      names = "--steps",
      defaultValue = "4000",
      paramLabel = "N",
      description = "Training steps (default: ${DEFAULT-VALUE}).")
  private long steps;

  @Option(names = "--context", paramLabel = "T", description = "Tokens per window.")
  private Integer context;

  @Option(
      names = "--batch-size",
      defaultValue = "4",
      paramLabel = "B",
      description = "Windows per step (default: ${DEFAULT-VALUE}).")
  private int batchSize;

  @Option(
      names = "--lr",
      defaultValue = "1e-4",
      paramLabel = "R",
      description = "Highest learning rate (default: ${DEFAULT-VALUE}).")
  private double rate;

  @Option(
      names = "--distill",
      defaultValue = "0",
      paramLabel = "W",
      description = "Weight of the divergence from the dense model (default: ${DEFAULT-VALUE}).")
  private double distillation;

  @Option(
      names = "--distill-text",
      paramLabel = "generated[:N]",
      description =
          "Train also on N documents (default: 200) that the dense model generates before training"
              + " begins.")
  private String distillText;

  @Option(
      names = "--ce",
      defaultValue = "1",
      paramLabel = "W",
      description =
          "Weight of the cross-entropy with the text in the objective (default: ${DEFAULT-VALUE}).")
  private double crossEntropy;

  @Option(
      names = "--train",
      defaultValue = "attention",
      paramLabel = "WHICH",
      description = "Which weights are trained: attention or all (default: ${DEFAULT-VALUE}).")
  private Sparsifier.Trained trained;

  @Option(
      names = "--lora",
      paramLabel = "RANK",
      description =
          "Train low-rank additions of this rank instead of the weights, which stay as they are.")
  private Integer loraRank;

  @Option(
      names = "--lora-alpha",
      paramLabel = "A",
      description = "The additions are scaled by A / RANK (default: 2 x RANK).")
  private Double loraAlpha;

  @Option(
      names = "--lora-targets",
      split = ",",
      paramLabel = "NAMES",
      description =
          "Linear maps that get additions: names such as blocks.0.attn.q or their ends, * for"
              + " anything (default: q,k,v,o of all layers).")
  private List<String> loraTargets;

  @Option(
      names = "--average",
      defaultValue = "200",
      paramLabel = "N",
      description =
          "Steps over which the weights that are measured and saved are averaged (default:"
              + " ${DEFAULT-VALUE}).")
  private int averageSteps;

  @Option(
      names = "--gate-bias",
      defaultValue = "auto",
      paramLabel = "B|auto",
      description =
          "Added to scores to make gate logits; auto is the smallest of 0, 1, 2, 4, 6 with which"
              + " gates as they are trained cost at most 0.1 nats at the start.")
  private String gateBias;

  @Option(
      names = "--training-gates",
      defaultValue = "hard",
      paramLabel = "sampled|hard",
      description =
          "Gates while training: sampled with logistic noise as in the paper, or hard as they are"
              + " measured (default: ${DEFAULT-VALUE}).")
  private Sparsifier.TrainingGates trainingGates;

  @Option(
      names = "--control",
      defaultValue = "none",
      paramLabel = "WHICH",
      description =
          "dense: the same training without gates; l1: gates without noise between 0 and 1, whose"
              + " mean is the penalty; fixed: beta stays at --beta (default: none).")
  private Sparsifier.Control control;

  @Option(
      names = "--beta",
      defaultValue = "0.1",
      paramLabel = "W",
      description =
          "Weight of the density at the start, or throughout with --control fixed (default:"
              + " ${DEFAULT-VALUE}).")
  private double beta;

  @Option(
      names = "--variant",
      split = ",",
      paramLabel = "NAMES",
      description =
          "Gates that differ from the paper's: head-bias (a learned bias for each head),"
              + " own-projection (queries and keys of their own), renormalised (output divided by"
              + " the open share); several with commas. Attention is then computed step by step,"
              + " which is about half as fast and takes memory for tables of all queries and"
              + " keys.")
  private List<String> variants = List.of();

  @Option(
      names = "--weights",
      defaultValue = "uniform",
      paramLabel = "late|early|FILE.json",
      description =
          "How much edges of each layer and head count in what is minimised: late layers more,"
              + " early layers more, or a JSON list with a number, or a list with a number for each"
              + " head, for every layer (default: ${DEFAULT-VALUE}).")
  private String edgeWeights;

  @Option(
      names = "--patience",
      paramLabel = "N",
      description =
          "End after this many validations in a row, one every 50 steps, without fewer edges within"
              + " the tolerance (default: never).")
  private Integer patience;

  @Option(
      names = "--measures",
      defaultValue = "all",
      paramLabel = "WHICH",
      description =
          "basic: at the end no agreement with the dense model and no other window lengths, which"
              + " take about ten more runs over the held-out text (default: ${DEFAULT-VALUE}).")
  private EvalCommand.Measures measures;

  @Option(
      names = "--resume",
      description =
          "Go on with the run in --out, with the same other options; begin it where there is none"
              + " yet, and print its result where it has ended.")
  private boolean resume;

  @Override
  public Integer call() {
    if (batchSize < 1 || averageSteps < 1) {
      throw new UsageException(
          "--batch-size is %d and --average %d, expected 1 or more of each"
              .formatted(batchSize, averageSteps));
    }
    if (validTokens < 2) {
      throw new UsageException("--valid-tokens is %d, expected 2 or more".formatted(validTokens));
    }
    Sparsifier.Settings asked = settings(); // before anything long is begun
    Optional<GeneratedText> asksForText =
        Optional.ofNullable(distillText).map(GeneratedText::parse);
    EarlierRun earlier =
        resume
            ? EarlierRun.in(out, RunDescription.choices(spec, common))
            : new EarlierRun.Nothing();
    switch (earlier) {
      case EarlierRun.Nothing() -> RunFolder.requireVacant(out);
      case EarlierRun.Begun() ->
          common.err().println("the run had not yet saved a state; it begins again");
      case EarlierRun.Interrupted() -> {}
      case EarlierRun.Ended(ObjectNode result) -> {
        SparsifyRun.forget(out); // a kill may have come between result and removal
        common.err().println("the run had ended; this is its result");
        common.print(result);
        return Main.DONE;
      }
    }
    try (LoadedModel model = LoadedModel.open(folder, common);
        Kernels kernels = common.open()) {
      int tokens = model.context(context);
      List<int[]> documents = model.encode(Corpus.of(data).documents());
      List<int[]> heldDocuments = heldOut(model, documents, tokens);
      Held held =
          new Held(
              heldDocuments, Windows.cut(heldDocuments, tokens), tokens, tested(model, tokens));
      Sparsifier.Settings settings = asked.with(plan(model, asked, held));
      List<int[]> generated =
          asksForText.isPresent()
              ? generated(asksForText.get(), model, documents, tokens, kernels)
              : List.of();
      documents.addAll(generated);
      WindowSampler sampler = new WindowSampler(documents, tokens, batchSize, common.seed());
      List<Batch.Maker> batches = held.windows().batches(held.atOnce());
      try (Sparsifier sparsifier =
          new Sparsifier(model.transformer(), batches, settings, AdamW.Config.DEFAULT, kernels)) {
        run(model, kernels, new Data(sampler, generated, held, batches, earlier), sparsifier);
      }
    }
    return Main.DONE;
  }

  /**
   * Text of a run.
   *
   * @param sampler windows of all text that is trained on
   * @param generated what of that the dense model has generated
   * @param held what is not trained on
   * @param batches the same in batches
   * @param earlier what there is of the run already
   */
  private record Data(
      WindowSampler sampler,
      List<int[]> generated,
      Held held,
      List<Batch.Maker> batches,
      EarlierRun earlier) {}

  private List<int[]> generated(
      GeneratedText asked, LoadedModel model, List<int[]> beginnings, int tokens, Kernels kernels) {
    Optional<List<int[]>> known = resume ? GeneratedFile.read(out) : Optional.empty();
    if (known.isPresent()) {
      return known.get();
    }
    Set<Integer> ends = GenerateCommand.stops(model.checkpoint().configJson().path("eos_token_id"));
    try (Progress progress = new Progress("generate", asked.documents(), common.err())) {
      return asked.draw(
          model.transformer(),
          new GeneratedText.Frame(beginnings, tokens, ends),
          common.seed(),
          kernels,
          done -> progress.to(done, ""));
    }
  }

  private void run(LoadedModel model, Kernels kernels, Data text, Sparsifier sparsifier) {
    common
        .err()
        .printf(
            "held-out text: %d tokens, dense loss %.4f nats, tau %.4f; gate bias %s%n",
            text.held().windows().scored(),
            sparsifier.denseCe(),
            sparsifier.tau(),
            sparsifier.gates().bias());
    ObjectNode description = RunDescription.of(spec, common, kernels);
    ObjectNode files = description.putObject("data");
    RunDescription.addFile(files, "train", data);
    if (valid != null) {
      RunDescription.addFile(files, "valid", valid);
    }
    if (test != null) {
      RunDescription.addFile(files, "test", test);
    }
    Path source = model.checkpoint().folder();
    ObjectNode models = description.putObject("model");
    RunDescription.addFile(models, "config", source.resolve("config.json"));
    Path weights = source.resolve("model.safetensors");
    RunDescription.addFile(
        models,
        "weights",
        Files.exists(weights) ? weights : source.resolve("model.safetensors.index.json"));
    description.put("base_ce", sparsifier.denseCe());
    description.put("tau", sparsifier.tau());
    description.put("tolerance", tolerance);
    description.put("gate_bias", sparsifier.gates().bias());
    if (!text.generated().isEmpty()) {
      ObjectNode generated = description.putObject("generated");
      generated.put("documents", text.generated().size());
      generated.put("tokens", text.generated().stream().mapToLong(ids -> ids.length).sum());
    }

    Sparsifier.Result result;
    try (Workspace restored = new Workspace("saved state");
        RunFolder run = start(text.earlier(), sparsifier, restored);
        Progress progress = new Progress("sparsify", steps, common.err())) {
      run.describe(description);
      if (!text.generated().isEmpty()) {
        GeneratedFile.write(run, text.generated());
      }
      SparsifyRun listener =
          new SparsifyRun(
              run,
              model.checkpoint().configJson(),
              Optional.of(source),
              sparsifier.gating(),
              progress,
              common);
      result = sparsifier.run(text.sampler(), listener);
      sparsifier.close(); // what follows takes memory of its own
      if (result.steps() < steps) {
        description.put("ended_early_at_step", result.steps());
      }
      ObjectNode json = json(result, run);
      atTheEnd(new Ended(model, kernels, text.batches(), text.held(), result), run, json);
      description.set("result", json.deepCopy());
      run.describe(description);
      SparsifyRun.forget(out);
      if (!result.best().satisfied()) {
        common
            .err()
            .println(
                "no model satisfied the constraint; the one with the least excess was kept: try a"
                    + " lower --lr, more --steps or a higher --tolerance");
      }
      common.print(json);
    }
  }

  /** A new run folder, or the old one with its state restored. */
  private RunFolder start(EarlierRun earlier, Sparsifier sparsifier, Workspace restored) {
    return switch (earlier) {
      case EarlierRun.Nothing() -> RunFolder.create(out);
      case EarlierRun.Begun() -> RunFolder.resume(out, 0);
      case EarlierRun.Interrupted() -> restored(sparsifier, restored);
      case EarlierRun.Ended(ObjectNode _) -> throw new IllegalStateException("has its result");
    };
  }

  private RunFolder restored(Sparsifier sparsifier, Workspace restored) {
    try (Safetensors file = Safetensors.open(SparsifyRun.stateFile(out))) {
      SequencedMap<String, Tensor> tensors = new LinkedHashMap<>();
      file.tensors().keySet().forEach(name -> tensors.put(name, file.copy(name, restored)));
      SparsifierState state =
          SparsifierState.read(tensors, file.metadata().get(SparsifyRun.stateKey()));
      sparsifier.restore(state);
      common.err().println("resuming after step " + state.progress().step());
      return RunFolder.resume(out, state.progress().step());
    }
  }

  /** The text of --test, read before the training that it would otherwise be in vain for. */
  private Optional<Windows> tested(LoadedModel model, int tokens) {
    if (test == null) {
      return Optional.empty();
    }
    Windows windows = Windows.cut(model.encode(Corpus.of(test).documents()), tokens);
    if (windows.scored() == 0) {
      throw new UsageException(
          "--test %s has no token to score, expected a document of two tokens or more"
              .formatted(test));
    }
    return Optional.of(windows);
  }

  /** Takes the held-out documents out of the training documents, or reads them from --valid. */
  private List<int[]> heldOut(LoadedModel model, List<int[]> documents, int tokens) {
    List<int[]> held = new ArrayList<>();
    if (valid != null) {
      held.addAll(model.encode(Corpus.of(valid).documents()));
    } else if (documents.size() < 2) {
      // One long document: its end is held out.
      int[] all = documents.getFirst();
      int cut = all.length - Math.max(tokens, all.length / HELD_OUT_EVERY);
      if (cut < tokens) {
        throw new UsageException(
            "%s has %d tokens, too few to hold some out; give --valid".formatted(data, all.length));
      }
      documents.set(0, Arrays.copyOf(all, cut));
      held.add(Arrays.copyOfRange(all, cut, all.length));
    } else {
      for (int i = documents.size() - 1; i >= 0; i -= HELD_OUT_EVERY) {
        held.add(documents.remove(i));
      }
    }
    long sum = 0;
    for (int i = 0; i < held.size(); i++) {
      sum += held.get(i).length;
      if (sum >= validTokens) {
        return new ArrayList<>(held.subList(0, i + 1));
      }
    }
    return held;
  }

  /** Blocks are computed again, for a third more of arithmetic, only where they must be. */
  private MemoryPlan plan(LoadedModel model, Sparsifier.Settings asked, Held held) {
    ModelConfig config = model.checkpoint().config();
    if (!asked.choices().variants().isEmpty() || !config.gating().isEmpty()) {
      long bytes = SparsifierMemory.tableBytes(config, batchSize, held.tokens());
      common.requireFits(
          "the attention tables of --variant need %.1f MiB of memory"
              .formatted(CommonOptions.mebibytes(bytes)),
          bytes);
    }
    MemoryEstimate keeping = estimate(model, asked.trained(), MemoryPlan.KEEP_BLOCKS, held);
    if (common.fits(keeping.totalBytes())) {
      common.requireFits("sparsify", keeping);
      return MemoryPlan.KEEP_BLOCKS;
    }
    common.requireFits(
        "sparsify, computing blocks again in the backward pass,",
        estimate(model, asked.trained(), MemoryPlan.RECOMPUTE_BLOCKS, held));
    return MemoryPlan.RECOMPUTE_BLOCKS;
  }

  private MemoryEstimate estimate(
      LoadedModel model, Sparsifier.Trainables trained, MemoryPlan plan, Held held) {
    Objective.Weights weights = new Objective.Weights(crossEntropy, distillation);
    return SparsifierMemory.of(
        model.checkpoint().config(),
        model.checkpoint().frozenBytes(),
        new SparsifierMemory.Task(batchSize, held.tokens(), held.atOnce(), trained, weights, plan));
  }

  private Sparsifier.Settings settings() {
    return new Sparsifier.Settings(
        steps,
        new LearningRate(rate, Math.min(50, Math.max(1, steps / 10)), steps / 2, steps, 0.02),
        new Constraint.Config(
            tolerance, 10, 0.015, 2, beta, Math.min(beta, 1e-3), Math.max(beta, 10)),
        new Objective.Weights(crossEntropy, distillation),
        bias(),
        averageSteps,
        new Sparsifier.Measuring(4, PROBE_TOKENS, 50),
        trained(),
        MemoryPlan.KEEP_BLOCKS,
        control,
        choices(),
        common.seed());
  }

  private Sparsifier.Choices choices() {
    Set<GateVariant> chosen = EnumSet.noneOf(GateVariant.class);
    for (String name : variants) {
      chosen.add(
          GateVariant.of(name)
              .orElseThrow(
                  () ->
                      new UsageException(
                          "--variant has '%s', expected %s"
                              .formatted(
                                  name,
                                  Arrays.stream(GateVariant.values())
                                      .map(GateVariant::label)
                                      .collect(Collectors.joining(", "))))));
    }
    return new Sparsifier.Choices(
        trainingGates,
        chosen,
        EdgeWeightsFile.parse(edgeWeights),
        patience == null ? OptionalInt.empty() : OptionalInt.of(patience));
  }

  private Sparsifier.Trainables trained() {
    if (loraRank == null) {
      if (loraAlpha != null || loraTargets != null) {
        throw new UsageException("--lora-alpha and --lora-targets need --lora RANK");
      }
      return trained;
    }
    if (spec.commandLine().getParseResult().hasMatchedOption("--train")) {
      throw new UsageException("--train and --lora exclude each other; leave one out");
    }
    return new Lora(
        loraRank,
        loraAlpha == null ? Lora.defaultAlpha(loraRank) : loraAlpha,
        loraTargets == null ? Lora.DEFAULT_TARGETS : loraTargets);
  }

  private OptionalDouble bias() {
    if (gateBias.equals("auto")) {
      return OptionalDouble.empty();
    }
    try {
      double value = Double.parseDouble(gateBias);
      if (Double.isFinite(value)) {
        return OptionalDouble.of(value);
      }
    } catch (NumberFormatException e) {
      // Falls through to the one sentence for all bad values.
    }
    throw new UsageException("--gate-bias is '" + gateBias + "', expected a number or auto");
  }

  /** Text that is not trained on, and the windows that it is cut into: held out, and of --test. */
  private record Held(
      List<int[]> documents, Windows windows, int tokens, Optional<Windows> tested) {
    /** Windows that are measured at once. */
    int atOnce() {
      return Math.clamp(windows.all().size(), 1, Math.max(1, PROBE_TOKENS / tokens));
    }
  }

  /** A run whose best model is measured once more. */
  private record Ended(
      LoadedModel model,
      Kernels kernels,
      List<Batch.Maker> batches,
      Held held,
      Sparsifier.Result result) {}

  /** Attention of both models for the page, and the measures that training does not need. */
  private void atTheEnd(Ended ended, RunFolder run, ObjectNode json) {
    Sparsifier.Result result = ended.result();
    try (LoadedModel best = LoadedModel.open(run.model(), common);
        Workspace scratch = new Workspace("evaluation")) {
      Gates gates = result.gates().gates(common.seed());
      Evaluation.Run with = new Evaluation.Run(ended.kernels(), scratch, tokens -> {});
      Evaluation.Subject dense = new Evaluation.Subject(ended.model().transformer(), Gates.dense());
      Evaluation.Subject sparse = new Evaluation.Subject(best.transformer(), gates);
      AttentionFile file = new AttentionFile(ended.kernels(), dense.model(), sparse.model(), gates);
      boolean shown = addSequences(file, ended);
      file.edges(Evaluation.of(dense, ended.batches(), with), result.best().evaluation());
      if (shown) {
        file.write(run);
      }
      if (result.gates().mode() != GateSettings.Mode.DENSE) {
        Gates sampled =
            new GateSettings(GateSettings.Mode.SAMPLED, result.gates().bias()).gates(common.seed());
        json.put(
            "sampled_ce",
            Evaluation.of(new Evaluation.Subject(sparse.model(), sampled), ended.batches(), with)
                .ce());
      }
      if (measures == EvalCommand.Measures.ALL) {
        EvalCommand.addAgreement(
            dense, sparse, compared(ended.held().windows(), ended), with, json);
        json.set("by_context", byContext(ended, best, gates, with));
      }
      ended
          .held()
          .tested()
          .ifPresent(windows -> addTest(dense, sparse, windows, ended, with, json));
    }
  }

  /** Batches whose logits of both models fit beside each other. */
  private static List<Batch.Maker> compared(Windows windows, Ended ended) {
    int tokens = ended.held().tokens();
    int most = EvalCommand.comparedBatchSize(ended.model().checkpoint().config(), tokens);
    return windows.batches(Math.clamp(PROBE_TOKENS / tokens, 1, most));
  }

  /** Both models on text that chose nothing. */
  private void addTest(
      Evaluation.Subject dense,
      Evaluation.Subject sparse,
      Windows windows,
      Ended ended,
      Evaluation.Run with,
      ObjectNode json) {
    List<Batch.Maker> batches = windows.batches(Math.max(1, PROBE_TOKENS / ended.held().tokens()));
    Evaluation found = Evaluation.of(sparse, batches, with);
    json.put("test_tokens", found.tokens());
    json.put("test_base_ce", Evaluation.of(dense, batches, with).ce());
    json.put("test_ce", found.ce());
    json.put("test_density", found.density());
    json.put("test_edges_per_query", found.edgesPerQuery());
    if (measures == EvalCommand.Measures.ALL) {
      ObjectNode agreement = common.object();
      EvalCommand.addAgreement(dense, sparse, compared(windows, ended), with, agreement);
      json.set("test_kl", agreement.get("kl"));
      json.set("test_top1_agreement", agreement.get("top1_agreement"));
    }
  }

  private static boolean addSequences(AttentionFile file, Ended ended) {
    Optional<Tokenizer> tokenizer = ended.model().checkpoint().tokenizer();
    int shown = 0;
    for (int[] window : ended.held().windows().all()) {
      if (shown < SHOWN_SEQUENCES && window.length >= SHOWN_TOKENS) {
        int[] ids = Arrays.copyOf(window, SHOWN_TOKENS);
        String[] labels =
            Arrays.stream(ids)
                .mapToObj(
                    id -> tokenizer.map(t -> t.piece(id)).orElseGet(() -> Integer.toString(id)))
                .toArray(String[]::new);
        shown++;
        file.add("held-out text " + shown, ids, labels, Optional.empty());
      }
    }
    return shown > 0;
  }

  /**
   * Both models on the held-out text in windows shorter than trained and, where positions allow,
   * twice as long.
   */
  private ArrayNode byContext(Ended ended, LoadedModel best, Gates gates, Evaluation.Run with) {
    ArrayNode table = common.object().arrayNode();
    int trained = ended.held().tokens();
    for (int tokens : new int[] {trained / 4, trained / 2, trained, 2 * trained}) {
      boolean within = tokens <= ended.model().checkpoint().config().sizes().context();
      if (tokens < 2 || (!within && hasLearnedPositions(ended.model()))) {
        continue;
      }
      List<Batch.Maker> batches =
          Windows.cut(ended.held().documents(), tokens).batches(Math.max(1, PROBE_TOKENS / tokens));
      ObjectNode row = table.addObject();
      row.put("context", tokens);
      row.put(
          "base_ce",
          Evaluation.of(ended.model().reaching(tokens), batches, Gates.dense(), with).ce());
      Evaluation sparse = Evaluation.of(best.reaching(tokens), batches, gates, with);
      row.put("ce", sparse.ce());
      row.put("density", sparse.density());
      row.put("edges_per_query", sparse.edgesPerQuery());
      row.put("empty_rows", sparse.emptyRows());
      row.put("dead_heads", sparse.deadHeads());
    }
    return table;
  }

  private static boolean hasLearnedPositions(LoadedModel model) {
    return model.checkpoint().config().positions() instanceof ModelConfig.Positions.Learned;
  }

  private ObjectNode json(Sparsifier.Result result, RunFolder run) {
    Evaluation best = result.best().evaluation();
    ObjectNode json = common.object();
    json.put("base_ce", result.denseCe());
    json.put("tau", result.tau());
    json.put("ce", best.ce());
    json.put("sampled_ce", result.sampledCe());
    json.put("satisfied", result.best().satisfied());
    json.put("density", best.density());
    json.put("expected_density", best.expectedDensity());
    json.put("edges_per_query", best.edgesPerQuery());
    json.put("empty_rows", best.emptyRows());
    json.put("dead_heads", best.deadHeads());
    json.put("first_share", best.firstShare());
    json.put("diagonal_share", best.diagonalShare());
    json.put("gates", result.gates().mode().name().toLowerCase(Locale.ROOT));
    json.put("gate_bias", result.gates().bias());
    json.put("best_step", result.best().step());
    json.put("steps", result.steps());
    json.put("out", run.model().toString());
    return json;
  }
}
