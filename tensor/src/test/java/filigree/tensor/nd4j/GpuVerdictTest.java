package filigree.tensor.nd4j;

import static org.assertj.core.api.Assertions.assertThat;

import filigree.tensor.nd4j.CudaDriver.Answer;
import filigree.tensor.nd4j.CudaDriver.Gpu;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Which GPUs are refused and how that reads; the table is that of docs/gpu.md. */
class GpuVerdictTest {
  private static final int DRIVER = 12_040;

  @ParameterizedTest
  @CsvSource({
    "Tesla K40, 3, 5, false",
    "Tesla K80, 3, 7, true",
    "GeForce GTX 750, 5, 0, true",
    "GeForce GTX 980, 5, 2, true",
    "Tesla P100, 6, 0, true",
    "GeForce GTX 1080, 6, 1, true",
    "Tesla V100, 7, 0, true",
    "Tesla T4, 7, 5, true",
    "A100, 8, 0, true",
    "GeForce RTX 3090, 8, 6, true",
    "Jetson Orin, 8, 7, true",
    "GeForce RTX 4090, 8, 9, true",
    "H200, 9, 0, false",
    "B200, 10, 0, false",
    "GeForce RTX 5090, 12, 0, false",
  })
  void coversCapabilitiesUpTo8(String name, int major, int minor, boolean covered) {
    Gpu gpu = new Gpu(name, major, minor);
    assertThat(GpuVerdict.covers(gpu)).isEqualTo(covered);
    assertThat(GpuVerdict.refusal(new Answer.Found(DRIVER, List.of(gpu))).isEmpty())
        .isEqualTo(covered);
  }

  @Test
  void refusesAGenerationWithoutCode() {
    assertRefusal(
        new Answer.Found(DRIVER, List.of(new Gpu("NVIDIA H200", 9, 0))),
        "GPU 0, NVIDIA H200, has compute capability 9.0, for which nd4j-cuda-11.6 has no machine"
            + " code (it runs on 3.7 to 8.9); use another GPU");
  }

  /** ND4J would spread its threads over both. */
  @Test
  void refusesOneOfTwo() {
    assertRefusal(
        new Answer.Found(
            DRIVER, List.of(new Gpu("NVIDIA A100", 8, 0), new Gpu("NVIDIA H200", 9, 0))),
        "GPU 1, NVIDIA H200, has compute capability 9.0, for which nd4j-cuda-11.6 has no machine"
            + " code (it runs on 3.7 to 8.9); hide it by CUDA_VISIBLE_DEVICES");
  }

  @Test
  void refusesWhatTheDriverCannotStart() {
    assertRefusal(
        new Answer.NoDriver("libcuda.so.1"),
        "there is no NVIDIA driver (libcuda.so.1 was not found); install it");
    assertRefusal(
        new Answer.Refused("cuInit", 100),
        "the NVIDIA driver finds no GPU (cuInit: CUDA error 100); check nvidia-smi and"
            + " CUDA_VISIBLE_DEVICES");
    assertRefusal(
        new Answer.Refused("cuInit", 803),
        "the NVIDIA driver does not start (cuInit: CUDA error 803); check nvidia-smi");
    assertRefusal(
        new Answer.Found(DRIVER, List.of()),
        "the NVIDIA driver shows no GPU; check nvidia-smi and CUDA_VISIBLE_DEVICES");
    assertRefusal(
        new Answer.Found(10_020, List.of(new Gpu("Tesla V100", 7, 0))),
        "the NVIDIA driver supports CUDA 10.2 and nd4j-cuda-11.6 needs 11.0 or later; update the"
            + " driver");
  }

  private static void assertRefusal(Answer answer, String reason) {
    assertThat(GpuVerdict.refusal(answer)).hasValue(reason);
    assertThat(Start.gpuSentence(reason))
        .isEqualTo(
            "backend nd4j: this build computes on a GPU (-Pcuda), and "
                + reason
                + ", or build without -Pcuda to compute on the processor")
        .doesNotContain("\n");
  }
}
