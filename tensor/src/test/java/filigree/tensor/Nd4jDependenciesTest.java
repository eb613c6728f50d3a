package filigree.tensor;

import static org.assertj.core.api.Assertions.assertThat;

import org.bytedeco.openblas.global.openblas;
import org.junit.jupiter.api.Test;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.api.ops.impl.reduce.Mmul;
import org.nd4j.linalg.factory.Nd4j;

/** ND4J computes with what the parent POM leaves of its dependencies. */
class Nd4jDependenciesTest {
  @Test
  void multipliesMatrices() {
    try (INDArray x = Nd4j.create(new float[] {1, 2, 3, 4}, new long[] {2, 2});
        INDArray product = x.mmul(x)) {
      assertThat(product.toFloatMatrix()).isDeepEqualTo(new float[][] {{7, 10}, {15, 22}});
    }
  }

  @Test
  void runsACustomOperationIntoAnOutput() {
    try (INDArray x = Nd4j.create(new double[][] {{1, 2}, {3, 4}});
        INDArray out = Nd4j.create(DataType.DOUBLE, 2, 2)) {
      Nd4j.exec(new Mmul(x, x, out, null));
      assertThat(out.toDoubleMatrix()).isDeepEqualTo(new double[][] {{7, 10}, {15, 22}});
    }
  }

  @Test
  void wordsForShortFloatsAreThere() {
    try (INDArray x = Nd4j.createFromArray(1.0f, -2.5f);
        INDArray stored = x.castTo(DataType.BFLOAT16);
        INDArray back = stored.castTo(DataType.FLOAT)) {
      assertThat(back.toFloatVector()).containsExactly(1.0f, -2.5f);
    }
  }

  @Test
  void openBlasIsCallable() {
    float[] c = new float[1];
    openblas.cblas_sgemm(
        openblas.CblasRowMajor,
        openblas.CblasNoTrans,
        openblas.CblasNoTrans,
        1,
        1,
        2,
        1f,
        new float[] {1, 2},
        2,
        new float[] {3, 4},
        1,
        0f,
        c,
        1);
    assertThat(c).containsExactly(11f);
  }

  /** The flags of the build: without them ND4J counts memory that is not its own. */
  @Test
  void javaCppDoesNotCountMemory() {
    assertThat(System.getProperty("org.bytedeco.javacpp.maxbytes")).isEqualTo("0");
    assertThat(System.getProperty("org.bytedeco.javacpp.maxphysicalbytes")).isEqualTo("0");
  }
}
