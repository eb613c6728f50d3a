package filigree.transformer;

/**
 * How the frequencies of rotary positions are changed so that a model reads longer texts than it
 * was first trained on. A frequency is an angle per position, in radians.
 */
public sealed interface RotaryScaling {
  /** The frequencies as they are. */
  record None() implements RotaryScaling {
    @Override
    public double scaled(double frequency) {
      return frequency;
    }
  }

  /**
   * All frequencies divided by one number (Chen et al., "position interpolation", arXiv
   * 2306.15595).
   *
   * @param factor how many times longer texts become
   */
  record Linear(double factor) implements RotaryScaling {
    /** Checks the factor. */
    public Linear {
      requireFactor(factor);
    }

    @Override
    public double scaled(double frequency) {
      return frequency / factor;
    }
  }

  /**
   * As Llama 3.1 does: wavelengths that are long beside the original context are divided, short
   * ones are left as they are, those between are interpolated (arXiv 2407.21783, section 3.4.2;
   * formula of Meta's reference code).
   *
   * @param factor how many times longer texts become
   * @param lowFrequencyFactor wavelengths above context / this are divided
   * @param highFrequencyFactor wavelengths below context / this are left
   * @param originalContext the context before, in tokens
   */
  record Llama3(
      double factor, double lowFrequencyFactor, double highFrequencyFactor, int originalContext)
      implements RotaryScaling {
    /** Checks the numbers. */
    public Llama3 {
      requireFactor(factor);
      if (!(lowFrequencyFactor > 0) || !(highFrequencyFactor > lowFrequencyFactor)) {
        throw new ModelException(
            "rotary scaling: the low frequency factor is %s and the high one %s, expected 0 < low < high"
                .formatted(lowFrequencyFactor, highFrequencyFactor));
      }
      if (originalContext < 1) {
        throw new ModelException(
            "rotary scaling: the original context is %d, expected at least 1"
                .formatted(originalContext));
      }
    }

    @Override
    public double scaled(double frequency) {
      double wavelengths = originalContext * frequency / (2 * Math.PI); // in the original context
      if (wavelengths < lowFrequencyFactor) {
        return frequency / factor;
      }
      if (wavelengths > highFrequencyFactor) {
        return frequency;
      }
      double smooth =
          (wavelengths - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
      return (1 - smooth) * frequency / factor + smooth * frequency;
    }
  }

  /**
   * Scales a frequency.
   *
   * @param frequency of the model without scaling
   * @return the frequency that is used
   */
  double scaled(double frequency);

  private static void requireFactor(double factor) {
    if (!(factor >= 1) || Double.isInfinite(factor)) {
      throw new ModelException("rotary scaling: the factor is " + factor + ", expected at least 1");
    }
  }
}
