package filigree.tensor.nd4j;

import static filigree.tensor.nd4j.Scratch.store;
import static filigree.tensor.nd4j.Scratch.wide;

import filigree.tensor.DType;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.TensorException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.nd4j.linalg.api.ndarray.INDArray;

/**
 * Reading and adding rows by id. ND4J's own gather and scatter do not check ids, and its scatter
 * loses updates of repeated ids, so rows are taken one at a time.
 */
record Lookup(Scratch scratch) {

  void gather(Tensor table, Tensor ids, Tensor out) {
    Entry.of("gather")
        .weights("table", table)
        .axes("table", table, "entries width")
        .exactly("ids", ids, DType.I32)
        .floating("out", out)
        .shape("out", out, rowsOf(ids, table.shape().dim(-1)));
    int[] entries = checked("gather", ids, table.shape().dim(0));
    if (out.size() == 0) {
      return;
    }
    Tensor rows = out.reshape(Shape.of(entries.length, table.shape().dim(1)));
    for (int n = 0; n < entries.length; n++) {
      try (var _ = scratch.open()) {
        store(wide(table.rows(entries[n], entries[n] + 1)), rows.rows(n, n + 1));
      }
    }
  }

  void scatterAdd(Tensor ids, Tensor gradient, Tensor table) {
    Entry.of("scatterAdd")
        .exactly("ids", ids, DType.I32)
        .floating("gradient", gradient)
        .floating("table", table, "entries width")
        .shape("gradient", gradient, rowsOf(ids, table.shape().dim(1)));
    int[] entries = checked("scatterAdd", ids, table.shape().dim(0));
    if (gradient.size() == 0) {
      return;
    }
    // Grouped by entry and in order of n, so that each entry's sum is rounded once.
    Map<Integer, List<Integer>> places = new LinkedHashMap<>();
    for (int n = 0; n < entries.length; n++) {
      places.computeIfAbsent(entries[n], entry -> new ArrayList<>()).add(n);
    }
    Tensor rows = gradient.reshape(Shape.of(entries.length, table.shape().dim(1)));
    places.forEach(
        (entry, occurrences) -> {
          try (var _ = scratch.open()) {
            Tensor row = table.rows(entry, entry + 1);
            INDArray sum = wide(row);
            for (int n : occurrences) {
              sum.addi(wide(rows.rows(n, n + 1)));
            }
            store(sum, row);
          }
        });
  }

  private static Shape rowsOf(Tensor ids, long width) {
    long[] dims = Arrays.copyOf(ids.shape().dims(), ids.shape().rank() + 1);
    dims[dims.length - 1] = width;
    return Shape.of(dims);
  }

  private static int[] checked(String kernel, Tensor ids, long entries) {
    int[] values = ids.toInts();
    for (int n = 0; n < values.length; n++) {
      if (values[n] < 0 || values[n] >= entries) {
        throw new TensorException(
            "%s: id %d at place %d is out of range, the table has %d entries"
                .formatted(kernel, values[n], n, entries));
      }
    }
    return values;
  }
}
