package filigree.interp.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class HtmlTest {
  @Test
  void everyCharacterThatMeansSomethingIsEscaped() {
    assertThat(Html.escape("<a b=\"c\" d='e'>&amp;"))
        .isEqualTo("&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;amp;");
  }

  @Test
  void whatIsFilledInIsNotFilledAgain() {
    assertThat(Html.fill("{{a}} {{b}}", Map.of("a", "{{b}} $1 \\", "b", "x")))
        .isEqualTo("{{b}} $1 \\ x");
  }

  @Test
  void placeWithoutContentIsAMistakeOfTheProgram() {
    assertThatThrownBy(() -> Html.fill("{{a}}", Map.of()))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("nothing to put in {{a}}");
  }

  @Test
  void tableEscapesItsCellsAndVanishesWhenEmpty() {
    assertThat(Html.table("c", List.of("h"), List.of())).isEmpty();
    assertThat(Html.table("<c>", List.of("<h>"), List.of(List.of("<r>", "<d>"))))
        .contains("<caption>&lt;c&gt;", "<th scope=\"col\">&lt;h&gt;</th>")
        .contains("<tr><th scope=\"row\">&lt;r&gt;</th><td>&lt;d&gt;</td></tr>");
  }
}
