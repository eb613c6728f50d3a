package filigree.interp.report;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/** The few pieces of HTML that are made here rather than in a template. */
final class Html {
  private static final Pattern PLACE = Pattern.compile("\\{\\{(\\w+)}}");

  private Html() {}

  /** Text as it may stand in an element or in a quoted attribute. */
  static String escape(String text) {
    return text.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace("\"", "&quot;")
        .replace("'", "&#39;");
  }

  /** A resource beside this class. */
  static String resource(String name) {
    try (InputStream in = Html.class.getResourceAsStream(name)) {
      if (in == null) {
        throw new IllegalStateException(
            "the resource " + name + " of the report page is missing from the class path");
      }
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new UncheckedIOException("the resource " + name + " cannot be read", e);
    }
  }

  /** Resources as one script, so that what one declares the others see and the page does not. */
  static String script(String... names) {
    return Arrays.stream(names)
        .map(Html::resource)
        .collect(Collectors.joining("\n", "'use strict';\n(() => {\n", "})();\n"));
  }

  /**
   * Puts HTML in the places <code>{{name}}</code> of a template, in one pass: what is put in is
   * never searched for places.
   */
  static String fill(String template, Map<String, String> html) {
    return PLACE
        .matcher(template)
        .replaceAll(
            place -> {
              String value = html.get(place.group(1));
              if (value == null) {
                throw new IllegalStateException("nothing to put in " + place.group());
              }
              return Matcher.quoteReplacement(value);
            });
  }

  /** A paragraph of class {@code kind}, or nothing for an empty text. */
  static String paragraph(String kind, String text) {
    return text.isEmpty() ? "" : "<p class=\"" + kind + "\">" + escape(text) + "</p>";
  }

  /** A table whose first column names its rows; nothing where there are no rows. */
  static String table(String caption, List<String> head, List<List<String>> rows) {
    if (rows.isEmpty()) {
      return "";
    }
    return "<div class=\"scroll\"><table><caption>"
        + escape(caption)
        + "</caption><thead>"
        + row(head, "th scope=\"col\"")
        + "</thead><tbody>\n"
        + rows.stream().map(cells -> row(cells, "td")).collect(Collectors.joining("\n"))
        + "\n</tbody></table></div>";
  }

  private static String row(List<String> cells, String element) {
    StringBuilder row = new StringBuilder("<tr>");
    String open = element.equals("td") ? "th scope=\"row\"" : element;
    for (String cell : cells) {
      row.append('<').append(open).append('>').append(escape(cell));
      row.append("</").append(open, 0, 2).append('>');
      open = element;
    }
    return row.append("</tr>").toString();
  }
}
