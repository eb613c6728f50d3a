package filigree.transformer;

import filigree.tensor.Elementwise;
import filigree.tensor.Shape;
import java.util.ArrayList;
import java.util.List;

/**
 * Everything that distinguishes one decoder-only transformer from another. A family such as GPT-2
 * or Llama is a translation of its config.json into this record, not a model of its own.
 *
 * @param sizes vocabulary, context, layers and width
 * @param norm the normalisation before attention, before the MLP and before the head
 * @param positions how positions enter
 * @param attention heads and biases
 * @param mlp the MLP
 * @param head where the output matrix comes from
 */
public record ModelConfig(
    Sizes sizes, Norm norm, Positions positions, Attention attention, Mlp mlp, Head head) {

  /**
   * The main sizes.
   *
   * @param vocabulary token ids are 0 to this less 1
   * @param context the longest sequence, in tokens
   * @param layers number of blocks
   * @param width length of a residual stream vector, "d_model"
   */
  public record Sizes(int vocabulary, int context, int layers, int width) {
    /** Checks that all are positive. */
    public Sizes {
      requirePositive("vocabulary", vocabulary);
      requirePositive("context", context);
      requirePositive("layers", layers);
      requirePositive("width", width);
    }
  }

  /** Which normalisation. */
  public enum NormKind {
    /** Mean and variance, with weight and bias (arXiv 1607.06450). */
    LAYER,
    /** Root mean square, with weight (arXiv 1910.07467). */
    RMS
  }

  /**
   * Normalisation.
   *
   * @param kind which
   * @param epsilon added under the root
   */
  public record Norm(NormKind kind, double epsilon) {
    /** Checks that epsilon is positive. */
    public Norm {
      if (!(epsilon > 0)) {
        throw new ModelException("norm: epsilon is " + epsilon + ", expected more than 0");
      }
    }
  }

  /** How positions enter the model. */
  public sealed interface Positions {
    /** A learned vector per position, added to the embedding. */
    record Learned() implements Positions {}

    /**
     * Rotation of queries and keys (arXiv 2104.09864), halves paired as in Hugging Face
     * checkpoints.
     *
     * @param theta base of the wavelengths, usually 10,000
     */
    record Rotary(double theta) implements Positions {
      /** Checks that theta is positive. */
      public Rotary {
        if (!(theta > 0)) {
          throw new ModelException("rotary: theta is " + theta + ", expected more than 0");
        }
      }
    }
  }

  /** Whether a linear map has a bias. */
  public enum Bias {
    /** It has none. */
    ABSENT,
    /** It has one. */
    PRESENT
  }

  /**
   * Attention sizes.
   *
   * @param heads query heads
   * @param kvHeads key and value heads; divides heads
   * @param headDim length of one head's vectors
   * @param bias of the query, key, value and output maps
   */
  public record Attention(int heads, int kvHeads, int headDim, Bias bias) {
    /** Checks the sizes. */
    public Attention {
      requirePositive("heads", heads);
      requirePositive("key-value heads", kvHeads);
      requirePositive("head length", headDim);
      if (heads % kvHeads != 0) {
        throw new ModelException(
            "attention: %d heads are not a multiple of %d key-value heads"
                .formatted(heads, kvHeads));
      }
    }
  }

  /** Shape of the MLP. */
  public enum MlpKind {
    /** {@code down(f(up(x)))}. */
    PLAIN,
    /** {@code down(f(gate(x)) up(x))}, such as SwiGLU (arXiv 2002.05202). */
    GATED
  }

  /**
   * The MLP.
   *
   * @param kind plain or gated
   * @param width its inner width
   * @param activation f
   * @param bias of its linear maps
   */
  public record Mlp(MlpKind kind, int width, Elementwise activation, Bias bias) {
    /** Checks the width. */
    public Mlp {
      requirePositive("MLP width", width);
    }
  }

  /** Where the output matrix comes from. */
  public enum Head {
    /** It is the embedding matrix. */
    TIED,
    /** It is a parameter of its own. */
    UNTIED
  }

  /**
   * A parameter's name and shape.
   *
   * @param name Filigree's name, such as {@code blocks.3.attn.q.weight}
   * @param shape linear maps are [out, in]
   */
  public record ParameterSpec(String name, Shape shape) {}

  /** Checks what the parts must agree on. */
  public ModelConfig {
    if (positions instanceof Positions.Rotary && attention.headDim() % 2 != 0) {
      throw new ModelException(
          "rotary positions need an even head length, found " + attention.headDim());
    }
  }

  /**
   * Lists all parameters in order. The names are
   *
   * <pre>
   *   embed.weight                      [vocabulary, width]
   *   positions.weight                  [context, width]            learned positions only
   *   blocks.N.norm1.weight, .bias      [width]                     bias with layer norm only
   *   blocks.N.attn.q.weight, .bias     [heads headDim, width], [heads headDim]
   *   blocks.N.attn.k.weight, .bias     [kvHeads headDim, width], [kvHeads headDim]
   *   blocks.N.attn.v.weight, .bias     like k
   *   blocks.N.attn.o.weight, .bias     [width, heads headDim], [width]
   *   blocks.N.norm2.weight, .bias      [width]
   *   blocks.N.mlp.gate.weight, .bias   [mlp width, width], [mlp width]    gated only
   *   blocks.N.mlp.up.weight, .bias     [mlp width, width], [mlp width]
   *   blocks.N.mlp.down.weight, .bias   [width, mlp width], [width]
   *   norm.weight, .bias                [width]
   *   head.weight                       [vocabulary, width]         untied only
   * </pre>
   *
   * @return names and shapes, each once
   */
  public List<ParameterSpec> parameters() {
    List<ParameterSpec> out = new ArrayList<>();
    int width = sizes.width();
    out.add(new ParameterSpec("embed.weight", Shape.of(sizes.vocabulary(), width)));
    if (positions instanceof Positions.Learned) {
      out.add(new ParameterSpec("positions.weight", Shape.of(sizes.context(), width)));
    }
    int queries = attention.heads() * attention.headDim();
    int keys = attention.kvHeads() * attention.headDim();
    for (int layer = 0; layer < sizes.layers(); layer++) {
      String block = "blocks." + layer + ".";
      addNorm(out, block + "norm1");
      addLinear(out, block + "attn.q", queries, width, attention.bias());
      addLinear(out, block + "attn.k", keys, width, attention.bias());
      addLinear(out, block + "attn.v", keys, width, attention.bias());
      addLinear(out, block + "attn.o", width, queries, attention.bias());
      addNorm(out, block + "norm2");
      if (mlp.kind() == MlpKind.GATED) {
        addLinear(out, block + "mlp.gate", mlp.width(), width, mlp.bias());
      }
      addLinear(out, block + "mlp.up", mlp.width(), width, mlp.bias());
      addLinear(out, block + "mlp.down", width, mlp.width(), mlp.bias());
    }
    addNorm(out, "norm");
    if (head == Head.UNTIED) {
      out.add(new ParameterSpec("head.weight", Shape.of(sizes.vocabulary(), width)));
    }
    return out;
  }

  /**
   * Counts the parameters; a tied head counts once.
   *
   * @return the number of weights
   */
  public long parameterCount() {
    return parameters().stream().mapToLong(spec -> spec.shape().size()).sum();
  }

  private void addNorm(List<ParameterSpec> out, String name) {
    out.add(new ParameterSpec(name + ".weight", Shape.of(sizes.width())));
    if (norm.kind() == NormKind.LAYER) {
      out.add(new ParameterSpec(name + ".bias", Shape.of(sizes.width())));
    }
  }

  private static void addLinear(List<ParameterSpec> out, String name, int to, int from, Bias bias) {
    out.add(new ParameterSpec(name + ".weight", Shape.of(to, from)));
    if (bias == Bias.PRESENT) {
      out.add(new ParameterSpec(name + ".bias", Shape.of(to)));
    }
  }

  private static void requirePositive(String what, int value) {
    if (value < 1) {
      throw new ModelException(what + " is " + value + ", expected at least 1");
    }
  }
}
