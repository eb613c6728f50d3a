package filigree.tensor;

/**
 * Constants of one AdamW update (Loshchilov and Hutter, arXiv 1711.05101, algorithm 2), with g the
 * gradient times {@code gradientScale}:
 *
 * <pre>
 *   p = p (1 - rate weightDecay)
 *   m = beta1 m + (1 - beta1) g          v = beta2 v + (1 - beta2) g g
 *   p = p - rate (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + epsilon)
 * </pre>
 *
 * @param step the update's number, from 1
 * @param rate learning rate
 * @param beta1 decay of the mean
 * @param beta2 decay of the uncentred variance
 * @param epsilon added to the root
 * @param weightDecay decoupled decay, multiplied by the rate
 * @param gradientScale multiplies gradients first: clipping
 */
public record AdamWStep(
    int step,
    double rate,
    double beta1,
    double beta2,
    double epsilon,
    double weightDecay,
    double gradientScale) {}
