package filigree.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.checkpoints.CheckpointWriter;
import filigree.checkpoints.ConfigJson;
import filigree.tensor.DType;
import filigree.transformer.InitialWeights;
import filigree.transformer.ModelConfig;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** A model of random weights. */
@Command(
    name = "init",
    mixinStandardHelpOptions = true,
    description =
        "Writes a Hugging Face folder of random weights for a config.json, tensor by tensor.")
final class InitCommand implements Callable<Integer> {
  private static final Pattern SIZE = Pattern.compile("(\\d+(?:\\.\\d+)?)\\s*([KMGT]?)(I?B|)");

  @Mixin private CommonOptions common;

  @Option(
      names = "--config",
      required = true,
      paramLabel = "FILE",
      description = "A config.json of a known family; tokenizer files beside it are carried over.")
  private Path configFile;

  @Option(names = "--out", required = true, paramLabel = "DIR", description = "A new folder.")
  private Path out;

  @Option(
      names = "--dtype",
      defaultValue = "f32",
      paramLabel = "f32|bf16",
      description = "Type of the stored weights (default: ${DEFAULT-VALUE}).")
  private String dtype;

  @Option(
      names = "--max-shard-size",
      paramLabel = "N",
      description =
          "The most bytes of weights in a file, such as 5GB or 512MiB (default: no limit).")
  private String maxShardSize;

  @Override
  public Integer call() {
    ConfigJson configJson = ConfigJson.read(configFile);
    ModelConfig config = configJson.model();
    DType type = type();
    CheckpointWriter.Shards shards =
        maxShardSize == null
            ? CheckpointWriter.Shards.ONE
            : new CheckpointWriter.Shards(bytes(maxShardSize));
    long total = config.parameterCount() * type.bytes();
    List<String> files;
    try (Progress progress = new Progress("init", total, common.err())) {
      files =
          CheckpointWriter.initialise(
              out,
              new CheckpointWriter.Initial(
                  configJson.json(),
                  new InitialWeights(config, TrainCommand.draw(configJson.json(), common.seed())),
                  type,
                  Optional.ofNullable(configFile.toAbsolutePath().getParent()),
                  written -> progress.to(written, "bytes")),
              shards);
    }
    ObjectNode result = common.object();
    result.put("family", configJson.family().modelType());
    result.put("parameters", config.parameterCount());
    result.put("dtype", type.name());
    result.put("bytes", total);
    result.put("seed", common.seed());
    result.put("out", out.toString());
    ArrayNode names = result.putArray("files");
    files.forEach(names::add);
    common.print(result);
    if (!common.isJson()) {
      files.forEach(common.out()::println);
    }
    return Main.DONE;
  }

  private DType type() {
    return switch (dtype.toLowerCase(Locale.ROOT)) {
      case "f32" -> DType.F32;
      case "bf16" -> DType.BF16;
      default -> throw new UsageException("--dtype is '" + dtype + "', expected f32 or bf16");
    };
  }

  /** As Hugging Face counts: 5GB are 5,000,000,000 bytes, and 5GiB 5 times 2^30. */
  static long bytes(String text) {
    Matcher parts = SIZE.matcher(text.trim().toUpperCase(Locale.ROOT));
    if (parts.matches()) {
      int power = "KMGT".indexOf(parts.group(2)) + (parts.group(2).isEmpty() ? 0 : 1);
      double unit = Math.pow(parts.group(3).startsWith("I") ? 1024 : 1000, power);
      double bytes = Double.parseDouble(parts.group(1)) * unit;
      if (bytes >= 1 && bytes < Long.MAX_VALUE) {
        return (long) bytes;
      }
    }
    throw new UsageException(
        "--max-shard-size is '" + text + "', expected a size such as 5GB or 512MiB");
  }
}
