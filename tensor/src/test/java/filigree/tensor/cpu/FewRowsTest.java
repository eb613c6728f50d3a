package filigree.tensor.cpu;

import static filigree.tensor.cpu.Fixture.assertClose;
import static filigree.tensor.cpu.Fixture.assertSameBits;
import static filigree.tensor.cpu.Fixture.everyProvider;
import static org.assertj.core.api.Assertions.assertThat;

import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Transpose;
import filigree.tensor.provider.Backend;
import org.junit.jupiter.api.Test;

/** Products of one to four rows, whose weights are read once, as float32 or bfloat16. */
class FewRowsTest {
  private static final DType[] WEIGHTS = {DType.F32, DType.BF16};

  // Columns and summed axis: single elements, tails of vectors of 4 to 16 lanes, groups of four,
  // more than a block of columns, enough bytes for several threads.
  private static final int[][] SIZES = {
    {1, 1},
    {1, 64},
    {5, 1},
    {2, 3},
    {4, 15},
    {7, 16},
    {16, 17},
    {33, 8},
    {3, 500},
    {500, 3},
    {9, 65},
    {31, 127},
    {4100, 9},
    {700, 1000}
  };

  @Test
  void agreesWithFloat64() {
    try (Kernels twin = Backend.ND4J.open(1)) {
      everyProvider(
          kernels -> {
            for (int[] size : SIZES) {
              for (int m = 1; m <= 4; m++) {
                for (Transpose tb : Transpose.values()) {
                  for (DType type : WEIGHTS) {
                    check(kernels, twin, new int[] {m, size[0], size[1]}, tb, type);
                  }
                }
              }
            }
          });
    }
  }

  private static void check(Kernels kernels, Kernels twin, int[] size, Transpose tb, DType type) {
    int m = size[0];
    int n = size[1];
    int k = size[2];
    String what = "%d x %d x %d, %s transposed %s".formatted(m, n, k, type, tb);
    try (Fixture f = new Fixture()) {
      Tensor a = f.normal(m, k);
      Tensor b = stored(kernels, f, type, tb == Transpose.NO ? f.normal(k, n) : f.normal(n, k));
      Tensor out = f.normal(m, n);
      Tensor wide = wide(twin, f, out);
      // Sums of k terms: the error grows with the root of k.
      double tolerance = 2e-6 * Math.sqrt(k);
      kernels.matmul(0.5, a, Transpose.NO, b, tb, -2, out);
      twin.matmul(0.5, wide(twin, f, a), Transpose.NO, wide(twin, f, b), tb, -2, wide);
      assertClose(what, out, wide.toDoubles(), tolerance);
      Tensor fresh = f.empty(m, n);
      kernels.matmul(-1.5, a, Transpose.NO, b, tb, 0, fresh);
      twin.matmul(-1.5, wide(twin, f, a), Transpose.NO, wide(twin, f, b), tb, 0, wide);
      assertClose(what + " over NaN", fresh, wide.toDoubles(), tolerance);
    }
  }

  private static Tensor stored(Kernels kernels, Fixture f, DType type, Tensor x) {
    if (type == DType.F32) {
      return x;
    }
    Tensor out = f.memory.allocate(x.shape(), type);
    kernels.cast(x, out);
    return out;
  }

  private static Tensor wide(Kernels twin, Fixture f, Tensor x) {
    Tensor out = f.memory.allocate(x.shape(), DType.F64);
    twin.cast(x, out);
    return out;
  }

  @Test
  void emptySumsApplyBeta() {
    everyProvider(
        kernels -> {
          for (DType type : WEIGHTS) {
            for (Transpose tb : Transpose.values()) {
              try (Fixture f = new Fixture()) {
                Tensor b = tb == Transpose.NO ? f.empty(type, 0, 5) : f.empty(type, 5, 0);
                Tensor out = f.floats(Shape.of(2, 5), i -> i);
                kernels.matmul(1, f.normal(2, 0), Transpose.NO, b, tb, 3, out);
                assertThat(out.toFloats()).containsExactly(0, 3, 6, 9, 12, 15, 18, 21, 24, 27);
                Tensor fresh = f.empty(2, 5);
                kernels.matmul(1, f.normal(2, 0), Transpose.NO, b, tb, 0, fresh);
                assertThat(fresh.toFloats()).containsOnly(0);
              }
            }
          }
        });
  }

  /** One weight is special; what it does not touch stays exact. */
  @Test
  void specialWeights() {
    float[] specials = {
      Float.NaN,
      Float.POSITIVE_INFINITY,
      Float.NEGATIVE_INFINITY,
      -0f,
      0x1p-126f, // the least normal number
      0x1p-133f, // the least bfloat16
      -0x1.fcp-127f, // the greatest subnormal bfloat16
      0x1.fep127f // the greatest bfloat16
    };
    everyProvider(
        kernels -> {
          for (DType type : WEIGHTS) {
            for (Transpose tb : Transpose.values()) {
              for (float special : specials) {
                // 37 columns or summands: in whole vectors and in the tail.
                for (int place : new int[] {0, 5, 20, 36}) {
                  checkSpecial(kernels, type, tb, special, place);
                }
              }
            }
          }
        });
  }

  private static void checkSpecial(
      Kernels kernels, DType type, Transpose tb, float special, int place) {
    int length = 37;
    try (Fixture f = new Fixture()) {
      // W [in, out] with the special weight from input `place` to output `place`, all else 0.
      Tensor dense =
          f.floats(
              Shape.of(length, length),
              i -> i / length == place && i % length == place ? special : 0);
      Tensor w = stored(kernels, f, type, dense);
      Tensor ones = f.floats(Shape.of(1, length), i -> 1);
      Tensor out = f.empty(1, length);
      kernels.matmul(1, ones, Transpose.NO, w, tb, 0, out);
      float[] expected = new float[length];
      expected[place] = special + 0f; // a sum is never -0
      assertThat(out.toFloats())
          .as("%s transposed %s, weight %s at %d", type, tb, special, place)
          .isEqualTo(expected);
    }
  }

  @Test
  void dotProductsDoNotDependOnThreads() {
    try (Fixture f = new Fixture();
        Kernels one = new CpuKernels(1, LaneChoice.VECTOR);
        Kernels three = new CpuKernels(3, LaneChoice.VECTOR)) {
      for (DType type : WEIGHTS) {
        for (Transpose tb : Transpose.values()) {
          Tensor a = f.normal(1, 1001);
          Tensor b = tb == Transpose.NO ? f.normal(1001, 1003) : f.normal(1003, 1001);
          Tensor stored = stored(one, f, type, b);
          Tensor left = f.empty(1, 1003);
          Tensor right = f.empty(1, 1003);
          one.matmul(1, a, Transpose.NO, stored, tb, 0, left);
          three.matmul(1, a, Transpose.NO, stored, tb, 0, right);
          assertSameBits(type + " transposed " + tb, left, right);
        }
      }
    }
  }

  @Test
  void aColumnIsARow() {
    everyProvider(
        kernels -> {
          try (Fixture f = new Fixture()) {
            Tensor a = f.normal(90, 1);
            Tensor b = f.normal(90, 21);
            Tensor expected = f.empty(1, 21);
            Tensor found = f.empty(1, 21);
            kernels.matmul(
                1, a.reshape(Shape.of(1, 90)), Transpose.NO, b, Transpose.NO, 0, expected);
            kernels.matmul(1, a, Transpose.YES, b, Transpose.NO, 0, found);
            assertSameBits("a transposed", found, expected);
          }
        });
  }
}
