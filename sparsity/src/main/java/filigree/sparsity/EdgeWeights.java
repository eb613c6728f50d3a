package filigree.sparsity;

import filigree.autograd.Op;
import filigree.autograd.Pass;
import filigree.autograd.Var;
import filigree.tensor.Arithmetic;
import filigree.tensor.DType;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.transformer.ModelConfig;
import java.util.Arrays;
import java.util.List;

/**
 * How much an edge of each layer and head counts in what is minimised. Weights are scaled to a mean
 * of 1, so that beta means the same with any; what is reported counts all edges alike.
 */
public sealed interface EdgeWeights {
  /** Every edge counts alike. */
  record Uniform() implements EdgeWeights {}

  /** Edges of layer l, from 1, count as l: attention of late layers is closed first. */
  record Late() implements EdgeWeights {}

  /**
   * Edges of layer l of L, from 1, count as L + 1 - l: attention of early layers is closed first.
   */
  record Early() implements EdgeWeights {}

  /**
   * Chosen weights.
   *
   * @param byHead [layer][head], each 0 or more; one number in a layer stands for all its heads
   */
  record Table(List<List<Double>> byHead) implements EdgeWeights {
    /** Checks the numbers. */
    public Table {
      byHead = byHead.stream().map(List::copyOf).toList();
      double sum = 0;
      for (List<Double> layer : byHead) {
        for (double weight : layer) {
          if (!(weight >= 0) || Double.isInfinite(weight)) {
            throw new RunException(
                "--weights has %s, expected finite numbers of 0 or more".formatted(weight));
          }
          sum += weight;
        }
      }
      if (sum == 0) {
        throw new RunException("--weights are all 0, so that no edge would count");
      }
    }
  }

  /**
   * Every edge alike.
   *
   * @return the weights that are the default
   */
  static EdgeWeights uniform() {
    return new Uniform();
  }

  /**
   * Checks that these weights go with a model.
   *
   * @param config the model
   * @throws RunException where layers or heads differ in number
   */
  default void requireFits(ModelConfig config) {
    byHead(config.sizes().layers(), config.attention().heads());
  }

  /**
   * Returns the weights of every layer and head.
   *
   * @param layers of the model
   * @param heads of each layer
   * @return [layer][head], of mean 1
   */
  default double[][] byHead(int layers, int heads) {
    double[][] out = new double[layers][heads];
    for (int layer = 0; layer < layers; layer++) {
      switch (this) {
        case Uniform() -> Arrays.fill(out[layer], 1);
        case Late() -> Arrays.fill(out[layer], layer + 1);
        case Early() -> Arrays.fill(out[layer], layers - layer);
        case Table(List<List<Double>> chosen) -> fill(out[layer], chosen, layer, layers);
      }
    }
    double mean =
        Arrays.stream(out).flatMapToDouble(Arrays::stream).sum() / ((double) layers * heads);
    for (double[] layer : out) {
      Arrays.setAll(layer, head -> layer[head] / mean);
    }
    return out;
  }

  private static void fill(double[] to, List<List<Double>> chosen, int layer, int layers) {
    if (chosen.size() != layers) {
      throw new RunException(
          "--weights is of %d layers, the model has %d".formatted(chosen.size(), layers));
    }
    List<Double> heads = chosen.get(layer);
    if (heads.size() != 1 && heads.size() != to.length) {
      throw new RunException(
          "--weights has %d numbers for layer %d, expected 1 or one for each of its %d heads"
              .formatted(heads.size(), layer, to.length));
    }
    Arrays.setAll(to, head -> heads.get(heads.size() == 1 ? 0 : head));
  }

  /**
   * Averages expected densities, weighted.
   *
   * @param pass the pass that computed them
   * @param expected per layer [batch, heads]
   * @return a differentiable scalar
   */
  default Var mean(Pass pass, List<Var> expected) {
    Shape shape = expected.getFirst().shape();
    DType type = expected.getFirst().value().dtype();
    double count = (double) expected.size() * shape.size();
    double[][] weights = byHead(expected.size(), shape.length(1));
    Var sum = pass.constant(Tensor.of(pass.scope().memory(), type, Shape.of(), 0.0));
    for (int layer = 0; layer < weights.length; layer++) {
      double[] shares = Arrays.stream(weights[layer]).map(weight -> weight / count).toArray();
      Tensor row = Tensor.of(pass.scope().memory(), type, Shape.of(shares.length), shares);
      Var weighted =
          pass.apply(new Op.Combine(Arithmetic.MULTIPLY), expected.get(layer), pass.constant(row));
      Var layerSum = pass.apply(new Op.Sum(Shape.of()), weighted);
      sum = pass.apply(new Op.Combine(Arithmetic.ADD), sum, layerSum);
    }
    return sum;
  }
}
