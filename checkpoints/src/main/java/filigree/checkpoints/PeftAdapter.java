package filigree.checkpoints;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.autograd.Param;
import filigree.tensor.Memory;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import filigree.transformer.Adapter;
import filigree.transformer.ModelConfig.ParameterSpec;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;

/**
 * A folder of LoRA adapters in the layout of Hugging Face's PEFT: {@code adapter_config.json} and
 * {@code adapter_model.safetensors}, whose tensors are A [rank, in] and B [out, rank] of a module
 * of the base model, named {@code base_model.model.MODULE.lora_A.weight} and {@code lora_B.weight}.
 *
 * <p>Where several maps of ours are one module there, such as GPT-2's query, key and value in
 * {@code c_attn}, the module's A holds the rows of each map's A, and its B holds each map's B in
 * the columns of these rows and zeros elsewhere. Its rank is then the sum of theirs, which {@code
 * rank_pattern} and {@code alpha_pattern} say.
 */
public final class PeftAdapter implements AutoCloseable {
  /** The file by which an adapter is recognised. */
  public static final String CONFIG = "adapter_config.json";

  private static final String WEIGHTS = "adapter_model.safetensors";
  private static final String PREFIX = "base_model.model.";
  private static final String A = ".lora_A.weight";
  private static final String B = ".lora_B.weight";
  private static final String WEIGHT = ".weight";

  /** Names of ways to initialise that change the base model as well. */
  private static final List<String> CHANGE_THE_BASE = List.of("pissa", "olora", "corda", "loftq");

  /** Settings that change what an adapter does, and that are not supported. */
  private static final List<String> REFUSED =
      List.of(
          "use_dora",
          "lora_bias",
          "use_qalora",
          "modules_to_save",
          "layer_replication",
          "trainable_token_indices",
          "target_parameters");

  private final Path folder;
  private final ObjectNode json;
  private final Safetensors file;

  private PeftAdapter(Path folder, ObjectNode json, Safetensors file) {
    this.folder = folder;
    this.json = json;
    this.file = file;
  }

  /**
   * Tells whether a folder holds an adapter.
   *
   * @param folder its path
   * @return whether it has an {@code adapter_config.json}
   */
  public static boolean isIn(Path folder) {
    return Files.exists(folder.resolve(CONFIG));
  }

  // ---------------------------------------------------------------- reading

  /**
   * Opens a folder.
   *
   * @param folder its path
   * @return the adapter, to be closed by the caller
   * @throws CheckpointException where a file is missing or damaged, or asks for what is not
   *     supported
   */
  public static PeftAdapter open(Path folder) {
    Path config = folder.resolve(CONFIG);
    ObjectNode json = Json.readObject(config);
    if (!json.path("peft_type").asText().equals("LORA")) {
      throw wrong(config, json, "peft_type", "expected \"LORA\"");
    }
    if (json.hasNonNull("bias") && !json.path("bias").asText().equals("none")) {
      throw wrong(config, json, "bias", "expected \"none\", since biases are not adapted");
    }
    for (String key : REFUSED) {
      JsonNode value = json.path(key);
      boolean off =
          value.isMissingNode()
              || value.isNull()
              || (value.isBoolean() && !value.booleanValue())
              || (value.isContainerNode() && value.isEmpty());
      if (!off) {
        throw wrong(config, json, key, "which is not supported; merge it with PEFT first");
      }
    }
    String initial = json.path("init_lora_weights").asText();
    if (CHANGE_THE_BASE.stream().anyMatch(initial::startsWith)) {
      throw wrong(
          config,
          json,
          "init_lora_weights",
          "which changes the base model too; convert the adapter with PEFT first");
    }
    if (!json.path("r").isInt() || json.path("r").intValue() < 1) {
      throw wrong(config, json, "r", "expected a rank of 1 or more");
    }
    if (!json.path("lora_alpha").isNumber()) {
      throw wrong(config, json, "lora_alpha", "expected a number");
    }
    return new PeftAdapter(folder, json, Safetensors.open(folder.resolve(WEIGHTS)));
  }

  private static CheckpointException wrong(
      Path config, ObjectNode json, String key, String expected) {
    return new CheckpointException(
        "%s: '%s' is %s, %s".formatted(config, key, json.path(key), expected));
  }

