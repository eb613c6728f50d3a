package filigree.transformer;

import filigree.tensor.AttentionSpec;
import filigree.tensor.Elementwise;
import filigree.tensor.Gate;
import filigree.tensor.Shape;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.Set;

/**
 * Everything that distinguishes one decoder-only transformer from another. A family such as GPT-2
 * or Llama is a translation of its config.json into this record, not a model of its own.
 *
 * @param sizes vocabulary, context, layers and width
 * @param residual how attention and MLP read and write the residual stream, and where norms stand
 * @param norm the normalisation of the residual stream
 * @param positions how positions enter
 * @param attention heads and biases
 * @param mlp the MLP
 * @param head where the output matrix comes from
 * @param gating how its gates differ from plain ones; of no effect where all gates are open
 */
public record ModelConfig(
    Sizes sizes,
    Residual residual,
    Norm norm,
    Positions positions,
    Attention attention,
    Mlp mlp,
    Head head,
    Set<GateVariant> gating) {
  private static final double MOST_PARAMETERS = 1e15;

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

  /** How a block's two parts read and write the residual stream x. */
  public enum Residual {
    /** {@code x += attention(norm1(x)); x += mlp(norm2(x))} (arXiv 2002.04745). */
    PRE_NORM,
    /** {@code x += norm1(attention(x)); x += norm2(mlp(x))}, as OLMo-2 (arXiv 2501.00656). */
    POST_NORM,
    /** {@code x += attention(norm1(x)) + mlp(norm2(x))}, as GPT-NeoX (arXiv 2204.06745). */
    PARALLEL
  }

  /** Which normalisation. */
  public enum NormKind {
    /** Mean and variance, with weight and bias (arXiv 1607.06450). */
    LAYER,
    /** Mean and variance, nothing learned, as OLMo (arXiv 2402.00838). */
    LAYER_WITHOUT_WEIGHTS,
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
     * @param fraction share of a head's elements that are rotated, from the first on
     * @param scaling how the wavelengths are stretched
     */
    record Rotary(double theta, double fraction, RotaryScaling scaling) implements Positions {
      /** Checks the numbers. */
      public Rotary {
        if (!(theta > 0)) {
          throw new ModelException("rotary: theta is " + theta + ", expected more than 0");
        }
        if (!(fraction > 0) || fraction > 1) {
          throw new ModelException(
              "rotary: the rotated fraction is "
                  + fraction
                  + ", expected more than 0 and at most 1");
        }
      }

      /**
       * Rotary positions over whole heads, not scaled.
       *
       * @param theta base of the wavelengths
       */
      public Rotary(double theta) {
        this(theta, 1, new RotaryScaling.None());
      }

      /**
       * Counts the elements of a head that are rotated.
       *
       * @param headDim length of one head's vectors
       * @return twice the number of pairs, where the configuration is valid
       */
      public int rotated(int headDim) {
        return (int) (headDim * fraction);
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

  /** Root mean square normalisation of queries and keys, before rotation (arXiv 2010.04245). */
  public enum QkNorm {
    /** None. */
    ABSENT,
    /** Each head's vector on its own; one weight [headDim] for all heads, as Qwen3. */
    PER_HEAD,
    /** All heads' vectors as one, as OLMo-2. */
    WHOLE
  }

  /**
   * Attention.
   *
   * @param heads query heads
   * @param kvHeads key and value heads; divides heads
   * @param headDim length of one head's vectors
   * @param bias of the query, key and value maps
   * @param outputBias of the output map
   * @param qkNorm normalisation of queries and keys
   * @param clip limit of the elements of queries, keys and values, or empty
   * @param window how many keys a query sees, itself among them, or empty for all before it
   */
  public record Attention(
      int heads,
      int kvHeads,
      int headDim,
      Bias bias,
      Bias outputBias,
      QkNorm qkNorm,
      OptionalDouble clip,
      OptionalInt window) {
    /**
     * Attention without norms, clip and window.
     *
     * @param heads query heads
     * @param kvHeads key and value heads
     * @param headDim length of one head's vectors
     * @param bias of all four maps
     */
    public Attention(int heads, int kvHeads, int headDim, Bias bias) {
      this(
          heads,
          kvHeads,
          headDim,
          bias,
          bias,
          QkNorm.ABSENT,
          OptionalDouble.empty(),
          OptionalInt.empty());
    }

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
      window.ifPresent(keys -> requirePositive("attention window", keys));
      if (clip.isPresent() && !(clip.getAsDouble() > 0)) {
        throw new ModelException(
            "attention: clip is " + clip.getAsDouble() + ", expected more than 0");
      }
    }

    /**
     * Tells an attention kernel the window.
     *
     * @return how many keys a query sees at most, {@link AttentionSpec#ALL_KEYS} without a window
     */
    public int windowOrAll() {
      return window.orElse(AttentionSpec.ALL_KEYS);
    }

    /**
     * Counts what one head may attend to in one sequence.
     *
     * @param time tokens of the sequence
     * @return pairs of a query and a key that it sees
     */
    public long pairs(long time) {
      double scale = 1; // not part of the count
      return new AttentionSpec(1, 1, 1, scale, Gate.open(), windowOrAll()).pairs(time, time);
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
    // An enum set, whose order is always the same.
    gating = gating.isEmpty() ? Set.of() : Collections.unmodifiableSet(EnumSet.copyOf(gating));
    if (positions instanceof Positions.Rotary rotary) {
      int rotated = rotary.rotated(attention.headDim());
      if (rotated < 2 || rotated % 2 != 0) {
        throw new ModelException(
            "rotary positions need an even head length, found %d rotated elements of %d"
                .formatted(rotated, attention.headDim()));
      }
    }
    requireCountable(sizes, attention, mlp);
  }

  /**
   * A model with plain gates.
   *
   * @param sizes vocabulary, context, layers and width
   * @param residual how attention and MLP read and write the residual stream
   * @param norm the normalisation
   * @param positions how positions enter
   * @param attention heads and biases
   * @param mlp the MLP
   * @param head where the output matrix comes from
   */
  public ModelConfig(
      Sizes sizes,
      Residual residual,
      Norm norm,
      Positions positions,
      Attention attention,
      Mlp mlp,
      Head head) {
    this(sizes, residual, norm, positions, attention, mlp, head, Set.of());
  }

  /**
   * A model whose norms stand before attention and MLP, one after the other.
   *
   * @param sizes vocabulary, context, layers and width
   * @param norm the normalisation
   * @param positions how positions enter
   * @param attention heads and biases
   * @param mlp the MLP
   * @param head where the output matrix comes from
   */
  public ModelConfig(
      Sizes sizes, Norm norm, Positions positions, Attention attention, Mlp mlp, Head head) {
    this(sizes, Residual.PRE_NORM, norm, positions, attention, mlp, head);
  }

  /**
   * Returns the same model for sequences of another length.
   *
   * @param context the longest sequence, in tokens
   * @return a configuration whose weights are the same, unless positions are learned
   */
  public ModelConfig withContext(int context) {
    return new ModelConfig(
        new Sizes(sizes.vocabulary(), context, sizes.layers(), sizes.width()),
        residual,
        norm,
        positions,
        attention,
        mlp,
        head,
        gating);
  }

  /**
   * Returns the same model with other gates.
   *
   * @param variants how they differ from plain ones
   * @return a configuration with the weights that they need
   */
  public ModelConfig withGating(Set<GateVariant> variants) {
    return new ModelConfig(sizes, residual, norm, positions, attention, mlp, head, variants);
  }

  /**
   * Lists all parameters in order. The names are
   *
   * <pre>
   *   embed.weight                      [vocabulary, width]
   *   positions.weight                  [context, width]            learned positions only
   *   blocks.N.norm1.weight, .bias      [width]                     as the kind of norm has them
   *   blocks.N.attn.q.weight, .bias     [heads headDim, width], [heads headDim]
   *   blocks.N.attn.k.weight, .bias     [kvHeads headDim, width], [kvHeads headDim]
   *   blocks.N.attn.v.weight, .bias     like k
   *   blocks.N.attn.qnorm.weight        [headDim] or [heads headDim]      where queries are normed
   *   blocks.N.attn.knorm.weight        [headDim] or [kvHeads headDim]
   *   blocks.N.attn.o.weight, .bias     [width, heads headDim], [width]
   *   blocks.N.norm2.weight, .bias      [width]
   *   blocks.N.mlp.gate.weight, .bias   [mlp width, width], [mlp width]    gated only
   *   blocks.N.mlp.up.weight, .bias     [mlp width, width], [mlp width]
   *   blocks.N.mlp.down.weight, .bias   [width, mlp width], [width]
   *   norm.weight, .bias                [width]
   *   head.weight                       [vocabulary, width]         untied only
   *   blocks.N.attn.gate.bias           [heads]                     {@link GateVariant#HEAD_BIAS}
   *   blocks.N.attn.gate_q.weight, .bias     like q                 {@link GateVariant#OWN_PROJECTION}
   *   blocks.N.attn.gate_k.weight, .bias     like k
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
      switch (attention.qkNorm()) {
        case ABSENT -> {}
        case PER_HEAD -> addQkNorm(out, block, attention.headDim(), attention.headDim());
        case WHOLE -> addQkNorm(out, block, queries, keys);
      }
      addLinear(out, block + "attn.o", width, queries, attention.outputBias());
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
    for (int layer = 0; layer < sizes.layers(); layer++) {
      String name = "blocks." + layer + ".attn.";
      if (gating.contains(GateVariant.HEAD_BIAS)) {
        out.add(new ParameterSpec(name + "gate.bias", Shape.of(attention.heads())));
      }
      if (gating.contains(GateVariant.OWN_PROJECTION)) {
        addLinear(out, name + "gate_q", queries, width, attention.bias());
        addLinear(out, name + "gate_k", keys, width, attention.bias());
      }
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
    Shape shape = Shape.of(sizes.width());
    switch (norm.kind()) {
      case LAYER -> {
        out.add(new ParameterSpec(name + ".weight", shape));
        out.add(new ParameterSpec(name + ".bias", shape));
      }
      case LAYER_WITHOUT_WEIGHTS -> {}
      case RMS -> out.add(new ParameterSpec(name + ".weight", shape));
    }
  }

  private static void addQkNorm(List<ParameterSpec> out, String block, int queries, int keys) {
    out.add(new ParameterSpec(block + "attn.qnorm.weight", Shape.of(queries)));
    out.add(new ParameterSpec(block + "attn.knorm.weight", Shape.of(keys)));
  }

  private static void addLinear(List<ParameterSpec> out, String name, int to, int from, Bias bias) {
    out.add(new ParameterSpec(name + ".weight", Shape.of(to, from)));
    if (bias == Bias.PRESENT) {
      out.add(new ParameterSpec(name + ".bias", Shape.of(to)));
    }
  }

  /** So that no count of elements or bytes below overflows a long. */
  private static void requireCountable(Sizes sizes, Attention attention, Mlp mlp) {
    double rows = 2.0 * sizes.vocabulary() + sizes.context();
    double rowsOfBlock = 8.0 * attention.heads() * attention.headDim() + 3.0 * mlp.width();
    double most = (rows + sizes.layers() * rowsOfBlock) * sizes.width();
    if (most > MOST_PARAMETERS) {
      throw new ModelException(
          "the sizes make a model of about %.1e parameters, expected at most %.1e; check vocabulary %d, context %d, layers %d, width %d, heads %d of %d elements and MLP width %d"
              .formatted(
                  most,
                  MOST_PARAMETERS,
                  sizes.vocabulary(),
                  sizes.context(),
                  sizes.layers(),
                  sizes.width(),
                  attention.heads(),
                  attention.headDim(),
                  mlp.width()));
    }
  }

  private static void requirePositive(String what, int value) {
    if (value < 1) {
      throw new ModelException(what + " is " + value + ", expected at least 1");
    }
  }
}
