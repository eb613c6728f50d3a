package filigree.tensor.cpu;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import filigree.tensor.TensorException;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.openblas.global.openblas_nolapack;

/**
 * The two matrix products of the OpenBLAS that ND4J brings, called through the Foreign Function
 * API: no pointer object for each operand, and ND4J itself is not started (which takes 1.5 s).
 *
 * <p>OpenBLAS runs in the calling thread; kernels cut the work themselves. Its own pool would fight
 * with ours, and would serialise the many small products of attention.
 */
final class OpenBlas {
  private static final int ROW_MAJOR = 101;
  private static final int NO_TRANSPOSE = 111;
  private static final int TRANSPOSE = 112;

  private static final MethodHandle SGEMM;
  private static final MethodHandle SGEMV;
  private static final MethodHandle SET_THREADS;
  private static final MethodHandle GET_THREADS;

  static {
    Loader.load(openblas_nolapack.class);
    // Addresses go as JAVA_LONG: the same register as a pointer on every 64-bit ABI, and no
    // MemorySegment is made for a call.
    SGEMM =
        handle(
            "cblas_sgemm",
            FunctionDescriptor.ofVoid(
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_FLOAT,
                JAVA_LONG,
                JAVA_INT,
                JAVA_LONG,
                JAVA_INT,
                JAVA_FLOAT,
                JAVA_LONG,
                JAVA_INT));
    SGEMV =
        handle(
            "cblas_sgemv",
            FunctionDescriptor.ofVoid(
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_FLOAT,
                JAVA_LONG,
                JAVA_INT,
                JAVA_LONG,
                JAVA_INT,
                JAVA_FLOAT,
                JAVA_LONG,
                JAVA_INT));
    SET_THREADS =
        handle(
            "openblas_set_num_threads", FunctionDescriptor.ofVoid(new MemoryLayout[] {JAVA_INT}));
    GET_THREADS = handle("openblas_get_num_threads", FunctionDescriptor.of(JAVA_INT));
  }

  private OpenBlas() {}

  @SuppressWarnings("restricted")
  private static MethodHandle handle(String name, FunctionDescriptor type) {
    return Linker.nativeLinker()
        .downcallHandle(
            SymbolLookup.loaderLookup()
                .find(name)
                .orElseThrow(() -> new TensorException("cpu: OpenBLAS has no function " + name)),
            type);
  }

  /**
   * Keeps OpenBLAS in the calling thread. Every kernel calls this before its first product, because
   * ND4J, where something else starts it later, sets its own number.
   */
  static void singleThreaded() {
    try {
      if ((int) GET_THREADS.invokeExact() != 1) {
        SET_THREADS.invokeExact(1);
      }
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  /** Computes a product over row-major matrices at given addresses. */
  static void sgemm(Product p, long a, long b, long c) {
    try {
      SGEMM.invokeExact(
          ROW_MAJOR,
          p.ta() ? TRANSPOSE : NO_TRANSPOSE,
          p.tb() ? TRANSPOSE : NO_TRANSPOSE,
          p.m(),
          p.n(),
          p.k(),
          p.alpha(),
          a,
          p.lda(),
          b,
          p.ldb(),
          p.beta(),
          c,
          p.ldc());
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  /**
   * Computes {@code y = alpha op(A) x + beta y} over a row-major matrix.
   *
   * @param ta whether op transposes
   * @param rows rows of A as it lies
   * @param columns columns of A as it lies
   */
  static void sgemv(
      boolean ta,
      int rows,
      int columns,
      float alpha,
      long a,
      int lda,
      long x,
      int incx,
      float beta,
      long y,
      int incy) {
    try {
      SGEMV.invokeExact(
          ROW_MAJOR,
          ta ? TRANSPOSE : NO_TRANSPOSE,
          rows,
          columns,
          alpha,
          a,
          lda,
          x,
          incx,
          beta,
          y,
          incy);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  // A downcall of a void C function throws nothing of its own.
  private static IllegalStateException unexpected(Throwable e) {
    return new IllegalStateException(e);
  }
}
