package filigree.checkpoints;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.tensor.Workspace;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.stream.Stream;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.LongRange;
import net.jqwik.api.lifecycle.AfterContainer;
import net.jqwik.api.lifecycle.BeforeContainer;

/**
 * Whatever is done to the files of a model folder, opening it and reading its weights succeeds or
 * fails with a sentence that names the folder, in little memory and little time.
 */
class FolderPropertyTest {
  private static final String CONFIG = "config.json";
  private static final String INDEX = WeightFiles.INDEX;

  /** Values that stand where others are expected. */
  private static final List<String> VALUES =
      List.of(
          "null",
          "true",
          "-1",
          "0",
          "1",
          "2",
          "3",
          "2147483647",
          "2000000000",
          "4294967296",
          "9223372036854775807",
          "1e400",
          "1e-300",
          "0.5",
          "\"\"",
          "\"gpt2\"",
          "\"../model-00001-of-00002.safetensors\"",
          "\"/etc/passwd\"",
          "\"config.json\"",
          "\"model-00009-of-00002.safetensors\"",
          "\"a\\u0000b\"",
          "[]",
          "[[]]",
          "{}",
          "{\"rope_type\": \"yarn\"}",
          "{\"rope_type\": \"llama3\"}");

  /** Keys that say more than the plain config does. */
  private static final List<String> KEYS =
      List.of(
          "rope_scaling",
          "quantization_config",
          "sliding_window",
          "head_dim",
          "tie_word_embeddings",
          "clip_qkv",
          "filigree",
          "model_type",
          "hidden_act",
          "num_hidden_layers",
          "vocab_size",
          "weight_map",
          "rope_theta",
          "rms_norm_eps");

  private static final List<String> FAMILIES =
      List.of("gpt2", "gpt_neox", "llama", "mistral", "qwen2", "qwen3", "olmo", "olmo2");

  private static Path sound;
  private static Path changed;

  @BeforeContainer
  static void makeFolders() throws IOException {
    Path both = Files.createTempDirectory("filigree-folders");
    sound = both.resolve("sound");
    changed = both.resolve("changed");
    Files.createDirectory(sound);
    for (String family : FAMILIES) {
      ObjectNode config = Fixtures.object(Fixtures.config(family));
      try (Workspace memory = new Workspace("fixture")) {
        CheckpointWriter.write(
            sound.resolve(family),
            new CheckpointWriter.Contents(
                config, Optional.empty(), Fixtures.weights(config, memory), Optional.empty()),
            new CheckpointWriter.Shards(2000));
      }
    }
  }

  @AfterContainer
  static void removeFolders() {
    AtomicFiles.deleteTree(sound.getParent());
  }

  /** So that a failure below is due to the change, and success is possible. */
  @Example
  void unchangedFoldersOpen() {
    for (String family : FAMILIES) {
      try (Checkpoint checkpoint = Checkpoint.open(sound.resolve(family));
          Workspace memory = new Workspace("sound")) {
        assertThat(checkpoint.weights(memory)).hasSameSizeAs(checkpoint.config().parameters());
      }
    }
  }

  @Property(tries = 3000, seed = "1")
  void aChangedFolderOpensOrFailsWithASentence(
      @ForAll @LongRange(min = 0, max = Long.MAX_VALUE) long seed) throws IOException {
    Random random = new Random(seed);
    Path from = sound.resolve(FAMILIES.get(random.nextInt(FAMILIES.size())));
    copy(from, changed);
    for (int i = 0; i <= random.nextInt(3); i++) {
      change(random);
    }
    try (Checkpoint checkpoint = Checkpoint.open(changed);
        Workspace memory = new Workspace("property", 1 << 26)) {
      assertThat(checkpoint.weights(memory)).hasSameSizeAs(checkpoint.config().parameters());
      assertThat(checkpoint.frozenWeights(memory)).hasSameSizeAs(checkpoint.config().parameters());
    } catch (CheckpointException e) {
      assertThat(e).hasMessageStartingWith(changed.toString());
      assertThat(e.getMessage()).hasSizeLessThan(4000);
    }
  }

