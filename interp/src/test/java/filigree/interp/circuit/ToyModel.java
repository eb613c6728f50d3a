package filigree.interp.circuit;

import filigree.interp.task.Contrast;
import filigree.tensor.DType;
import filigree.tensor.Elementwise;
import filigree.tensor.Memory;
import filigree.tensor.Philox;
import filigree.tensor.Tensor;
import filigree.transformer.ModelConfig;
import filigree.transformer.Parameters;
import filigree.transformer.Transformer;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.OptionalInt;

/**
 * Models in float64 whose weights are set by hand. Their norms do nothing: of a root mean square
 * norm with epsilon 1e18 and weight 1e9 an x of size 1 comes out as x (1 - 1e-18 / 2).
 */
final class ToyModel {
  private static final double EPSILON = 1e18;

  private final ModelConfig config;
  private final Map<String, double[]> weights = new LinkedHashMap<>();

  private ToyModel(ModelConfig config) {
    this.config = config;
    for (ModelConfig.ParameterSpec spec : config.parameters()) {
      double[] values = new double[Math.toIntExact(spec.shape().size())];
      if (spec.name().contains("norm")) {
        Arrays.fill(values, Math.sqrt(EPSILON));
      }
      weights.put(spec.name(), values);
    }
  }

  private static ModelConfig config(
      ModelConfig.Sizes sizes, ModelConfig.Attention attention, int mlpWidth) {
    return new ModelConfig(
        sizes,
        new ModelConfig.Norm(ModelConfig.NormKind.RMS, EPSILON),
        new ModelConfig.Positions.Learned(),
        attention,
        new ModelConfig.Mlp(
            ModelConfig.MlpKind.PLAIN, mlpWidth, Elementwise.RELU, ModelConfig.Bias.PRESENT),
        ModelConfig.Head.UNTIED);
  }

  private ToyModel set(String name, int row, int column, double value) {
    ModelConfig.ParameterSpec spec =
        config.parameters().stream().filter(one -> one.name().equals(name)).findFirst().get();
    weights.get(name)[row * spec.shape().length(-1) + column] = value;
    return this;
  }

  private void random(Philox random, double size, String... suffixes) {
    weights.forEach(
        (name, values) -> {
          for (String suffix : suffixes) {
            if (name.endsWith(suffix)) {
              for (int i = 0; i < values.length; i++) {
                values[i] = size * random.nextGaussian();
              }
            }
          }
        });
  }

  Transformer build(Memory memory) {
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    for (ModelConfig.ParameterSpec spec : config.parameters()) {
      double[] values = weights.get(spec.name());
      tensors.put(spec.name(), Tensor.of(memory, DType.F64, spec.shape(), values));
    }
    return new Transformer(config, Parameters.of(config, tensors), memory);
  }

  /** What an MLP makes of what two heads found. */
  enum Junction {
    /** min(1, a + b), in the corrupted run 0.1. */
    OR(0.05) {
      @Override
      void set(ToyModel model) {
        model.set("blocks.0.mlp.down.weight", 3, 0, 1).set("blocks.0.mlp.down.weight", 3, 1, -1);
      }
    },
    /** max(0, a + b - 1), in the corrupted run 0. */
    AND(0) {
      @Override
      void set(ToyModel model) {
        model.set("blocks.0.mlp.down.weight", 3, 1, 1);
      }
    };

    private final double corrupted;

    Junction(double corrupted) {
      this.corrupted = corrupted;
    }

    abstract void set(ToyModel model);
  }

  /**
   * One layer of three heads. Heads 0 and 1 each copy dimension 0 of the input to a dimension of
   * their own, the MLP joins the two in dimension 3, which is the logit of token 2; head 2 copies
   * to where nobody reads.
   */
  static ToyModel junction(Junction junction) {
    ToyModel model =
        new ToyModel(
            config(
                new ModelConfig.Sizes(4, 4, 1, 6),
                new ModelConfig.Attention(3, 3, 2, ModelConfig.Bias.ABSENT),
                2));
    model.set("embed.weight", 1, 0, 1).set("embed.weight", 0, 0, junction.corrupted);
    for (int head = 0; head < 3; head++) {
      model.set("blocks.0.attn.v.weight", 2 * head, 0, 1);
      model.set("blocks.0.attn.o.weight", head == 2 ? 5 : 1 + head, 2 * head, 1);
    }
    for (int unit = 0; unit < 2; unit++) {
      model.set("blocks.0.mlp.up.weight", unit, 1, 1).set("blocks.0.mlp.up.weight", unit, 2, 1);
    }
    model.weights.get("blocks.0.mlp.up.bias")[1] = -1;
    junction.set(model);
    return model.set("head.weight", 2, 3, 1);
  }

  /** Token 1 against token 0, answered by token 2. */
  static List<Contrast> junctionPrompts() {
    return List.of(
        new Contrast(new int[] {1}, new int[] {0}, 0, new int[] {2}, new int[] {3}),
        new Contrast(new int[] {1, 1}, new int[] {0, 0}, 1, new int[] {2}, new int[] {3}));
  }