  /**
   * Returns the folder of the model that the adapter is for.
   *
   * @return what {@code base_model_name_or_path} says, as a path of this process or one relative to
   *     the adapter's folder
   * @throws CheckpointException where there is no such folder
   */
  public Path base() {
    String named = json.path("base_model_name_or_path").asText("");
    try {
      for (Path candidate : List.of(Path.of(named), folder.resolve(named))) {
        if (!named.isEmpty() && Files.isDirectory(candidate)) {
          return candidate;
        }
      }
    } catch (InvalidPathException e) {
      // Falls through to the one sentence: a name of a hub need not be a path.
    }
    throw new CheckpointException(
        "%s: the base model '%s' is not a folder on this machine; write the path of its folder under base_model_name_or_path"
            .formatted(folder.resolve(CONFIG), named));
  }

  /**
   * Returns what the adapter is.
   *
   * @return rank, alpha and targets under PEFT's names, and the number of trained numbers
   */
  public ObjectNode summary() {
    ObjectNode out = Json.MAPPER.createObjectNode();
    for (String key : List.of("base_model_name_or_path", "r", "lora_alpha", "target_modules")) {
      if (json.has(key)) {
        out.set(key, json.get(key).deepCopy());
      }
    }
    out.put(
        "parameters",
        file.tensors().values().stream().mapToLong(tensor -> tensor.shape().size()).sum());
    return out;
  }

  /**
   * Returns Filigree's settings, such as the gates that the adapters were trained with.
   *
   * @return the object that lies under {@code filigree} in the metadata of the weights' file
   * @throws CheckpointException where it is not a JSON object
   */
  public Optional<ObjectNode> gates() {
    String text = file.metadata().get(ConfigJson.FILIGREE);
    if (text == null) {
      return Optional.empty();
    }
    try {
      if (Json.parse(text) instanceof ObjectNode object) {
        return Optional.of(object);
      }
    } catch (JsonProcessingException e) {
      // Falls through to the one sentence.
    }
    throw new CheckpointException(
        "%s: the metadata '%s' is '%s', expected a JSON object"
            .formatted(file.file(), ConfigJson.FILIGREE, text));
  }

  /**
   * Reads the adapters.
   *
   * @param base the model that they are for
   * @param memory who owns their factors
   * @return adapters by the name of the weight of their map, of type F32; of a map that shares its
   *     module with others and whose B is zero, nothing
   * @throws CheckpointException where tensors are unknown, lack their other half, or do not fit the
   *     base
   */
  public Map<String, Adapter> read(Checkpoint base, Memory memory) {
    if (file.tensors().isEmpty()) {
      throw new CheckpointException(file.file() + ": the file holds no adapter");
    }
    Map<String, StoredTensor> left = new LinkedHashMap<>(file.tensors());
    Map<String, Adapter> out = new LinkedHashMap<>();
    for (Placement placement : maps(ConfigJson.of(base.folder() + ": config", base.configJson()))) {
      String module = PREFIX + moduleOf(placement);
      StoredTensor a = left.remove(module + A);
      StoredTensor b = left.remove(module + B);
      if (a == null && b == null) {
        continue;
      }
      if (a == null || b == null) {
        throw new CheckpointException(
            "%s: %s is there without %s"
                .formatted(
                    file.file(), module + (a == null ? B : A), module + (a == null ? A : B)));
      }
      read(placement, a, b, memory, out);
    }
    if (!left.isEmpty()) {
      List<String> problems = new ArrayList<>();
      Match.list(problems, "unknown tensors", List.copyOf(left.keySet()));
      throw new CheckpointException(
          "%s: the adapter does not fit the base model %s: %s"
              .formatted(file.file(), base.folder(), problems.getFirst()));
    }
    return out;
  }

