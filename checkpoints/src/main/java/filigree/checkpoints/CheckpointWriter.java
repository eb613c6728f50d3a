package filigree.checkpoints;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.Tensor;
import filigree.transformer.Adapter;
import filigree.transformer.InitialWeights;
import filigree.transformer.ModelConfig;
import filigree.transformer.ModelConfig.ParameterSpec;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.LongConsumer;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * Writes Hugging Face model folders. The weights get the names and the layout of their family, so
 * that other tools read them; a folder that was read and written again holds the same bits.
 */
public final class CheckpointWriter {
  /** What belongs to the tokenizer, or to generation, and is carried over as it is. */
  private static final List<String> CARRIED =
      List.of(
          Tokenizer.FILE,
          "tokenizer_config.json",
          "tokenizer.model",
          "special_tokens_map.json",
          "added_tokens.json",
          "vocab.json",
          "merges.txt",
          "chat_template.jinja",
          "generation_config.json");

  private CheckpointWriter() {}

  /**
   * What a model folder is to hold.
   *
   * @param config the config.json of the source, or of a model trained from scratch; its {@code
   *     model_type} names the family
   * @param filigree put under the key {@code filigree} of the config; where empty, the config keeps
   *     what it has there
   * @param weights a tensor of a floating type for each of {@link ModelConfig#parameters}; those
   *     that share a tensor of the file, such as GPT-2's query, key and value, are of one type
   * @param tokenizerSource a folder whose tokenizer files are carried over
   */
  public record Contents(
      JsonNode config,
      Optional<JsonNode> filigree,
      Map<String, Tensor> weights,
      Optional<Path> tokenizerSource) {}

  /**
   * Writes a new folder: under a temporary name beside it, forced to the disk, then renamed.
   *
   * @param folder its path; must not exist or be empty
   * @param contents what it is to hold
   * @throws CheckpointException where the folder is not empty, the contents do not fit together, or
   *     writing fails; then nothing is left behind
   */
  public static void write(Path folder, Contents contents) {
    write(folder, contents, Shards.ONE);
  }

  /**
   * Writes a new folder in shards.
   *
   * @param folder its path; must not exist or be empty
   * @param contents what it is to hold
   * @param shards how the weights are cut into files
   * @throws CheckpointException as {@link #write(Path, Contents)} does
   */
  public static void write(Path folder, Contents contents, Shards shards) {
    requireVacant(folder);
    writeVacant(folder, writeTemporary(folder, Job.of(folder, contents, shards)));
  }

  /**
   * What a folder of initial weights is to hold.
   *
   * @param config its config.json
   * @param weights drawn tensor by tensor, so that no more than one is in memory
   * @param dtype {@link DType#F32} or {@link DType#BF16}
   * @param tokenizerSource a folder whose tokenizer files are carried over
   * @param progress told the number of bytes written so far
   */
  public record Initial(
      JsonNode config,
      InitialWeights weights,
      DType dtype,
      Optional<Path> tokenizerSource,
      LongConsumer progress) {}

  /**
   * Writes a new folder of initial weights, as {@link #write(Path, Contents)} does.
   *
   * @param folder its path; must not exist or be empty
   * @param initial what it is to hold
   * @param shards how the weights are cut into files
   * @return the names of the files with weights, in order
   * @throws CheckpointException where the folder is not empty or writing fails; then nothing is
   *     left behind
   */
  public static List<String> initialise(Path folder, Initial initial, Shards shards) {
    requireVacant(folder);
    ConfigJson config = ConfigJson.of(folder + ": config", initial.config());
    if (!config.model().equals(initial.weights().config())) {
      throw new CheckpointException(folder + ": the weights are drawn for another config");
    }
    ObjectNode json = config.json();
    json.put(json.has("dtype") ? "dtype" : "torch_dtype", torchName(initial.dtype()));
    Job job =
        new Job(
            ConfigJson.of(folder + ": config", json),
            new WeightSource.Drawn(initial.weights(), initial.dtype()),
            initial.tokenizerSource(),
            shards,
            initial.progress());
    Path temporary = writeTemporary(folder, job);
    List<String> files = job.files();
    writeVacant(folder, temporary);
    return files;
  }

