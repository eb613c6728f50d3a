package filigree.tensor.cpu;

import filigree.tensor.cpu.AttentionLayout.QueryTile;

/**
 * The matrix products of attention, over one head and a tile of its queries. Rows of scores lie
 * {@link AttentionLayout#strideS} floats apart and have a column for every key. Of weights only the
 * keys from {@link QueryTile#from} to {@link QueryTile#to} are read; those among them that a query
 * does not see have weight zero.
 *
 * <p>Keys and values of a head may be put into another order first, which serves several tiles.
 */
sealed interface HeadProducts permits BlasHeadProducts, TileHeadProducts {
  /**
   * Puts keys or values of a head in the order in which {@link #scores} reads them.
   *
   * @param rows address of the head's first key or value
   * @param from the first that will be read
   * @param to one past the last
   * @return what {@link #scores} takes
   */
  long forScores(long rows, int from, int to);

  /** The same for {@link #mix}. */
  long forMix(long rows, int from, int to);

  /**
   * Multiplies queries with keys: {@code out[i][j] = a[i] . b[j]}. What a query does not see may be
   * written or not.
   *
   * @param a address of the tile's first row
   * @param nextA floats from one row of a to the next
   * @param b as {@link #forScores} returned it
   * @param out address of the tile's scores
   */
  void scores(QueryTile tile, long a, int nextA, long b, long out);

  /**
   * Mixes keys or values: {@code out[i] = sum over j of weights[i][j] b[j]}.
   *
   * @param weights address of rows like those of scores
   * @param b as {@link #forMix} returned it
   * @param out address of the tile's first row in a tensor of queries
   */
  void mix(QueryTile tile, long weights, long b, long out);

  /**
   * Gives each key its part of the queries: {@code out[j] += sum over i of weights[i][j] a[i]}.
   *
   * @param weights address of rows like those of scores
   * @param a address of the tile's first row
   * @param nextA floats from one row of a to the next
   * @param before what out holds
   * @param out address of the head's first row in a tensor of keys
   */
  void spread(QueryTile tile, long weights, long a, int nextA, Before before, long out);

  /** What memory holds that a sum is written to. */
  enum Before {
    /** Nothing yet: it is overwritten. */
    NOTHING,
    /** A sum, to which is added. */
    SUM
  }
}
