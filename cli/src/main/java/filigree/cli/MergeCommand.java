package filigree.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.checkpoints.Checkpoint;
import filigree.checkpoints.CheckpointWriter;
import filigree.checkpoints.PeftAdapter;
import filigree.checkpoints.StoredTensor;
import filigree.tensor.Kernels;
import filigree.tensor.Workspace;
import filigree.transformer.Adapter;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** A model of its own from adapters and their base. */
@Command(
    name = "merge",
    mixinStandardHelpOptions = true,
    description =
        "Adds adapters to the weights of their base and writes the model, in the base's types and"
            + " layout.")
final class MergeCommand implements Callable<Integer> {
  @Mixin private CommonOptions common;

  @Parameters(
      paramLabel = "ADAPTER",
      description = "A folder of adapters in PEFT's layout, or a run folder that holds one.")
  private Path folder;

  @Option(names = "--out", required = true, paramLabel = "DIR", description = "A new folder.")
  private Path out;

  @Option(
      names = "--max-shard-size",
      paramLabel = "N",
      description =
          "The most bytes of weights in a file, such as 5GB or 512MiB (default: no limit).")
  private String maxShardSize;

  @Override
  public Integer call() {
    Path named = LoadedModel.folder(folder);
    if (!PeftAdapter.isIn(named)) {
      throw new UsageException(
          "%s: there is no %s, so there is nothing to merge; name the folder of an adapter"
              .formatted(named, PeftAdapter.CONFIG));
    }
    CheckpointWriter.Shards shards =
        maxShardSize == null
            ? CheckpointWriter.Shards.ONE
            : new CheckpointWriter.Shards(InitCommand.bytes(maxShardSize));
    try (PeftAdapter adapter = PeftAdapter.open(named);
        Checkpoint base = Checkpoint.open(LoadedModel.folder(adapter.base()));
        Workspace memory = new Workspace("adapters", common.memoryBytes());
        Kernels kernels = common.open()) {
      Map<String, Adapter> adapters = adapter.read(base, memory);
      long total = base.tensors().stream().mapToLong(StoredTensor::byteSize).sum();
      List<String> files;
      try (Progress progress = new Progress("merge", total, common.err())) {
        files =
            CheckpointWriter.merge(
                out,
                new CheckpointWriter.Merged(
                    base,
                    adapters,
                    adapter.gates().map(settings -> settings),
                    kernels,
                    written -> progress.to(written, "bytes")),
                shards);
      }
      ObjectNode json = common.object();
      json.put("base", base.folder().toString());
      json.put("adapters", adapters.size());
      json.put("out", out.toString());
      ArrayNode names = json.putArray("files");
      files.forEach(names::add);
      common.print(json);
    }
    return Main.DONE;
  }
}
