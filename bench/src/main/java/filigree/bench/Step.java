package filigree.bench;

import filigree.tensor.AttentionSpec;
import filigree.tensor.Elementwise;
import filigree.transformer.ModelConfig;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** The training steps that are compared with peers, in the style of GPT-2. */
enum Step {
  /** Small matrices, where everything but matrix products shows. */
  SMALL(4, 256, 4, 128, 8, 512, ModelConfig.Head.UNTIED),
  /** The same with long sequences, where attention shows. */
  LONG(4, 256, 4, 1024, 1, 512, ModelConfig.Head.UNTIED),
  /** GPT-2 small, where memory and matrix products show. */
  GPT2(12, 768, 12, 128, 2, 50257, ModelConfig.Head.TIED);

  final int layers;
  final int width;
  final int heads;
  final int time;
  final int batch;
  final int vocabulary;
  final ModelConfig.Head head;

  Step(
      int layers,
      int width,
      int heads,
      int time,
      int batch,
      int vocabulary,
      ModelConfig.Head head) {
    this.layers = layers;
    this.width = width;
    this.heads = heads;
    this.time = time;
    this.batch = batch;
    this.vocabulary = vocabulary;
    this.head = head;
  }

  /** Whether attention is gated. */
  enum Mode {
    /** Ordinary attention. */
    DENSE,
    /** Sampled gates, and the mean expected density in the loss. */
    SPARSE
  }

  /** Weight of the density in the loss. */
  static final double BETA = 0.1;

  static Step of(String name) {
    for (Step step : values()) {
      if (step.label().equals(name)) {
        return step;
      }
    }
    throw new IllegalArgumentException(
        "there is no shape '%s'; choose one of %s"
            .formatted(name, Arrays.stream(values()).map(Step::label).toList()));
  }

  String label() {
    return name().toLowerCase(java.util.Locale.ROOT);
  }

  /** Learned positions, layer norm, tanh GELU, an MLP of four times the width, biases. */
  ModelConfig config() {
    return new ModelConfig(
        new ModelConfig.Sizes(vocabulary, time, layers, width),
        new ModelConfig.Norm(ModelConfig.NormKind.LAYER, 1e-5),
        new ModelConfig.Positions.Learned(),
        new ModelConfig.Attention(heads, heads, width / heads, ModelConfig.Bias.PRESENT),
        new ModelConfig.Mlp(
            ModelConfig.MlpKind.PLAIN, 4 * width, Elementwise.GELU_TANH, ModelConfig.Bias.PRESENT),
        head);
  }

  /**
   * A product of the step.
   *
   * @param m rows of the output
   * @param n columns of the output
   * @param k the summed axis
   * @param count how often the step has it, in some order and transposition
   */
  record Product(int m, int n, int k, int count) {
    double multiplyAdds() {
      return (double) m * n * k * count;
    }
  }

  /**
   * All products with weights: each linear map once forward and twice backward. Query, key, value
   * and output maps are of one size.
   */
  List<Product> products() {
    int rows = batch * time;
    List<Product> out = new ArrayList<>();
    out.add(new Product(rows, width, width, 3 * 4 * layers));
    out.add(new Product(rows, 4 * width, width, 3 * 2 * layers));
    out.add(new Product(rows, vocabulary, width, 3));
    return out;
  }

  /**
   * Multiply-adds of attention: two products forward and four backward, over causal pairs only.
   * That a backward pass which stores no table computes the scores again is not counted.
   */
  double attentionMultiplyAdds() {
    return 6.0 * layers * batch * width * AttentionSpec.causalPairs(time, time);
  }

  /** Multiply-adds of all matrix products of a step, forward and backward. */
  double multiplyAdds() {
    return products().stream().mapToDouble(Product::multiplyAdds).sum() + attentionMultiplyAdds();
  }
}
