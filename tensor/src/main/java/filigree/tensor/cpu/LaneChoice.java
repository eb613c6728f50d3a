package filigree.tensor.cpu;

/** Which implementation of the inner loops a {@link CpuKernels} uses. */
public enum LaneChoice {
  /** The Vector API where the JVM was started with it, else plain loops. */
  AUTO,
  /** The Vector API; an error where {@code --add-modules jdk.incubator.vector} is missing. */
  VECTOR,
  /** Plain loops. */
  SCALAR
}
