package filigree.interp.circuit;

import filigree.transformer.Gates;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;

/** A whole search: scores, curve, circuit, report. */
public final class CircuitSearch {
  /**
   * What is searched for, and how.
   *
   * @param method how nodes or edges are scored
   * @param level what is scored
   * @param split whether heads read as a whole; for edges
   * @param direction which run is patched; without effect on ACDC
   * @param plan how the curve is measured
   * @param bootstrap how prompts are drawn for intervals
   */
  public record Request(
      Method method,
      Ranking.Level level,
      CircuitGraph.Split split,
      Direction direction,
      Curve.Plan plan,
      Bootstrap.Plan bootstrap) {
    /** Checks that method and level go together, and that there is a target. */
    public Request {
      if (method instanceof Method.LeaveOut && level != Ranking.Level.EDGE) {
        throw new CircuitException(
            "ACDC finds edges, and %s were asked for; use another method or the level edge"
                .formatted(level == Ranking.Level.HEAD ? "heads" : "nodes"));
      }
      if (plan.targets().isEmpty()) {
        throw new CircuitException(
            "no explained effect is given that the circuit is to reach; give one such as 0.9");
      }
    }
  }

  private CircuitSearch() {}

  /**
   * Scores, measures the curve and takes the smallest circuit that reaches the plan's first target.
   *
   * @param study model and prompts
   * @param request what is searched for
   * @param hashes of model and task by name, for the report
   * @return what was found
   */
  public static Finding run(Study study, Request request, Map<String, String> hashes) {
    CircuitRunner runner = new CircuitRunner(study);
    Ranking ranking = rank(runner, request);
    Curve curve = Curve.trace(runner, ranking, request.plan());
    Bootstrap bootstrap = new Bootstrap(curve.prompts(), request.bootstrap());
    double k = curve.kAt(request.plan().targets().getFirst(), bootstrap).estimate();
    Circuit first = ranking.circuit((int) k);
    Circuit circuit =
        switch (first) {
          case Circuit.Nodes nodes -> nodes;
          case Circuit.Edges edges ->
              switch (request.plan().selection()) {
                case TOP -> edges;
                case TOP_PRUNED -> edges.pruned();
              };
        };
    return new Finding(ranking, circuit, curve, bootstrap, settings(study, request), hashes);
  }

  /**
   * Scores.
   *
   * @param runner model and prompts
   * @param request what is searched for
   * @return heads, nodes or edges, largest score first
   */
  public static Ranking rank(CircuitRunner runner, Request request) {
    return switch (request.level()) {
      case HEAD -> Ranking.heads(nodes(runner, request));
      case NODE -> Ranking.nodes(nodes(runner, request));
      case EDGE -> edges(runner, request);
    };
  }

  private static NodeScores nodes(CircuitRunner runner, Request request) {
    return switch (request.method()) {
      case Method.Patch() -> Patching.nodes(runner.study(), request.direction());
      case Method.Attribute(Gradient gradient) ->
          Attribution.nodes(runner.study(), request.direction(), gradient);
      case Method.LeaveOut(double _) ->
          throw new IllegalStateException("refused where the request was made");
    };
  }

  private static Ranking edges(CircuitRunner runner, Request request) {
    return switch (request.method()) {
      case Method.Patch() ->
          Ranking.edges(Patching.edges(runner.study(), request.split(), request.direction()));
      case Method.Attribute(Gradient gradient) ->
          Ranking.edges(
              Attribution.edges(runner.study(), request.split(), request.direction(), gradient));
      case Method.LeaveOut(double threshold) ->
          Ranking.edges(Acdc.search(runner, request.split(), request.plan().ablation(), threshold));
    };
  }

  private static Map<String, String> settings(Study study, Request request) {
    Map<String, String> out = new LinkedHashMap<>();
    out.put("method", request.method().describe());
    out.put("direction", lower(request.direction()));
    out.put("metric", study.settings().metric().label());
    out.put(
        "gates",
        switch (study.subject().gates()) {
          case Gates.Dense() -> "dense";
          case Gates.Hard(double bias) -> "hard, bias " + bias;
          case Gates.Soft(double bias) -> "soft, bias " + bias;
          case Gates.Sampled(double _, long _, long _) ->
              throw new IllegalStateException("refused by the subject");
        });
    out.put(
        "gate_source",
        switch (study.subject().gateSource()) {
          case GateSource.Own() -> "own";
          case GateSource.Of(Subject _) -> "another model";
        });
    out.put("gate_rule", lower(study.settings().gateRule()));
    out.put("samples", Integer.toString(request.bootstrap().samples()));
    out.put("confidence", Double.toString(request.bootstrap().confidence()));
    out.put("seed", Long.toString(request.bootstrap().seed()));
    return out;
  }

  private static String lower(Enum<?> choice) {
    return choice.name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
