package filigree.interp.report;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.function.DoubleFunction;
import java.util.function.Function;

/** What a run came to: in words, and in its main figures. */
final class Summary {
  private Summary() {}

  /**
   * A main figure of a run.
   *
   * @param label its name
   * @param meaning what it says, for a reader who has not read the paper
   * @param show how its numbers are written, with their unit
   * @param value where it stands
   */
  private record Figure(
      String label,
      String meaning,
      DoubleFunction<String> show,
      Function<ReportedRun, OptionalDouble> value) {}

  private static final List<Figure> FIGURES =
      List.of(
          new Figure(
              "Base loss",
              "Loss of the dense model, before its attention was made sparse.",
              Summary::lossText,
              Summary::baseLoss),
          new Figure(
              "Final loss",
              "Loss at the end; for a sparse model with hard gates, each either open or closed.",
              Summary::lossText,
              Summary::finalLoss),
          new Figure(
              "Sampled loss",
              "The same with gates drawn at random, as in training.",
              Summary::lossText,
              run -> run.result("sampled_ce")),
          new Figure(
              "τ (tau)",
              "The constraint: the loss that the run was not to exceed.",
              Summary::lossText,
              ReportedRun::tau),
          new Figure(
              "Density",
              "Attention edges left open, as a share of all causal query–key pairs.",
              Numbers::percent,
              run -> orLast(run, run.result("density"), "valid_density", "density")),
          new Figure(
              "Expected density",
              "The same, counting each gate by its probability of being open.",
              Numbers::percent,
              run -> orLast(run, run.result("expected_density"), "expected_density")),
          new Figure(
              "Edges per query",
              "Keys that one query of one head reads, on average. Unlike density, it does not"
                  + " shrink merely because a text is longer.",
              Numbers::plain,
              Summary::edgesPerQuery),
          new Figure(
              "Empty rows",
              "Queries of a head that read nothing, over all of the held-out text.",
              Numbers::plain,
              run -> run.result("empty_rows")),
          new Figure(
              "Dead heads",
              "Heads that read nothing at any query of the held-out text.",
              Numbers::plain,
              run -> run.result("dead_heads")),
          new Figure(
              "Edges to the first token",
              "Share of the open edges that lead to the first token of a window.",
              Numbers::percent,
              run -> run.result("first_share")),
          new Figure(
              "Edges to itself",
              "Share of the open edges that lead from a token to itself.",
              Numbers::percent,
              run -> run.result("diagonal_share")),
          new Figure(
              "Divergence from the dense model",
              "KL(dense || sparse), per token: 0 where both predict the same chances.",
              Summary::lossText,
              run -> run.result("kl")),
          new Figure(
              "Agreement with the dense model",
              "Share of tokens at which both find the same next token likeliest.",
              Numbers::percent,
              run -> run.result("top1_agreement")),
          new Figure(
              "Base loss, test text",
              "Loss of the dense model on text that chose nothing about the run.",
              Summary::lossText,
              run -> run.result("test_base_ce")),
          new Figure(
              "Final loss, test text",
              "Loss of the sparse model on the same text.",
              Summary::lossText,
              run -> run.result("test_ce")),
          new Figure(
              "Edges per query, test text",
              "Keys that one query of one head reads there, on average.",
              Numbers::plain,
              run -> run.result("test_edges_per_query")),
          new Figure(
              "Accuracy, dense",
              "Share of prompts that the dense model answers without an error.",
              Numbers::percent,
              run -> run.result("dense_accuracy")),
          new Figure(
              "Accuracy, sparse",
              "The same for the sparse model, with hard gates.",
              Numbers::percent,
              run -> run.result("sparse_accuracy")),
          new Figure("Steps", "Updates of the weights.", Numbers::plain, Summary::steps));

  /** The table of main figures: one column per run, and the meaning of each row. */
  static String table(List<ReportedRun> runs) {
    List<String> head = new ArrayList<>(List.of("Figure"));
    runs.forEach(run -> head.add(runs.size() == 1 ? "Value" : run.name()));
    head.add("Meaning");
    List<List<String>> rows = new ArrayList<>();
    for (Figure figure : FIGURES) {
      List<OptionalDouble> values = runs.stream().map(figure.value()).toList();
      if (values.stream().noneMatch(OptionalDouble::isPresent)) {
        continue;
      }
      List<String> row = new ArrayList<>(List.of(figure.label()));
      values.forEach(v -> row.add(v.isPresent() ? figure.show().apply(v.getAsDouble()) : "–"));
      row.add(figure.meaning());
      rows.add(row);
    }
    return Html.table("Main figures", head, rows);
  }

