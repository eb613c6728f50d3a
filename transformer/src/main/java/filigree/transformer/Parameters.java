package filigree.transformer;

import filigree.autograd.Param;
import filigree.tensor.DType;
import filigree.tensor.Memory;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Predicate;

/**
 * A model's weights by name, in the order of {@link ModelConfig#parameters()}, and what some of its
 * linear maps may carry beside them. All are of the one type that the model computes in, except for
 * matrices that are frozen: those may stay as they were stored, BF16 or F16, each on its own, and
 * are widened inside kernels.
 */
public final class Parameters {
  /** In the names of the gates' own maps, where ordinary ones have only {@code .attn.}. */
  private static final String GATE_MAP = ".attn.gate_";

  private final Map<String, Param> byName;
  private final Map<String, Adapter> adapters;
  private final DType computing;

  private Parameters(Map<String, Param> byName) {
    this(byName, Map.of());
  }

  private Parameters(Map<String, Param> byName, Map<String, Adapter> adapters) {
    this.byName = byName;
    this.adapters = adapters;
    this.computing = computingType(byName.values());
  }

  private static DType computingType(Collection<Param> params) {
    Optional<Param> first = Optional.empty();
    for (Param param : params) {
      DType type = param.value().dtype();
      if (type.computes()) {
        if (first.isPresent() && first.get().value().dtype() != type) {
          throw new ModelException(
              "parameter %s is %s and %s is %s; a model computes in one type"
                  .formatted(param.name(), type, first.get().name(), first.get().value().dtype()));
        }
        first = first.or(() -> Optional.of(param));
      } else if ((type != DType.BF16 && type != DType.F16) || param.value().shape().rank() != 2) {
        throw new ModelException(
            "parameter %s of shape %s is %s; only matrices may be stored in BF16 or F16, expected F32"
                .formatted(param.name(), param.value().shape(), type));
      }
    }
    // Where everything is a stored matrix, it is widened to F32.
    return first.map(param -> param.value().dtype()).orElse(DType.F32);
  }

  /**
   * Takes weights that were loaded.
   *
   * @param config what the model needs
   * @param weights tensors by the names of {@link ModelConfig#parameters()}; not copied
   * @return the parameters
   * @throws ModelException where one is missing, unknown or of another shape, or where types do not
   *     go together
   */
  public static Parameters of(ModelConfig config, Map<String, Tensor> weights) {
    Map<String, Param> params = new LinkedHashMap<>();
    List<String> missing = new ArrayList<>();
    for (ModelConfig.ParameterSpec spec : config.parameters()) {
      Tensor weight = weights.get(spec.name());
      if (weight == null) {
        missing.add(spec.name());
      } else if (!weight.shape().equals(spec.shape())) {
        throw new ModelException(
            "parameter %s has shape %s, the configuration says %s"
                .formatted(spec.name(), weight.shape(), spec.shape()));
      } else {
        params.put(spec.name(), new Param(spec.name(), weight));
      }
    }
    if (!missing.isEmpty()) {
      throw new ModelException("parameters are missing: " + String.join(", ", missing));
    }
    for (String name : weights.keySet()) {
      if (!params.containsKey(name)) {
        throw new ModelException("parameter " + name + " is not one of this configuration");
      }
    }
    return new Parameters(params);
  }

  /**
   * Draws {@link InitialWeights}.
   *
   * @param config the model
   * @param dtype F32 or F64
   * @param memory owns the weights
   * @param draw the distribution
   * @return the parameters
   */
  public static Parameters random(ModelConfig config, DType dtype, Memory memory, Draw draw) {
    Map<String, Param> params = new LinkedHashMap<>();
    InitialWeights initial = new InitialWeights(config, draw);
    for (ModelConfig.ParameterSpec spec : config.parameters()) {
      String name = spec.name();
      Tensor value = Tensor.generate(memory, dtype, spec.shape(), initial.elements(name));
      params.put(name, new Param(name, value));
    }
    return new Parameters(params);
  }

  /**
   * How initial weights are drawn.
   *
   * @param deviation standard deviation of the matrices, {@code initializer_range} in config.json
   * @param seed chooses the draw
   */
  public record Draw(double deviation, long seed) {
    /** Checks the deviation. */
    public Draw {
      if (!(deviation > 0)) {
        throw new ModelException(
            "initial weights: the deviation is " + deviation + ", expected more than 0");
      }
    }
  }

  /**
   * Returns a parameter.
   *
   * @param name its name
   * @return the parameter
   * @throws ModelException where there is none of this name
   */
  public Param get(String name) {
    Param param = byName.get(name);
    if (param == null) {
      throw new ModelException("there is no parameter named " + name);
    }
    return param;
  }