  /**
   * A model and what is to be added to some of its weights for good.
   *
   * @param base the model, open
   * @param adapters by the name of the weight that each is added to
   * @param filigree put under the key {@code filigree} of the config; where empty, the config keeps
   *     what the base has there
   * @param kernels compute the sums
   * @param progress told the number of bytes written so far
   */
  public record Merged(
      Checkpoint base,
      Map<String, Adapter> adapters,
      Optional<JsonNode> filigree,
      Kernels kernels,
      LongConsumer progress) {}

  /**
   * Writes a new folder of a model with its adapters added to its weights, W + scale B A, in the
   * types and the layout of the base. Weights without an adapter keep their bits; one tensor of the
   * file is in memory at a time.
   *
   * @param folder its path; must not exist or be empty
   * @param merged the model and its adapters
   * @param shards how the weights are cut into files
   * @return the names of the files with weights, in order
   * @throws CheckpointException as {@link #write(Path, Contents)} does
   */
  public static List<String> merge(Path folder, Merged merged, Shards shards) {
    requireVacant(folder);
    ObjectNode config = merged.base().configJson();
    merged.filigree().ifPresent(settings -> config.set(ConfigJson.FILIGREE, settings));
    Job job =
        new Job(
            ConfigJson.of(folder + ": config", config),
            new WeightSource.Sum(merged.base().match(), merged.adapters(), merged.kernels()),
            Optional.of(merged.base().folder()),
            shards,
            merged.progress());
    Path temporary = writeTemporary(folder, job);
    List<String> files = job.files();
    writeVacant(folder, temporary);
    return files;
  }

  static void writeVacant(Path folder, Path temporary) {
    try {
      AtomicFiles.rename(temporary, folder);
    } catch (RuntimeException e) {
      AtomicFiles.deleteTree(temporary);
      throw e;
    }
  }

  /**
   * How weights are cut into files.
   *
   * @param maxBytes the most data of a file; a larger tensor has a file of its own
   */
  public record Shards(long maxBytes) {
    /** One file, however large. */
    public static final Shards ONE = new Shards(Long.MAX_VALUE);

    /** Checks the limit. */
    public Shards {
      if (maxBytes < 1) {
        throw new CheckpointException(
            "shards: at most " + maxBytes + " bytes each, expected at least 1");
      }
    }

    /** Cuts, in order; never an empty file but where there is nothing at all. */
    List<List<SafetensorsWriter.Source>> cut(List<SafetensorsWriter.Source> sources) {
      List<List<SafetensorsWriter.Source>> out = new ArrayList<>();
      List<SafetensorsWriter.Source> shard = new ArrayList<>();
      long bytes = 0;
      for (SafetensorsWriter.Source source : sources) {
        if (!shard.isEmpty() && source.byteSize() > maxBytes - bytes) {
          out.add(shard);
          shard = new ArrayList<>();
          bytes = 0;
        }
        shard.add(source);
        bytes += source.byteSize();
      }
      out.add(shard);
      return out;
    }
  }

  /** What is written: the config as it will be, and where weights come from. */
  private record Job(
      ConfigJson config,
      WeightSource weights,
      Optional<Path> tokenizerSource,
      Shards shards,
      LongConsumer progress) {
    static Job of(Path folder, Contents contents, Shards shards) {
      ConfigJson config = ConfigJson.of(folder + ": config", merged(folder, contents));
      requireComplete(folder, config, contents.weights());
      return new Job(
          config,
          new WeightSource.Existing(contents.weights()),
          contents.tokenizerSource(),
          shards,
          bytes -> {});
    }

    /** In the order of names, as Hugging Face writes them. */
    List<List<SafetensorsWriter.Source>> cut() {
      return shards.cut(
          config.family().translation().placements(config.model()).stream()
              .map(placement -> placement.source(weights))
              .sorted(Comparator.comparing(SafetensorsWriter.Source::name))
              .toList());
    }

    List<String> files() {
      int count = cut().size();
      return IntStream.range(0, count).mapToObj(i -> WeightFiles.shard(i, count)).toList();
    }
  }

  /**
   * Writes a folder in the place of an older one, or a new one. The old folder is renamed to {@code
   * NAME.previous}, the new one is renamed to its place, and the old one is deleted. A kill at any
   * moment leaves at least one whole checkpoint, under one of the two names; {@link #recover} puts
   * it back.
   *
   * @param folder its path
   * @param contents what it is to hold; its tokenizer source may be the folder itself
   * @throws CheckpointException where the folder is something else than a checkpoint, the contents
   *     do not fit together, or writing fails; then the old one is still there
   */
  public static void replace(Path folder, Contents contents) {
    replace(folder, contents, Shards.ONE);
  }

