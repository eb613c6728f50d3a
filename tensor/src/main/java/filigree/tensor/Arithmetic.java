package filigree.tensor;

/** Operations on two elements. */
public enum Arithmetic {
  /** a + b. */
  ADD,
  /** a - b. */
  SUBTRACT,
  /** a b. */
  MULTIPLY,
  /** a / b. */
  DIVIDE;

  /**
   * Computes the operation in float64: its definition.
   *
   * @param a the left operand
   * @param b the right operand
   * @return the result
   */
  public double value(double a, double b) {
    return switch (this) {
      case ADD -> a + b;
      case SUBTRACT -> a - b;
      case MULTIPLY -> a * b;
      case DIVIDE -> a / b;
    };
  }
}
