package filigree.tensor.cpu;

/**
 * What stands beside a product C = op(A) op(B).
 *
 * @param bias address of a number for each column of C, added where beta is 0; 0 for none
 * @param rowSums address of a number for each row of C, to be set to the sum of the row of op(A); 0
 *     for none
 */
record Edges(long bias, long rowSums) {
  static final Edges NONE = new Edges(0, 0);

  /** A bias, or none where it is 0. */
  static Edges bias(long bias) {
    return new Edges(bias, 0);
  }

  /** The same for the part of C from a row and a column on; the first columns' part sums rows. */
  Edges at(int row, int column) {
    return new Edges(
        bias == 0 ? 0 : bias + (long) column * Float.BYTES,
        rowSums == 0 || column > 0 ? 0 : rowSums + (long) row * Float.BYTES);
  }
}