  /**
   * Writes a folder in shards in the place of an older one, or a new one.
   *
   * @param folder its path
   * @param contents what it is to hold; its tokenizer source may be the folder itself
   * @param shards how the weights are cut into files
   * @throws CheckpointException as {@link #replace(Path, Contents)} does
   */
  public static void replace(Path folder, Contents contents, Shards shards) {
    requireReplaceable(folder, "config.json");
    putInPlace(folder, writeTemporary(folder, Job.of(folder, contents, shards)));
  }

  /** Finishes what a kill left, and checks that a folder that holds anything holds a file. */
  static void requireReplaceable(Path folder, String mark) {
    recover(folder);
    if (!Files.exists(folder.resolve(mark))) {
      requireVacant(folder);
    }
  }

  /** Renames a new folder to the place of an old one, or to a place where there is none. */
  static void putInPlace(Path folder, Path temporary) {
    boolean exists = Files.exists(folder);
    Path previous = previous(folder);
    try {
      if (exists) {
        AtomicFiles.rename(folder, previous);
      }
      AtomicFiles.rename(temporary, folder);
    } catch (RuntimeException e) {
      recover(folder);
      AtomicFiles.deleteTree(temporary);
      throw e;
    }
    AtomicFiles.deleteTree(previous);
  }

  /**
   * Repairs what a kill during {@link #replace} or {@link #write} left: the previous checkpoint is
   * put back where the new one is not in place, and deleted where it is; half-written folders of
   * processes that are gone are deleted. Does nothing where there is nothing of this.
   *
   * @param folder the checkpoint's path
   */
  public static void recover(Path folder) {
    AtomicFiles.removeAbandoned(folder.toAbsolutePath().normalize());
    Path previous = previous(folder);
    if (!Files.isDirectory(previous)) {
      return;
    }
    if (Files.exists(folder)) {
      AtomicFiles.deleteTree(previous);
    } else {
      AtomicFiles.rename(previous, folder);
    }
  }

  static Path previous(Path folder) {
    Path whole = folder.toAbsolutePath().normalize();
    return whole.resolveSibling(whole.getFileName() + ".previous");
  }

  static void requireVacant(Path folder) {
    if (!Files.exists(folder)) {
      return;
    }
    if (!Files.isDirectory(folder)) {
      throw new CheckpointException(folder + ": a file is in the way of the folder to write");
    }
    try (Stream<Path> inside = Files.list(folder)) {
      if (inside.findAny().isPresent()) {
        throw new CheckpointException(
            folder + ": the folder is not empty and is not overwritten; choose another");
      }
    } catch (IOException e) {
      throw new CheckpointException(folder + ": cannot be listed: " + e.getMessage(), e);
    }
  }

  /** Fills a folder. */
  interface Filling {
    void into(Path temporary) throws IOException;
  }

  /** Fills a folder beside the one that is to be, and removes it again where that fails. */
  static Path fillTemporary(Path folder, Filling filling) {
    Path temporary = AtomicFiles.temporarySibling(folder.toAbsolutePath().normalize());
    try {
      Files.createDirectories(temporary);
      filling.into(temporary);
      AtomicFiles.forceFolder(temporary);
      return temporary;
    } catch (IOException e) {
      AtomicFiles.deleteTree(temporary);
      throw new CheckpointException(
          "%s: writing failed (%s: %s); check the free space and permissions of its folder"
              .formatted(folder, e.getClass().getSimpleName(), e.getMessage()),
          e);
    } catch (RuntimeException e) {
      AtomicFiles.deleteTree(temporary);
      throw e;
    }
  }

  private static Path writeTemporary(Path folder, Job job) {
    return fillTemporary(folder, temporary -> fill(folder, temporary, job));
  }

  private static void fill(Path folder, Path temporary, Job job) throws IOException {
    List<List<SafetensorsWriter.Source>> shards = job.cut();
    long written = 0;
    for (int i = 0; i < shards.size(); i++) {
      String name = WeightFiles.shard(i, shards.size());
      long before = written;
      SafetensorsWriter.write(
          temporary.resolve(name),
          new SafetensorsWriter.Contents(
              folder.resolve(name),
              shards.get(i),
              Map.of("format", "pt"),
              bytes -> job.progress().accept(before + bytes)),
          Safetensors.IfExists.FAIL);
      written += shards.get(i).stream().mapToLong(SafetensorsWriter.Source::byteSize).sum();
    }
    if (shards.size() > 1) {
      writeJson(temporary.resolve(WeightFiles.INDEX), index(shards));
    }
    writeJson(temporary.resolve("config.json"), job.config().json());
    if (job.tokenizerSource().isPresent()) {
      carryOver(job.tokenizerSource().get(), temporary);
    }
  }

