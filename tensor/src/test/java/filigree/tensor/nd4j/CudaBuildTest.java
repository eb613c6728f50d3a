package filigree.tensor.nd4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.TensorException;
import filigree.tensor.Transpose;
import filigree.tensor.Workspace;
import filigree.tensor.provider.Backend;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Optional;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * A build with {@code -Pcuda}: it computes on a GPU where there is one that it has code for, and
 * says why not in one sentence elsewhere. {@code .ci/run} runs this class under that profile.
 */
class CudaBuildTest {
  private static final String BACKEND = "org/nd4j/linalg/jcublas/JCublasBackend.class";
  private static final String NATIVES =
      "org/nd4j/linalg/jcublas/bindings/linux-x86_64/libjnind4jcuda.so";

  @BeforeEach
  void onlyUnderTheProfile() {
    assumeTrue(has(BACKEND), "this build is without -Pcuda, so ND4J computes on the processor");
  }

  private static boolean has(String resource) {
    return CudaBuildTest.class.getClassLoader().getResource(resource) != null;
  }

  /** Neither another device nor ND4J's stack trace. */
  @Test
  void aMachineThatCannotIsToldSoInOneSentence() {
    Optional<String> refusal = GpuVerdict.refusal(CudaDriver.ask());
    assumeTrue(refusal.isPresent(), "this machine has a GPU that nd4j-cuda-11.6 has code for");
    PrintStream err = System.err;
    ByteArrayOutputStream printed = new ByteArrayOutputStream();
    System.setErr(new PrintStream(printed, true, StandardCharsets.UTF_8));
    try {
      assertThatThrownBy(() -> Backend.ND4J.open(1))
          .isInstanceOf(TensorException.class)
          .hasMessage(Start.gpuSentence(refusal.orElseThrow()));
    } finally {
      System.setErr(err);
    }
    assertThat(printed.toString(StandardCharsets.UTF_8)).isEmpty();
  }

  /** Where the driver and the GPU are good, what is missing are the natives. */
  @Test
  void aBuildWithoutNativesNamesTheProfileThatHasThem() {
    assumeTrue(!has(NATIVES), "this build has the natives");
    assertThatThrownBy(Start::loadCudaLibraries)
        .isInstanceOf(TensorException.class)
        .hasMessageMatching(
            "backend nd4j: this build computes on a GPU \\(-Pcuda\\), and the CUDA libraries could"
                + " not be loaded \\(\\S*UnsatisfiedLinkError: [^\n]*\\); build with"
                + " -Pcuda,cuda-natives, and with cuda-redist too where the system has no CUDA 11,"
                + " or build without -Pcuda to compute on the processor");
  }

  @Test
  void theGpuComputes() {
    Optional<String> refusal = GpuVerdict.refusal(CudaDriver.ask());
    assumeTrue(refusal.isEmpty(), () -> "needs a GPU: " + refusal.orElseThrow());
    assumeTrue(has(NATIVES), "needs a build with -Pcuda,cuda-natives");
    try (Kernels kernels = Backend.ND4J.open(1);
        Workspace memory = new Workspace("test")) {
      assertThat(kernels.description()).contains("JCublasBackend");
      assertThat(Bridge.isCopying()).isTrue();
      Tensor a = Tensor.of(memory, Shape.of(2, 2), 1, 2, 3, 4);
      Tensor out = memory.allocate(Shape.of(2, 2), DType.F32);
      kernels.matmul(1, a, Transpose.NO, a, Transpose.NO, 0, out);
      assertThat(out.toFloats()).containsExactly(7, 10, 15, 22);
      kernels.softmax(a, out);
      float small = (float) (1 / (1 + Math.E));
      assertThat(out.toFloats()).containsExactly(small, 1 - small, small, 1 - small);
    }
  }
}
