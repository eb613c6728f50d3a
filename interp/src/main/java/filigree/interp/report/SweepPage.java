package filigree.interp.report;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.stream.Collectors;

/**
 * One self-contained page about a sweep: loss against edges, with the front of the settings that no
 * other beats, and the table of all settings. Drawn here and not by a script, so that the plot can
 * be copied out of the page.
 */
public final class SweepPage {
  private static final int WIDTH = 860;
  private static final int HEIGHT = 520;
  private static final int LEFT = 70;
  private static final int RIGHT = 20;
  private static final int TOP = 16;
  private static final int BOTTOM = 50;
  private static final int COLOURS = 12;

  private SweepPage() {}

  /**
   * Writes the page, to a temporary name first.
   *
   * @param sweep what it shows
   * @param page the HTML file
   * @throws ReportException where it cannot be written
   */
  public static void write(Sweep sweep, Path page) {
    List<List<String>> failures =
        sweep.runs().stream()
            .filter(run -> !run.note().isEmpty())
            .map(run -> List.of(run.settingText() + ", seed " + run.seed(), run.note()))
            .toList();
    PageFile.write(
        Html.fill(
            Html.resource("sweep.html"),
            Map.of(
                "title", Html.escape(sweep.title()),
                "style", Html.resource("page.css"),
                "plot", plot(sweep),
                "table", Html.table("Means over seeds", Sweep.HEAD, sweep.rows()),
                "runs", Html.table("Runs", runsHead(sweep), runs(sweep)),
                "notes", Html.table("What went wrong", List.of("run", "what"), failures))),
        page);
  }

  private static List<String> measures(Sweep sweep) {
    return sweep.runs().stream()
        .flatMap(run -> run.measures().keySet().stream())
        .distinct()
        .toList();
  }

  private static List<String> runsHead(Sweep sweep) {
    List<String> head = new ArrayList<>(List.of("setting", "seed", "status"));
    head.addAll(measures(sweep));
    return head;
  }

  private static List<List<String>> runs(Sweep sweep) {
    List<List<String>> rows = new ArrayList<>();
    for (Sweep.Run run : sweep.runs()) {
      List<String> row = new ArrayList<>();
      row.add(run.settingText());
      row.add(Long.toString(run.seed()));
      row.add(run.status().label());
      for (String name : measures(sweep)) {
        Double value = run.measures().get(name);
        row.add(value == null ? "–" : Numbers.plain(value));
      }
      rows.add(row);
    }
    return rows;
  }

  /**
   * A range of an axis and where it lies on the page.
   *
   * @param low value at the first pixel
   * @param high value at the last
   * @param from first pixel
   * @param to last pixel
   */
  private record Axis(double low, double high, double from, double to) {
    static Axis around(List<Double> values, double from, double to) {
      double low = values.stream().mapToDouble(v -> v).min().orElse(0);
      double high = values.stream().mapToDouble(v -> v).max().orElse(1);
      double room = high > low ? 0.08 * (high - low) : Math.max(1e-6, Math.abs(high) * 0.1);
      return new Axis(low - room, high + room, from, to);
    }

    double at(double value) {
      return from + (value - low) / (high - low) * (to - from);
    }

    /** The same, but not beyond the plot: the interval of two seeds may be many times as long. */
    double within(double value) {
      return at(Math.clamp(value, low, high));
    }

    /** Round numbers, four to nine of them. */
    List<Double> ticks() {
      double step = Math.pow(10, Math.floor(Math.log10((high - low) / 4)));
      for (double factor : new double[] {5, 2}) {
        if (step * factor <= (high - low) / 4) {
          step *= factor;
          break;
        }
      }
      List<Double> out = new ArrayList<>();
      for (double k = Math.ceil(low / step); k * step <= high; k++) {
        out.add(k * step);
      }
      return out;
    }
  }

