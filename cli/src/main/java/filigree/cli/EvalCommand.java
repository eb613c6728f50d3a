package filigree.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.checkpoints.Corpus;
import filigree.sparsity.EdgeMask;
import filigree.sparsity.GateSettings;
import filigree.tensor.Kernels;
import filigree.tensor.Workspace;
import filigree.transformer.Agreement;
import filigree.transformer.Batch;
import filigree.transformer.Evaluation;
import filigree.transformer.MemoryEstimate;
import filigree.transformer.MemoryPlan;
import filigree.transformer.ModelConfig;
import filigree.transformer.Transformer;
import filigree.transformer.Windows;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Loss and edges of a model on text. */
@Command(
    name = "eval",
    mixinStandardHelpOptions = true,
    description =
        "Measures nats per token and open edges: each document on its own, cut into consecutive"
            + " windows, the first token of a window not scored.")
final class EvalCommand implements Callable<Integer> {
  /** How much is measured. */
  enum Measures {
    /** What one run over the text gives. */
    BASIC,
    /** Also what takes runs of its own, such as the loss with sampled gates. */
    ALL
  }

  /** Tokens in one run: enough for the kernels' threads, little enough to stay in the cache. */
  private static final int BATCH_TOKENS = 2048;

  /** Entries of a table of all queries and keys, where one sequence allows. */
  private static final long TABLE_ENTRIES = 1 << 20;

  /** Such tables of a layer, from products to kept weights; while a tap looks none is freed. */
  private static final int TABLES = 10;

  /** Logits of one run of a comparison, where one sequence allows. */
  private static final long LOGITS = 1 << 24;

  /** A mask's gate logits are infinite, whatever their bias. */
  private static final GateSettings MASKED = new GateSettings(GateSettings.Mode.HARD, 0);

  @Mixin private CommonOptions common;
  @Mixin private GateOptions gateOptions;

  @Parameters(paramLabel = "MODEL", description = "A Hugging Face model folder.")
  private Path folder;

  @Option(
      names = "--data",
      required = true,
      paramLabel = "DATA",
      description = "A .jsonl file with \"text\" in each line, or a .txt file.")
  private Path data;

  @Option(names = "--context", paramLabel = "N", description = "Tokens per window.")
  private Integer context;

  @Option(
      names = "--contexts",
      split = ",",
      paramLabel = "N",
      description =
          "Measure with windows of each of these lengths too; with rotary positions also longer"
              + " than the model's context.")
  private List<Integer> contexts = List.of();

  @Option(names = "--limit", paramLabel = "DOCS", description = "Only the first documents.")
  private Long limit;

  @Option(
      names = "--mask",
      paramLabel = "RULE",
      description =
          "Instead of gates, keep by rule: topk:K highest scores of each query, window:W last keys"
              + " and the first token, or random:K keys drawn at random.")
  private String mask;

  @Option(
      names = "--measures",
      defaultValue = "basic",
      paramLabel = "WHICH",
      description =
          "all: for hard gates also the loss with sampled gates, which takes twice the time"
              + " (default: ${DEFAULT-VALUE}).")
  private Measures measures;

  @Option(
      names = "--reference",
      paramLabel = "MODEL",
      description =
          "Compare predictions with those of this model, such as the dense one: divergence from it"
              + " and agreement on the likeliest token.")
  private Path referenceFolder;

  @Override
  public Integer call() {
    if (limit != null && limit < 1) {
      throw new UsageException("--limit is " + limit + ", expected 1 or more");
    }
    for (int length : contexts) {
      if (length < 2) {
        throw new UsageException("--contexts has %d, expected 2 or more of each".formatted(length));
      }
    }
    Optional<EdgeMask> rule = Optional.ofNullable(mask).map(EdgeMask::parse);
    if (rule.isPresent() && gateOptions.isGiven()) {
      throw new UsageException(
          "--mask says which edges are open, and so do --gates and --gate-bias; leave one out");
    }
    Corpus corpus = Corpus.of(data);
    try (LoadedModel model = LoadedModel.open(folder, common)) {
      List<int[]> documents =
          model.encode(limit == null ? corpus.documents() : corpus.documents(limit));
      if (referenceFolder == null) {
        measure(new Measured(model, documents, rule, Optional.empty()));
      } else {
        try (LoadedModel reference = LoadedModel.open(referenceFolder, common)) {
          measure(new Measured(model, documents, rule, Optional.of(reference)));
        }
      }
    }
    return Main.DONE;
  }

