package filigree.cli;

import filigree.interp.circuit.Curve;
import filigree.interp.circuit.Direction;
import filigree.interp.circuit.Finding;
import filigree.interp.circuit.Gradient;
import filigree.interp.circuit.Interval;
import filigree.interp.circuit.Method;
import filigree.interp.circuit.Node;
import filigree.interp.circuit.Ranking;
import filigree.interp.report.CircuitPageData;
import filigree.interp.task.Task;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.OptionalInt;
import java.util.Set;
import java.util.stream.IntStream;

/** What was found in one model, or in two, as the page shows it. */
final class CircuitPages {
  /**
   * A model in which a circuit was found.
   *
   * @param name as it is shown
   * @param found the circuit
   */
  record Side(String name, CircuitLook.Found found) {}

  /** What the page says in other words. */
  private static final Set<String> ELSEWHERE = Set.of("model", "task", "source");

  private CircuitPages() {}

  /** The page of one model or two. */
  static CircuitPageData data(CircuitPlan plan, List<Side> sides) {
    Task task = plan.task();
    Finding first = sides.getFirst().found().finding();
    return new CircuitPageData(
        new CircuitPageData.Question(task.name(), task.description(), task.source()),
        settings(sides),
        sides.stream().map(side -> model(plan, side)).toList(),
        List.of(
            new CircuitPageData.Panel(
                first.settings().get("method")
                    + ", "
                    + lower(first.curve().plan().ablation())
                    + " ablation",
                unit(first.ranking().level()),
                sides.stream().map(side -> curve(side.found().finding())).toList(),
                ratios(sides))),
        sides.getFirst().found().attention().stream()
            .map(CircuitLook.ShownPrompt::prompt)
            .toList());
  }

  private static List<CircuitPageData.Setting> settings(List<Side> sides) {
    Finding first = sides.getFirst().found().finding();
    List<CircuitPageData.Setting> out = new ArrayList<>();
    first
        .settings()
        .forEach(
            (name, value) -> {
              if (ELSEWHERE.contains(name)) {
                return;
              }
              out.add(new CircuitPageData.Setting(name, value));
              for (Side other : sides.subList(1, sides.size())) {
                String own = other.found().finding().settings().get(name);
                if (!own.equals(value)) {
                  out.add(new CircuitPageData.Setting(name + " of " + other.name(), own));
                }
              }
            });
    out.add(new CircuitPageData.Setting("level", lower(first.ranking().level())));
    out.add(new CircuitPageData.Setting("split", lower(first.ranking().graph().split())));
    out.add(new CircuitPageData.Setting("ablation", lower(first.curve().plan().ablation())));
    out.add(
        new CircuitPageData.Setting("an effect of 0 is", lower(first.curve().plan().baseline())));
    out.add(new CircuitPageData.Setting("prompts", Integer.toString(first.curve().prompts())));
    return out;
  }

  private static CircuitPageData.Model model(CircuitPlan plan, Side side) {
    CircuitLook.Found found = side.found();
    Ranking ranking = found.finding().ranking();
    List<CircuitPageData.ScoredEdge> edges =
        switch (ranking.level()) {
          case HEAD, NODE -> List.of();
          case EDGE ->
              IntStream.range(0, ranking.total())
                  .mapToObj(
                      rank ->
                          new CircuitPageData.ScoredEdge(
                              ranking.edgeAt(rank), edgeHelp(plan, ranking.scoreAt(rank))))
                  .toList();
        };
    List<CircuitPageData.ScoredNode> nodes = new ArrayList<>();
    for (Node node : found.nodes().graph().senders()) {
      switch (node) {
        case Node.Input() -> {}
        case Node.Head(int _, int _) ->
            nodes.add(
                new CircuitPageData.ScoredNode(
                    node, help(plan, plan.request().direction(), found.nodes().of(node))));
        case Node.Mlp(int _) ->
            nodes.add(
                new CircuitPageData.ScoredNode(
                    node, help(plan, plan.request().direction(), found.nodes().of(node))));
        case Node.Logits() -> throw new IllegalStateException("the logits write nothing");
      }
    }
    return new CircuitPageData.Model(
        side.name(),
        new CircuitPageData.Shape(ranking.graph().layers(), ranking.graph().heads()),
        edges,
        nodes,
        found.attention().stream().map(CircuitLook.ShownPrompt::pattern).toList());
  }

  /** ACDC ablates edges, whatever the direction. */
  private static double edgeHelp(CircuitPlan plan, double score) {
    return switch (plan.request().method()) {
      case Method.LeaveOut(double _) -> help(plan, Direction.CORRUPT, score);
      case Method.Patch() -> help(plan, plan.request().direction(), score);
      case Method.Attribute(Gradient _) -> help(plan, plan.request().direction(), score);
    };
  }

  /** A change of the metric by a patch as what the part does: above 0 where it helps. */
  private static double help(CircuitPlan plan, Direction direction, double change) {
    double damage = plan.metric().damage(0, change);
    return switch (direction) {
      case CORRUPT -> damage;
      case RESTORE -> -damage;
    };
  }

  private static CircuitPageData.Curve curve(Finding finding) {
    Curve curve = finding.curve();
    List<CircuitPageData.Point> points = new ArrayList<>();
    for (Curve.Point point : curve.points()) {
      Interval effect = curve.effect(point.k(), finding.bootstrap());
      points.add(
          new CircuitPageData.Point(point.k(), effect.estimate(), effect.low(), effect.high()));
    }
    return new CircuitPageData.Curve(
        curve.total(),
        points,
        curve.plan().targets().stream()
            .sorted()
            .map(
                target ->
                    new CircuitPageData.Reach(
                        target,
                        OptionalInt.of((int) curve.kAt(target, finding.bootstrap()).estimate())))
            .toList());
  }

  private static List<CircuitPageData.Ratio> ratios(List<Side> sides) {
    if (sides.size() < 2) {
      return List.of();
    }
    Finding first = sides.getFirst().found().finding();
    Finding second = sides.getLast().found().finding();
    return first.curve().plan().targets().stream()
        .sorted()
        .map(
            target -> {
              Interval ratio =
                  Curve.ratio(first.curve(), second.curve(), target, first.bootstrap());
              return new CircuitPageData.Ratio(target, ratio.estimate(), ratio.low(), ratio.high());
            })
        .toList();
  }

  private static CircuitPageData.Unit unit(Ranking.Level level) {
    return switch (level) {
      case HEAD -> CircuitPageData.Unit.HEADS;
      case NODE -> CircuitPageData.Unit.NODES;
      case EDGE -> CircuitPageData.Unit.EDGES;
    };
  }

  /** A choice as it is written on the command line. */
  static String lower(Enum<?> choice) {
    return choice.name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
