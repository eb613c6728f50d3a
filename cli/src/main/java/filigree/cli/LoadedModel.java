package filigree.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.checkpoints.Checkpoint;
import filigree.checkpoints.PeftAdapter;
import filigree.checkpoints.Tokenizer;
import filigree.sparsity.RunFolder;
import filigree.tensor.Workspace;
import filigree.transformer.ModelConfig;
import filigree.transformer.Parameters;
import filigree.transformer.Transformer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * A checkpoint with its weights, ready to run, and the adapters of an adapter's folder. Matrices of
 * 16 bits stay in the file; whoever trains copies what it trains.
 */
final class LoadedModel implements AutoCloseable {
  private final Checkpoint checkpoint;
  private final Optional<ObjectNode> adapterGates;
  private final Workspace weights;
  private final Transformer transformer;

  private LoadedModel(
      Checkpoint checkpoint,
      Optional<ObjectNode> adapterGates,
      Workspace weights,
      Transformer transformer) {
    this.checkpoint = checkpoint;
    this.adapterGates = adapterGates;
    this.weights = weights;
    this.transformer = transformer;
  }

  /**
   * A model folder as a user names it: the folder itself, or a run folder that holds a model. It
   * may hold adapters instead of a model.
   */
  static Path folder(Path named) {
    Path inside = named.resolve(RunFolder.MODEL);
    return !isModel(named) && isModel(inside) ? inside : named;
  }

  private static boolean isModel(Path folder) {
    return Files.exists(folder.resolve("config.json")) || PeftAdapter.isIn(folder);
  }

  static LoadedModel open(Path named, CommonOptions options) {
    Path folder = folder(named);
    if (!PeftAdapter.isIn(folder)) {
      return open(Checkpoint.open(folder), Optional.empty(), options);
    }
    try (PeftAdapter adapter = PeftAdapter.open(folder)) {
      return open(Checkpoint.open(folder(adapter.base())), Optional.of(adapter), options);
    }
  }

  private static LoadedModel open(
      Checkpoint checkpoint, Optional<PeftAdapter> adapter, CommonOptions options) {
    Workspace weights = new Workspace("weights", options.memoryBytes());
    try {
      long bytes = checkpoint.frozenBytes().residentBytes();
      options.requireFits(
          "the weights need %.1f MiB of memory".formatted(CommonOptions.mebibytes(bytes)), bytes);
      Parameters parameters = Parameters.of(checkpoint.config(), checkpoint.frozenWeights(weights));
      if (adapter.isPresent()) {
        parameters = parameters.with(adapter.get().read(checkpoint, weights));
      }
      return new LoadedModel(
          checkpoint,
          adapter.flatMap(PeftAdapter::gates),
          weights,
          new Transformer(checkpoint.config(), parameters, weights));
    } catch (RuntimeException e) {
      weights.close();
      checkpoint.close();
      throw e;
    }
  }

  /** The checkpoint, or that of an adapter's base. */
  Checkpoint checkpoint() {
    return checkpoint;
  }

  /** What the adapter says of its gates, or else the checkpoint. */
  Optional<ObjectNode> gates() {
    return adapterGates.or(checkpoint::gates);
  }

  Transformer transformer() {
    return transformer;
  }

  /** The context to use: what was asked for, or the model's own. */
  int context(Integer asked) {
    int own = checkpoint.config().sizes().context();
    if (asked == null) {
      return own;
    }
    if (asked < 2 || asked > own) {
      throw new UsageException(
          "--context is %d, expected from 2 to the model's context of %d".formatted(asked, own));
    }
    return asked;
  }

  /**
   * The model for windows of some length: itself, or where that is beyond its context and positions
   * are rotary, the same weights with longer tables.
   */
  Transformer reaching(int tokens) {
    ModelConfig config = transformer.config();
    if (tokens <= config.sizes().context()) {
      return transformer;
    }
    if (config.positions() instanceof ModelConfig.Positions.Learned) {
      throw new UsageException(
          "--contexts has %d, but this model has learned only %d positions; leave out what is longer"
              .formatted(tokens, config.sizes().context()));
    }
    return new Transformer(config.withContext(tokens), transformer.parameters(), weights);
  }

  /** Token ids of texts, each within the model's vocabulary. */
  List<int[]> encode(List<String> documents) {
    Tokenizer tokenizer = checkpoint.requireTokenizer();
    List<int[]> out = new ArrayList<>(documents.size());
    for (String document : documents) {
      out.add(requireInVocabulary(tokenizer.encode(document)));
    }
    return out;
  }

  int[] requireInVocabulary(int[] ids) {
    int vocabulary = checkpoint.config().sizes().vocabulary();
    for (int i = 0; i < ids.length; i++) {
      if (ids[i] < 0 || ids[i] >= vocabulary) {
        throw new UsageException(
            "token id %d (number %d) is not in the model's vocabulary of 0 to %d"
                .formatted(ids[i], i + 1, vocabulary - 1));
      }
    }
    return ids;
  }

  @Override
  public void close() {
    weights.close();
    checkpoint.close();
  }
}