  /** What is measured, on what and beside what. */
  private record Measured(
      LoadedModel model,
      List<int[]> documents,
      Optional<EdgeMask> rule,
      Optional<LoadedModel> reference) {}

  private void measure(Measured measured) {
    LoadedModel model = measured.model();
    try (Kernels kernels = common.open();
        Workspace workspace = new Workspace("evaluation", common.memoryBytes())) {
      int tokens = model.context(context);
      GateSettings settings =
          measured.rule().isPresent() ? MASKED : gateOptions.settings(model.gates());
      ObjectNode json = at(tokens, settings, measured, kernels, workspace);
      json.put("documents", measured.documents().size());
      json.put("context", tokens);
      if (measured.rule().isPresent()) {
        json.put("gates", "mask");
        json.put("mask", mask);
      } else {
        json.put("gates", settings.mode().name().toLowerCase(Locale.ROOT));
        json.put("gate_bias", settings.bias());
      }
      if (!contexts.isEmpty()) {
        ArrayNode table = common.object().arrayNode();
        for (int length : contexts) {
          ObjectNode row = common.object();
          row.put("context", length);
          table.add(row.setAll(at(length, settings, measured, kernels, workspace)));
        }
        json.set("by_context", table);
      }
      common.print(json);
      if (!common.isJson()) {
        printByContext(json);
      }
    }
  }

  private void printByContext(ObjectNode json) {
    for (var row : json.path("by_context")) {
      common
          .out()
          .printf(
              "context %-6d       ce %.4f, density %.5f, edges_per_query %.3f%n",
              row.path("context").asInt(),
              row.path("ce").asDouble(),
              row.path("density").asDouble(),
              row.path("edges_per_query").asDouble());
    }
    common.out().flush();
  }

  /** All measures with windows of one length. */
  private ObjectNode at(
      int tokens, GateSettings settings, Measured measured, Kernels kernels, Workspace workspace) {
    Transformer model = measured.model().reaching(tokens);
    Windows windows = Windows.cut(measured.documents(), tokens);
    boolean makesTables =
        measured.rule().isPresent()
            || (!model.config().gating().isEmpty() && settings.mode() != GateSettings.Mode.DENSE);
    int batch = makesTables ? tabledBatchSize(model.config(), tokens) : batchSize(tokens);
    common.requireFits("eval", estimate(measured.model(), model.config(), windows, batch));
    if (makesTables) {
      long bytes = tableBytes(model.config(), batch, tokens);
      common.requireFits(
          "tables of all queries and keys, which --mask and gate variants make, need %.1f MiB of memory"
              .formatted(CommonOptions.mebibytes(bytes)),
          bytes);
    }
    Evaluation.Subject subject =
        new Evaluation.Subject(
            model,
            settings.gates(common.seed()),
            (pass, first) ->
                measured
                    .rule()
                    .map(kept -> pass.with(kept.tap(model.config(), common.seed(), first)))
                    .orElse(pass));
    ObjectNode json =
        json(run("eval", subject, windows, batch, kernels, workspace), common.object());
    if (measures == Measures.ALL
        && measured.rule().isEmpty()
        && settings.mode() == GateSettings.Mode.HARD) {
      GateSettings noisy = new GateSettings(GateSettings.Mode.SAMPLED, settings.bias());
      Evaluation.Subject sampled = new Evaluation.Subject(model, noisy.gates(common.seed()));
      json.put(
          "sampled_ce", run("sampled gates", sampled, windows, batch, kernels, workspace).ce());
    }
    if (measured.reference().isPresent()) {
      LoadedModel reference = measured.reference().get();
      requireSameText(reference, measured);
      addAgreement(
          new Evaluation.Subject(
              reference.reaching(tokens),
              GateOptions.ofConfig(reference.gates()).gates(common.seed())),
          subject,
          windows.batches(Math.min(batch, comparedBatchSize(model.config(), tokens))),
          new Evaluation.Run(kernels, workspace, done -> {}),
          json);
    }
    return json;
  }