  private void read(
      Placement placement,
      StoredTensor a,
      StoredTensor b,
      Memory memory,
      Map<String, Adapter> out) {
    int rank = rank(moduleOf(placement));
    long from = placement.parts().getFirst().shape().dim(1);
    Shape expectedA = Shape.of(rank, from);
    Placement placedB = factorB(placement, rank);
    require(a, expectedA);
    require(b, placedB.shape());
    double alpha =
        pattern("alpha_pattern", moduleOf(placement)).orElse(json.path("lora_alpha")).doubleValue();
    boolean rooted = json.path("use_rslora").asBoolean(); // arXiv 2312.03732
    double scale = alpha / (rooted ? Math.sqrt(rank) : rank);
    Placement placedA =
        new Placement(a.name(), Placement.AS_IT_IS, List.of(new ParameterSpec(A, expectedA)));
    Tensor rows = placedA.read(file, a, Placement.Precision.F32, memory).get(A);
    Map<String, Tensor> columns = placedB.read(file, b, Placement.Precision.F32, memory);
    for (ParameterSpec part : placement.parts()) {
      Tensor own = columns.get(part.name());
      int[] used = placement.parts().size() == 1 ? all(rank) : usedColumns(own);
      if (used.length > 0) {
        out.put(
            part.name(),
            adapter(
                part.name(),
                chosenRows(rows, used, memory),
                chosenColumns(own, used, memory),
                scale));
      }
    }
  }

  private static Adapter adapter(String weight, Tensor a, Tensor b, double scale) {
    String map = weight.substring(0, weight.length() - WEIGHT.length());
    return new Adapter(new Param(map + ".lora_A", a), new Param(map + ".lora_B", b), scale);
  }

  private void require(StoredTensor stored, Shape expected) {
    if (!stored.shape().equals(expected) || !Widening.isFloating(stored.type())) {
      throw new CheckpointException(
          "%s: %s found %s %s, expected F32, F16, BF16 or F64 %s"
              .formatted(file.file(), stored.name(), stored.type(), stored.shape(), expected));
    }
  }

  private int rank(String module) {
    JsonNode rank = pattern("rank_pattern", module).orElse(json.path("r"));
    if (!rank.isInt() || rank.intValue() < 1) {
      throw wrong(folder.resolve(CONFIG), json, "rank_pattern", "expected ranks of 1 or more");
    }
    return rank.intValue();
  }

  /**
   * The value of the first key that a module's name ends with. PEFT takes keys as regular
   * expressions; those that are more than a name are refused, and never run.
   */
  private Optional<JsonNode> pattern(String key, String module) {
    for (Map.Entry<String, JsonNode> entry : json.path(key).properties()) {
      String name = entry.getKey().replace("\\.", ".");
      if (!name.matches("\\^?[A-Za-z0-9_.]+") || !entry.getValue().isNumber()) {
        throw wrong(
            folder.resolve(CONFIG), json, key, "expected numbers under the names of modules");
      }
      boolean matches =
          name.startsWith("^")
              ? module.equals(name.substring(1))
              : module.equals(name) || module.endsWith("." + name);
      if (matches) {
        return Optional.of(entry.getValue());
      }
    }
    return Optional.empty();
  }

  private static int[] all(int rank) {
    int[] out = new int[rank];
    for (int i = 0; i < rank; i++) {
      out[i] = i;
    }
    return out;
  }

  /** The columns that are not all zero: the others, and their rows of A, change nothing. */
  private static int[] usedColumns(Tensor b) {
    int rank = b.shape().length(1);
    boolean[] used = new boolean[rank];
    int count = 0;
    for (long i = 0; i < b.size(); i++) {
      int column = (int) (i % rank);
      if (!used[column] && b.get(i) != 0) {
        used[column] = true;
        count++;
      }
    }
    int[] out = new int[count];
    for (int column = 0, next = 0; column < rank; column++) {
      if (used[column]) {
        out[next++] = column;
      }
    }
    return out;
  }

  private static Tensor chosenRows(Tensor a, int[] rows, Memory memory) {
    long width = a.shape().dim(1);
    return rows.length == a.shape().dim(0)
        ? a
        : Tensor.generate(
            memory,
            a.dtype(),
            Shape.of(rows.length, width),
            i -> a.get(rows[(int) (i / width)] * width + i % width));
  }

  private static Tensor chosenColumns(Tensor b, int[] columns, Memory memory) {
    long width = b.shape().dim(1);
    return columns.length == width
        ? b
        : Tensor.generate(
            memory,
            b.dtype(),
            Shape.of(b.shape().dim(0), columns.length),
            i -> b.get(i / columns.length * width + columns[(int) (i % columns.length)]));
  }

  @Override
  public void close() {
    file.close();
  }

  // ---------------------------------------------------------------- writing

  /**
   * What an adapter's folder is to hold.
   *
   * @param config config.json of the base, whose {@code model_type} names the family
   * @param base the folder of the base, under which it will be looked for
   * @param adapters by the name of the weight of their map
   * @param filigree put under the key {@code filigree} of the metadata of the weights' file
   */
  public record Contents(
      JsonNode config, Path base, Map<String, Adapter> adapters, Optional<JsonNode> filigree) {}

