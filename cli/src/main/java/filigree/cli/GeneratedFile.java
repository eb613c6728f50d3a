package filigree.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.sparsity.RunFolder;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/** The file of a run that holds the text that its dense model generated, as token ids. */
final class GeneratedFile {
  private static final String NAME = "generated.json";
  private static final ObjectMapper MAPPER = new ObjectMapper();

  private GeneratedFile() {}

  static void write(RunFolder run, List<int[]> documents) {
    ObjectNode json = MAPPER.createObjectNode();
    ArrayNode all = json.putArray("ids");
    for (int[] document : documents) {
      ArrayNode ids = all.addArray();
      Arrays.stream(document).forEach(ids::add);
    }
    run.writeJson(NAME, json);
  }

  /** What an interrupted run has generated; empty where it had not come to that. */
  static Optional<List<int[]>> read(Path folder) {
    Path file = folder.resolve(NAME);
    if (!Files.exists(file)) {
      return Optional.empty();
    }
    try {
      List<int[]> out = new ArrayList<>();
      for (JsonNode document : MAPPER.readTree(Files.readString(file)).path("ids")) {
        int[] ids = new int[document.size()];
        for (int i = 0; i < ids.length; i++) {
          ids[i] = document.get(i).intValue();
        }
        out.add(ids);
      }
      return Optional.of(out);
    } catch (JsonProcessingException e) {
      throw new UsageException(file + ": this is not JSON: " + e.getOriginalMessage());
    } catch (IOException e) {
      throw new UsageException(file + ": cannot be read: " + e.getMessage());
    }
  }
}