  private static final int TOKENS = 6;
  private static final int TIME = 6;

  /**
   * Two layers of two heads. Head 0 of layer 0 looks at the token before and writes it to slot
   * "previous"; head 0 of layer 1 looks for positions whose previous token is the current one, and
   * writes the token that stands there to slot "answer", which the logits read. The other heads
   * copy tokens to where nobody reads; MLPs write nothing.
   */
  static ToyModel induction() {
    int position = TOKENS;
    int previous = position + TIME;
    int answer = previous + TOKENS;
    int junk = answer + TOKENS;
    int width = junk + TOKENS;
    ToyModel model =
        new ToyModel(
            config(
                new ModelConfig.Sizes(TOKENS, TIME, 2, width),
                new ModelConfig.Attention(2, 2, TOKENS, ModelConfig.Bias.ABSENT),
                1));
    double sharp = Math.sqrt(6 * Math.sqrt(TOKENS)); // scores of 6
    for (int i = 0; i < TOKENS; i++) {
      model.set("embed.weight", i, i, 1).set("positions.weight", i, position + i, 1);
      model.set("head.weight", i, answer + i, 4);
      model.set("blocks.0.attn.q.weight", i, position + i, sharp);
      if (i > 0) {
        model.set("blocks.0.attn.k.weight", i, position + i - 1, sharp);
      }
      model.set("blocks.1.attn.q.weight", i, i, sharp);
      model.set("blocks.1.attn.k.weight", i, previous + i, sharp);
      for (int layer = 0; layer < 2; layer++) {
        String block = "blocks." + layer + ".attn.";
        int slot = layer == 0 ? previous : answer;
        model.set(block + "v.weight", i, i, 1).set(block + "o.weight", slot + i, i, 1);
        model.set(block + "v.weight", TOKENS + i, i, 1);
        model.set(block + "o.weight", junk + i, TOKENS + i, 1);
      }
    }
    return model;
  }

  /** A B C D A is followed by B, X B C D A is not. */
  static List<Contrast> inductionPrompts() {
    return List.of(
        new Contrast(
            new int[] {1, 2, 3, 4, 1},
            new int[] {5, 2, 3, 4, 1},
            4,
            new int[] {2},
            new int[] {3, 4}),
        new Contrast(
            new int[] {0, 3, 2, 4, 0},
            new int[] {5, 3, 2, 4, 0},
            4,
            new int[] {3},
            new int[] {2, 4}),
        new Contrast(
            new int[] {4, 2, 0, 4}, new int[] {5, 2, 0, 4}, 3, new int[] {2}, new int[] {0}));
  }

  /**
   * Two layers of random weights without anything that bends: attention is the mean over the past,
   * and MLPs are far to the right of the bend.
   */
  static ToyModel linear() {
    ToyModel model =
        new ToyModel(
            config(
                new ModelConfig.Sizes(7, 5, 2, 8),
                new ModelConfig.Attention(4, 2, 3, ModelConfig.Bias.ABSENT),
                6));
    Philox random = new Philox(3, 9);
    model.random(random, 0.5, "v.weight", "o.weight", "up.weight", "down.weight");
    model.random(random, 1, "embed.weight", "positions.weight", "head.weight");
    for (int layer = 0; layer < 2; layer++) {
      Arrays.fill(model.weights.get("blocks." + layer + ".mlp.up.bias"), 100);
    }
    return model;
  }

  /** A random smooth model of a kind. */
  static Transformer smooth(ModelConfig.Residual residual, double deviation, Memory memory) {
    ModelConfig config =
        new ModelConfig(
            new ModelConfig.Sizes(7, 6, 2, 8),
            residual,
            new ModelConfig.Norm(ModelConfig.NormKind.LAYER, 1e-2),
            new ModelConfig.Positions.Rotary(100),
            new ModelConfig.Attention(
                2,
                1,
                4,
                ModelConfig.Bias.PRESENT,
                ModelConfig.Bias.PRESENT,
                ModelConfig.QkNorm.PER_HEAD,
                OptionalDouble.empty(),
                OptionalInt.empty()),
            new ModelConfig.Mlp(
                ModelConfig.MlpKind.GATED, 10, Elementwise.SILU, ModelConfig.Bias.ABSENT),
            ModelConfig.Head.UNTIED);
    Parameters.Draw draw = new Parameters.Draw(deviation, 7);
    return new Transformer(config, Parameters.random(config, DType.F64, memory, draw), memory);
  }

  /** Random prompts of two lengths for models of seven tokens. */
  static List<Contrast> randomPrompts() {
    return List.of(
        new Contrast(
            new int[] {1, 2, 3, 4}, new int[] {5, 2, 6, 4}, 3, new int[] {2}, new int[] {3}),
        new Contrast(
            new int[] {6, 0, 3, 1}, new int[] {2, 0, 3, 1}, 2, new int[] {1, 5}, new int[] {0}),
        new Contrast(
            new int[] {0, 5, 5, 2, 1},
            new int[] {0, 4, 5, 3, 1},
            4,
            new int[] {6},
            new int[] {0, 1}));
  }
}