  /**
   * Writes a folder in the place of an older one, or a new one, as {@link CheckpointWriter#replace}
   * does.
   *
   * @param folder its path
   * @param contents what it is to hold
   * @throws CheckpointException where the folder is something else than an adapter, an adapter is
   *     on none of the base's maps, or writing fails; then the old one is still there
   */
  public static void replace(Path folder, Contents contents) {
    ConfigJson base = ConfigJson.of(folder + ": config", contents.config());
    CheckpointWriter.requireReplaceable(folder, CONFIG);
    try (Workspace memory = new Workspace("adapter")) {
      Map<String, Size> sizes = new TreeMap<>();
      List<SafetensorsWriter.Source> sources = new ArrayList<>();
      Set<String> left = new LinkedHashSet<>(contents.adapters().keySet());
      List<Placement> maps = maps(base);
      for (Placement placement : maps) {
        List<String> carried =
            placement.parts().stream().map(ParameterSpec::name).filter(left::remove).toList();
        if (!carried.isEmpty()) {
          sizes.put(moduleOf(placement), stack(placement, contents.adapters(), memory, sources));
        }
      }
      if (!left.isEmpty() || sizes.isEmpty()) {
        throw new CheckpointException(
            "%s: adapters of %s are on no linear map of the base model".formatted(folder, left));
      }
      Map<String, String> metadata = new LinkedHashMap<>();
      metadata.put("format", "pt");
      contents.filigree().ifPresent(f -> metadata.put(ConfigJson.FILIGREE, f.toString()));
      ObjectNode json = config(contents.base(), base, sizes);
      Path filled =
          CheckpointWriter.fillTemporary(
              folder,
              temporary -> {
                SafetensorsWriter.write(
                    temporary.resolve(WEIGHTS),
                    new SafetensorsWriter.Contents(
                        folder.resolve(WEIGHTS), sources, metadata, bytes -> {}),
                    Safetensors.IfExists.FAIL);
                CheckpointWriter.writeJson(temporary.resolve(CONFIG), json);
              });
      CheckpointWriter.putInPlace(folder, filled);
    }
  }

  /**
   * How large a module's adapter is.
   *
   * @param rank columns of B
   * @param alpha rank times the scale
   */
  private record Size(int rank, double alpha) {}

  /** Adds a module's two tensors. */
  private static Size stack(
      Placement placement,
      Map<String, Adapter> adapters,
      Memory memory,
      List<SafetensorsWriter.Source> out) {
    List<Adapter> carried =
        placement.parts().stream()
            .filter(part -> adapters.containsKey(part.name()))
            .map(part -> adapters.get(part.name()))
            .toList();
    double scale = carried.getFirst().scale();
    int rank = carried.stream().mapToInt(Adapter::rank).sum();
    long from = placement.parts().getFirst().shape().dim(1);
    List<double[]> rows = new ArrayList<>();
    Map<String, Tensor> columns = new LinkedHashMap<>();
    int first = 0;
    for (ParameterSpec part : placement.parts()) {
      Adapter own = adapters.get(part.name());
      int begin = first;
      int width = own == null ? 0 : own.rank();
      // Ours all have one scale; another's is carried by its B.
      double factor = own == null ? 1 : own.scale() / scale;
      columns.put(
          part.name(),
          Tensor.generate(
              memory,
              carried.getFirst().b().value().dtype(),
              Shape.of(part.shape().dim(0), rank),
              i -> {
                int column = (int) (i % rank) - begin;
                return column >= 0 && column < width
                    ? factor * own.b().value().get(i / rank * width + column)
                    : 0;
              }));
      if (own != null) {
        for (int row = 0; row < width; row++) {
          rows.add(own.a().value().rows(row, row + 1).toDoubles());
        }
      }
      first += width;
    }
    String module = PREFIX + moduleOf(placement);
    out.add(
        SafetensorsWriter.Source.of(
            module + A,
            Tensor.generate(
                memory,
                carried.getFirst().a().value().dtype(),
                Shape.of(rank, from),
                i -> rows.get((int) (i / from))[(int) (i % from)])));
    Placement b = factorB(placement, rank);
    out.add(
        new Placement(module + B, b.layout(), b.parts())
            .source(new WeightSource.Existing(columns)));
    double alpha = scale * rank;
    // So that 1 / 3 x 3 is written as 1, and read as 1 / 3 again.
    return new Size(rank, Math.abs(alpha - Math.rint(alpha)) < 1e-9 ? Math.rint(alpha) : alpha);
  }

