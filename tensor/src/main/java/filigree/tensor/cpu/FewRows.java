package filigree.tensor.cpu;

import filigree.tensor.DType;
import filigree.tensor.cpu.WeightLanes.Four;
import filigree.tensor.cpu.x86.NativeRows;
import java.util.Optional;

/**
 * Products of a few rows with a matrix of weights, which is what generating a token is made of:
 * {@code y = alpha x W + beta y}. They are as fast as the weights can be read, so that everything
 * here serves reading them once, in long runs, by all threads.
 *
 * <p>Where W is transposed its rows are one run of memory, which machine code reads with prefetches
 * of its own, {@link NativeRows}. Java has none; there several rows are read at a time, each from
 * another part of W: long runs, which the processor reads ahead better than one
 * (docs/performance.md, Generation).
 *
 * <p>What a thread computes depends on shapes and the number of threads alone; where W is
 * transposed, results do not even depend on those.
 */
final class FewRows {
  /** With more rows, weights would better be packed once and used many times. */
  static final int MOST_ROWS = 4;

  // Below about 20 us of one core's reading, waking others costs more than it saves.
  private static final long SERIAL_BYTES = 256 << 10;

  // Columns of y that stay in the first cache while the rows of W pass.
  private static final int BLOCK = 4096;
  // Columns of a row that are read in one go, where there are as many.
  private static final int SHORTEST_RUN = 2048;

  // Columns are cut at cache lines of y.
  private static final int LINE = 16;
  private static final int TOGETHER = WeightLanes.TOGETHER;

  // Products whose partial sums are added up together; no fewer than a step has.
  private static final int FOLDED = 64;

  // Weights of one call of machine code: 10 us, beside which a call is nothing.
  private static final int CALL_BYTES = 128 << 10;

  private final Workers workers;
  private final WeightLanes weights;
  private final ElementLanes elements;
  private final Optional<NativeRows> nativeRows;

  /** Tells whether weights may be of this type. */
  static boolean reads(DType type) {
    return type == DType.F32 || type == DType.BF16;
  }

  FewRows(Workers workers, Lanes lanes) {
    this.workers = workers;
    this.weights = lanes.weights();
    this.elements = lanes.elements();
    this.nativeRows = lanes.nativeRows();
  }

  /**
   * Computes a product in all threads.
   *
   * @param p the product; rows of A and C lie one after another
   * @param type of the weights, F32 or BF16
   * @param x address of A
   * @param w address of B, [k, n], or transposed [n, k]
   * @param y address of C
   */
  void run(Product p, DType type, long x, long w, long y) {
    if (p.tb()) {
      timesTransposed(p, type, x, w, y);
    } else {
      times(p, type, x, w, y);
    }
  }

  /** Computes {@code y = alpha x W^T + beta y} with W [n, k]: dot products along rows. */
  private void timesTransposed(Product p, DType type, long x, long w, long y) {
    int tasks = tasks(p, type, p.n());
    workers.run(
        tasks,
        (task, scratch) -> {
          long from = (long) p.n() * task / tasks;
          long to = (long) p.n() * (task + 1) / tasks;
          if (nativeRows.isPresent() && nativeRows.get().reads(p.k())) {
            stream(nativeRows.get(), p, type, x, w, y, from, to, scratch);
          } else {
            dots(p, type, x, w, y, from, to, scratch);
          }
        });
  }

  /** The rows of W in {@code [from, to)} with every row of x, in one run over memory. */
  private static void stream(
      NativeRows loops,
      Product p,
      DType type,
      long x,
      long w,
      long y,
      long from,
      long to,
      Scratch scratch) {
    long rowBytes = (long) p.k() * type.bytes();
    long rows = Math.max(1, Math.min(to - from, CALL_BYTES / Math.max(1, rowBytes)));
    scratch.reserve(rows * p.m(), 1);
    long sums = scratch.take(rows * p.m());
    for (long first = from; first < to; first += rows) {
      int count = (int) Math.min(rows, to - first);
      loops.dots(type, p.m(), x, w + first * rowBytes, p.k(), count, sums);
      for (int row = 0; row < p.m(); row++) {
        for (int i = 0; i < count; i++) {
          long sum = sums + (long) (i * p.m() + row) * Float.BYTES;
          put(p, sum, y + ((long) row * p.n() + first + i) * Float.BYTES);
        }
      }
    }
  }

  // Four tasks a thread even out what other processes take away.
  private int tasks(Product p, DType type, long most) {
    if (workers.count() == 1) {
      return 1;
    }
    long worthwhile = Math.min(most, (long) p.n() * p.k() * type.bytes() / SERIAL_BYTES);
    return (int) Math.max(1, Math.min(worthwhile, 4L * workers.count()));
  }

