package filigree.interp.circuit;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A part of a transformer that writes to or reads from the residual stream. Names are those of
 * EAP-IG (Hanna, Pezzelle, Belinkov, arXiv 2403.17806): {@code input}, {@code a0.h1}, {@code m0},
 * {@code logits}.
 */
public sealed interface Node {
  /** The embedding, positions included: only writes. */
  record Input() implements Node {}

  /**
   * An attention head.
   *
   * @param layer its block
   * @param head its number among the query heads
   */
  record Head(int layer, int head) implements Node {}

  /**
   * An MLP.
   *
   * @param layer its block
   */
  record Mlp(int layer) implements Node {}

  /** The last norm and the output matrix: only reads. */
  record Logits() implements Node {}

  /**
   * Returns the name.
   *
   * @return such as {@code a0.h1}
   */
  default String label() {
    return switch (this) {
      case Input() -> "input";
      case Head(int layer, int head) -> "a" + layer + ".h" + head;
      case Mlp(int layer) -> "m" + layer;
      case Logits() -> "logits";
    };
  }

  /**
   * Reads a name.
   *
   * @param label such as {@code a0.h1}
   * @return the node
   * @throws CircuitException where it is no node's name
   */
  static Node parse(String label) {
    if (label.equals("input")) {
      return new Input();
    }
    if (label.equals("logits")) {
      return new Logits();
    }
    Matcher head = Labels.HEAD.matcher(label);
    if (head.matches()) {
      return new Head(Integer.parseInt(head.group(1)), Integer.parseInt(head.group(2)));
    }
    Matcher mlp = Labels.MLP.matcher(label);
    if (mlp.matches()) {
      return new Mlp(Integer.parseInt(mlp.group(1)));
    }
    throw new CircuitException(
        "'" + label + "' is no node; nodes are called input, a0.h1, m0 and logits");
  }

  /** How names look. */
  final class Labels {
    private static final Pattern HEAD = Pattern.compile("a(\\d{1,6})\\.h(\\d{1,6})");
    private static final Pattern MLP = Pattern.compile("m(\\d{1,6})");

    private Labels() {}
  }
}
