package filigree.transformer;

import java.util.Locale;
import java.util.Optional;

/**
 * A way in which a model's gates differ from those of the paper, which have no weights of their own
 * and leave what is open as it is. Models with variants are computed step by step where gates are
 * not all open, which is slower and makes tables of all queries and keys.
 */
public enum GateVariant {
  /**
   * Each head adds a learned number to its gate logits: {@code z = s + bias + bias of the head}.
   */
  HEAD_BIAS,
  /**
   * Gate logits come from queries and keys of their own, with the norms, rotation and scale of
   * ordinary ones: {@code z = scale q' . k' + bias}. They begin as copies of the ordinary maps.
   */
  OWN_PROJECTION,
  /**
   * What is open is divided by its share: {@code y = sum(p m v) / sum(p m)}, and 0 where nothing is
   * open.
   */
  RENORMALISED;

  /**
   * Returns the name that command line and files use.
   *
   * @return such as {@code head-bias}
   */
  public String label() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }

  /**
   * Finds a variant.
   *
   * @param label such as {@code head-bias}
   * @return the variant, or nothing
   */
  public static Optional<GateVariant> of(String label) {
    for (GateVariant variant : values()) {
      if (variant.label().equals(label)) {
        return Optional.of(variant);
      }
    }
    return Optional.empty();
  }
}
