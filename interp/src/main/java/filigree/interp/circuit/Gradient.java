package filigree.interp.circuit;

/** Where the gradient of an attribution is taken. */
public sealed interface Gradient {
  /** In the run that is patched (EAP: Syed, Rager, Conmy, arXiv 2310.10348). */
  record AtBase() implements Gradient {}

  /**
   * On average over inputs between the source run's and the base run's (EAP-IG, inputs: Hanna,
   * Pezzelle, Belinkov, arXiv 2403.17806, section 3).
   *
   * @param steps how many inputs
   * @param rule which
   */
  record AlongInputs(int steps, Rule rule) implements Gradient {
    /** Checks the number of steps. */
    public AlongInputs {
      if (steps < 1) {
        throw new CircuitException("the number of steps is " + steps + ", expected at least 1");
      }
    }
  }

  /** Which inputs stand for the path from the source run, 0, to the base run, 1. */
  enum Rule {
    /** The left ends of equal steps, as published: 0, 1 / steps, ... */
    LEFT {
      @Override
      double at(int step, int steps) {
        return (double) step / steps;
      }
    },
    /** The middles of equal steps. */
    MIDPOINT {
      @Override
      double at(int step, int steps) {
        return (step + 0.5) / steps;
      }
    };

    abstract double at(int step, int steps);
  }

  /** The inputs at which gradients are taken, as shares of the base run. */
  default double[] shares() {
    return switch (this) {
      case AtBase() -> new double[] {1};
      case AlongInputs(int steps, Rule rule) -> {
        double[] out = new double[steps];
        for (int step = 0; step < steps; step++) {
          out[step] = rule.at(step, steps);
        }
        yield out;
      }
    };
  }
}
