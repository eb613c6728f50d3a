package filigree.interp.circuit;

/** How nodes or edges are scored. */
public sealed interface Method {
  /** Exact patching, a run for each: {@link Patching}. */
  record Patch() implements Method {}

  /**
   * By gradients: {@link Attribution}.
   *
   * @param gradient where they are taken
   */
  record Attribute(Gradient gradient) implements Method {}

  /**
   * By leaving out edge after edge: {@link Acdc}.
   *
   * @param threshold how much worse the metric may get with each edge
   */
  record LeaveOut(double threshold) implements Method {}

  /** Steps of EAP-IG in its published experiments. */
  int STEPS = 5;

  /**
   * Reads a name.
   *
   * @param label patch, attribution or eap (the same: nodes or edges by one gradient), eap-ig (five
   *     steps, left Riemann sum), eap-ig-midpoint or acdc, whose threshold is then 0.01
   * @return the method
   * @throws CircuitException where there is no such method
   */
  static Method parse(String label) {
    return switch (label) {
      case "patch" -> new Patch();
      case "attribution", "eap" -> new Attribute(new Gradient.AtBase());
      case "eap-ig" -> new Attribute(new Gradient.AlongInputs(STEPS, Gradient.Rule.LEFT));
      case "eap-ig-midpoint" ->
          new Attribute(new Gradient.AlongInputs(STEPS, Gradient.Rule.MIDPOINT));
      case "acdc" -> new LeaveOut(0.01);
      default ->
          throw new CircuitException(
              "there is no method '"
                  + label
                  + "'; there are patch, attribution, eap, eap-ig, eap-ig-midpoint and acdc");
    };
  }

  /**
   * Describes the method.
   *
   * @return its name and its settings, such as {@code eap-ig left 5}
   */
  default String describe() {
    return switch (this) {
      case Patch() -> "patch";
      case Attribute(Gradient.AtBase()) -> "eap";
      case Attribute(Gradient.AlongInputs(int steps, Gradient.Rule rule)) ->
          switch (rule) {
                case LEFT -> "eap-ig left ";
                case MIDPOINT -> "eap-ig midpoint ";
              }
              + steps;
      case LeaveOut(double threshold) -> "acdc " + threshold;
    };
  }
}
