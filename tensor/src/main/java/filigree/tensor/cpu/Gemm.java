package filigree.tensor.cpu;

import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.TensorException;
import filigree.tensor.Transpose;

/** Matrix products: one OpenBLAS call for each part of the output that a thread takes. */
final class Gemm {
  // Below about 20 us of one core's work, waking others costs more than it saves.
  private static final double SERIAL_FLOPS = 1.5e6;
  private static final long SERIAL_MATRIX_BYTES = 256 << 10;

  // Parts begin at multiples of what OpenBLAS computes at once.
  private static final int ALIGN = 16;

  private final Workers workers;
  private final ElementLanes lanes;

  Gemm(Workers workers, Lanes lanes) {
    this.workers = workers;
    this.lanes = lanes.elements();
  }

  /** A product {@code c = alpha op(a) op(b) + beta c} of contiguous matrices. */
  private record Product(boolean ta, boolean tb, int m, int n, int k, float alpha, float beta) {
    int lda() {
      return ta ? m : k;
    }

    int ldb() {
      return tb ? k : n;
    }

    double flops() {
      return 2.0 * m * n * k;
    }
  }

  void matmul(
      double alpha, Tensor a, Transpose ta, Tensor b, Transpose tb, double beta, Tensor out) {
    Checks.floats("matmul", a, b, out);
    Checks.rank("matmul", "a", a, 2);
    Checks.rank("matmul", "b", b, 2);
    Checks.rank("matmul", "out", out, 2);
    boolean transposeA = ta == Transpose.YES;
    boolean transposeB = tb == Transpose.YES;
    int m = a.shape().length(transposeA ? -1 : -2);
    int k = a.shape().length(transposeA ? -2 : -1);
    int kb = b.shape().length(transposeB ? -1 : -2);
    int n = b.shape().length(transposeB ? -2 : -1);
    if (k != kb) {
      throw new TensorException(
          "matmul: a %s%s sums over %d, but b %s%s over %d"
              .formatted(a.shape(), suffix(ta), k, b.shape(), suffix(tb), kb));
    }
    long[] dims = a.shape().dims();
    dims[dims.length - 2] = m;
    dims[dims.length - 1] = n;
    Checks.shape("matmul", "out", out, Shape.of(dims));
    boolean shared = b.shape().rank() == 2;
    if (!shared && !sameBatch(a.shape(), b.shape())) {
      throw new TensorException(
          "matmul: batch axes of a %s and b %s differ; b may also have none"
              .formatted(a.shape(), b.shape()));
    }
    if (out.size() == 0) {
      return;
    }
    long batch = out.size() / ((long) m * n);
    if (shared && !transposeA) {
      m = Math.toIntExact(m * batch);
      batch = 1;
    }
    Product product = new Product(transposeA, transposeB, m, n, k, (float) alpha, (float) beta);
    long strideB = shared ? 0 : (long) k * n * Float.BYTES;
    run(product, a.address(), b.address(), out.address(), batch, strideB);
  }

  private static String suffix(Transpose transpose) {
    return transpose == Transpose.YES ? " transposed" : "";
  }

  private static boolean sameBatch(Shape a, Shape b) {
    if (a.rank() != b.rank()) {
      return false;
    }
    for (int axis = 0; axis < a.rank() - 2; axis++) {
      if (a.dim(axis) != b.dim(axis)) {
        return false;
      }
    }
    return true;
  }

  private void run(Product p, long a, long b, long c, long batch, long strideB) {
    OpenBlas.singleThreaded();
    long strideA = (long) p.m * p.k * Float.BYTES;
    long strideC = (long) p.m * p.n * Float.BYTES;
    int threads = workers.count();
    if (p.k == 0) {
      // An empty sum. BLAS libraries differ in whether they still apply beta.
      workers.ranges(batch, 1, (from, to) -> clearOrScale(p, c, from, to));
    } else if (batch >= threads && threads > 1 && batch * p.flops() > SERIAL_FLOPS) {
      workers.ranges(
          batch,
          Math.max(1, (long) (SERIAL_FLOPS / p.flops())),
          (from, to) -> {
            for (long i = from; i < to; i++) {
              part(p, a + i * strideA, b + i * strideB, c + i * strideC, 0, p.m, 0, p.n);
            }
          });
    } else {
      for (long i = 0; i < batch; i++) {
        split(p, a + i * strideA, b + i * strideB, c + i * strideC);
      }
    }
  }

