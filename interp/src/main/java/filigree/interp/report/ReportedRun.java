package filigree.interp.report;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.stream.Stream;

/**
 * A run as it lies on disk.
 *
 * @param name what the run calls itself, or else the name of its folder
 * @param verb the command that made it: {@code sparsify}, {@code demo}, {@code train}, ...
 * @param settings the whole of {@code run.json}
 * @param log the whole of {@code metrics.jsonl}
 * @param attention the whole of {@code attention.json}, where there is one
 */
record ReportedRun(
    String name,
    String verb,
    ObjectNode settings,
    MetricLog log,
    Optional<ReportedAttention> attention) {

  /** Keys of run.json that must be objects where they occur. */
  private static final List<String> OBJECTS = List.of("arguments", "data", "model", "result");

  /**
   * Reads a run folder.
   *
   * @param folder the folder with {@code run.json}
   * @return the run
   * @throws ReportException if a file is missing or malformed
   */
  static ReportedRun read(Path folder) {
    if (!Files.isDirectory(folder)) {
      throw ReportException.badInput(
          folder.toString(),
          Files.exists(folder) ? "a file" : "nothing",
          "a run folder",
          "give the --out folder of a run");
    }
    ObjectNode settings = settings(folder.resolve("run.json"));
    Path last = folder.toAbsolutePath().normalize().getFileName();
    String ownName = settings.path("name").asText("");
    return new ReportedRun(
        !ownName.isBlank() ? ownName : last == null ? folder.toString() : last.toString(),
        settings.get("verb").textValue(),
        settings,
        MetricLog.read(folder),
        ReportedAttention.read(folder));
  }

  /** The first of these keys of {@code result} that is a number. */
  OptionalDouble result(String... keys) {
    JsonNode result = settings.path("result");
    return Stream.of(keys)
        .map(result::path)
        .filter(JsonNode::isNumber)
        .mapToDouble(JsonNode::doubleValue)
        .findFirst();
  }

  /** The loss that the run may not exceed, in nats per token. */
  OptionalDouble tau() {
    JsonNode tau = settings.path("tau");
    return tau.isNumber() ? OptionalDouble.of(tau.doubleValue()) : result("tau");
  }

  private static ObjectNode settings(Path file) {
    byte[] bytes =
        Json.bytes(file)
            .orElseThrow(
                () ->
                    ReportException.badInput(
                        file.toString(),
                        "no such file",
                        "the record of a run",
                        "give the --out folder of a run"));
    JsonNode node;
    try {
      node = Json.MAPPER.readTree(bytes);
    } catch (JsonProcessingException e) {
      throw bad(file.toString(), Json.describe(e), "one JSON object");
    } catch (IOException e) {
      throw new IllegalStateException("reading from memory cannot fail", e);
    }
    if (!(node instanceof ObjectNode settings)) {
      throw bad(file.toString(), ReportException.excerpt(node.toString()), "one JSON object");
    }
    if (!settings.path("verb").isTextual()) {
      throw bad(
          file + ", key \"verb\"",
          settings.has("verb")
              ? ReportException.excerpt(settings.get("verb").toString())
              : "nothing",
          "the command of the run, such as \"sparsify\"");
    }
    for (String key : OBJECTS) {
      JsonNode value = settings.path(key);
      if (!value.isMissingNode() && !value.isNull() && !value.isObject()) {
        throw bad(
            file + ", key \"" + key + "\"", ReportException.excerpt(value.toString()), "an object");
      }
    }
    return settings;
  }

  private static ReportException bad(String where, String found, String expected) {
    return ReportException.badInput(where, found, expected, "mend it or repeat the run");
  }
}