  private static String plot(Sweep sweep) {
    List<Double> edges = new ArrayList<>();
    List<Double> excess = new ArrayList<>();
    for (Sweep.Run run : sweep.runs()) {
      OptionalDouble e = run.measure(Sweep.EDGES);
      OptionalDouble x = run.measure(Sweep.EXCESS);
      if (e.isPresent() && x.isPresent()) {
        edges.add(e.getAsDouble());
        excess.add(x.getAsDouble());
      }
    }
    if (edges.isEmpty()) {
      return Html.paragraph("note", "No run has been measured yet.");
    }
    Axis x = Axis.around(edges, LEFT, WIDTH - RIGHT);
    Axis y = Axis.around(excess, HEIGHT - BOTTOM, TOP);
    StringBuilder svg = new StringBuilder();
    svg.append(
        "<svg viewBox=\"0 0 %d %d\" role=\"img\"><title>Loss above the dense model against open edges per query</title>"
            .formatted(WIDTH, HEIGHT));
    for (double tick : x.ticks()) {
      double at = x.at(tick);
      svg.append(line("grid", at, TOP, at, HEIGHT - BOTTOM));
      svg.append(text("middle", at, HEIGHT - BOTTOM + 18, tick(tick)));
    }
    for (double tick : y.ticks()) {
      double at = y.at(tick);
      svg.append(line(Math.abs(tick) < 1e-12 ? "axis" : "grid", LEFT, at, WIDTH - RIGHT, at));
      svg.append(text("end", LEFT - 6, at + 4, tick(tick)));
    }
    svg.append(text("middle", (LEFT + WIDTH) / 2.0, HEIGHT - 10, "open edges per query and head"));
    svg.append(
        "<text class=\"side\" text-anchor=\"middle\" transform=\"translate(14 %d) rotate(-90)\">nats per token above the dense model</text>"
            .formatted(HEIGHT / 2));
    String front =
        sweep.front().stream()
            .map(
                setting ->
                    point(
                        x.at(setting.edges().orElseThrow().mean()),
                        y.at(setting.excess().orElseThrow().mean())))
            .collect(Collectors.joining(" "));
    svg.append("<polyline class=\"front\" points=\"").append(front).append("\"/>");
    for (Sweep.Setting setting : sweep.front()) {
      // Beside the mark, on the side that has room.
      double at = x.at(setting.edges().orElseThrow().mean());
      boolean atTheRight = at > (LEFT + WIDTH) / 2.0;
      svg.append(
          text(
              atTheRight ? "end" : "start",
              at + (atTheRight ? -10 : 10),
              y.at(setting.excess().orElseThrow().mean()) - 9,
              setting.name()));
    }
    int number = 0;
    for (Sweep.Setting setting : sweep.settings()) {
      svg.append(marks(setting, "var(--c%d)".formatted(number++ % COLOURS), x, y));
    }
    return svg.append("</svg>").toString();
  }

  /** Small marks for runs, a large one with its intervals for their mean. */
  private static String marks(Sweep.Setting setting, String colour, Axis x, Axis y) {
    StringBuilder out = new StringBuilder("<g style=\"color:" + colour + "\">");
    for (Sweep.Run run : setting.runs()) {
      OptionalDouble e = run.measure(Sweep.EDGES);
      OptionalDouble above = run.measure(Sweep.EXCESS);
      if (e.isPresent() && above.isPresent()) {
        String name = "%s, seed %d, %s".formatted(setting.name(), run.seed(), run.status().label());
        out.append(circle(x.at(e.getAsDouble()), y.at(above.getAsDouble()), 3, Html.escape(name)));
      }
    }
    if (setting.edges().isPresent() && setting.excess().isPresent()) {
      Sweep.Mean e = setting.edges().get();
      Sweep.Mean above = setting.excess().get();
      double atX = x.at(e.mean());
      double atY = y.at(above.mean());
      e.margin()
          .ifPresent(
              m ->
                  out.append(
                      line("bar", x.within(e.mean() - m), atY, x.within(e.mean() + m), atY)));
      above
          .margin()
          .ifPresent(
              m ->
                  out.append(
                      line(
                          "bar",
                          atX,
                          y.within(above.mean() - m),
                          atX,
                          y.within(above.mean() + m))));
      String name = "%s: %s edges, %s nats".formatted(setting.name(), e.text(), above.text());
      out.append(circle(atX, atY, 6, Html.escape(name)));
    }
    return out.append("</g>").toString();
  }

  private static String tick(double value) {
    return Numbers.plain(Math.round(value * 1e9) / 1e9);
  }

  private static String point(double x, double y) {
    return String.format(Locale.ROOT, "%.1f,%.1f", x, y);
  }

  private static String line(String kind, double x1, double y1, double x2, double y2) {
    return String.format(
        Locale.ROOT,
        "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>",
        kind,
        x1,
        y1,
        x2,
        y2);
  }

  private static String circle(double x, double y, int radius, String title) {
    return String.format(
        Locale.ROOT,
        "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%d\"><title>%s</title></circle>",
        x,
        y,
        radius,
        title);
  }

  private static String text(String anchor, double x, double y, String content) {
    return String.format(
        Locale.ROOT,
        "<text text-anchor=\"%s\" x=\"%.1f\" y=\"%.1f\">%s</text>",
        anchor,
        x,
        y,
        Html.escape(content));
  }
}
