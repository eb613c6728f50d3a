package filigree.cli;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.checkpoints.CheckpointWriter;
import filigree.checkpoints.PeftAdapter;
import filigree.checkpoints.Safetensors;
import filigree.sparsity.GateSettings;
import filigree.sparsity.Metrics;
import filigree.sparsity.RunFolder;
import filigree.sparsity.Sparsifier;
import filigree.sparsity.SparsifierState;
import filigree.transformer.GateVariant;
import filigree.transformer.Parameters;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * Writes what a post-training run reports: a line per step, the best model whenever there is a
 * better one, the state to resume from, and progress.
 */
final class SparsifyRun implements Sparsifier.Listener {
  private static final String STATE_KEY = "filigree.state";

  private final RunFolder folder;
  private final JsonNode configJson;
  private final Optional<Path> source;
  private final Set<GateVariant> variants;
  private final Progress progress;
  private final CommonOptions common;
  private Sparsifier.Candidate best;

  SparsifyRun(
      RunFolder folder,
      JsonNode configJson,
      Optional<Path> source,
      Set<GateVariant> variants,
      Progress progress,
      CommonOptions common) {
    this.folder = folder;
    this.configJson = configJson;
    this.source = source;
    this.variants = variants;
    this.progress = progress;
    this.common = common;
  }

  /** The file from which a run resumes. */
  static Path stateFile(Path runFolder) {
    return runFolder.resolve(RunFolder.LAST);
  }

  @Override
  public void step(Metrics metrics) {
    folder.append(metrics.toJson("sparse"));
    progress.to(
        metrics.step(),
        "ce %.4f, open %.2f %%, beta %.3g%s"
            .formatted(
                metrics.ce(),
                100 * metrics.density(),
                metrics.beta(),
                best == null
                    ? ""
                    : "; best %.2f %% at %+.4f nats"
                        .formatted(100 * best.evaluation().density(), best.excess())));
  }

  @Override
  public void best(Sparsifier.Candidate candidate, Parameters weights, GateSettings gates) {
    best = candidate;
    ObjectNode settings = gates.toJson();
    settings.put("step", candidate.step());
    settings.put("satisfied", candidate.satisfied());
    if (!variants.isEmpty()) {
      ArrayNode names = settings.putArray("variants");
      variants.forEach(variant -> names.add(variant.label()));
    }
    if (!weights.adapters().isEmpty()) {
      PeftAdapter.replace(
          folder.model(),
          new PeftAdapter.Contents(
              configJson, source.orElseThrow(), weights.adapters(), Optional.of(settings)));
      return;
    }
    CheckpointWriter.replace(
        folder.model(),
        new CheckpointWriter.Contents(
            configJson, Optional.of(settings), weights.tensors(), source));
  }

  @Override
  public void state(SparsifierState state) {
    Safetensors.write(
        stateFile(folder.path()),
        state.tensors(),
        Map.of(STATE_KEY, state.numbers()),
        Safetensors.IfExists.REPLACE);
  }

  @Override
  public void notice(String sentence) {
    common.err().println(sentence);
  }

  /** The key of the state's numbers in the file's metadata. */
  static String stateKey() {
    return STATE_KEY;
  }

  /** Removes what only a resumed run would have needed. */
  static void forget(Path runFolder) {
    try {
      Files.deleteIfExists(stateFile(runFolder));
    } catch (java.io.IOException e) {
      throw new UsageException(stateFile(runFolder) + ": cannot be removed: " + e.getMessage());
    }
  }
}