  /** One paragraph about one run. */
  static String paragraph(ReportedRun run) {
    List<String> sentences = new ArrayList<>();
    sentences.add(
        switch (run.verb()) {
          case "sparsify" ->
              "A trained transformer was trained further so that its attention keeps as few"
                  + " connections as possible without its loss becoming worse.";
          case "demo" ->
              "A small transformer learned to add two-digit numbers with ordinary, dense attention;"
                  + " then it was trained further so that its attention keeps as few connections"
                  + " as possible without its loss becoming worse.";
          case "train" -> "A transformer was trained from random weights.";
          default -> "This is a run of the command “" + run.verb() + "”.";
        });
    losses(run).ifPresent(sentences::add);
    openEdges(run).ifPresent(sentences::add);
    accuracies(run).ifPresent(sentences::add);
    if (run.settings().path("result").isEmpty()) {
      sentences.add("The run has not written a result: figures are the last that it logged.");
    }
    return String.join(" ", sentences);
  }

  private static Optional<String> losses(ReportedRun run) {
    OptionalDouble end = finalLoss(run);
    if (end.isEmpty()) {
      return Optional.empty();
    }
    OptionalDouble base = baseLoss(run);
    String change =
        base.isPresent()
            ? "The loss went from "
                + Numbers.nats(base.getAsDouble())
                + " to "
                + lossText(end.getAsDouble())
            : "The loss came to " + lossText(end.getAsDouble());
    if (run.tau().isEmpty()) {
      return Optional.of(change + ".");
    }
    double tau = run.tau().getAsDouble();
    String side = end.getAsDouble() <= tau ? ", within" : ", above";
    return Optional.of(change + side + " the permitted τ of " + Numbers.nats(tau) + ".");
  }

  private static Optional<String> openEdges(ReportedRun run) {
    OptionalDouble density = orLast(run, run.result("density"), "valid_density", "density");
    if (density.isEmpty()) {
      return Optional.empty();
    }
    OptionalDouble edges = edgesPerQuery(run);
    return Optional.of(
        "Of all connections from a token to an earlier one or itself, "
            + Numbers.percent(density.getAsDouble())
            + " are still open"
            + (edges.isPresent()
                ? ": each query of each head reads "
                    + Numbers.plain(edges.getAsDouble())
                    + " tokens on average."
                : "."));
  }

  private static Optional<String> accuracies(ReportedRun run) {
    OptionalDouble dense = run.result("dense_accuracy");
    OptionalDouble sparse = run.result("sparse_accuracy");
    if (dense.isEmpty() || sparse.isEmpty()) {
      return Optional.empty();
    }
    return Optional.of(
        "The dense model answers "
            + Numbers.percent(dense.getAsDouble())
            + " of the prompts correctly, the sparse one "
            + Numbers.percent(sparse.getAsDouble())
            + ".");
  }

  private static OptionalDouble baseLoss(ReportedRun run) {
    return run.result("base_ce", "dense_loss", "dense_ce");
  }

  private static OptionalDouble finalLoss(ReportedRun run) {
    OptionalDouble result = run.result("ce", "sparse_loss", "sparse_ce", "loss");
    return orLast(run, result, "valid_ce", "ce_average", "ce");
  }

  private static OptionalDouble edgesPerQuery(ReportedRun run) {
    OptionalDouble result = run.result("edges_per_query");
    return orLast(run, result, "valid_edges_per_query", "edges_per_query");
  }

  private static OptionalDouble steps(ReportedRun run) {
    OptionalDouble result = run.result("steps");
    return result.isPresent()
        ? result
        : run.log().phases().stream().mapToDouble(MetricLog.Phase::last).reduce((a, b) -> b);
  }

  /** The result, or for a run without one the last logged value of the first of these keys. */
  private static OptionalDouble orLast(ReportedRun run, OptionalDouble result, String... keys) {
    if (result.isPresent()) {
      return result;
    }
    for (String key : keys) {
      Optional<MetricSeries> series = run.log().find(key);
      if (series.isPresent()) {
        return OptionalDouble.of(series.get().last());
      }
    }
    return OptionalDouble.empty();
  }

  private static String lossText(double loss) {
    return Numbers.nats(loss) + " nats per token";
  }
}
