package filigree.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.interp.AttentionMaps;
import filigree.sparsity.RunFolder;
import filigree.tensor.Kernels;
import filigree.transformer.Evaluation;
import filigree.transformer.Gates;
import filigree.transformer.Transformer;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/**
 * The file {@code attention.json} of a run: attention of the dense and the sparse model on a few
 * prompts, for the page.
 */
final class AttentionFile {
  private static final String NAME = "attention.json";

  /** Weights are drawn, not computed with: four digits are more than a page can show. */
  private static final double PRECISION = 1e4;

  private final Kernels kernels;
  private final Transformer dense;
  private final Transformer sparse;
  private final Gates gates;
  private final ObjectNode json = JsonNodeFactory.instance.objectNode();
  private final ArrayNode prompts;

  AttentionFile(Kernels kernels, Transformer dense, Transformer sparse, Gates gates) {
    this.kernels = kernels;
    this.dense = dense;
    this.sparse = sparse;
    this.gates = gates;
    json.putArray("models").add("dense").add("sparse");
    this.prompts = json.putArray("prompts");
  }

  /** Runs both models on a prompt. */
  void add(String name, int[] ids, String[] tokens, Optional<String> answer) {
    ObjectNode prompt = prompts.addObject();
    prompt.put("name", name);
    ArrayNode labels = prompt.putArray("tokens");
    Arrays.stream(tokens).forEach(labels::add);
    answer.ifPresent(text -> prompt.put("answer", text));
    AttentionMaps of = AttentionMaps.of(dense, ids, Gates.dense(), kernels);
    AttentionMaps to = AttentionMaps.of(sparse, ids, gates, kernels);
    ObjectNode attention = prompt.putObject("attention");
    attention.set("dense", numbers(of.weights()));
    attention.set("sparse", numbers(to.weights()));
    prompt.set("gates", keys(to.open()));
  }

  /** Notes edges per query of every layer and head. */
  void edges(Evaluation ofDense, Evaluation ofSparse) {
    ObjectNode edges = json.putObject("edges");
    edges.set("dense", table(ofDense.edgesPerQueryByHead()));
    edges.set("sparse", table(ofSparse.edgesPerQueryByHead()));
  }

  void write(RunFolder run) {
    run.writeJson(NAME, json);
  }

  private static ArrayNode table(List<List<Double>> values) {
    ArrayNode out = JsonNodeFactory.instance.arrayNode();
    for (List<Double> row : values) {
      ArrayNode line = out.addArray();
      row.forEach(line::add);
    }
    return out;
  }

  private static ArrayNode numbers(double[][][][] weights) {
    ArrayNode layers = JsonNodeFactory.instance.arrayNode();
    for (double[][][] layer : weights) {
      ArrayNode heads = layers.addArray();
      for (double[][] head : layer) {
        ArrayNode queries = heads.addArray();
        for (double[] query : head) {
          ArrayNode keys = queries.addArray();
          Arrays.stream(query).forEach(w -> keys.add(Math.round(w * PRECISION) / PRECISION));
        }
      }
    }
    return layers;
  }

  private static ArrayNode keys(int[][][][] open) {
    ArrayNode layers = JsonNodeFactory.instance.arrayNode();
    for (int[][][] layer : open) {
      ArrayNode heads = layers.addArray();
      for (int[][] head : layer) {
        ArrayNode queries = heads.addArray();
        for (int[] query : head) {
          ArrayNode keys = queries.addArray();
          Arrays.stream(query).forEach(keys::add);
        }
      }
    }
    return layers;
  }
}
