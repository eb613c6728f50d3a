package filigree.interp.circuit;

/**
 * A number with a confidence interval.
 *
 * @param estimate from all prompts
 * @param low lower end
 * @param high upper end
 */
public record Interval(double estimate, double low, double high) {}
