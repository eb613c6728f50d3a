package filigree.tensor.cpu;

import filigree.tensor.Arithmetic;
import filigree.tensor.DType;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.TensorException;
import filigree.tensor.Transpose;
import java.util.Optional;

/**
 * Matrix products. Each thread takes parts of the output and computes them by {@link PackedProduct}
 * where this machine can run it and the form suits, else by OpenBLAS; products of a few rows go by
 * {@link FewRows}.
 */
final class Gemm implements AutoCloseable {
  // Below about 20 us of one core's work, waking others costs more than it saves.
  private static final double SERIAL_FLOPS = 1.5e6;
  private static final long SERIAL_MATRIX_BYTES = 256 << 10;

  // Parts begin at multiples of what OpenBLAS computes at once.
  private static final int ALIGN = 16;

  // A widened block, 1 MiB, stays in the second-level cache.
  private static final int WIDENED_DEPTH = 2048;
  private static final int WIDENED_FLOATS = 256 << 10;

  // Where the rows of a block are pieces of B's rows, the pieces are this long at least: shorter
  // ones leave the prefetcher of the memory behind.
  private static final int WIDENED_COLUMNS = 1024;

  // So many rows of A, turned, stay in the cache beside a block; with more, weights are a small
  // part of what is packed.
  private static final int FEWEST_TURNED = 16;
  private static final int MOST_TURNED = 256;
  private static final int TURNED_COLUMNS = 1024;

  private final Workers workers;
  private final ElementLanes lanes;
  private final Optional<PackedProduct> packed;
  private final FewRows fewRows;
  private final Scratch turned = new Scratch();

  Gemm(Workers workers, Lanes lanes) {
    this.workers = workers;
    this.lanes = lanes.elements();
    this.packed =
        lanes.tiles().map(tiles -> new PackedProduct(lanes.panels().orElseThrow(), tiles));
    this.fewRows = new FewRows(workers, lanes);
  }

  /** Says by what products are computed. */
  String description() {
    return packed.map(product -> product.description() + ", OpenBLAS").orElse("OpenBLAS");
  }

  void matmul(
      double alpha, Tensor a, Transpose ta, Tensor b, Transpose tb, double beta, Tensor out) {
    Checks.floats("matmul", a, out);
    Checks.weights("matmul", b);
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
    if (batch > 1) {
      Checks.floats("matmul", b);
      run(product, a.address(), b.address(), Edges.NONE, out.address(), batch, strideB);
    } else {
      one(product, b.dtype(), a.address(), b.address(), 0, out.address());
    }
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
    one(product, b.dtype(), a.address(), b.address(), bias.address(), out.address());
  }

  /**
   * Computes both gradients where the product that packs the one's left matrix can sum its rows for
   * the other.
   *
   * @return whether it did; the operands have been checked in any case
   */
  boolean affineBackward(Tensor gradient, Tensor x, double beta, Tensor weight, Tensor bias) {
    Checks.affineBackward(gradient, x, weight, bias);
    int m = weight.shape().length(0);
    int n = weight.shape().length(1);
    int k = Math.toIntExact(gradient.shape().rows());
    Product product = new Product(true, false, m, n, k, 1, (float) beta, m, n, n);
    if (packed.isEmpty() || k == 0 || !PackedProduct.sumsRows(product)) {
      return false;
    }
    Edges edges = new Edges(0, bias.address());
    run(product, gradient.address(), x.address(), edges, weight.address(), 1, 0);
    return true;
  }

  /** Chooses by form and type alone. */
  private void one(Product p, DType weights, long a, long b, long bias, long c) {
    if (p.m() <= FewRows.MOST_ROWS && FewRows.reads(weights) && (!p.ta() || p.m() == 1)) {
      if (bias != 0) {
        emptySums(p, bias, c, 0, 1);
      }
      fewRows.run(bias == 0 ? p : p.adding(), weights, a, b, c);
    } else if (weights == DType.F32) {
      run(p, a, b, Edges.bias(bias), c, 1, 0);
    } else if (weights == DType.BF16 && packed.isPresent() && canTurn(p)) {
      turned(p, weights, a, b, bias, c);
    } else {
      widening(p, weights, a, b, bias, c);
    }
  }

  private static boolean canTurn(Product p) {
    return !p.ta()
        && p.m() >= FEWEST_TURNED
        && p.m() <= MOST_TURNED
        && p.n() >= PackedProduct.FEWEST
        && p.k() > 0
        && p.alpha() == 1
        && (p.beta() == 0 || p.beta() == 1);
  }