  /**
   * Returns the type of activations, caches and tables.
   *
   * @return that of all weights but stored matrices; F32 where there is none
   */
  public DType computing() {
    return computing;
  }

  /**
   * Returns the weights in order, without adapters.
   *
   * @return an unmodifiable view
   */
  public Collection<Param> all() {
    return Collections.unmodifiableCollection(byName.values());
  }

  /**
   * Returns all weights by name, in order.
   *
   * @return a new map of the tensors, not copied
   */
  public Map<String, Tensor> tensors() {
    Map<String, Tensor> out = new LinkedHashMap<>();
    byName.forEach((name, param) -> out.put(name, param.value()));
    return out;
  }

  /**
   * Returns the same weights with adapters on some of them.
   *
   * @param carried adapters by the name of the weight of a block's linear map, such as {@code
   *     blocks.0.attn.q.weight}; they replace what these weights carry
   * @return parameters that share the weights with these
   * @throws ModelException where a name is not that of such a weight, or a shape does not fit it
   */
  public Parameters with(Map<String, Adapter> carried) {
    carried.forEach(
        (name, adapter) -> {
          Shape shape = get(name).value().shape();
          if (!name.startsWith("blocks.") || shape.rank() != 2) {
            throw new ModelException(
                name + " cannot carry an adapter; only the linear maps of blocks can");
          }
          if (adapter.b().value().shape().dim(0) != shape.dim(0)
              || adapter.a().value().shape().dim(1) != shape.dim(1)) {
            throw new ModelException(
                "the adapter of %s has the factors %s and %s, which do not fit its shape %s"
                    .formatted(
                        name, adapter.b().value().shape(), adapter.a().value().shape(), shape));
          }
        });
    Map<String, Adapter> ordered = new LinkedHashMap<>();
    for (String name : byName.keySet()) {
      if (carried.containsKey(name)) {
        ordered.put(name, carried.get(name));
      }
    }
    return new Parameters(byName, ordered);
  }

  /**
   * Returns what a weight carries.
   *
   * @param name its name
   * @return its adapter, or nothing
   */
  public Optional<Adapter> adapter(String name) {
    return Optional.ofNullable(adapters.get(name));
  }

  /**
   * Returns all adapters.
   *
   * @return adapters by the name of their weight, in the order of the weights; unmodifiable
   */
  public Map<String, Adapter> adapters() {
    return Collections.unmodifiableMap(adapters);
  }

  /**
   * Returns everything that a pass may enter: the weights in order, then the factors of adapters.
   *
   * @return a new list
   */
  public List<Param> everything() {
    List<Param> out = new ArrayList<>(byName.values());
    for (Adapter adapter : adapters.values()) {
      out.add(adapter.a());
      out.add(adapter.b());
    }
    return out;
  }

  /**
   * Returns the same weights with those that a model's gates need besides: queries and keys of the
   * gates are copies of the ordinary ones, biases of heads are 0.
   *
   * @param config the model, whose other parameters are these
   * @param memory owns what is added
   * @return parameters that share the weights with these
   */
  public Parameters withGating(ModelConfig config, Memory memory) {
    Map<String, Param> params = new LinkedHashMap<>();
    for (ModelConfig.ParameterSpec spec : config.parameters()) {
      String name = spec.name();
      Param own = byName.get(name);
      if (own != null) {
        params.put(name, own);
      } else if (name.contains(GATE_MAP)) {
        Tensor source = get(name.replace(GATE_MAP, ".attn.")).value();
        params.put(name, new Param(name, widened(source, memory)));
      } else {
        params.put(name, new Param(name, Tensor.generate(memory, computing, spec.shape(), i -> 0)));
      }
    }
    return new Parameters(params, adapters);
  }

  /**
   * Copies what will change, in the type that the model computes in, and shares the rest.
   *
   * @param memory owns the copies
   * @param which the parameters to be copied; an adapter is copied where its A is
   * @return parameters of the same names
   */
  public Parameters copy(Memory memory, Predicate<Param> which) {
    Map<String, Param> params = new LinkedHashMap<>();
    byName.forEach(
        (name, param) ->
            params.put(
                name, which.test(param) ? new Param(name, widened(param.value(), memory)) : param));
    Map<String, Adapter> copies = new LinkedHashMap<>();
    adapters.forEach(
        (name, adapter) ->
            copies.put(name, which.test(adapter.a()) ? adapter.copy(memory) : adapter));
    return new Parameters(params, copies);
  }

  private Tensor widened(Tensor value, Memory memory) {
    return value.dtype() == computing
        ? value.copy(memory)
        : Tensor.generate(memory, computing, value.shape(), value::get);
  }
}
