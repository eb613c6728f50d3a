package filigree.checkpoints;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.tensor.DType;
import filigree.tensor.Tensor;
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
    requireVacant(folder);
    Path temporary = writeTemporary(folder, contents);
    try {
      AtomicFiles.rename(temporary, folder);
    } catch (RuntimeException e) {
      AtomicFiles.deleteTree(temporary);
      throw e;
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
    recover(folder);
    boolean exists = Files.exists(folder);
    if (exists && !Files.exists(folder.resolve("config.json"))) {
      requireVacant(folder);
    }
    Path temporary = writeTemporary(folder, contents);
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

  private static void requireVacant(Path folder) {
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

  private static Path writeTemporary(Path folder, Contents contents) {
    ConfigJson config = ConfigJson.of(folder + ": config", merged(folder, contents));
    List<Placement> placements = config.family().translation().placements(config.model());
    requireComplete(folder, config.model(), placements, contents.weights());
    // In the order of names, as Hugging Face writes them.
    List<SafetensorsWriter.Source> sources =
        placements.stream()
            .map(placement -> placement.source(contents.weights()))
            .sorted(Comparator.comparing(SafetensorsWriter.Source::name))
            .toList();
    Path temporary = AtomicFiles.temporarySibling(folder.toAbsolutePath().normalize());
    try {
      Files.createDirectories(temporary);
      SafetensorsWriter.write(
          temporary.resolve(WeightFiles.SINGLE),
          new SafetensorsWriter.Contents(
              folder.resolve(WeightFiles.SINGLE), sources, Map.of("format", "pt")),
          Safetensors.IfExists.FAIL);
      writeConfig(temporary.resolve("config.json"), config.json());
      if (contents.tokenizerSource().isPresent()) {
        carryOver(contents.tokenizerSource().get(), temporary);
      }
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

  private static void requireComplete(
      Path folder, ModelConfig config, List<Placement> placements, Map<String, Tensor> weights) {
    List<String> missing = new ArrayList<>();
    List<String> contradictions = new ArrayList<>();
    Set<String> unknown = new LinkedHashSet<>(weights.keySet());
    for (ParameterSpec spec : config.parameters()) {
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
      for (Placement placement : placements) {
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

  private static void writeConfig(Path file, ObjectNode config) throws IOException {
    try {
      Files.writeString(
          file, Json.MAPPER.writerWithDefaultPrettyPrinter().writeValueAsString(config) + "\n");
    } catch (JsonProcessingException e) {
      throw new AssertionError("a tree of nodes can always be written", e);
    }
    AtomicFiles.forceFile(file);
  }

  private static void carryOver(Path source, Path target) throws IOException {
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
