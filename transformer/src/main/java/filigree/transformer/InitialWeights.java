package filigree.transformer;

import filigree.tensor.Philox;
import filigree.transformer.ModelConfig.ParameterSpec;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.LongToDoubleFunction;

/**
 * Initial weights, each parameter on its own, so that a model need not fit into memory to be made.
 * As GPT-2 has them: matrices from a normal distribution, those that write into the residual stream
 * divided by sqrt(2 layers), norms 1, biases 0 (Radford et al., "Language models are unsupervised
 * multitask learners", section 2.3).
 */
public final class InitialWeights {
  private final ModelConfig config;
  private final Parameters.Draw draw;
  private final Map<String, Integer> streams = new LinkedHashMap<>();
  private final Map<String, ParameterSpec> specs = new LinkedHashMap<>();

  /**
   * Prepares the draw.
   *
   * @param config the model
   * @param draw the distribution
   */
  public InitialWeights(ModelConfig config, Parameters.Draw draw) {
    this.config = config;
    this.draw = draw;
    for (ParameterSpec spec : config.parameters()) {
      streams.put(spec.name(), streams.size());
      specs.put(spec.name(), spec);
    }
  }

  /**
   * Returns the model.
   *
   * @return its description
   */
  public ModelConfig config() {
    return config;
  }

  /**
   * Draws one parameter.
   *
   * @param name one of {@link ModelConfig#parameters}
   * @return its elements, to be asked for once each and in row-major order
   * @throws ModelException where there is no parameter of this name
   */
  public LongToDoubleFunction elements(String name) {
    ParameterSpec spec = specs.get(name);
    if (spec == null) {
      throw new ModelException("there is no parameter named " + name);
    }
    if (spec.shape().rank() < 2) {
      double constant = name.endsWith(".weight") ? 1 : 0;
      return i -> constant;
    }
    boolean residual = name.endsWith("attn.o.weight") || name.endsWith("mlp.down.weight");
    double deviation =
        residual ? draw.deviation() / Math.sqrt(2.0 * config.sizes().layers()) : draw.deviation();
    Philox random = new Philox(draw.seed(), streams.get(name));
    return i -> deviation * random.nextGaussian();
  }
}
