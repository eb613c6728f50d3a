package filigree.transformer;

import filigree.tensor.DType;
import filigree.tensor.Memory;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * Numbers that are no weights and that all blocks of a model share.
 *
 * @param rotary angles of rotary positions, where the model has them
 * @param numbers I32 [context]: 0, 1, 2, ...
 * @param ones [width]
 * @param zeros [width]
 */
record Tables(Optional<Rotary> rotary, Tensor numbers, Tensor ones, Tensor zeros) {
  /**
   * Cosines and sines of all angles.
   *
   * @param cos [context, pairs]
   * @param sin [context, pairs]
   */
  record Rotary(Tensor cos, Tensor sin) {}

  /**
   * Computes a model's tables.
   *
   * @param type the type that the model computes in
   * @param memory owns them
   */
  static Tables of(ModelConfig config, DType type, Memory memory) {
    Shape width = Shape.of(config.sizes().width());
    int context = config.sizes().context();
    return new Tables(
        config.positions() instanceof ModelConfig.Positions.Rotary positions
            ? Optional.of(rotary(config, positions, type, memory))
            : Optional.empty(),
        Tensor.ofInts(memory, Shape.of(context), IntStream.range(0, context).toArray()),
        Tensor.generate(memory, type, width, i -> 1),
        Tensor.generate(memory, type, width, i -> 0));
  }

  private static Rotary rotary(
      ModelConfig config, ModelConfig.Positions.Rotary positions, DType type, Memory memory) {
    int pairs = positions.rotated(config.attention().headDim()) / 2;
    double[] frequencies = new double[pairs];
    for (int pair = 0; pair < pairs; pair++) {
      double frequency = Math.pow(positions.theta(), -(double) pair / pairs);
      frequencies[pair] = positions.scaling().scaled(frequency);
    }
    Shape shape = Shape.of(config.sizes().context(), pairs);
    return new Rotary(
        Tensor.generate(memory, type, shape, i -> Math.cos(angle(frequencies, i))),
        Tensor.generate(memory, type, shape, i -> Math.sin(angle(frequencies, i))));
  }

  /** The angle at a row-major place of [context, pairs]. */
  private static double angle(double[] frequencies, long place) {
    long position = place / frequencies.length;
    return position * frequencies[(int) (place % frequencies.length)];
  }
}
