package filigree.sparsity;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Optional;

/**
 * What one training step reports: a line of {@code metrics.jsonl}.
 *
 * @param step from 1
 * @param ce cross-entropy of the batch, nats per scored token, with the gates as trained
 * @param ceAverage what the constraint watches: the dense model's held-out loss plus the moving
 *     average of the excess, with hard gates
 * @param density share of causal pairs whose gate is open without noise
 * @param expectedDensity mean sigmoid of the gate logits: the statistic that is minimised
 * @param edgesPerQuery open gates per query and head
 * @param beta weight of the expected density in the objective
 * @param rate learning rate
 * @param gradientNorm before clipping
 * @param tokens tokens read so far
 * @param wallMillis since the run began
 * @param validation measures on held-out text, where this step has them
 */
public record Metrics(
    long step,
    double ce,
    double ceAverage,
    double density,
    double expectedDensity,
    double edgesPerQuery,
    double beta,
    double rate,
    double gradientNorm,
    long tokens,
    long wallMillis,
    Optional<Validation> validation) {
  /**
   * Measures on held-out text, with hard gates.
   *
   * @param ce nats per scored token
   * @param density share of causal pairs kept
   * @param edgesPerQuery open gates per query and head
   */
  public record Validation(double ce, double density, double edgesPerQuery) {}

  /**
   * Writes the line.
   *
   * @param phase which part of a run this is, such as {@code dense} or {@code sparse}
   * @return an object with the keys of the contract
   */
  public ObjectNode toJson(String phase) {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("phase", phase);
    json.put("step", step);
    json.put("ce", ce);
    json.put("ce_average", ceAverage);
    json.put("density", density);
    json.put("expected_density", expectedDensity);
    json.put("edges_per_query", edgesPerQuery);
    json.put("beta", beta);
    json.put("lr", rate);
    json.put("grad_norm", gradientNorm);
    json.put("tokens", tokens);
    json.put("wall_ms", wallMillis);
    validation.ifPresent(
        held -> {
          json.put("valid_ce", held.ce());
          json.put("valid_density", held.density());
          json.put("valid_edges_per_query", held.edgesPerQuery());
        });
    return json;
  }
}
