package filigree.tensor.cpu;

import static org.assertj.core.api.Assertions.assertThat;

import filigree.tensor.cpu.VectorSupport.Module;
import org.junit.jupiter.api.Test;

/**
 * When plain loops are chosen, and what is said then; the choice itself runs in BackendProcessTest.
 */
class VectorSupportTest {
  @Test
  void vectorsAreChosenWhereTheyAreFast() {
    assertThat(new VectorSupport(Module.RESOLVED, true, true).obstacle()).isEmpty();
  }

  @Test
  void everyObstacleSaysWhatWouldRemoveIt() {
    assertThat(new VectorSupport(Module.NOT_ASKED_FOR, true, true).obstacle())
        .hasValue(
            "the module jdk.incubator.vector is absent: start with --add-modules"
                + " jdk.incubator.vector");
    assertThat(new VectorSupport(Module.NOT_INSTALLED, true, true).obstacle())
        .hasValue(
            "this Java runtime was made without the module jdk.incubator.vector: use a whole JDK");
    assertThat(new VectorSupport(Module.RESOLVED, true, false).obstacle())
        .hasValue(
            "the JVM runs without its optimising compiler: start it without -Xint and without"
                + " -XX:TieredStopAtLevel");
    assertThat(new VectorSupport(Module.RESOLVED, false, true).obstacle())
        .hasValue(
            "the JVM has no fused multiply-add: vectors need a processor with FMA (2013 and later),"
                + " and no -XX:UseAVX=0 or -XX:-UseFMA");
  }

  @Test
  void theCompilersAreReadFromTheJvmsOwnWords() {
    assertThat(VectorSupport.isOptimising("mixed mode, sharing")).isTrue();
    assertThat(VectorSupport.isOptimising("interpreted mode, sharing")).isFalse();
    assertThat(VectorSupport.isOptimising("mixed mode, emulated-client, sharing")).isFalse();
  }
}