  /**
   * As {@link #widening}, turned around: {@code C^T = B^T A^T}. Each weight serves few rows of A,
   * so that what it costs to read, widen and pack it counts; in the left matrix that is one step.
   * One call at a time, because all threads read the turned A.
   */
  private synchronized void turned(Product p, DType weights, long a, long b, long bias, long c) {
    PackedProduct product = packed.orElseThrow();
    int columns = product.panelColumns();
    int panels = (p.m() + columns - 1) / columns;
    turned.reserve((long) panels * columns * p.k(), 1);
    long turnedA = turned.take((long) panels * columns * p.k());
    workers.ranges(
        p.k(), ALIGN, (from, to) -> turn(product, p, a, (int) from, (int) (to - from), turnedA));
    int tasks = (p.n() + TURNED_COLUMNS - 1) / TURNED_COLUMNS;
    workers.run(
        tasks,
        (task, scratch) -> {
          int from = task * TURNED_COLUMNS;
          int count = Math.min(TURNED_COLUMNS, p.n() - from);
          // The product takes scratch too.
          Scratch own = scratch.second();
          own.reserve(2L * count * p.m(), 2);
          long sums = own.take((long) count * p.m());
          Product block =
              new Product(!p.tb(), false, count, p.m(), p.k(), 1, 0, p.ldb(), p.m(), p.m());
          long fromB = b + (p.tb() ? (long) from * p.ldb() : from) * weights.bytes();
          product.runPanels(block, weights, fromB, turnedA, sums, scratch);
          turnBack(product, p, sums, from, count, c, own);
          for (int i = 0; bias != 0 && i < p.m(); i++) {
            long to = c + p.at(i, from);
            lanes.combine(Arithmetic.ADD, to, bias + (long) from * Float.BYTES, to, count);
          }
        });
  }

  /** Puts the sums of some columns, [count, m], into C or adds them to it. */
  private void turnBack(
      PackedProduct product, Product p, long sums, int from, int count, long c, Scratch scratch) {
    Transposition transposition = product.transposition();
    long row = (long) p.m() * Float.BYTES;
    if (p.beta() == 0) {
      long next = (long) p.ldc() * Float.BYTES;
      transposition.run(sums, row, count, p.m(), c + p.at(0, from), next);
      return;
    }
    long rows = scratch.take((long) count * p.m());
    long next = (long) count * Float.BYTES;
    transposition.run(sums, row, count, p.m(), rows, next);
    for (int i = 0; i < p.m(); i++) {
      long to = c + p.at(i, from);
      lanes.combine(Arithmetic.ADD, to, rows + i * next, to, count);
    }
  }

  /** Turns the columns {@code [from, from + count)} of A into the panels of a right matrix. */
  private static void turn(PackedProduct product, Product p, long a, int from, int count, long to) {
    int columns = product.panelColumns();
    long nextA = (long) p.lda() * Float.BYTES;
    long row = (long) columns * Float.BYTES;
    for (int first = 0; first < p.m(); first += columns) {
      int rows = Math.min(columns, p.m() - first);
      long at = to + ((long) first * p.k() + (long) from * columns) * Float.BYTES;
      if (rows < columns) {
        Native.clear(at, count * row);
      }
      product
          .transposition()
          .run(a + first * nextA + (long) from * Float.BYTES, nextA, rows, count, at, row);
    }
  }

  /**
   * A product with weights stored in 16 bits, which are widened block by block into the cache: as a
   * whole they may be larger than the machine's memory. Each thread widens what it multiplies with.
   */
  private void widening(Product p, DType weights, long a, long b, long bias, long c) {
    if (p.k() == 0) {
      emptySums(p, bias, c, 0, 1);
      return;
    }
    OpenBlas.singleThreaded();
    int depth = Math.min(p.k(), p.tb() ? WIDENED_DEPTH : WIDENED_FLOATS / WIDENED_COLUMNS);
    int columns = Math.max(ALIGN, WIDENED_FLOATS / depth / ALIGN * ALIGN);
    int tasks = (p.n() + columns - 1) / columns;
    workers.run(
        tasks,
        (task, scratch) -> {
          int from = task * columns;
          int count = Math.min(columns, p.n() - from);
          // The product of a block takes scratch too.
          Scratch blocks = scratch.second();
          blocks.reserve((long) depth * count, 1);
          long wide = blocks.take((long) depth * count);
          for (int q = 0; q < p.k(); q += depth) {
            int deep = Math.min(depth, p.k() - q);
            widen(p, weights, b, from, count, q, deep, wide);
            Product block =
                new Product(
                    p.ta(),
                    p.tb(),
                    p.m(),
                    count,
                    deep,
                    p.alpha(),
                    q == 0 ? p.beta() : 1,
                    p.lda(),
                    p.tb() ? deep : count,
                    p.ldc());
            long fromA = a + (p.ta() ? (long) q * p.lda() : q) * Float.BYTES;
            long fromBias = bias == 0 || q > 0 ? 0 : bias + (long) from * Float.BYTES;
            boolean panels = packed.isPresent() && PackedProduct.suits(block);
            compute(block, panels, fromA, wide, Edges.bias(fromBias), c + p.at(0, from), scratch);
          }
        });
  }

