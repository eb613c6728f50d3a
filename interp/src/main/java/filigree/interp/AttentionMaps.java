package filigree.interp;

import filigree.autograd.Pass;
import filigree.autograd.Site;
import filigree.tensor.Kernels;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import filigree.transformer.Gates;
import filigree.transformer.Transformer;
import java.util.ArrayList;
import java.util.List;

/**
 * The attention of one model on one sequence.
 *
 * @param weights [layer][head][query][key]: the softmax pattern where the gate is open, 0 where it
 *     is closed
 * @param open [layer][head][query]: the keys whose gates are open
 * @param predictions the most likely token at each position
 */
public record AttentionMaps(double[][][][] weights, int[][][][] open, int[] predictions) {
  /**
   * Runs a model and keeps its attention.
   *
   * @param model the model
   * @param ids the sequence
   * @param gates how attention is gated
   * @param kernels the provider
   * @return the maps
   */
  public static AttentionMaps of(Transformer model, int[] ids, Gates gates, Kernels kernels) {
    int layers = model.config().sizes().layers();
    int heads = model.config().attention().heads();
    List<Site> sites = new ArrayList<>();
    for (int layer = 0; layer < layers; layer++) {
      sites.add(pattern(layer));
      sites.add(gate(layer));
    }
    try (Workspace kept = new Workspace("attention maps");
        Workspace scratch = new Workspace("attention maps pass")) {
      Recorder recorder = new Recorder(sites, kept);
      int[] predictions;
      try (Pass pass = Pass.inference(kernels, scratch).with(recorder)) {
        Tensor input = Tensor.ofInts(scratch, Shape.of(1, ids.length), ids);
        predictions = likeliest(model.forward(pass, input, gates).logits().value());
      }
      double[][][][] weights = new double[layers][heads][ids.length][];
      int[][][][] open = new int[layers][heads][ids.length][];
      for (int layer = 0; layer < layers; layer++) {
        Tensor pattern = recorder.at(pattern(layer));
        Tensor gate = recorder.at(gate(layer));
        for (int head = 0; head < heads; head++) {
          for (int query = 0; query < ids.length; query++) {
            long row = ((long) head * ids.length + query) * ids.length;
            double[] line = new double[query + 1];
            List<Integer> keys = new ArrayList<>();
            for (int key = 0; key <= query; key++) {
              line[key] = pattern.get(row + key) * gate.get(row + key);
              if (gate.get(row + key) > 0) {
                keys.add(key);
              }
            }
            weights[layer][head][query] = line;
            open[layer][head][query] = keys.stream().mapToInt(Integer::intValue).toArray();
          }
        }
      }
      return new AttentionMaps(weights, open, predictions);
    }
  }

  private static Site pattern(int layer) {
    return new Site("blocks." + layer + ".attn.hook_pattern");
  }

  private static Site gate(int layer) {
    return new Site("blocks." + layer + ".attn.hook_gate");
  }

  private static int[] likeliest(Tensor logits) {
    int vocabulary = logits.shape().length(-1);
    float[] values = logits.toFloats();
    int[] out = new int[values.length / vocabulary];
    for (int row = 0; row < out.length; row++) {
      int best = 0;
      for (int i = 1; i < vocabulary; i++) {
        best = values[row * vocabulary + i] > values[row * vocabulary + best] ? i : best;
      }
      out[row] = best;
    }
    return out;
  }
}
