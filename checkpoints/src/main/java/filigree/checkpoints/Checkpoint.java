package filigree.checkpoints;

import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.tensor.DType;
import filigree.tensor.Memory;
import filigree.tensor.Tensor;
import filigree.transformer.MemoryEstimate;
import filigree.transformer.ModelConfig;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A Hugging Face model folder: {@code config.json}, weights in {@code model.safetensors} or in the
 * shards of {@code model.safetensors.index.json}, and usually {@code tokenizer.json}. Opening it
 * checks the config and the names, types and shapes of all weights; their values are read by {@link
 * #weights}.
 */
public final class Checkpoint implements AutoCloseable {
  private final Path folder;
  private final ConfigJson configJson;
  private final ModelConfig config;
  private final WeightFiles files;
  private final Match match;
  private Optional<Tokenizer> tokenizer = Optional.empty();

  private Checkpoint(
      Path folder, ConfigJson configJson, ModelConfig config, WeightFiles files, Match match) {
    this.folder = folder;
    this.configJson = configJson;
    this.config = config;
    this.files = files;
    this.match = match;
  }

  /**
   * Opens a folder.
   *
   * @param folder its path
   * @return the checkpoint, to be closed by the caller
   * @throws CheckpointException where a file is missing, damaged, contradicts another, or asks for
   *     what is not supported
   */
  public static Checkpoint open(Path folder) {
    if (!Files.isDirectory(folder)) {
      throw new CheckpointException(folder + missing(folder));
    }
    Path file = folder.resolve("config.json");
    if (!Files.exists(file)) {
      throw new CheckpointException(
          folder + ": the folder has no config.json; is this a Hugging Face model folder?");
    }
    ConfigJson configJson = ConfigJson.read(file);
    ModelConfig config = configJson.model();
    WeightFiles files = WeightFiles.open(folder);
    try {
      Match match = Match.of(configJson.family().translation(), config, files);
      return new Checkpoint(folder, configJson, config, files, match);
    } catch (RuntimeException e) {
      files.close();
      throw e;
    }
  }

  private static String missing(Path folder) {
    if (Files.exists(folder)) {
      return ": this is not a folder; name the folder that holds config.json";
    }
    Path previous = CheckpointWriter.previous(folder);
    return Files.isDirectory(previous)
        ? ": there is no such folder, but " + previous + " is the checkpoint before it; rename it"
        : ": there is no such folder";
  }

  /**
   * Returns the folder.
   *
   * @return its path as it was given
   */
  public Path folder() {
    return folder;
  }

  /**
   * Returns the family that {@code model_type} names.
   *
   * @return the family
   */
  public Family family() {
    return configJson.family();
  }

  /**
   * Returns what config.json describes.
   *
   * @return the decoder
   */
  public ModelConfig config() {
    return config;
  }

  /**
   * Returns config.json as it is.
   *
   * @return a copy of its object
   */
  public ObjectNode configJson() {
    return configJson.json();
  }

  /**
   * Returns Filigree's settings in config.json, such as the gates of a sparse model.
   *
   * @return the object under the key {@code filigree}, or empty for an ordinary checkpoint
   */
  public Optional<ObjectNode> gates() {
    return configJson.gates();
  }

  /**
   * Returns what the files hold, buffers included.
   *
   * @return names, types, shapes and places of all tensors as they are stored
   */
  public List<StoredTensor> tensors() {
    return files.tensors().values().stream().map(WeightFiles.Located::stored).toList();
  }

  /** Where the parameters lie. */
  Match match() {
    return match;
  }

  /**
   * Reads all weights. F16 and BF16 are widened without loss, F64 is rounded. A head that is stored
   * although the config ties it to the embedding must equal it bit for bit.
   *
   * @param memory who owns the copies; what was read before an error stays in it
   * @return a tensor of type {@link DType#F32} for each of {@link ModelConfig#parameters}, by name
   * @throws CheckpointException where a file was cut short or a stored tied head differs
   */
  public Map<String, Tensor> weights(Memory memory) {
    return match.read(Placement.Precision.F32, memory);
  }

  /**
   * Reads all weights as they are stored, so that {@link CheckpointWriter} gives the same bits
   * back.
   *
   * @param memory who owns the copies; what was read before an error stays in it
   * @return a tensor for each of {@link ModelConfig#parameters}, by name, of the type that its
   *     tensor has in the file: F32, F16, BF16 or F64
   * @throws CheckpointException where a file was cut short or a stored tied head differs
   */
  public Map<String, Tensor> storedWeights(Memory memory) {
    return match.read(Placement.Precision.AS_STORED, memory);
  }

  /**
   * Reads weights that are used and never changed, as little of them as possible: matrices of BF16
   * and F16 stay in the mapped files and are paged in when a kernel reads them, so that they may be
   * larger than the memory. Those that no kernel takes as they lie (transposed, or fused head by
   * head) are copied in their type. Vectors, and all other types, are as {@link #weights} gives
   * them.
   *
   * @param memory who owns the copies; what was read before an error stays in it
   * @return a tensor of type F32, BF16 or F16 for each of {@link ModelConfig#parameters}, by name;
   *     those in the files live until this checkpoint is closed
   * @throws CheckpointException where a file was cut short or a stored tied head differs
   */
  public Map<String, Tensor> frozenWeights(Memory memory) {
    return match.read(Placement.Precision.FROZEN, memory);
  }

  /**
   * Counts what {@link #frozenWeights} takes.
   *
   * @return bytes copied into memory and bytes left in the files
   */
  public MemoryEstimate.Weights frozenBytes() {
    return match.frozenBytes();
  }

  /**
   * Lists the keys of config.json that were neither read nor are known to change nothing.
   *
   * @return keys, usually those of other tools
   */
  public List<String> keysPassedOver() {
    return configJson.passedOver();
  }

  /**
   * Returns the tokenizer, loaded at the first call and closed with this checkpoint.
   *
   * @return the tokenizer, or empty where the folder has no {@code tokenizer.json}, and no {@code
   *     vocab.json} with {@code merges.txt} of GPT-2 either
   * @throws CheckpointException where the file is not a tokenizer
   */
  public synchronized Optional<Tokenizer> tokenizer() {
    Path file = folder.resolve(Tokenizer.FILE);
    if (tokenizer.isEmpty() && Files.exists(file)) {
      tokenizer = Optional.of(Tokenizer.open(file));
    }
    // Other families' files of these names need rules of their own for where words end.
    if (tokenizer.isEmpty() && family() == Family.GPT2 && Gpt2Tokenizer.isIn(folder)) {
      tokenizer = Optional.of(Tokenizer.openGpt2(folder));
    }
    return tokenizer;
  }

  /**
   * Returns the tokenizer for a use that cannot do without.
   *
   * @return the tokenizer
   * @throws CheckpointException where the folder has none or the file is not a tokenizer
   */
  public Tokenizer requireTokenizer() {
    return tokenizer()
        .orElseThrow(
            () ->
                new CheckpointException(
                    folder
                        + ": the folder has no tokenizer.json, so text cannot be read or written;"
                        + " copy it from the original model, or give token ids"));
  }

  @Override
  public synchronized void close() {
    tokenizer.ifPresent(Tokenizer::close);
    tokenizer = Optional.empty();
    files.close();
  }
}
