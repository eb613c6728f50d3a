package filigree.tensor.nd4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import filigree.tensor.TensorException;
import filigree.tensor.nd4j.Start.Device;
import java.util.List;
import org.junit.jupiter.api.Test;

/** ND4J runs on the device that the build is for, or not at all. */
class StartTest {
  private static final String CPU = "org.nd4j.linalg.cpu.nativecpu.CpuBackend";
  private static final String GPU = "org.nd4j.linalg.jcublas.JCublasBackend";

  @Test
  void oneBackendDecides() {
    assertThat(Start.device(true, false)).isEqualTo(Device.CPU);
    assertThat(Start.device(false, true)).isEqualTo(Device.GPU);
  }

  @Test
  void twoBackendsOrNoneAreRefused() {
    assertThatThrownBy(() -> Start.device(true, true))
        .isInstanceOf(TensorException.class)
        .hasMessageContaining("both nd4j-native and nd4j-cuda-11.6 are on the class path");
    assertThatThrownBy(() -> Start.device(false, false))
        .isInstanceOf(TensorException.class)
        .hasMessageContaining("no ND4J backend is on the class path");
  }

  @Test
  void anotherDeviceThanThatOfTheBuildIsRefused() {
    Start.requireDevice(Device.CPU, CPU, "NativeOpExecutioner");
    Start.requireDevice(Device.GPU, GPU, "CudaExecutioner");
    assertThatThrownBy(() -> Start.requireDevice(Device.GPU, CPU, "NativeOpExecutioner"))
        .isInstanceOf(TensorException.class)
        .hasMessage(
            "backend nd4j: ND4J started %s with NativeOpExecutioner, expected %s; put one backend"
                + " on the class path",
            CPU, GPU);
    assertThatThrownBy(() -> Start.requireDevice(Device.GPU, GPU, "NativeOpExecutioner"))
        .isInstanceOf(TensorException.class);
  }

  @Test
  void aProcessorWithoutAvx2IsRefusedWhereOnlyThatLibraryIsThere() {
    List<String> old = List.of("flags\t\t: fpu sse4_2 avx f16c");
    List<String> current = List.of("flags\t\t: fpu sse4_2 avx f16c avx2 fma");
    assertThat(Start.processorRefusal(old, true, false)).get().asString().contains("needs AVX2");
    assertThat(Start.processorRefusal(old, true, true)).isEmpty();
    assertThat(Start.processorRefusal(old, false, true)).isEmpty();
    assertThat(Start.processorRefusal(current, true, false)).isEmpty();
    assertThat(Start.processorRefusal(List.of(), true, false)).isEmpty();
  }
}
