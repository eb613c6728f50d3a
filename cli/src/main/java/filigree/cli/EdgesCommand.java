package filigree.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.interp.AttentionMaps;
import filigree.interp.relation.Relation;
import filigree.interp.relation.RelationTally;
import filigree.interp.task.TokenCodec;
import filigree.sparsity.GateSettings;
import filigree.tensor.Kernels;
import filigree.transformer.MemoryEstimate;
import filigree.transformer.MemoryPlan;
import filigree.transformer.ModelConfig;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.function.ToDoubleFunction;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** What open edges connect. */
@Command(
    name = "edges",
    mixinStandardHelpOptions = true,
    description =
        "Counts, layer by layer, what the open attention edges read: the share of them, and of the"
            + " attention, that goes to each class of keys, all heads together.")
final class EdgesCommand implements Callable<Integer> {
  @Mixin private CommonOptions common;
  @Mixin private GateOptions gateOptions;

  @Parameters(
      paramLabel = "MODEL",
      description = "A Hugging Face model folder, an adapter's folder or a run folder.")
  private Path folder;

  @Option(
      names = "--relation",
      required = true,
      paramLabel = "R",
      description =
          "addition: sums of two numbers of two digits; the column's own digits, the lower ones,"
              + " with a carry and without. induction: random tokens that stand twice; the token"
              + " that followed the same token before.")
  private String relationName;

  @Option(
      names = "--prompts",
      defaultValue = "500",
      paramLabel = "N",
      description = "Prompts, drawn at random (default: ${DEFAULT-VALUE}).")
  private int prompts;

  @Option(
      names = "--prefix",
      defaultValue = "",
      paramLabel = "TEXT",
      description =
          "Text in front of every prompt, where the model was trained with one that its tokenizer"
              + " does not add.")
  private String prefix;

  @Override
  public Integer call() {
    if (prompts < 1) {
      throw new UsageException("--prompts is " + prompts + ", expected 1 or more");
    }
    Relation relation = Relation.named(relationName);
    try (LoadedModel model = LoadedModel.open(folder, common)) {
      ModelConfig config = model.transformer().config();
      List<Relation.Prompt> asked =
          relation.prompts(
              prefixed(
                  new TokenizerCodec(
                      model.checkpoint().requireTokenizer(), config.sizes().vocabulary())),
              config.sizes().context(),
              prompts,
              common.seed());
      int longest = asked.stream().mapToInt(prompt -> prompt.ids().length).max().orElseThrow();
      common.requireFits(
          "edges",
          MemoryEstimate.of(
              config,
              model.checkpoint().frozenBytes(),
              new MemoryEstimate.Task(
                  1, longest, MemoryEstimate.Trained.NOTHING, MemoryPlan.KEEP_ALL)));
      GateSettings gates = gateOptions.settings(model.gates());
      RelationTally tally = new RelationTally(relation, config.sizes().layers());
      try (Kernels kernels = common.open();
          Progress progress = new Progress("edges", asked.size(), common.err())) {
        for (Relation.Prompt prompt : asked) {
          int[] ids = model.requireInVocabulary(prompt.ids());
          tally.add(
              prompt,
              AttentionMaps.of(model.transformer(), ids, gates.gates(common.seed()), kernels));
          progress.to(tally.prompts(), "");
        }
      }
      print(relation, gates, tally);
    }
    return Main.DONE;
  }

  private TokenCodec prefixed(TokenCodec codec) {
    return new TokenCodec() {
      @Override
      public int[] encode(String text) {
        return codec.encode(prefix + text);
      }

      @Override
      public String piece(int id) {
        return codec.piece(id);
      }

      @Override
      public int vocabularySize() {
        return codec.vocabularySize();
      }
    };
  }

  private void print(Relation relation, GateSettings gates, RelationTally tally) {
    ObjectNode json = common.object();
    json.put("relation", relationName);
    json.put("prompts", tally.prompts());
    json.put("gates", gates.mode().name().toLowerCase(Locale.ROOT));
    ArrayNode rows = json.putArray("rows");
    for (RelationTally.Row row : tally.rows()) {
      ObjectNode line = rows.addObject();
      line.put("layer", row.layer());
      line.put("group", row.group());
      line.put("queries", row.queries());
      line.put("edges_per_query", row.edgesPerQuery());
      addShares(line.putObject("edges_share"), relation.kinds(), row::edgeShare);
      addShares(line.putObject("weight_share"), relation.kinds(), row::weightShare);
    }
    common.print(json);
    if (!common.isJson()) {
      for (RelationTally.Row row : tally.rows()) {
        common
            .out()
            .printf(
                Locale.ROOT,
                "%nlayer %d, %s: %d queries, %.3f open edges each%n",
                row.layer(),
                row.group(),
                row.queries(),
                row.edgesPerQuery());
        for (String kind : relation.kinds()) {
          common
              .out()
              .printf(
                  Locale.ROOT,
                  "  %-20s %6.3f edges each, %5.1f %% of them, %5.1f %% of the attention%n",
                  kind,
                  row.edges().get(kind),
                  100 * row.edgeShare(kind),
                  100 * row.weightShare(kind));
        }
      }
      common.out().flush();
    }
  }

  /** Shares by class; null where no edge is open, because JSON has no number for 0 / 0. */
  private static void addShares(
      ObjectNode json, List<String> kinds, ToDoubleFunction<String> share) {
    for (String kind : kinds) {
      double value = share.applyAsDouble(kind);
      if (Double.isNaN(value)) {
        json.putNull(kind);
      } else {
        json.put(kind, value);
      }
    }
  }
}
