package filigree.interp.report;

import java.util.Arrays;

/**
 * One quantity over the steps of a run.
 *
 * @param x positions on the step axis, ascending (steps, plus the offset of the phase)
 * @param y values, finite, one per position
 */
record MetricSeries(long[] x, double[] y) {
  MetricSeries {
    if (x.length != y.length) {
      throw new IllegalArgumentException(
          "found " + x.length + " positions and " + y.length + " values, expected as many");
    }
  }

  /** Number of points. */
  int size() {
    return x.length;
  }

  /** The value at the last step that has one. */
  double last() {
    return y[y.length - 1];
  }

  /**
   * At most about {@code limit} points that draw the same picture: of every bucket of consecutive
   * points the smallest and the largest stay, in their order, and the first and last of all. Spikes
   * therefore survive, which a mean or every n-th point would lose.
   *
   * @param limit wanted number of points, at least 4
   * @return this series where it is short enough, else a shorter one
   */
  MetricSeries decimated(int limit) {
    if (limit < 4) {
      throw new IllegalArgumentException("found a limit of " + limit + " points, expected 4");
    }
    if (size() <= limit) {
      return this;
    }
    int buckets = (limit - 2) / 2;
    int[] kept = new int[2 * buckets + 2];
    int count = 0;
    kept[count++] = 0;
    for (int b = 0; b < buckets; b++) {
      int from = (int) ((long) size() * b / buckets);
      int to = (int) ((long) size() * (b + 1) / buckets);
      int low = from;
      int high = from;
      for (int i = from + 1; i < to; i++) {
        low = y[i] < y[low] ? i : low;
        high = y[i] > y[high] ? i : high;
      }
      kept[count++] = Math.min(low, high);
      kept[count++] = Math.max(low, high);
    }
    kept[count++] = size() - 1;
    int[] indices = Arrays.stream(kept, 0, count).distinct().toArray();
    return new MetricSeries(
        Arrays.stream(indices).mapToLong(i -> x[i]).toArray(),
        Arrays.stream(indices).mapToDouble(i -> y[i]).toArray());
  }
}