  /**
   * Widens the block of B that is columns {@code [from, from + count)}, rows {@code [q, q + deep)}.
   */
  private static void widen(
      Product p, DType weights, long b, int from, int count, int q, int deep, long to) {
    int rows = p.tb() ? count : deep;
    int length = p.tb() ? deep : count;
    long first = p.tb() ? (long) from * p.ldb() + q : (long) q * p.ldb() + from;
    for (int row = 0; row < rows; row++) {
      long at = b + (first + (long) row * p.ldb()) * weights.bytes();
      Casts.run(weights, at, DType.F32, to + (long) row * length * Float.BYTES, 0, length);
    }
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

  /** Runs products one after another or side by side; in a batch they share their bias. */
  private void run(Product p, long a, long b, Edges edges, long c, long batch, long strideB) {
    OpenBlas.singleThreaded();
    long strideA = (long) p.m() * p.k() * Float.BYTES;
    long strideC = (long) p.m() * p.n() * Float.BYTES;
    int threads = workers.count();
    if (p.k() == 0) {
      // An empty sum. BLAS libraries differ in whether they still apply beta.
      workers.ranges(batch, 1, (from, to) -> emptySums(p, edges.bias(), c, from, to));
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
                  edges,
                  c + i * strideC,
                  rows,
                  columns,
                  scratch);
            }
          });
    } else {
      for (long i = 0; i < batch; i++) {
        split(p, a + i * strideA, b + i * strideB, edges, c + i * strideC);
      }
    }
  }

  private void emptySums(Product p, long bias, long c, long from, long to) {
    for (long row = from * p.m(); row < to * p.m(); row++) {
      long at = c + row * p.ldc() * Float.BYTES;
      if (p.beta() != 0) {
        lanes.scale(p.beta(), at, at, p.n());
      } else if (bias != 0) {
        Native.copy(bias, at, (long) p.n() * Float.BYTES);
      } else {
        lanes.fill(0, at, p.n());
      }
    }
  }

  private void split(Product p, long a, long b, Edges edges, long c) {
    boolean small =
        (p.m() == 1 || p.n() == 1)
            ? Math.max((long) p.n() * p.k(), (long) p.m() * p.k()) * Float.BYTES
                < SERIAL_MATRIX_BYTES
            : p.flops() < SERIAL_FLOPS;
    if (workers.count() == 1 || small) {
      workers.run(
          1,
          (task, scratch) ->
              part(p, a, b, edges, c, new Range(0, p.m()), new Range(0, p.n()), scratch));
      return;
    }
    int down = partsDown(p);
    int across = workers.count() / down;
    workers.run(
        down * across,
        (task, scratch) -> {
          Range rows = cut(p.m(), task / across, down);
          Range columns = cut(p.n(), task % across, across);
          part(p, a, b, edges, c, rows, columns, scratch);
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
      Edges edges,
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
    Edges own = edges.at(rows.from, columns.from);
    boolean panels = packed.isPresent() && PackedProduct.suits(whole);
    if (panels || (whole.m() > 1 && whole.n() > 1)) {
      compute(p, panels, fromA, fromB, own, to, scratch);
      return;
    }
    if (own.bias() != 0) {
      emptySums(p, own.bias(), to, 0, 1);
      p = p.adding();
    }
    if (whole.m() == 1) {
      int height = p.tb() ? p.n() : p.k();
      int width = p.tb() ? p.k() : p.n();
      OpenBlas.sgemv(!p.tb(), height, width, p.alpha(), fromB, p.ldb(), fromA, 1, p.beta(), to, 1);
    } else {
      int height = p.ta() ? p.k() : p.m();
      int width = p.ta() ? p.m() : p.k();
      OpenBlas.sgemv(p.ta(), height, width, p.alpha(), fromA, p.lda(), fromB, 1, p.beta(), to, 1);
    }
  }

  /** Computes a product in the calling thread, by panels or by OpenBLAS. */
  private void compute(
      Product p, boolean panels, long a, long b, Edges edges, long c, Scratch scratch) {
    if (panels) {
      packed.orElseThrow().run(p, a, b, edges, c, scratch);
    } else if (edges.bias() != 0) {
      // OpenBLAS would clear C before it adds, so that this costs nothing.
      emptySums(p, edges.bias(), c, 0, 1);
      OpenBlas.sgemm(p.adding(), a, b, c);
    } else {
      OpenBlas.sgemm(p, a, b, c);
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

  @Override
  public void close() {
    turned.close();
  }
}
