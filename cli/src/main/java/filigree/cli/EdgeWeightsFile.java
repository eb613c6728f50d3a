package filigree.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import filigree.sparsity.EdgeWeights;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** What {@code --weights} may say: a scheme, or a file with numbers by layer and head. */
final class EdgeWeightsFile {
  private static final ObjectMapper MAPPER = new ObjectMapper();

  private EdgeWeightsFile() {}

  static EdgeWeights parse(String text) {
    return switch (text) {
      case "uniform" -> new EdgeWeights.Uniform();
      case "late" -> new EdgeWeights.Late();
      case "early" -> new EdgeWeights.Early();
      default -> read(Path.of(text));
    };
  }

  private static EdgeWeights read(Path file) {
    JsonNode json;
    try {
      json = MAPPER.readTree(Files.readString(file));
    } catch (NoSuchFileException e) {
      throw new UsageException(
          "--weights is '%s', which is no file; expected uniform, late, early or a JSON file"
              .formatted(file));
    } catch (JsonProcessingException e) {
      throw new UsageException(
          "--weights %s: this is not JSON: %s".formatted(file, e.getOriginalMessage()));
    } catch (IOException e) {
      throw new UsageException("--weights %s: cannot be read: %s".formatted(file, e.getMessage()));
    }
    List<List<Double>> layers = new ArrayList<>();
    for (JsonNode layer : json) {
      List<Double> heads = new ArrayList<>();
      if (layer.isNumber()) {
        heads.add(layer.doubleValue());
      } else {
        layer.forEach(head -> heads.add(head.isNumber() ? head.doubleValue() : Double.NaN));
      }
      layers.add(heads);
    }
    if (!json.isArray() || layers.isEmpty() || layers.stream().anyMatch(List::isEmpty)) {
      throw new UsageException(
          "--weights %s: expected a list with a number, or a list of numbers, for every layer"
              .formatted(file));
    }
    return new EdgeWeights.Table(layers);
  }
}
