package filigree.tensor.cpu;

import filigree.tensor.cpu.AttentionLayout.QueryTile;

/** By OpenBLAS, over keys and values as they lie. */
final class BlasHeadProducts implements HeadProducts {
  private final AttentionLayout layout;
  private final int headDim;

  BlasHeadProducts(AttentionLayout layout) {
    this.layout = layout;
    this.headDim = layout.spec().headDim();
  }

  @Override
  public long forScores(long rows, int from, int to) {
    return rows;
  }

  @Override
  public long forMix(long rows, int from, int to) {
    return rows;
  }

  @Override
  public void scores(QueryTile tile, long a, int nextA, long b, long out) {
    int n = tile.to() - tile.from();
    int strideK = layout.strideK();
    long first = row(b, tile.from());
    long to = out + (long) tile.from() * Float.BYTES;
    if (tile.count() == 1) {
      OpenBlas.sgemv(false, n, headDim, 1, first, strideK, a, 1, 0, to, 1);
    } else {
      OpenBlas.sgemm(
          new Product(
              false, true, tile.count(), n, headDim, 1, 0, nextA, strideK, layout.strideS()),
          a,
          first,
          to);
    }
  }

  @Override
  public void mix(QueryTile tile, long weights, long b, long out) {
    int n = tile.to() - tile.from();
    int strideK = layout.strideK();
    long first = row(b, tile.from());
    long from = weights + (long) tile.from() * Float.BYTES;
    if (tile.count() == 1) {
      OpenBlas.sgemv(true, n, headDim, 1, first, strideK, from, 1, 0, out, 1);
    } else {
      OpenBlas.sgemm(
          new Product(
              false,
              false,
              tile.count(),
              headDim,
              n,
              1,
              0,
              layout.strideS(),
              strideK,
              layout.strideQ()),
          from,
          first,
          out);
    }
  }

  @Override
  public void spread(QueryTile tile, long weights, long a, int nextA, Before before, long out) {
    OpenBlas.sgemm(
        new Product(
            true,
            false,
            tile.to() - tile.from(),
            headDim,
            tile.count(),
            1,
            before == Before.SUM ? 1 : 0,
            layout.strideS(),
            nextA,
            layout.strideK()),
        weights + (long) tile.from() * Float.BYTES,
        a,
        row(out, tile.from()));
  }

  private long row(long keys, int key) {
    return keys + (long) key * layout.strideK() * Float.BYTES;
  }
}
