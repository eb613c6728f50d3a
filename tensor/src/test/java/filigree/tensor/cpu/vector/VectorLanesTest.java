package filigree.tensor.cpu.vector;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class VectorLanesTest {
  @Test
  void narrowVectorsSayWhatWiderOnesTake() {
    assertThat(VectorLanes.describe(512, "amd64")).isEqualTo("Vector API 512 bit");
    assertThat(VectorLanes.describe(256, "amd64")).isEqualTo("Vector API 256 bit");
    assertThat(VectorLanes.describe(128, "aarch64")).isEqualTo("Vector API 128 bit");
    assertThat(VectorLanes.describe(128, "amd64"))
        .isEqualTo("Vector API 128 bit (256 need a processor with AVX2 and no -XX:UseAVX below 2)");
  }
}
