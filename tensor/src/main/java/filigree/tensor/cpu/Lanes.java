package filigree.tensor.cpu;

import filigree.tensor.TensorException;
import filigree.tensor.cpu.x86.NativeRows;
import filigree.tensor.cpu.x86.NativeTiles;
import java.util.Optional;

/**
 * The inner loops over rows of floats. Everything above them (tiles, tasks, threads) is written
 * once; below them are plain Java and the Vector API. Arguments are addresses and lengths that the
 * kernels above have checked.
 *
 * @param description what kind, and why not a better one, for logs
 * @param elements loops over independent elements
 * @param rows loops that reduce or normalise a row
 * @param gates loops over rows of gate logits
 * @param weights loops over rows of weights
 * @param panels loops that pack matrices for {@link NativeTiles}; only with vectors of 256 or 512
 *     bits
 */
public record Lanes(
    String description,
    ElementLanes elements,
    RowLanes rows,
    GateLanes gates,
    WeightLanes weights,
    Optional<PanelLanes> panels) {

  /** Returns the machine code that reads the panels; empty where this machine cannot run it. */
  Optional<NativeTiles> tiles() {
    return panels.flatMap(lanes -> NativeTiles.ofThisProcess(lanes.isa()));
  }

  /** Returns machine code for dot products of a few rows; empty as {@link #tiles} is. */
  Optional<NativeRows> nativeRows() {
    return panels.flatMap(lanes -> NativeRows.ofThisProcess(lanes.isa()));
  }

  static Lanes of(LaneChoice choice) {
    return switch (choice) {
      case SCALAR -> scalar("scalar loops");
      case AUTO ->
          VectorSupport.ofThisJvm()
              .obstacle()
              .map(obstacle -> scalar("scalar loops, because " + obstacle))
              .orElseGet(Lanes::vector);
      case VECTOR -> {
        if (VectorSupport.ofThisJvm().module() != VectorSupport.Module.RESOLVED) {
          throw new TensorException(
              "cpu: vector lanes need the JVM flag --add-modules " + VectorSupport.MODULE_NAME);
        }
        yield vector();
      }
    };
  }

  private static Lanes scalar(String description) {
    return new Lanes(
        description,
        new ScalarElements(),
        new ScalarRows(),
        new ScalarGates(),
        new ScalarWeights(),
        Optional.empty());
  }

  // By reflection: these classes cannot be linked where the JVM runs without the incubator module.
  private static Lanes vector() {
    try {
      return (Lanes)
          Class.forName("filigree.tensor.cpu.vector.VectorLanes")
              .getMethod("load", Lanes.class)
              .invoke(null, scalar("scalar loops"));
    } catch (ReflectiveOperationException e) {
      throw new TensorException("cpu: vector lanes could not be loaded", e);
    }
  }
}
