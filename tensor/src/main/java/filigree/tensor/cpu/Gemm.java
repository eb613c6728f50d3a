package filigree.tensor.cpu;

import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.TensorException;
import filigree.tensor.Transpose;
import java.util.Optional;

/** Matrix products: one OpenBLAS call for each part of the output that a thread takes. */
final class Gemm {
  // Below about 20 us of one core's work, waking others costs more than it saves.
  private static final double SERIAL_FLOPS = 1.5e6;
  private static final long SERIAL_MATRIX_BYTES = 256 << 10;

  // Parts begin at multiples of what OpenBLAS computes at once.
  private static final int ALIGN = 16;

  private final Workers workers;
  private final ElementLanes lanes;
  private final Optional<PackedProduct> packed;

  Gemm(Workers workers, Lanes lanes) {
    this.workers = workers;
    this.lanes = lanes.elements();
    this.packed = lanes.tiles().map(PackedProduct::new);
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
    int lda = transposeA ? m : k;
    int ldb = transposeB ? k : n;
    Product product =
        new Product(transposeA, transposeB, m, n, k, (float) alpha, (float) beta, lda, ldb, n);
    long strideB = shared ? 0 : (long) k * n * Float.BYTES;
    run(product, a.address(), b.address(), 0, out.address(), batch, strideB);
  }

  void affine(Tensor a, Tensor b, Transpose tb, Tensor bias, Tensor out) {
    Checks.affine(a, b, tb, bias, out);
    if (out.size() == 0) {
      return;
    }
    int rows = Math.toIntExact(a.shape().rows());
    int n = Math.toIntExact(bias.size());
    int k = a.shape().length(-1);
    int ldb = tb == Transpose.YES ? k : n;
    Product product = new Product(false, tb == Transpose.YES, rows, n, k, 1, 0, k, ldb, n);
    run(product, a.address(), b.address(), bias.address(), out.address(), 1, 0);
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

  /**
   * Runs products one after another or side by side.
   *
   * @param bias address of a number for each column of C, where beta is 0; 0 for none
   */
  private void run(Product p, long a, long b, long bias, long c, long batch, long strideB) {
    OpenBlas.singleThreaded();
    long strideA = (long) p.m() * p.k() * Float.BYTES;
    long strideC = (long) p.m() * p.n() * Float.BYTES;
    int threads = workers.count();
    if (p.k() == 0) {
      // An empty sum. BLAS libraries differ in whether they still apply beta.
      workers.ranges(batch, 1, (from, to) -> emptySums(p, bias, c, from, to));
    } else if (batch >= threads && threads > 1 && batch * p.flops() > SERIAL_FLOPS) {
      int tasks = (int) Math.min(batch, 4L * threads);
      Range rows = new Range(0, p.m());
      Range columns = new Range(0, p.n());
      workers.run(
          tasks,
          (task, scratch) -> {
            for (long i = batch * task / tasks; i < batch * (task + 1) / tasks; i++) {
              part(
                  p,
                  a + i * strideA,
                  b + i * strideB,
                  bias,
                  c + i * strideC,
                  rows,
                  columns,
                  scratch);
            }
          });
    } else {
      for (long i = 0; i < batch; i++) {
        split(p, a + i * strideA, b + i * strideB, bias, c + i * strideC);
      }
    }
  }

  private void emptySums(Product p, long bias, long c, long from, long to) {
    for (long row = from * p.m(); row < to * p.m(); row++) {
      long at = c + row * p.n() * Float.BYTES;
      if (p.beta() != 0) {
        lanes.scale(p.beta(), at, at, p.n());
      } else if (bias != 0) {
        Native.copy(bias, at, (long) p.n() * Float.BYTES);
      } else {
        lanes.fill(0, at, p.n());
      }
    }
  }

  private void split(Product p, long a, long b, long bias, long c) {
    boolean small =
        (p.m() == 1 || p.n() == 1)
            ? Math.max((long) p.n() * p.k(), (long) p.m() * p.k()) * Float.BYTES
                < SERIAL_MATRIX_BYTES
            : p.flops() < SERIAL_FLOPS;
    if (workers.count() == 1 || small) {
      workers.run(
          1,
          (task, scratch) ->
              part(p, a, b, bias, c, new Range(0, p.m()), new Range(0, p.n()), scratch));
      return;
    }
    int down = partsDown(p);
    int across = workers.count() / down;
    workers.run(
        down * across,
        (task, scratch) -> {
          Range rows = cut(p.m(), task / across, down);
          Range columns = cut(p.n(), task % across, across);
          part(p, a, b, bias, c, rows, columns, scratch);
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
      double rows = longest(p.m(), down);
      double columns = longest(p.n(), across);
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

  private static Range cut(int length, int part, int parts) {
    long blocks = (length + ALIGN - 1L) / ALIGN;
    return new Range(
        (int) Math.min(length, blocks * part / parts * ALIGN),
        (int) Math.min(length, blocks * (part + 1) / parts * ALIGN));
  }

  /** Computes the rows {@code [m0, m1)} and columns {@code [n0, n1)} of a product. */
  private void part(
      Product whole,
      long a,
      long b,
      long bias,
      long c,
      Range rows,
      Range columns,
      Scratch scratch) {
    if (rows.isEmpty() || columns.isEmpty()) {
      return;
    }
    Product p = whole.part(rows.length(), columns.length());
    long fromA = a + whole.atRow(rows.from);
    long fromB = b + whole.atColumn(columns.from);
    long to = c + whole.at(rows.from, columns.from);
    long fromBias = bias == 0 ? 0 : bias + (long) columns.from * Float.BYTES;
    if (packed.isPresent() && PackedProduct.suits(whole)) {
      packed.get().run(p, fromA, fromB, fromBias, to, scratch);
      return;
    }
    if (bias != 0) {
      // OpenBLAS would clear C before it adds, so that this costs nothing.
      for (int row = 0; row < p.m(); row++) {
        Native.copy(fromBias, to + p.at(row, 0), (long) p.n() * Float.BYTES);
      }
      p = p.adding();
    }
    if (whole.m() == 1) {
      int height = p.tb() ? p.n() : p.k();
      int width = p.tb() ? p.k() : p.n();
      OpenBlas.sgemv(!p.tb(), height, width, p.alpha(), fromB, p.ldb(), fromA, 1, p.beta(), to, 1);
    } else if (whole.n() == 1) {
      int height = p.ta() ? p.k() : p.m();
      int width = p.ta() ? p.m() : p.k();
      OpenBlas.sgemv(p.ta(), height, width, p.alpha(), fromA, p.lda(), fromB, 1, p.beta(), to, 1);
    } else {
      OpenBlas.sgemm(p, fromA, fromB, to);
    }
  }

  /** Indices from one to another, the second not included. */
  private record Range(int from, int to) {
    int length() {
      return to - from;
    }

    boolean isEmpty() {
      return from == to;
    }
  }
}
