package filigree.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.checkpoints.Corpus;
import filigree.sparsity.EdgeMask;
import filigree.sparsity.GateSettings;
import filigree.tensor.Kernels;
import filigree.tensor.Workspace;
import filigree.transformer.Evaluation;
import filigree.transformer.MemoryEstimate;
import filigree.transformer.MemoryPlan;
import filigree.transformer.Windows;
import java.nio.file.Path;
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
  /** Tokens in one run: enough for the kernels' threads, little enough to stay in the cache. */
  private static final int BATCH_TOKENS = 2048;

  /** Entries of a table of all queries and keys that a mask makes, where one sequence allows. */
  private static final long TABLE_ENTRIES = 1 << 20;

  /** Such tables of a layer, from products to kept weights, while a tap looks. */
  private static final int TABLES = 10;

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

  @Option(names = "--limit", paramLabel = "DOCS", description = "Only the first documents.")
  private Long limit;

  @Option(
      names = "--mask",
      paramLabel = "RULE",
      description =
          "Instead of gates, keep by rule: topk:K highest scores of each query, window:W last keys"
              + " and the first token, or random:K keys drawn at random.")
  private String mask;

  @Override
  public Integer call() {
    if (limit != null && limit < 1) {
      throw new UsageException("--limit is " + limit + ", expected 1 or more");
    }
    Optional<EdgeMask> rule = Optional.ofNullable(mask).map(EdgeMask::parse);
    if (rule.isPresent() && gateOptions.isGiven()) {
      throw new UsageException(
          "--mask says which edges are open, and so do --gates and --gate-bias; leave one out");
    }
    Corpus corpus = Corpus.of(data);
    try (LoadedModel model = LoadedModel.open(folder, common);
        Kernels kernels = common.open();
        Workspace workspace = new Workspace("evaluation", common.memoryBytes())) {
      int tokens = model.context(context);
      GateSettings settings = rule.isPresent() ? MASKED : gateOptions.settings(model.gates());
      int batch = rule.isPresent() ? maskedBatchSize(model, tokens) : batchSize(tokens);
      List<int[]> documents =
          model.encode(limit == null ? corpus.documents() : corpus.documents(limit));
      Windows windows = Windows.cut(documents, tokens);
      common.requireFits("eval", estimate(model, windows, batch));
      if (rule.isPresent()) {
        long bytes = maskedBytes(model, batch, tokens);
        common.requireFits(
            "the attention tables of --mask need %.1f MiB of memory"
                .formatted(CommonOptions.mebibytes(bytes)),
            bytes);
      }
      Evaluation result;
      try (Progress progress = new Progress("eval", windows.scored(), common.err())) {
        result =
            Evaluation.of(
                model.transformer(),
                windows.batches(batch),
                settings.gates(common.seed()),
                (pass, first) ->
                    rule.map(
                            kept ->
                                pass.with(
                                    kept.tap(model.checkpoint().config(), common.seed(), first)))
                        .orElse(pass),
                new Evaluation.Run(kernels, workspace, done -> progress.to(done, "")));
      }
      ObjectNode json = json(result, common.object());
      json.put("documents", documents.size());
      json.put("context", tokens);
      json.put(
          "gates", rule.isPresent() ? "mask" : settings.mode().name().toLowerCase(Locale.ROOT));
      if (rule.isPresent()) {
        json.put("mask", mask);
      } else {
        json.put("gate_bias", settings.bias());
      }
      common.print(json);
    }
    return Main.DONE;
  }

  private static long tableEntries(LoadedModel model, int tokens) {
    return (long) tokens * tokens * model.checkpoint().config().attention().heads();
  }

  private static int maskedBatchSize(LoadedModel model, int tokens) {
    return (int)
        Math.clamp(TABLE_ENTRIES / tableEntries(model, tokens), 1, (long) batchSize(tokens));
  }

  private static long maskedBytes(LoadedModel model, int batch, int tokens) {
    return tableEntries(model, tokens)
        * batch
        * model.checkpoint().config().sizes().layers()
        * TABLES
        * Float.BYTES;
  }

  private static MemoryEstimate estimate(LoadedModel model, Windows windows, int batch) {
    int longest = windows.all().stream().mapToInt(window -> window.length).max().orElse(1);
    int most = Math.clamp(windows.all().size(), 1, batch);
    return MemoryEstimate.of(
        model.checkpoint().config(),
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
