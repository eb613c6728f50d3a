package filigree.test.golden;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import filigree.tensor.DType;
import filigree.tensor.Memory;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/** The files that the numpy oracle wrote; see test/oracle/README.md. */
final class Golden {
  private static final ObjectMapper MAPPER = new ObjectMapper();

  private Golden() {}

  static JsonNode read(String file) {
    try (InputStream in = Golden.class.getResourceAsStream("/golden/" + file)) {
      return MAPPER.readTree(in);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** A folder or file among the golden ones. */
  static Path path(String name) {
    try {
      return Path.of(Golden.class.getResource("/golden/" + name).toURI());
    } catch (URISyntaxException e) {
      throw new AssertionError(e);
    }
  }

  static Stream<JsonNode> each(JsonNode array) {
    return StreamSupport.stream(array.spliterator(), false);
  }

  /** The numbers of nested arrays, row-major. */
  static double[] numbers(JsonNode array) {
    List<Double> out = new ArrayList<>();
    collect(array, out);
    return out.stream().mapToDouble(Double::doubleValue).toArray();
  }

  private static void collect(JsonNode node, List<Double> out) {
    if (node.isArray()) {
      node.forEach(child -> collect(child, out));
    } else {
      out.add(node.doubleValue());
    }
  }

  static int[] integers(JsonNode array) {
    return each(array).mapToInt(JsonNode::intValue).toArray();
  }

  /** The shape of nested arrays. */
  static Shape shape(JsonNode array) {
    List<Long> dims = new ArrayList<>();
    for (JsonNode at = array; at.isArray(); at = at.path(0)) {
      dims.add((long) at.size());
    }
    return Shape.of(dims.stream().mapToLong(Long::longValue).toArray());
  }

  static Tensor tensor(Memory memory, DType type, JsonNode array) {
    return Tensor.of(memory, type, shape(array), numbers(array));
  }
}