  private static ObjectNode index(List<List<SafetensorsWriter.Source>> shards) {
    ObjectNode out = Json.MAPPER.createObjectNode();
    ObjectNode metadata = out.putObject("metadata");
    ObjectNode map = out.putObject("weight_map");
    long total = 0;
    for (int i = 0; i < shards.size(); i++) {
      for (SafetensorsWriter.Source source : shards.get(i)) {
        map.put(source.name(), WeightFiles.shard(i, shards.size()));
        total += source.byteSize();
      }
    }
    metadata.put("total_size", total);
    return out;
  }

  private static ObjectNode merged(Path folder, Contents contents) {
    ObjectNode config = ConfigJson.of(folder + ": config", contents.config()).json();
    contents.filigree().ifPresent(settings -> config.set(ConfigJson.FILIGREE, settings));
    // The source may have been of another type; transformers loads what these keys say.
    Set<String> types = new LinkedHashSet<>();
    contents.weights().values().forEach(tensor -> types.add(torchName(tensor.dtype())));
    for (String key : List.of("torch_dtype", "dtype")) {
      if (config.hasNonNull(key) && !types.isEmpty() && !types.contains(config.get(key).asText())) {
        config.put(key, types.iterator().next());
      }
    }
    return config;
  }

  private static String torchName(DType dtype) {
    return switch (dtype) {
      case F32 -> "float32";
      case F64 -> "float64";
      case BF16 -> "bfloat16";
      case F16 -> "float16";
      case I32 -> "int32";
      case I64 -> "int64";
      case I8 -> "int8";
      case U8 -> "uint8";
    };
  }

  private static boolean isFloating(DType dtype) {
    return switch (dtype) {
      case F32, F64, BF16, F16 -> true;
      case I32, I64, I8, U8 -> false;
    };
  }

  private static void requireComplete(Path folder, ConfigJson config, Map<String, Tensor> weights) {
    List<String> missing = new ArrayList<>();
    List<String> contradictions = new ArrayList<>();
    Set<String> unknown = new LinkedHashSet<>(weights.keySet());
    for (ParameterSpec spec : config.model().parameters()) {
      Tensor tensor = weights.get(spec.name());
      unknown.remove(spec.name());
      if (tensor == null) {
        missing.add(spec.name());
      } else if (!isFloating(tensor.dtype()) || !tensor.shape().equals(spec.shape())) {
        contradictions.add(
            "%s found %s %s, expected F32, F64, BF16 or F16 %s"
                .formatted(spec.name(), tensor.dtype(), tensor.shape(), spec.shape()));
      }
    }
    if (missing.isEmpty()) {
      for (Placement placement : config.family().translation().placements(config.model())) {
        Set<DType> types = new LinkedHashSet<>();
        placement.parts().forEach(part -> types.add(weights.get(part.name()).dtype()));
        if (types.size() > 1) {
          contradictions.add(placement.tensor() + " is made of parts of the types " + types);
        }
      }
    }
    List<String> problems = new ArrayList<>();
    Match.list(problems, "missing parameters", missing);
    Match.list(problems, "unknown parameters", List.copyOf(unknown));
    Match.list(problems, "parameters that contradict the config", contradictions);
    if (!problems.isEmpty()) {
      throw new CheckpointException(
          folder + ": the weights do not fit the config: " + String.join("; ", problems));
    }
  }

  static void writeJson(Path file, ObjectNode json) throws IOException {
    try {
      Files.writeString(
          file, Json.MAPPER.writerWithDefaultPrettyPrinter().writeValueAsString(json) + "\n");
    } catch (JsonProcessingException e) {
      throw new AssertionError("a tree of nodes can always be written", e);
    }
    AtomicFiles.forceFile(file);
  }

  static void carryOver(Path source, Path target) throws IOException {
    for (String name : CARRIED) {
      Path file = source.resolve(name);
      if (Files.isRegularFile(file)) {
        // Bytes only: a copy of a file that is read-only should not be read-only.
        Files.write(target.resolve(name), Files.readAllBytes(file));
        AtomicFiles.forceFile(target.resolve(name));
      }
    }
  }
}
