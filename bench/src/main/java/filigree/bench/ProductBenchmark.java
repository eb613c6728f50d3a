package filigree.bench;

import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Transpose;
import filigree.tensor.Workspace;
import filigree.tensor.cpu.CpuKernels;
import filigree.tensor.cpu.LaneChoice;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/**
 * The rate of the products that training steps are made of, over matrices that are in no cache:
 * each call takes the next of enough sets of matrices to fill 320 MiB. The provider's own choice
 * stands beside OpenBLAS alone (what the plain loops use), in turns, by the same threads.
 *
 * <pre>
 *   bench/run products --threads 1 [--calls N]
 * </pre>
 *
 * <p>prints medians in GFLOP/s and their ratio. Check: both compute the same, to 1e-3.
 */
final class ProductBenchmark {
  private static final long TOTAL_BYTES = 320L << 20;

  /** Rows and columns of C and the summed axis: of the small shape, then of gpt2. */
  private static final int[][] SIZES = {
    {1024, 256, 256},
    {1024, 256, 1024},
    {1024, 1024, 256},
    {256, 256, 1024},
    {256, 1024, 1024},
    {256, 768, 768},
    {256, 3072, 768},
    {256, 768, 3072},
    {768, 3072, 256},
    {1024, 1024, 1024}
  };

  private enum Form {
    NN(Transpose.NO, Transpose.NO),
    TN(Transpose.YES, Transpose.NO),
    NT(Transpose.NO, Transpose.YES);

    private final Transpose a;
    private final Transpose b;

    Form(Transpose a, Transpose b) {
      this.a = a;
      this.b = b;
    }
  }

  private ProductBenchmark() {}

  /**
   * Runs the benchmark.
   *
   * @param args see the class
   */
  public static void main(String[] args) {
    Arguments arguments = Arguments.of(args, "products");
    int threads = arguments.number("threads", Runtime.getRuntime().availableProcessors());
    int calls = arguments.number("calls", 60);
    try (Kernels own = new CpuKernels(threads, LaneChoice.AUTO);
        Kernels openBlas = new CpuKernels(threads, LaneChoice.SCALAR)) {
      System.out.println("| m x n x k | form | OpenBLAS | ours | ratio |");
      System.out.println("|---|---|---:|---:|---:|");
      for (int[] size : SIZES) {
        for (Form form : Form.values()) {
          try (Products products = new Products(form, size[0], size[1], size[2])) {
            System.out.println(products.row(own, openBlas, calls));
          }
        }
      }
    } catch (IllegalStateException e) {
      System.err.println("products: " + e.getMessage());
      System.exit(1);
    }
  }

  /** Sets of matrices of one form and size. */
  private static final class Products implements AutoCloseable {
    private final Workspace memory = new Workspace("products");
    private final List<Tensor[]> sets = new ArrayList<>();
    private final Form form;
    private final int m;
    private final int n;
    private final int k;
    private int next;

    Products(Form form, int m, int n, int k) {
      this.form = form;
      this.m = m;
      this.n = n;
      this.k = k;
      long bytes = 4L * ((long) m * k + (long) k * n + (long) m * n);
      for (long used = 0; used < TOTAL_BYTES; used += bytes) {
        Tensor a = filled(form.a == Transpose.YES ? Shape.of(k, m) : Shape.of(m, k));
        Tensor b = filled(form.b == Transpose.YES ? Shape.of(n, k) : Shape.of(k, n));
        sets.add(new Tensor[] {a, b, memory.allocate(Shape.of(m, n), DType.F32)});
      }
    }

    private Tensor filled(Shape shape) {
      return Tensor.generate(memory, DType.F32, shape, i -> (i * 7 % 19 - 9) / 16.0);
    }

    String row(Kernels own, Kernels openBlas, int calls) {
      double[] ours = new double[calls];
      double[] theirs = new double[calls];
      // The first calls compile; that changes speed, not results.
      for (int i = -calls; i < calls; i++) {
        double one = seconds(own);
        double other = seconds(openBlas);
        if (i >= 0) {
          ours[i] = one;
          theirs[i] = other;
        }
      }
      check(own, openBlas);
      double flops = 2.0 * m * n * k;
      double rate = flops / median(ours) / 1e9;
      double peer = flops / median(theirs) / 1e9;
      return String.format(
          Locale.ROOT,
          "| %d x %d x %d | %s | %.0f | %.0f | %.2f |",
          m,
          n,
          k,
          form,
          peer,
          rate,
          rate / peer);
    }

    private double seconds(Kernels kernels) {
      Tensor[] set = sets.get(next++ % sets.size());
      long began = System.nanoTime();
      kernels.matmul(1, set[0], form.a, set[1], form.b, 0, set[2]);
      return (System.nanoTime() - began) / 1e9;
    }

    private void check(Kernels own, Kernels openBlas) {
      Tensor[] set = sets.getFirst();
      own.matmul(1, set[0], form.a, set[1], form.b, 0, set[2]);
      double found = set[2].get(set[2].size() / 2 + 1);
      openBlas.matmul(1, set[0], form.a, set[1], form.b, 0, set[2]);
      double expected = set[2].get(set[2].size() / 2 + 1);
      if (!(Math.abs(found - expected) < 1e-3)) {
        throw new IllegalStateException(
            "%s %d x %d x %d: found %s, expected %s".formatted(form, m, n, k, found, expected));
      }
    }

    private static double median(double[] values) {
      Arrays.sort(values);
      return values[values.length / 2];
    }

    @Override
    public void close() {
      memory.close();
    }
  }
}
