package filigree.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.sparsity.RunFolder;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/** What {@code --resume} finds in a run folder. */
sealed interface EarlierRun {
  /** Nothing that would be worth keeping: the run is to begin. */
  record Nothing() implements EarlierRun {}

  /** A run that was killed before it had saved a state: it is to begin again. */
  record Begun() implements EarlierRun {}

  /** A run that has saved a state to go on from. */
  record Interrupted() implements EarlierRun {}

  /**
   * A run that has ended.
   *
   * @param result what it printed
   */
  record Ended(ObjectNode result) implements EarlierRun {}

  /** Options that do not change a run. */
  List<String> FREE = List.of("--resume", "--json", "--debug", "--memory", "--out");

  /**
   * Looks into a folder.
   *
   * @param folder of the run; need not exist
   * @param now how the run would be described if it began now
   * @throws UsageException where it was begun with other options
   */
  static EarlierRun in(Path folder, ObjectNode now) {
    Optional<JsonNode> description = description(folder);
    if (description.isEmpty()) {
      // A run writes its log before its description.
      return RunFolder.isBegun(folder) ? new Begun() : new Nothing();
    }
    requireSame(folder, description.get(), now);
    if (description.get().path("result") instanceof ObjectNode result) {
      return new Ended(result);
    }
    return Files.exists(SparsifyRun.stateFile(folder)) ? new Interrupted() : new Begun();
  }

  private static Optional<JsonNode> description(Path folder) {
    Path file = folder.resolve(RunFolder.RUN);
    if (!Files.exists(file)) {
      return Optional.empty();
    }
    try {
      return Optional.of(new ObjectMapper().readTree(Files.readString(file)));
    } catch (JsonProcessingException e) {
      throw new UsageException(file + ": this is not JSON: " + e.getOriginalMessage());
    } catch (IOException e) {
      throw new UsageException(file + ": cannot be read: " + e.getMessage());
    }
  }

  private static void requireSame(Path folder, JsonNode before, ObjectNode now) {
    JsonNode then = before.path("arguments");
    for (JsonNode arguments : List.of(then, now.path("arguments"))) {
      arguments
          .fieldNames()
          .forEachRemaining(
              name -> {
                JsonNode was = then.path(name);
                JsonNode is = now.path("arguments").path(name);
                if (!FREE.contains(name) && !was.equals(is)) {
                  throw new UsageException(
                      "--resume: %s was begun with %s, and this is with %s; give the options of the run"
                          .formatted(folder, said(name, was), said(name, is)));
                }
              });
    }
    if (before.path("threads").asInt() != now.path("threads").asInt()) {
      throw new UsageException(
          "--resume: %s was begun with %s threads, and this is with %s, which rounds differently; give --threads %s"
              .formatted(
                  folder, before.path("threads"), now.path("threads"), before.path("threads")));
    }
  }

  private static String said(String name, JsonNode value) {
    return value.isMissingNode() ? "no " + name : name + " " + value.asText();
  }
}