  /**
   * The rows of W in {@code [from, to)} with every row of x. Some rows of W, far apart, are read
   * side by side; further rows of x find them in the cache.
   */
  private void dots(
      Product p, DType type, long x, long w, long y, long from, long to, Scratch scratch) {
    scratch.reserve((long) FOLDED * weights.partials(), 1);
    long sums = scratch.take((long) FOLDED * weights.partials());
    int streams = weights.streams(type);
    int products = streams * p.m();
    int folded = FOLDED / products;
    long apart = (to - from + streams - 1) / streams;
    long bytesX = (long) p.k() * Float.BYTES;
    long bytesW = (long) p.k() * type.bytes();
    long bytesSums = (long) streams * weights.partials() * Float.BYTES;
    long[] ws = new long[streams];
    for (long first = from; first < from + apart; first += folded) {
      int steps = (int) Math.min(folded, from + apart - first);
      for (int step = 0; step < steps; step++) {
        for (int i = 0; i < streams; i++) {
          // Where the runs are not equal, the last row stands in for one that is not there.
          ws[i] = w + Math.min(first + step + i * apart, to - 1) * bytesW;
        }
        for (int row = 0; row < p.m(); row++) {
          long out = sums + (long) (step * p.m() + row) * bytesSums;
          weights.dots(type, x + row * bytesX, ws, p.k(), out);
        }
      }
      weights.fold(sums, steps * products, sums);
      for (int step = 0; step < steps; step++) {
        for (int row = 0; row < p.m(); row++) {
          for (int i = 0; i < streams && first + step + i * apart < to; i++) {
            long sum = sums + (long) ((step * p.m() + row) * streams + i) * Float.BYTES;
            put(p, sum, y + ((long) row * p.n() + first + step + i * apart) * Float.BYTES);
          }
        }
      }
    }
  }

  private static void put(Product p, long sum, long to) {
    float value = p.alpha() * Native.getFloat(sum);
    Native.putFloat(to, p.beta() == 0 ? value : value + p.beta() * Native.getFloat(to));
  }

  /** Computes {@code y = alpha x W + beta y} with W [k, n]: weighted sums of rows. */
  private void times(Product p, DType type, long x, long w, long y) {
    long lines = (p.n() + LINE - 1L) / LINE;
    int tasks = Math.min(tasks(p, type, lines), Math.max(workers.count(), p.n() / SHORTEST_RUN));
    workers.run(
        tasks,
        (task, scratch) -> {
          scratch.reserve(TOGETHER + BLOCK, 2);
          long coefficients = scratch.take(TOGETHER);
          long zeros = scratch.take(BLOCK);
          elements.fill(0, zeros, BLOCK);
          long from = lines * task / tasks * LINE;
          long to = Math.min(p.n(), lines * (task + 1) / tasks * LINE);
          for (long at = from; at < to; at += BLOCK) {
            sumRows(p, type, x, w, y, at, (int) Math.min(BLOCK, to - at), coefficients, zeros);
          }
        });
  }

  private void sumRows(
      Product p,
      DType type,
      long x,
      long w,
      long y,
      long from,
      int n,
      long coefficients,
      long zeros) {
    for (long row = 0; row < p.m(); row++) {
      long at = y + (row * p.n() + from) * Float.BYTES;
      if (p.beta() == 0) {
        elements.fill(0, at, n);
      } else {
        elements.scale(p.beta(), at, at, n);
      }
    }
    int quarter = (p.k() + TOGETHER - 1) / TOGETHER;
    for (int i = 0; i < quarter; i++) {
      Four ws =
          new Four(
              block(p, type, w, from, i, zeros),
              block(p, type, w, from, i + quarter, zeros),
              block(p, type, w, from, i + 2 * quarter, zeros),
              block(p, type, w, from, i + 3 * quarter, zeros));
      for (long row = 0; row < p.m(); row++) {
        for (int j = 0; j < TOGETHER; j++) {
          int at = i + j * quarter;
          float value =
              at < p.k() ? p.alpha() * Native.getFloat(x + (row * p.k() + at) * Float.BYTES) : 0;
          Native.putFloat(coefficients + (long) j * Float.BYTES, value);
        }
        long at = y + (row * p.n() + from) * Float.BYTES;
        if (type == DType.BF16) {
          weights.axpysBf16(coefficients, ws, at, n);
        } else {
          weights.axpys(coefficients, ws, at, n);
        }
      }
    }
  }

  /** Where a row's block begins; zeros below the last row, since 0 times a row may be NaN. */
  private static long block(Product p, DType type, long w, long from, int row, long zeros) {
    return row < p.k() ? w + ((long) row * p.n() + from) * type.bytes() : zeros;
  }
}
