package filigree.interp.report;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * {@code attention.json}: attention patterns of one or several models on a few prompts.
 *
 * @param models names in the order in which they are shown
 * @param layers number of layers, the same for every model
 * @param heads number of heads per layer, the same for every model
 * @param prompts the prompts with their patterns
 * @param edges open edges per query, [layer][head], for each model that has them
 * @param summary further figures, by name
 */
record ReportedAttention(
    List<String> models,
    int layers,
    int heads,
    List<Prompt> prompts,
    Map<String, double[][]> edges,
    Map<String, JsonNode> summary) {

  /** The model that {@code gates} of a prompt belong to. */
  static final String GATED_MODEL = "sparse";

  /** Weights in all: 20 million are a page of about 50 megabytes, more than browsers open well. */
  private static final long WEIGHT_LIMIT = 20_000_000;

  /** Rows of a pattern sum to 1; half-precision models miss it by less than this. */
  private static final double WEIGHT_SLACK = 1e-2;

  /**
   * One prompt, with patterns packed for the page.
   *
   * @param name how the prompt is called
   * @param tokens its tokens
   * @param answer what the model should say, one character per answer slot
   * @param weights for each model the lower triangles [layer][head][query][key up to query], each
   *     weight as 16 bits, little-endian, base64
   * @param gates the same triangles with one bit per gate, lowest bit first, base64
   */
  record Prompt(
      String name,
      List<String> tokens,
      Optional<String> answer,
      Map<String, String> weights,
      Optional<String> gates) {}

  /** The file as it is written, before its shapes are checked. */
  private record AttentionFile(
      List<String> models,
      List<PromptFile> prompts,
      Map<String, double[][]> edges,
      Map<String, JsonNode> summary) {}

  /** A prompt as it is written; {@code attention} holds patterns by model, and {@code gates}. */
  private record PromptFile(
      String name, List<String> tokens, String answer, Map<String, double[][][][]> attention) {}

  /**
   * Reads the attention of a run folder.
   *
   * @param folder the run folder
   * @return the patterns, or nothing where the folder has none
   * @throws ReportException if the file is malformed or its shapes disagree
   */
  static Optional<ReportedAttention> read(Path folder) {
    Path file = folder.resolve("attention.json");
    return Json.bytes(file).map(bytes -> new Reader(file).read(bytes));
  }

  /** The state of one reading: the shape that the first pattern sets and the others keep to. */
  private static final class Reader {
    private final Path file;
    private int layers;
    private int heads;
    private long weights;

    Reader(Path file) {
      this.file = file;
    }

    ReportedAttention read(byte[] bytes) {
      AttentionFile content = parse(bytes);
      List<String> models = content.models();
      if (models == null || models.isEmpty() || models.contains(null)) {
        throw bad("models", "no model", "a list of names such as [\"dense\", \"sparse\"]");
      }
      if (content.prompts() == null || content.prompts().isEmpty()) {
        throw bad("prompts", "no prompt", "at least one");
      }
      PromptFile[] files = content.prompts().toArray(PromptFile[]::new);
      Prompt[] prompts = new Prompt[files.length];
      for (int p = 0; p < files.length; p++) {
        prompts[p] = prompt("prompts[" + p + "]", files[p], models);
      }
      Map<String, double[][]> edges = new LinkedHashMap<>();
      for (String model : models) {
        double[][] perHead = content.edges() == null ? null : content.edges().get(model);
        if (perHead != null) {
          checkEdges("edges." + model, perHead);
          edges.put(model, perHead);
        }
      }
      Map<String, JsonNode> summary = content.summary() == null ? Map.of() : content.summary();
      return new ReportedAttention(
          models, layers, heads, List.of(prompts), edges, new TreeMap<>(summary));
    }

    private AttentionFile parse(byte[] bytes) {
      try {
        AttentionFile content = Json.MAPPER.readValue(bytes, AttentionFile.class);
        if (content == null) {
          throw bad("the whole file", "null", "one JSON object");
        }
        return content;
      } catch (JsonProcessingException e) {
        throw ReportException.badInput(
            file.toString(),
            Json.describe(e),
            "models, prompts with tokens and attention [layer][head][query][key]",
            "write it again or remove it");
      } catch (IOException e) {
        throw new IllegalStateException("reading from memory cannot fail", e);
      }
    }

    private Prompt prompt(String at, PromptFile prompt, List<String> models) {
      if (prompt == null
          || prompt.tokens() == null
          || prompt.tokens().isEmpty()
          || prompt.tokens().contains(null)) {
        throw bad(at + ".tokens", "no tokens", "a list of strings");
      }
      if (prompt.attention() == null) {
        throw bad(at + ".attention", "nothing", "an object with a pattern for each of " + models);
      }
      int tokens = prompt.tokens().size();
      Map<String, String> packed = new LinkedHashMap<>();
      for (String model : models) {
        double[][][][] pattern = prompt.attention().get(model);
        packed.put(model, weights(at + ".attention." + model, pattern, tokens));
      }
      double[][][][] open = prompt.attention().get("gates");
      Optional<String> gates =
          open == null
              ? Optional.empty()
              : Optional.of(gates(at + ".attention.gates", open, tokens));
      String name = prompt.name() == null ? String.join("", prompt.tokens()) : prompt.name();
      return new Prompt(
          name, List.copyOf(prompt.tokens()), Optional.ofNullable(prompt.answer()), packed, gates);
    }

    private String weights(String at, double[][][][] pattern, int tokens) {
      checkShape(at, pattern, tokens);
      weights += (long) layers * heads * PatternPacking.triangle(tokens);
      if (weights > WEIGHT_LIMIT) {
        throw bad(at, "more than 20 million weights", "fewer or shorter prompts");
      }
      for (int layer = 0; layer < layers; layer++) {
        for (int head = 0; head < heads; head++) {
          for (int query = 0; query < tokens; query++) {
            double[] row = pattern[layer][head][query];
            String where = at + indices(layer, head, query);
            if (row == null || row.length <= query || row.length > tokens) {
              throw bad(
                  where,
                  row == null ? "null" : row.length + " keys",
                  tokens + " keys, or " + (query + 1) + " up to the query");
            }
            for (int key = 0; key < row.length; key++) {
              double weight = row[key];
              double most = key > query ? 0 : 1 + WEIGHT_SLACK;
              if (!(weight >= 0 && weight <= most)) {
                throw bad(
                    where + "[" + key + "]",
                    Double.toString(weight),
                    key > query ? "0, as the key comes after the query" : "a share from 0 to 1");
              }
            }
          }
        }
      }
      return PatternPacking.pack(pattern, tokens);
    }

    private String gates(String at, double[][][][] open, int tokens) {
      checkShape(at, open, tokens);
      byte[] bits = new byte[(layers * heads * PatternPacking.triangle(tokens) + 7) / 8];
      for (int layer = 0; layer < layers; layer++) {
        for (int head = 0; head < heads; head++) {
          for (int query = 0; query < tokens; query++) {
            double[] keys = open[layer][head][query];
            String where = at + indices(layer, head, query);
            if (keys == null) {
              throw bad(where, "null", "a list of open keys");
            }
            for (double key : keys) {
              if (!(key >= 0 && key <= query && key == Math.rint(key))) {
                throw bad(where, Double.toString(key), "indices of keys from 0 to " + query);
              }
              int bit =
                  (layer * heads + head) * PatternPacking.triangle(tokens)
                      + PatternPacking.triangle(query)
                      + (int) key;
              bits[bit / 8] |= (byte) (1 << bit % 8);
            }
          }
        }
      }
      return Base64.getEncoder().encodeToString(bits);
    }

    private void checkShape(String at, double[][][][] pattern, int tokens) {
      if (pattern == null || pattern.length == 0 || pattern[0] == null || pattern[0].length == 0) {
        throw bad(at, "nothing", "numbers by [layer][head][query][key]");
      }
      if (layers == 0) {
        layers = pattern.length;
        heads = pattern[0].length;
      }
      if (pattern.length != layers) {
        throw bad(at, pattern.length + " layers", layers + " as in the first pattern");
      }
      for (int layer = 0; layer < layers; layer++) {
        if (pattern[layer] == null || pattern[layer].length != heads) {
          throw bad(at + "[" + layer + "]", "another number of heads", heads + " heads");
        }
        for (int head = 0; head < heads; head++) {
          double[][] rows = pattern[layer][head];
          if (rows == null || rows.length != tokens) {
            throw bad(
                at + "[" + layer + "][" + head + "]",
                (rows == null ? 0 : rows.length) + " queries",
                tokens + ", one per token");
          }
        }
      }
    }

    private void checkEdges(String at, double[][] perHead) {
      boolean shaped =
          perHead.length == layers
              && Arrays.stream(perHead).allMatch(row -> row != null && row.length == heads);
      if (!shaped) {
        throw bad(at, "another shape", layers + " layers of " + heads + " heads");
      }
      for (double[] row : perHead) {
        for (double value : row) {
          if (!(value >= 0) || !Double.isFinite(value)) {
            throw bad(at, Double.toString(value), "edges per query, 0 or more");
          }
        }
      }
    }

    private static String indices(int layer, int head, int query) {
      return "[" + layer + "][" + head + "][" + query + "]";
    }

    private ReportException bad(String at, String found, String expected) {
      return ReportException.badInput(
          file + ", " + at, found, expected, "write attention.json again or remove it");
    }
  }
}
