package filigree.sparsity;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.autograd.AdamW;
import filigree.autograd.Param;
import filigree.tensor.Kernels;
import filigree.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;

/**
 * Everything that a resumed run needs: the trained weights, their average, the optimiser's moments,
 * and a few numbers. Gate noise and batches are functions of the step.
 *
 * @param tensors by name: {@code student/...}, {@code average/...}, {@code mean/...}, {@code
 *     variance/...}
 * @param updates how many updates the optimiser has done
 * @param progress the numbers
 */
public record SparsifierState(
    SequencedMap<String, Tensor> tensors, int updates, Progress progress) {
  private static final ObjectMapper MAPPER = new ObjectMapper();

  /**
   * The numbers of a run's state.
   *
   * @param step steps done
   * @param tokens tokens read
   * @param probes where the constraint's next measurement begins
   * @param usualNorm running mean of the gradient norm
   * @param constraint the controller
   * @param best the best model so far
   * @param stale validations in a row without fewer edges within the tolerance
   */
  public record Progress(
      long step,
      long tokens,
      int probes,
      double usualNorm,
      Constraint.State constraint,
      Sparsifier.Candidate best,
      int stale) {}

  /**
   * Collects what a run changes; what stays frozen is not in its state.
   *
   * @param student what is trained, by name
   * @param average the same of the average model
   */
  static SparsifierState of(
      SequencedMap<String, Param> student,
      SequencedMap<String, Param> average,
      AdamW optimiser,
      Progress progress) {
    SequencedMap<String, Tensor> tensors = new LinkedHashMap<>();
    student.forEach((name, param) -> tensors.put("student/" + name, param.value()));
    average.forEach((name, param) -> tensors.put("average/" + name, param.value()));
    optimiser
        .moments()
        .forEach(
            (param, moments) -> {
              tensors.put("mean/" + param.name(), moments.mean());
              tensors.put("variance/" + param.name(), moments.variance());
            });
    return new SparsifierState(tensors, optimiser.steps(), progress);
  }

  /** Copies the tensors back. */
  void into(
      SequencedMap<String, Param> student,
      SequencedMap<String, Param> average,
      AdamW optimiser,
      Kernels kernels) {
    for (String name : tensors.keySet()) {
      String trained = name.substring(name.indexOf('/') + 1);
      if (!student.containsKey(trained)) {
        throw new RunException(
            "the saved state has %s, which this run does not train; resume with the options of the run"
                .formatted(name));
      }
    }
    Map<Param, AdamW.Moments> moments = new LinkedHashMap<>();
    student.forEach(
        (name, param) -> {
          kernels.cast(find("student/" + name, param), param.value());
          kernels.cast(find("average/" + name, param), average.get(name).value());
          if (tensors.containsKey("mean/" + name)) {
            moments.put(
                param,
                new AdamW.Moments(find("mean/" + name, param), find("variance/" + name, param)));
          }
        });
    optimiser.restore(updates, moments);
  }

  private Tensor find(String name, Param param) {
    Tensor tensor = tensors.get(name);
    if (tensor == null) {
      throw new RunException(
          "the saved state has no tensor "
              + name
              + "; it belongs to another model, or to a run that trains other weights");
    }
    if (!tensor.shape().equals(param.value().shape())) {
      throw new RunException(
          "the saved state has %s of shape %s, expected %s; resume with the options of the run"
              .formatted(name, tensor.shape(), param.value().shape()));
    }
    return tensor;
  }

  long step() {
    return progress.step();
  }

  long tokens() {
    return progress.tokens();
  }

  int probes() {
    return progress.probes();
  }

  double usualNorm() {
    return progress.usualNorm();
  }

  int stale() {
    return progress.stale();
  }

  Constraint.State constraint() {
    return progress.constraint();
  }

  Optional<Sparsifier.Candidate> best() {
    return Optional.of(progress.best());
  }

  /**
   * Writes the numbers.
   *
   * @return a JSON text; doubles are written so that they read back equal
   */
  public String numbers() {
    ObjectNode json = MAPPER.createObjectNode();
    json.put("updates", updates);
    json.set("progress", MAPPER.valueToTree(progress));
    return json.toString();
  }

  /**
   * Reads a state.
   *
   * @param tensors as saved
   * @param numbers as written by {@link #numbers}
   * @return the state
   * @throws RunException where the numbers are not readable
   */
  public static SparsifierState read(SequencedMap<String, Tensor> tensors, String numbers) {
    try {
      JsonNode json = MAPPER.readTree(numbers);
      return new SparsifierState(
          tensors,
          json.path("updates").asInt(),
          MAPPER.treeToValue(json.path("progress"), Progress.class));
    } catch (JsonProcessingException | IllegalArgumentException e) {
      throw new RunException("the saved state cannot be read: " + e.getMessage(), e);
    }
  }
}