  private static void copy(Path from, Path to) throws IOException {
    if (Files.exists(to)) {
      AtomicFiles.deleteTree(to);
    }
    Files.createDirectory(to);
    for (Path file : files(from)) {
      Files.copy(file, to.resolve(file.getFileName()));
    }
  }

  private static List<Path> files(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.sorted().toList();
    }
  }

  private static void change(Random random) throws IOException {
    Path config = changed.resolve(CONFIG);
    Path index = changed.resolve(INDEX);
    List<Path> all = files(changed);
    Path any = all.get(random.nextInt(all.size()));
    switch (random.nextInt(8)) {
      case 0, 1, 2 -> changeJson(config, random);
      case 3, 4 -> changeJson(index, random);
      case 5 -> flip(any, random);
      case 6 -> cut(any, random);
      default -> {
        if (all.size() > 1) {
          Files.delete(any);
        }
      }
    }
  }

  /** Puts another value in a place of the tree, or takes a key out, or adds one. */
  private static void changeJson(Path file, Random random) throws IOException {
    if (!Files.exists(file)) {
      return;
    }
    JsonNode tree;
    try {
      tree = Json.parse(Files.readString(file));
    } catch (IOException e) {
      return; // has been broken already
    }
    List<ObjectNode> objects = new ArrayList<>();
    collect(tree, objects);
    if (objects.isEmpty()) {
      return;
    }
    ObjectNode at = objects.get(random.nextInt(objects.size()));
    List<String> keys = at.propertyStream().map(java.util.Map.Entry::getKey).toList();
    JsonNode value = Json.parse(VALUES.get(random.nextInt(VALUES.size())));
    if (keys.isEmpty() || random.nextInt(4) == 0) {
      at.set(KEYS.get(random.nextInt(KEYS.size())), value);
    } else {
      String key = keys.get(random.nextInt(keys.size()));
      if (random.nextInt(3) == 0) {
        at.remove(key);
      } else {
        at.set(key, value);
      }
    }
    Files.writeString(file, tree.toString());
  }

  private static void collect(JsonNode node, List<ObjectNode> objects) {
    switch (node) {
      case ObjectNode object -> {
        objects.add(object);
        object.forEach(child -> collect(child, objects));
      }
      case ArrayNode array -> array.forEach(child -> collect(child, objects));
      default -> {}
    }
  }

  private static void flip(Path file, Random random) throws IOException {
    byte[] bytes = Files.readAllBytes(file);
    if (bytes.length > 0) {
      bytes[random.nextInt(Math.min(bytes.length, 600))] ^= (byte) (1 << random.nextInt(8));
      Files.write(file, bytes);
    }
  }

  private static void cut(Path file, Random random) throws IOException {
    byte[] bytes = Files.readAllBytes(file);
    Files.write(file, Arrays.copyOf(bytes, random.nextInt(bytes.length + 1)));
  }

  /** The length of a sentence must not grow with what an attacker writes. */
  @Property(tries = 20, seed = "1")
  void longNamesAreNotRepeatedInFull(@ForAll @IntRange(min = 1, max = 6) int size)
      throws IOException {
    copy(sound.resolve("llama"), changed);
    String name = "x".repeat((int) Math.pow(10, (double) size));
    Path config = changed.resolve(CONFIG);
    ObjectNode json = Fixtures.object(Files.readString(config, StandardCharsets.UTF_8));
    json.put("hidden_act", name);
    Files.writeString(config, json.toString());
    try (Checkpoint checkpoint = Checkpoint.open(changed)) {
      assertThat(checkpoint.config()).as("an unknown activation is refused").isNull();
    } catch (CheckpointException e) {
      assertThat(e.getMessage()).startsWith(changed.toString()).hasSizeLessThan(4000);
    }
  }
}
