package filigree.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.checkpoints.Checkpoint;
import filigree.checkpoints.PeftAdapter;
import filigree.checkpoints.StoredTensor;
import filigree.sparsity.Lora;
import filigree.sparsity.Objective;
import filigree.sparsity.Sparsifier;
import filigree.sparsity.SparsifierMemory;
import filigree.transformer.MemoryEstimate;
import filigree.transformer.MemoryPlan;
import filigree.transformer.ModelConfig;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** What a checkpoint is. */
@Command(
    name = "inspect",
    mixinStandardHelpOptions = true,
    description = "Shows family, sizes, tensors and how much memory a model needs.")
final class InspectCommand implements Callable<Integer> {
  /** The rank for which memory is estimated, where the model is large enough for it. */
  private static final int LORA_RANK = 16;

  @Mixin private CommonOptions common;

  @Parameters(paramLabel = "MODEL", description = "A Hugging Face model folder.")
  private Path folder;

  @Option(names = "--tensors", description = "List every tensor.")
  private boolean listTensors;

  @Override
  public Integer call() {
    Path named = LoadedModel.folder(folder);
    if (!PeftAdapter.isIn(named)) {
      inspect(named, Optional.empty());
      return Main.DONE;
    }
    try (PeftAdapter adapter = PeftAdapter.open(named)) {
      inspect(LoadedModel.folder(adapter.base()), Optional.of(adapter));
    }
    return Main.DONE;
  }

  private void inspect(Path model, Optional<PeftAdapter> adapter) {
    try (Checkpoint checkpoint = Checkpoint.open(model)) {
      ModelConfig config = checkpoint.config();
      TreeMap<String, Long> dtypes = new TreeMap<>();
      long bytes = 0;
      for (StoredTensor tensor : checkpoint.tensors()) {
        dtypes.merge(tensor.type().toString(), 1L, Long::sum);
        bytes += tensor.byteSize();
      }
      ObjectNode json = common.object();
      json.put("family", checkpoint.family().modelType());
      json.put("parameters", config.parameterCount());
      json.put("layers", config.sizes().layers());
      json.put("width", config.sizes().width());
      json.put("heads", config.attention().heads());
      json.put("kv_heads", config.attention().kvHeads());
      json.put("head_dim", config.attention().headDim());
      json.put("mlp_width", config.mlp().width());
      json.put("vocabulary", config.sizes().vocabulary());
      json.put("context", config.sizes().context());
      json.put("dtype", String.join(", ", dtypes.keySet()));
      json.put("tensors", checkpoint.tensors().size());
      json.put("bytes", bytes);
      config.attention().window().ifPresent(window -> json.put("window", window));
      List<String> passedOver = checkpoint.keysPassedOver();
      if (!passedOver.isEmpty()) {
        ArrayNode keys = json.putArray("config_keys_passed_over");
        passedOver.forEach(keys::add);
      }
      adapter.ifPresent(a -> json.set("adapter", a.summary()));
      adapter
          .flatMap(PeftAdapter::gates)
          .or(checkpoint::gates)
          .ifPresent(settings -> json.set("filigree", settings));
      int context = config.sizes().context();
      MemoryEstimate eval =
          MemoryEstimate.of(
              config,
              checkpoint.frozenBytes(),
              new MemoryEstimate.Task(
                  1, context, MemoryEstimate.Trained.NOTHING, MemoryPlan.KEEP_BLOCKS));
      MemoryEstimate train =
          MemoryEstimate.of(
              config,
              MemoryEstimate.Weights.widened(config),
              new MemoryEstimate.Task(1, context, MemoryEstimate.Trained.ALL, MemoryPlan.KEEP_ALL));
      Lora additions = lora(config);
      MemoryEstimate sparsify =
          sparsify(checkpoint, Sparsifier.Trained.ALL, MemoryPlan.KEEP_BLOCKS);
      MemoryEstimate lora = sparsify(checkpoint, additions, MemoryPlan.RECOMPUTE_BLOCKS);
      ObjectNode memory = json.putObject("memory");
      memory.put("eval", eval.totalBytes());
      memory.put("eval_in_file", eval.mappedBytes());
      memory.put("train", train.totalBytes());
      memory.put("sparsify", sparsify.totalBytes());
      memory.put("lora", lora.totalBytes());
      memory.put("lora_rank", additions.rank());
      if (listTensors) {
        ArrayNode all = json.putArray("tensor_list");
        for (StoredTensor tensor : checkpoint.tensors()) {
          ObjectNode entry = all.addObject();
          entry.put("name", tensor.name());
          entry.put("dtype", tensor.type().toString());
          ArrayNode shape = entry.putArray("shape");
          Arrays.stream(tensor.shape().dims()).forEach(shape::add);
        }
      }
      common.print(json);
      if (!common.isJson()) {
        common
            .out()
            .printf(
                "memory for one window of %d tokens: eval %s beside %s that stay in the file,"
                    + " training %s, sparsify with a teacher %s, with LoRA of rank %d %s%n",
                context,
                mebibytes(eval.totalBytes()),
                mebibytes(eval.mappedBytes()),
                mebibytes(train.totalBytes()),
                mebibytes(sparsify.totalBytes()),
                additions.rank(),
                mebibytes(lora.totalBytes()));
        if (!passedOver.isEmpty()) {
          common
              .out()
              .printf(
                  "keys of config.json that say nothing to Filigree: %s%n",
                  String.join(", ", passedOver));
        }
        if (listTensors) {
          checkpoint
              .tensors()
              .forEach(t -> common.out().printf("%-60s %-5s %s%n", t.name(), t.type(), t.shape()));
        }
      }
    }
  }

  private static Lora lora(ModelConfig config) {
    ModelConfig.Attention attention = config.attention();
    int narrowest = Math.min(config.sizes().width(), attention.kvHeads() * attention.headDim());
    int rank = Math.min(LORA_RANK, narrowest);
    return new Lora(rank, Lora.defaultAlpha(rank), Lora.DEFAULT_TARGETS);
  }

  private static MemoryEstimate sparsify(
      Checkpoint checkpoint, Sparsifier.Trainables trained, MemoryPlan plan) {
    ModelConfig config = checkpoint.config();
    return SparsifierMemory.of(
        config,
        checkpoint.frozenBytes(),
        new SparsifierMemory.Task(
            1, config.sizes().context(), 1, trained, new Objective.Weights(0, 1), plan));
  }

  private static String mebibytes(long bytes) {
    return "%.1f MiB".formatted(bytes / 1048576.0);
  }
}