  private static ObjectNode config(Path base, ConfigJson baseConfig, Map<String, Size> sizes) {
    Size usual = sizes.values().stream().min(Comparator.comparingInt(Size::rank)).orElseThrow();
    Map<String, Size> targets = targets(baseConfig, sizes);
    ObjectNode out = Json.MAPPER.createObjectNode();
    out.put("peft_type", "LORA");
    out.put("task_type", "CAUSAL_LM");
    out.put("base_model_name_or_path", base.toAbsolutePath().normalize().toString());
    out.put("r", usual.rank());
    putNumber(out, "lora_alpha", usual.alpha());
    out.put("lora_dropout", 0.0);
    out.put("bias", "none");
    // The weights of GPT-2's convolutions are [in, out].
    out.put(
        "fan_in_fan_out",
        maps(baseConfig).stream().anyMatch(p -> p.layout() instanceof Placement.Transposed));
    out.put("inference_mode", true);
    out.put("init_lora_weights", true);
    out.put("use_dora", false);
    out.put("use_rslora", false);
    out.putNull("modules_to_save");
    ArrayNode names = out.putArray("target_modules");
    ObjectNode ranks = out.putObject("rank_pattern");
    ObjectNode alphas = out.putObject("alpha_pattern");
    targets.forEach(
        (name, size) -> {
          names.add(name);
          if (size.rank() != usual.rank()) {
            ranks.put(name, size.rank());
          }
          if (size.alpha() != usual.alpha()) {
            putNumber(alphas, name, size.alpha());
          }
        });
    return out;
  }

  private static void putNumber(ObjectNode out, String key, double number) {
    if (number == Math.rint(number) && Math.abs(number) < 1L << 53) {
      out.put(key, (long) number);
    } else {
      out.put(key, number);
    }
  }

  /**
   * The shortest names that say which modules are adapted: PEFT adapts every module whose name ends
   * with one, so that no module may end with it that is not adapted, or has another size.
   */
  private static Map<String, Size> targets(ConfigJson base, Map<String, Size> sizes) {
    List<String> modules = maps(base).stream().map(PeftAdapter::moduleOf).toList();
    Map<String, Size> out = new TreeMap<>();
    sizes.forEach(
        (module, size) -> {
          int from = module.lastIndexOf('.') + 1;
          while (from > 0 && !fits(module.substring(from), size, modules, sizes)) {
            from = module.lastIndexOf('.', from - 2) + 1;
          }
          out.put(module.substring(from), size);
        });
    return out;
  }

  private static boolean fits(
      String ending, Size size, List<String> modules, Map<String, Size> sizes) {
    return modules.stream()
        .filter(module -> module.equals(ending) || module.endsWith("." + ending))
        .allMatch(module -> size.equals(sizes.get(module)));
  }

  // ---------------------------------------------------------------- both

  /** The linear maps of blocks, which alone carry adapters. */
  private static List<Placement> maps(ConfigJson base) {
    return base.family().translation().placements(base.model()).stream()
        .filter(
            placement ->
                placement.tensor().endsWith(WEIGHT)
                    && placement.parts().stream()
                        .allMatch(
                            part -> part.name().startsWith("blocks.") && part.shape().rank() == 2))
        .toList();
  }

  private static String moduleOf(Placement placement) {
    String tensor = placement.tensor();
    return tensor.substring(0, tensor.length() - WEIGHT.length());
  }

  /** B lies as the weight does, except that PEFT's is [out, rank] for any weight. */
  private static Placement factorB(Placement weight, int rank) {
    Placement.Layout layout =
        switch (weight.layout()) {
          case Placement.AsItIs _, Placement.Transposed _ -> Placement.AS_IT_IS;
          case Placement.HeadByHead byHead -> byHead;
        };
    return new Placement(
        weight.tensor(),
        layout,
        weight.parts().stream()
            .map(part -> new ParameterSpec(part.name(), Shape.of(part.shape().dim(0), rank)))
            .toList());
  }
}
