package filigree.tensor.cpu.vector;

import filigree.tensor.cpu.Lanes;

/**
 * The inner loops in the Vector API (JEP 508). Only this package needs {@code --add-modules
 * jdk.incubator.vector}; {@link Lanes} loads it by reflection.
 */
public final class VectorLanes {
  private VectorLanes() {}

  /**
   * Makes the lanes.
   *
   * @param rest computes the ends of rows, and functions too rare to have a vector loop
   * @return lanes of the widest registers that the JVM prefers
   */
  public static Lanes load(Lanes rest) {
    return new Lanes(
        describe(Vectors.SPECIES.vectorBitSize(), System.getProperty("os.arch")),
        new VectorElements(rest.elements()),
        new VectorRows(rest.rows()),
        new VectorGates(),
        new VectorWeights(rest.weights()),
        VectorPanels.available());
  }

  /** The width, and what a wider one would take. */
  static String describe(int bits, String architecture) {
    String width = "Vector API " + bits + " bit";
    return bits == 128 && architecture.equals("amd64")
        ? width + " (256 need a processor with AVX2 and no -XX:UseAVX below 2)"
        : width;
  }
}
