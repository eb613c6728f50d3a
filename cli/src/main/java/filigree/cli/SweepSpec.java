package filigree.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;
import picocli.CommandLine;

/**
 * A grid of post-training runs, as a JSON file describes it.
 *
 * @param model the dense model
 * @param data training text
 * @param base options of every run, by name without the dashes
 * @param grid values of options, every combination of which is run
 * @param seeds every combination is run with each
 */
record SweepSpec(
    String model,
    String data,
    SequencedMap<String, String> base,
    SequencedMap<String, List<String>> grid,
    List<Long> seeds) {
  private static final Set<String> KEYS = Set.of("model", "data", "base", "grid", "seeds");

  /** Options that the sweep itself gives. */
  private static final Set<String> OWN =
      Set.of(
          "data", "out", "seed", "resume", "json", "debug", "help", "version", "threads", "memory",
          "backend");

  /** The value that an option without a value has, and the one that leaves it out. */
  private static final String SWITCHED_ON = "true";

  private static final String SWITCHED_OFF = "false";

  /** Reads a file, and checks every option against those of sparsify. */
  static SweepSpec read(Path file) {
    ObjectNode json = object(file);
    json.fieldNames()
        .forEachRemaining(
            key -> {
              if (!KEYS.contains(key)) {
                throw new UsageException(
                    "%s has the key '%s', expected model, data, base, grid and seeds"
                        .formatted(file, key));
              }
            });
    SequencedMap<String, String> base = new LinkedHashMap<>();
    for (Map.Entry<String, JsonNode> entry : entries(file, json, "base")) {
      base.put(option(file, entry.getKey()), value(file, entry.getKey(), entry.getValue()));
    }
    SequencedMap<String, List<String>> grid = new LinkedHashMap<>();
    for (Map.Entry<String, JsonNode> entry : entries(file, json, "grid")) {
      String name = option(file, entry.getKey());
      List<String> values = new ArrayList<>();
      entry.getValue().forEach(value -> values.add(value(file, name, value)));
      if (!entry.getValue().isArray() || values.isEmpty()) {
        throw new UsageException(
            "%s: grid.%s is %s, expected a list of values".formatted(file, name, entry.getValue()));
      }
      if (base.containsKey(name)) {
        throw new UsageException("%s: %s is both in base and in grid".formatted(file, name));
      }
      grid.put(name, values);
    }
    List<Long> seeds = new ArrayList<>();
    for (JsonNode seed : json.path("seeds")) {
      if (!seed.isIntegralNumber()) {
        throw new UsageException("%s: a seed is %s, expected whole numbers".formatted(file, seed));
      }
      seeds.add(seed.longValue());
    }
    if (seeds.isEmpty() || Set.copyOf(seeds).size() < seeds.size()) {
      throw new UsageException(
          "%s: seeds is %s, expected a list of different whole numbers such as [1, 2, 3]"
              .formatted(file, json.path("seeds")));
    }
    return new SweepSpec(text(file, json, "model"), text(file, json, "data"), base, grid, seeds);
  }

  private static ObjectNode object(Path file) {
    try {
      if (new ObjectMapper().readTree(Files.readString(file)) instanceof ObjectNode object) {
        return object;
      }
      throw new UsageException(
          file + ": expected a JSON object with model, data, base, grid, seeds");
    } catch (NoSuchFileException e) {
      throw new UsageException(file + ": there is no such file");
    } catch (JsonProcessingException e) {
      throw new UsageException(file + ": this is not JSON: " + e.getOriginalMessage());
    } catch (IOException e) {
      throw new UsageException(file + ": cannot be read: " + e.getMessage());
    }
  }

  private static Set<Map.Entry<String, JsonNode>> entries(Path file, ObjectNode json, String key) {
    JsonNode node = json.path(key);
    if (!node.isMissingNode() && !node.isObject()) {
      throw new UsageException("%s: %s is %s, expected an object".formatted(file, key, node));
    }
    return node.properties();
  }

  private static String text(Path file, ObjectNode json, String key) {
    if (!json.path(key).isTextual()) {
      throw new UsageException("%s: the key %s is missing, expected a path".formatted(file, key));
    }
    return json.path(key).textValue();
  }

  /** The name of an option without its dashes. */
  private static String option(Path file, String key) {
    String name = key.startsWith("--") ? key.substring(2) : key;
    if (OWN.contains(name)) {
      throw new UsageException(
          "%s: --%s is given by the sweep itself; leave it out".formatted(file, name));
    }
    if (!options().containsKey("--" + name)) {
      throw new UsageException(
          "%s: '%s' is no option of sparsify; see 'filigree sparsify --help'".formatted(file, key));
    }
    return name;
  }

  private static Map<String, CommandLine.Model.OptionSpec> options() {
    return new CommandLine(new SparsifyCommand()).getCommandSpec().optionsMap();
  }

  private static String value(Path file, String key, JsonNode value) {
    if (!value.isValueNode() || value.isNull()) {
      throw new UsageException(
          "%s: %s has the value %s, expected text, a number, true or false"
              .formatted(file, key, value));
    }
    return value.asText();
  }

  /**
   * A run of the grid.
   *
   * @param setting what it differs in from runs of the same seed
   * @param seed its seed
   */
  record Point(SequencedMap<String, String> setting, long seed) {
    /** The folder of the run: the setting, in characters that any file system takes. */
    String folder() {
      StringBuilder out = new StringBuilder();
      setting.forEach((name, value) -> out.append(name).append('-').append(value).append('_'));
      return out.append("seed-").append(seed).toString().replaceAll("[^A-Za-z0-9._-]", "-");
    }
  }

  /** All runs: settings in the order of the file, and for each setting all seeds. */
  List<Point> points() {
    List<SequencedMap<String, String>> settings = List.of(new LinkedHashMap<>());
    for (Map.Entry<String, List<String>> axis : grid.entrySet()) {
      List<SequencedMap<String, String>> longer = new ArrayList<>();
      for (SequencedMap<String, String> setting : settings) {
        for (String value : axis.getValue()) {
          SequencedMap<String, String> more = new LinkedHashMap<>(setting);
          more.put(axis.getKey(), value);
          longer.add(more);
        }
      }
      settings = longer;
    }
    return settings.stream()
        .flatMap(setting -> seeds.stream().map(seed -> new Point(setting, seed)))
        .toList();
  }

  /** The command line of a run. */
  List<String> arguments(Point point, Path out) {
    List<String> line =
        new ArrayList<>(List.of("sparsify", model, "--data", data, "--out", out.toString()));
    base.forEach((name, value) -> add(line, name, value));
    point.setting().forEach((name, value) -> add(line, name, value));
    line.addAll(List.of("--seed", Long.toString(point.seed()), "--resume", "--json"));
    return line;
  }

  private static void add(List<String> line, String name, String value) {
    boolean isSwitch =
        Optional.ofNullable(options().get("--" + name)).orElseThrow().arity().max() == 0;
    if (!isSwitch) {
      line.add("--" + name);
      line.add(value);
    } else if (value.equals(SWITCHED_ON)) {
      line.add("--" + name);
    } else if (!value.equals(SWITCHED_OFF)) {
      throw new UsageException("--%s is %s, expected true or false".formatted(name, value));
    }
  }

  /** What must stay the same for runs to belong into one folder. */
  ObjectNode identity() {
    ObjectNode json = new ObjectMapper().createObjectNode();
    json.put("model", model);
    json.put("data", data);
    ObjectNode options = json.putObject("base");
    base.forEach(options::put);
    return json;
  }
}