  private void clearOrScale(Product p, long c, long from, long to) {
    long n = p.n;
    for (long row = from * p.m; row < to * p.m; row++) {
      long at = c + row * n * Float.BYTES;
      if (p.beta == 0) {
        lanes.fill(0, at, p.n);
      } else {
        lanes.scale(p.beta, at, at, p.n);
      }
    }
  }

  private void split(Product p, long a, long b, long c) {
    boolean small =
        (p.m == 1 || p.n == 1)
            ? Math.max((long) p.n * p.k, (long) p.m * p.k) * Float.BYTES < SERIAL_MATRIX_BYTES
            : p.flops() < SERIAL_FLOPS;
    if (workers.count() == 1 || small) {
      part(p, a, b, c, 0, p.m, 0, p.n);
      return;
    }
    int down = partsDown(p);
    int across = workers.count() / down;
    workers.run(
        down * across,
        (task, scratch) -> {
          int i = task / across;
          int j = task % across;
          part(
              p,
              a,
              b,
              c,
              cut(p.m, i, down),
              cut(p.m, i + 1, down),
              cut(p.n, j, across),
              cut(p.n, j + 1, across));
        });
  }

  /**
   * Chooses into how many parts to cut the rows of C, the columns being cut into threads / parts:
   * the slowest part should be small, and then the panels of A and B that it packs.
   */
  private int partsDown(Product p) {
    int threads = workers.count();
    int best = 1;
    double least = Double.MAX_VALUE;
    for (int down = 1; down <= threads; down++) {
      int across = threads / down;
      double rows = longest(p.m, down);
      double columns = longest(p.n, across);
      // Packing an element costs about as much as 16 multiply-adds.
      double cost = rows * columns + 16 * (rows + columns);
      if (cost < least) {
        least = cost;
        best = down;
      }
    }
    return best;
  }

  private static int longest(int length, int parts) {
    int blocks = (length + ALIGN - 1) / ALIGN;
    return (blocks + parts - 1) / parts * ALIGN;
  }

  private static int cut(int length, int part, int parts) {
    long blocks = (length + ALIGN - 1L) / ALIGN;
    return (int) Math.min(length, blocks * part / parts * ALIGN);
  }

  /** Computes the rows {@code [m0, m1)} and columns {@code [n0, n1)} of a product. */
  private static void part(Product p, long a, long b, long c, int m0, int m1, int n0, int n1) {
    if (m0 == m1 || n0 == n1) {
      return;
    }
    long partA = a + (p.ta ? m0 : (long) m0 * p.k) * Float.BYTES;
    long partB = b + (p.tb ? (long) n0 * p.k : n0) * Float.BYTES;
    long partC = c + ((long) m0 * p.n + n0) * Float.BYTES;
    int m = m1 - m0;
    int n = n1 - n0;
    if (p.m == 1) {
      int rows = p.tb ? n : p.k;
      int columns = p.tb ? p.k : n;
      OpenBlas.sgemv(!p.tb, rows, columns, p.alpha, partB, p.ldb(), partA, 1, p.beta, partC, 1);
    } else if (p.n == 1) {
      int rows = p.ta ? p.k : m;
      int columns = p.ta ? m : p.k;
      OpenBlas.sgemv(p.ta, rows, columns, p.alpha, partA, p.lda(), partB, 1, p.beta, partC, 1);
    } else {
      OpenBlas.sgemm(
          p.ta, p.tb, m, n, p.k, p.alpha, partA, p.lda(), partB, p.ldb(), p.beta, partC, p.n);
    }
  }
}
