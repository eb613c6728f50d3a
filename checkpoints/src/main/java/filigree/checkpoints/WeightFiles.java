package filigree.checkpoints;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The weights of a model folder: one file, or the shards that an index names. */
final class WeightFiles implements AutoCloseable {
  static final String SINGLE = "model.safetensors";
  static final String INDEX = "model.safetensors.index.json";

  /** The name of a file with weights, as Hugging Face numbers them: from 1. */
  static String shard(int index, int count) {
    return count == 1 ? SINGLE : "model-%05d-of-%05d.safetensors".formatted(index + 1, count);
  }

  private final Path source;
  private final List<Safetensors> files;
  private final Map<String, Located> tensors;

  /**
   * A tensor and its file.
   *
   * @param file the open file
   * @param stored the tensor in it
   */
  record Located(Safetensors file, StoredTensor stored) {}

  private WeightFiles(Path source, List<Safetensors> files, Map<String, Located> tensors) {
    this.source = source;
    this.files = files;
    this.tensors = tensors;
  }

  /** Opens the single file where there is one, as transformers does, and else the shards. */
  static WeightFiles open(Path folder) {
    Path single = folder.resolve(SINGLE);
    Path index = folder.resolve(INDEX);
    if (Files.exists(single)) {
      return openAll(single, List.of(single));
    }
    if (Files.exists(index)) {
      return openShards(folder, index);
    }
    String advice =
        Files.exists(folder.resolve("pytorch_model.bin"))
            ? "; pytorch_model.bin is not read, convert it to safetensors"
            : "; is this a Hugging Face model folder?";
    throw new CheckpointException(
        "%s: found neither %s nor %s%s".formatted(folder, SINGLE, INDEX, advice));
  }

  private static WeightFiles openShards(Path folder, Path index) {
    JsonNode map = Json.readObject(index).get("weight_map");
    if (!(map instanceof ObjectNode weightMap)) {
      throw new CheckpointException(index + ": the object weight_map is missing");
    }
    Map<String, Path> shards = new LinkedHashMap<>();
    for (Map.Entry<String, JsonNode> entry : weightMap.properties()) {
      String name = entry.getValue().asText();
      // A name, not a path: an index must not reach files outside its folder.
      if (!entry.getValue().isTextual() || !name.matches("[A-Za-z0-9_][A-Za-z0-9_.-]*")) {
        throw new CheckpointException(
            "%s: tensor %s lies in %s, expected the name of a file in the same folder"
                .formatted(index, entry.getKey(), entry.getValue()));
      }
      shards.putIfAbsent(name, folder.resolve(name));
    }
    WeightFiles weights = openAll(index, shards.values());
    try {
      for (Map.Entry<String, JsonNode> entry : weightMap.properties()) {
        Located located = weights.tensors.get(entry.getKey());
        String expected = entry.getValue().asText();
        if (located == null || !located.file().file().endsWith(expected)) {
          throw new CheckpointException(
              "%s: tensor %s should be in %s and is not"
                  .formatted(index, entry.getKey(), expected));
        }
      }
      return weights;
    } catch (RuntimeException e) {
      weights.close();
      throw e;
    }
  }

  private static WeightFiles openAll(Path source, Collection<Path> paths) {
    List<Safetensors> files = new ArrayList<>();
    Map<String, Located> tensors = new LinkedHashMap<>();
    WeightFiles weights = new WeightFiles(source, files, tensors);
    try {
      for (Path path : paths) {
        Safetensors file = Safetensors.open(path);
        files.add(file);
        for (StoredTensor stored : file.tensors().values()) {
          Located before = tensors.put(stored.name(), new Located(file, stored));
          if (before != null) {
            throw new CheckpointException(
                "%s: tensor %s is also in %s"
                    .formatted(path, stored.name(), before.file().file().getFileName()));
          }
        }
      }
      return weights;
    } catch (RuntimeException e) {
      weights.close();
      throw e;
    }
  }

  /** The file, or the index, for errors. */
  Path source() {
    return source;
  }

  Map<String, Located> tensors() {
    return tensors;
  }

  @Override
  public void close() {
    files.forEach(Safetensors::close);
  }
}
