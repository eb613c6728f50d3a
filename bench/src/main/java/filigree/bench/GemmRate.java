package filigree.bench;

import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Transpose;
import filigree.tensor.Workspace;
import java.util.Arrays;

/**
 * The rate of a product of two 1024 x 1024 matrices: what arithmetic costs on this machine now.
 *
 * @param flops floating-point operations a second, two for each multiply-add; the median
 * @param bestFlops the same of the fastest product
 */
record GemmRate(double flops, double bestFlops) {
  private static final int SIZE = 1024;
  private static final int WARMUP = 5;

  static GemmRate measure(Kernels kernels, int repeats) {
    try (Workspace memory = new Workspace("gemm")) {
      Shape shape = Shape.of(SIZE, SIZE);
      Tensor a = memory.allocate(shape, DType.F32);
      Tensor b = memory.allocate(shape, DType.F32);
      Tensor c = memory.allocate(shape, DType.F32);
      kernels.fill(a, 0.5);
      kernels.fill(b, 0.25);
      double[] seconds = new double[repeats];
      for (int i = -WARMUP; i < repeats; i++) {
        long began = System.nanoTime();
        kernels.matmul(1, a, Transpose.NO, b, Transpose.NO, 0, c);
        if (i >= 0) {
          seconds[i] = (System.nanoTime() - began) / 1e9;
        }
      }
      double last = c.get(c.size() - 1);
      if (last != 0.125 * SIZE) {
        throw new IllegalStateException(
            "gemm: found %s, expected %s".formatted(last, 0.125 * SIZE));
      }
      Arrays.sort(seconds);
      double operations = 2.0 * SIZE * SIZE * SIZE;
      return new GemmRate(operations / median(seconds), operations / seconds[0]);
    }
  }

  /** The median of sorted numbers. */
  static double median(double[] sorted) {
    int half = sorted.length / 2;
    return sorted.length % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  }
}
