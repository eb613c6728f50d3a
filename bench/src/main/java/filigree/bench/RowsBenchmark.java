package filigree.bench;

import filigree.tensor.Kernels;
import filigree.tensor.Rotation;
import filigree.tensor.Tensor;
import org.openjdk.jmh.annotations.Benchmark;

/**
 * What moves rows: 1,024 rows of 768 from a table of 50,257 and back, and rotary embedding of 1,024
 * positions of 12 heads.
 *
 * <p>{@code bench/run jmh Rows}
 */
public class RowsBenchmark extends KernelBenchmark {
  private static final int ENTRIES = 50257;
  private static final int WIDTH = 768;
  private static final int TIME = 1024;
  private static final int PAIRS = 32;

  private Tensor table;
  private Tensor ids;
  private Tensor rows;
  private Tensor gradient;
  private Tensor dtable;
  private Tensor x;
  private Tensor cos;
  private Tensor sin;
  private Tensor rotated;

  @Override
  void make() {
    table = normal(ENTRIES, WIDTH);
    ids = ids(TIME, ENTRIES);
    rows = empty(TIME, WIDTH);
    gradient = normal(TIME, WIDTH);
    dtable = empty(ENTRIES, WIDTH);
    kernels().fill(dtable, 0);
    x = normal(1, TIME, 12, 2 * PAIRS);
    cos = normal(TIME, PAIRS);
    sin = normal(TIME, PAIRS);
    rotated = empty(1, TIME, 12, 2 * PAIRS);
  }

  @Override
  void check(Kernels twin) {
    same(twin, this::gather, 1e-6, rows);
    same(
        twin,
        k -> {
          k.fill(dtable, 0);
          k.scatterAdd(ids, gradient, dtable);
        },
        1e-5,
        dtable);
    same(twin, this::rotary, 1e-5, rotated);
  }

  private void gather(Kernels k) {
    k.gather(table, ids, rows);
  }

  private void rotary(Kernels k) {
    k.rotary(x, cos, sin, 0, Rotation.FORWARD, rotated);
  }

  /** Rows of the table. */
  @Benchmark
  public Tensor gather() {
    gather(kernels());
    return rows;
  }

  /** Rows added to the table, repeated ones in order. */
  @Benchmark
  public Tensor scatterAdd() {
    kernels().scatterAdd(ids, gradient, dtable);
    return dtable;
  }

  /** Queries or keys rotated by their positions. */
  @Benchmark
  public Tensor rotary() {
    rotary(kernels());
    return rotated;
  }
}
