package filigree.tensor.cpu;

import filigree.tensor.AttentionSpec;

/**
 * Sizes and strides of one call of attention; strides in floats, offsets in bytes.
 *
 * @param spec heads, gate and window
 * @param batch sequences
 * @param queries of each sequence; they stand at its last positions
 * @param keys of each sequence
 */
record AttentionLayout(AttentionSpec spec, int batch, int queries, int keys) {
  /**
   * Queries of a tile: whole rows of {@link filigree.tensor.cpu.x86.NativeTiles}. Scores of more
   * leave the second-level cache where sequences are long.
   */
  static final int TILE = 48;

  /** Floats from one query of a head to the next. */
  int strideQ() {
    return spec.heads() * spec.headDim();
  }

  /** Floats from one key or value of a head to the next. */
  int strideK() {
    return spec.kvHeads() * spec.headDim();
  }

  /** Heads that share keys and values. */
  int group() {
    return spec.heads() / spec.kvHeads();
  }

  int tiles() {
    return (queries + TILE - 1) / TILE;
  }

  QueryTile tile(int index) {
    int first = index * TILE;
    return new QueryTile(this, first, Math.min(TILE, queries - first));
  }

  /** Floats from one row of scores to the next: whole cache lines, not a power of two. */
  int strideS() {
    return (keys + GateLanes.ROOM + 31) / 32 * 32 + 16;
  }

  /** Offset of a query, of its output and of their gradients. */
  long q(int b, int head, int query) {
    return (((long) b * queries + query) * strideQ() + (long) head * spec.headDim()) * Float.BYTES;
  }

  /** Offset of a head's first key, of its first value and of their gradients. */
  long k(int b, int kvHead) {
    return ((long) b * keys * strideK() + (long) kvHead * spec.headDim()) * Float.BYTES;
  }

  /** Offset of a query's number, where each has one. */
  long row(int b, int head, int query) {
    return ((long) (b * spec.heads() + head) * queries + query) * Float.BYTES;
  }

  /** One past the last key that the query sees. */
  int end(int query) {
    return keys - queries + query + 1;
  }

  /** The first key that the query sees. */
  int firstKey(int query) {
    return spec.firstKey(keys - queries + query);
  }

  /** Pairs of a query and a key that it sees. */
  long pairs() {
    return spec.pairs(queries, keys);
  }

  /** How many queries see key 0. */
  long firstPairs() {
    return Math.max(0, Math.min(queries, (long) spec.window() - (keys - queries)));
  }

  /**
   * Consecutive queries of one head.
   *
   * @param layout of the call
   * @param first the first query
   * @param count how many
   */
  record QueryTile(AttentionLayout layout, int first, int count) {
    /** The first key that some query of the tile sees. */
    int from() {
      return layout.firstKey(first);
    }

    /** One past the last key that some query of the tile sees. */
    int to() {
      return layout.end(first + count - 1);
    }

    /** Pairs of a query and a key that it sees. */
    long pairs() {
      return layout.spec.pairs(count, layout.end(first + count - 1));
    }

    /**
     * Some queries of the tile.
     *
     * @param from the first, counted from the tile's first
     * @param most how many, unless the tile ends before
     */
    QueryTile part(int from, int most) {
      return new QueryTile(layout, first + from, Math.min(most, count - from));
    }
  }
}
