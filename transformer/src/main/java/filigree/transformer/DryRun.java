package filigree.transformer;

import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import java.lang.reflect.Proxy;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Runs a program with kernels that compute nothing, in memory that has no bytes: what it would
 * reserve is what it will reserve, because the same operations are applied and the same tensors
 * made and given back in the same order. Takes milliseconds for a model of any size.
 */
public final class DryRun {
  /** Computes nothing; every number that it returns is 0 and every answer yes. */
  private static final Kernels IDLE =
      (Kernels)
          Proxy.newProxyInstance(
              Kernels.class.getClassLoader(),
              new Class<?>[] {Kernels.class},
              (proxy, method, arguments) -> {
                Class<?> type = method.getReturnType();
                if (type == double.class) {
                  return 0.0;
                }
                if (type == boolean.class) {
                  return true;
                }
                return type == String.class ? "idle" : null;
              });

  private DryRun() {}

  /** A program. It must not look at elements of tensors of the workspace. */
  public interface Program {
    /**
     * Runs it.
     *
     * @param kernels compute nothing
     * @param memory has no bytes
     */
    void run(Kernels kernels, Workspace memory);
  }

  /** A program that runs a model; nor must it look at elements of weights and batch. */
  public interface Step {
    /**
     * Runs it.
     *
     * @param model has weights without bytes
     * @param batch has no bytes
     * @param kernels compute nothing
     * @param memory has no bytes
     */
    void run(Transformer model, Batch batch, Kernels kernels, Workspace memory);
  }

  /**
   * Runs a program.
   *
   * @param program the program
   * @return bytes that its workspace takes from the system
   */
  public static long reservedBytes(Program program) {
    try (Workspace memory = Workspace.imaginary("dry run")) {
      program.run(IDLE, memory);
      return memory.reservedBytes();
    }
  }

  /**
   * Runs a step of a model: training with or without frozen weights and adapters, or evaluation.
   *
   * @param config the model
   * @param batch sequences at once
   * @param time tokens of each
   * @param step what is done; it may make weights of its own in the workspace
   * @return bytes that the step's workspace takes from the system, the batch included
   */
  public static long ofStep(ModelConfig config, int batch, int time, Step step) {
    ModelConfig cut = cut(config, time);
    try (Workspace tables = new Workspace("tables");
        Workspace imaginary = Workspace.imaginary("weights")) {
      Transformer model = new Transformer(cut, parameters(cut, imaginary), tables);
      return reservedBytes(
          (kernels, memory) -> {
            Shape shape = Shape.of(batch, time);
            Tensor ids = memory.allocate(shape, DType.I32);
            Tensor targets = memory.allocate(shape, DType.I32);
            step.run(model, new Batch(ids, targets, shape.size()), kernels, memory);
          });
    }
  }

  /** Tables are made for real: only as long as the run needs them. */
  private static ModelConfig cut(ModelConfig config, int time) {
    ModelConfig.Sizes sizes = config.sizes();
    if (time > sizes.context()) {
      throw new ModelException(
          "windows of %d tokens are longer than the model's context of %d"
              .formatted(time, sizes.context()));
    }
    return config.withContext(time);
  }

  private static Parameters parameters(ModelConfig config, Workspace memory) {
    Map<String, Tensor> weights = new LinkedHashMap<>();
    for (ModelConfig.ParameterSpec spec : config.parameters()) {
      weights.put(spec.name(), memory.allocate(spec.shape(), DType.F32));
    }
    return Parameters.of(config, weights);
  }
}
