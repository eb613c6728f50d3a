package filigree.autograd.broken;

import filigree.cli.Main;
import org.bytedeco.javacpp.Pointer;
import org.nd4j.linalg.api.ndarray.INDArray;

/**
 * A class of the wrong habits, in the package of a module that may have none of them: {@code
 * filigree.test.ArchitectureTest} must find each. It is never part of a jar.
 */
public final class BreaksEveryRule {
  private BreaksEveryRule() {}

  /**
   * Sees ND4J outside of filigree.tensor.
   *
   * @param array not looked at
   * @param pointer not looked at
   * @return whether both are there
   */
  public static boolean reachesDown(INDArray array, Pointer pointer) {
    return array != null && pointer != null;
  }

  /**
   * Sees the command line from below.
   *
   * @param main not looked at
   */
  public static void reachesUp(Main main) {
    main.run();
  }

  /** One half of a cycle. */
  public static void goesRound() {
    filigree.autograd.broken.half.OtherHalf.comesBack();
  }
}