  private Evaluation run(
      String task,
      Evaluation.Subject subject,
      Windows windows,
      int batch,
      Kernels kernels,
      Workspace workspace) {
    try (Progress progress = new Progress(task, windows.scored(), common.err())) {
      return Evaluation.of(
          subject,
          windows.batches(batch),
          new Evaluation.Run(kernels, workspace, done -> progress.to(done, "")));
    }
  }

  private void requireSameText(LoadedModel reference, Measured measured) {
    int[] ours = measured.documents().getFirst();
    int[] theirs = reference.encode(List.of(Corpus.of(data).documents(1).getFirst())).getFirst();
    if (!Arrays.equals(ours, theirs)) {
      throw new UsageException(
          "--reference %s splits the text into other tokens than %s; compare models of one tokenizer"
              .formatted(referenceFolder, folder));
    }
  }

  /** Adds divergence and agreement to measures. */
  static void addAgreement(
      Evaluation.Subject reference,
      Evaluation.Subject subject,
      List<Batch.Maker> batches,
      Evaluation.Run run,
      ObjectNode json) {
    Agreement agreement = Agreement.of(reference, subject, batches, run);
    json.put("kl", agreement.divergence());
    json.put("top1_agreement", agreement.top1());
  }

  /** Windows at once of which the logits of two models are kept. */
  static int comparedBatchSize(ModelConfig config, int tokens) {
    return Math.clamp(LOGITS / ((long) tokens * config.sizes().vocabulary()), 1, BATCH_TOKENS);
  }

  private static long tableEntries(ModelConfig config, int tokens) {
    return (long) tokens * tokens * config.attention().heads();
  }

  private static int tabledBatchSize(ModelConfig config, int tokens) {
    return Math.clamp(TABLE_ENTRIES / tableEntries(config, tokens), 1, batchSize(tokens));
  }

  static long tableBytes(ModelConfig config, int batch, int tokens) {
    return tableEntries(config, tokens) * batch * config.sizes().layers() * TABLES * Float.BYTES;
  }

  private static MemoryEstimate estimate(
      LoadedModel model, ModelConfig config, Windows windows, int batch) {
    int longest = windows.all().stream().mapToInt(window -> window.length).max().orElse(1);
    int most = Math.clamp(windows.all().size(), 1, batch);
    return MemoryEstimate.of(
        config,
        model.checkpoint().frozenBytes(),
        new MemoryEstimate.Task(
            most, longest, MemoryEstimate.Trained.NOTHING, MemoryPlan.KEEP_BLOCKS));
  }

  static int batchSize(int context) {
    return Math.max(1, BATCH_TOKENS / context);
  }

  static ObjectNode json(Evaluation result, ObjectNode json) {
    json.put("ce", result.ce());
    json.put("perplexity", Math.exp(result.ce()));
    json.put("tokens", result.tokens());
    json.put("density", result.density());
    json.put("expected_density", result.expectedDensity());
    json.put("edges_per_query", result.edgesPerQuery());
    json.put("empty_rows", result.emptyRows());
    json.put("dead_heads", result.deadHeads());
    json.put("first_share", result.firstShare());
    json.put("diagonal_share", result.diagonalShare());
    ArrayNode layers = json.putArray("edges_per_query_by_head");
    for (List<Double> heads : result.edgesPerQueryByHead()) {
      ArrayNode row = layers.addArray();
      for (double edges : heads) {
        row.add(edges);
      }
    }
    return json;
  }
}
