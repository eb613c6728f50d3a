package filigree.tensor.nd4j;

import java.util.function.Supplier;

/** Lets tests of other packages run the {@code nd4j} provider as it runs on a GPU: by copies. */
public final class CopiedOperands {
  private CopiedOperands() {}

  /**
   * Runs something while operands are copied to ND4J and back instead of viewed.
   *
   * @param body what runs
   * @param <T> what it returns
   * @return its result
   */
  public static <T> T during(Supplier<T> body) {
    Bridge.copying(true);
    try {
      return body.get();
    } finally {
      Bridge.copying(false);
    }
  }
}
