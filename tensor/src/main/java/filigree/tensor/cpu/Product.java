package filigree.tensor.cpu;

/**
 * What a matrix product is, apart from where it lies: {@code C = alpha op(A) op(B) + beta C}.
 *
 * @param ta whether A lies transposed, [k, m]
 * @param tb whether B lies transposed, [n, k]
 * @param m rows of C
 * @param n columns of C
 * @param k the summed axis
 * @param alpha factor of the product
 * @param beta factor of what C holds; 0 never reads it
 * @param lda floats from one row of A, as it lies, to the next
 * @param ldb floats from one row of B, as it lies, to the next
 * @param ldc floats from one row of C to the next
 */
record Product(
    boolean ta,
    boolean tb,
    int m,
    int n,
    int k,
    float alpha,
    float beta,
    int lda,
    int ldb,
    int ldc) {
  double flops() {
    return 2.0 * m * n * k;
  }

  /** The same over some rows and columns of C. */
  Product part(int rows, int columns) {
    return new Product(ta, tb, rows, columns, k, alpha, beta, lda, ldb, ldc);
  }

  /** The same added to what C holds. */
  Product adding() {
    return new Product(ta, tb, m, n, k, alpha, 1, lda, ldb, ldc);
  }

  /** Bytes from the first element of A to that of row i of op(A). */
  long atRow(int i) {
    return (ta ? i : (long) i * lda) * Float.BYTES;
  }

  /** Bytes from the first element of B to that of column j of op(B). */
  long atColumn(int j) {
    return (tb ? (long) j * ldb : j) * Float.BYTES;
  }

  /** Bytes from the first element of C to another. */
  long at(int i, int j) {
    return ((long) i * ldc + j) * Float.BYTES;
  }
}
