package filigree.tensor.nd4j;

import static filigree.tensor.nd4j.Fixture.assertClose;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import filigree.tensor.DType;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.TensorException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class LookupTest {
  private static final int[] IDS = {4, 0, 4, 2, 4, 0};

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "F64"})
  void gathersAndAddsRows(DType type) {
    try (Fixture f = new Fixture(type)) {
      for (int width : new int[] {1, 3}) {
        Tensor table = f.random(5, width);
        Tensor ids = f.ints(IDS).reshape(Shape.of(2, 3));
        Tensor out = f.out(2, 3, width);
        f.kernels.gather(table, ids, out);
        Tensor gradient = f.random(2, 3, width);
        double[] sum = table.toDoubles();
        for (int n = 0; n < IDS.length; n++) {
          for (int c = 0; c < width; c++) {
            assertThat(out.get(n * width + c)).isEqualTo(table.get(IDS[n] * width + c));
            sum[IDS[n] * width + c] += gradient.get(n * width + c);
          }
        }
        f.kernels.scatterAdd(ids, gradient, table);
        assertClose(table, sum);
      }
      Tensor scalar = f.ints(2).reshape(Shape.of());
      Tensor table = f.random(3, 2);
      Tensor row = f.out(2);
      f.kernels.gather(table, scalar, row);
      assertClose(row, table.get(4), table.get(5));
      f.kernels.scatterAdd(scalar, row, table);
      assertClose(table.rows(2, 3), 2 * row.get(0), 2 * row.get(1));
      f.kernels.gather(table, f.ints(), f.out(0, 2));
      f.kernels.scatterAdd(f.ints(), f.out(0, 2), table);
    }
  }

  @Test
  void gathersStoredWeights() {
    try (Fixture f = new Fixture(DType.F32)) {
      Tensor table = f.random(5, 3);
      Tensor stored = f.memory.allocate(table.shape(), DType.F16);
      f.kernels.cast(table, stored);
      Tensor out = f.out(1, 3);
      f.kernels.gather(stored, f.ints(3), out);
      assertThat(out.toDoubles()).containsExactly(stored.get(9), stored.get(10), stored.get(11));
    }
  }

  @Test
  void refusesIdsOutOfRange() {
    try (Fixture f = new Fixture(DType.F32)) {
      Tensor table = f.random(5, 2);
      double[] before = table.toDoubles();
      Tensor out = f.out(3, 2);
      assertThatThrownBy(() -> f.kernels.gather(table, f.ints(0, 5, -1), out))
          .isInstanceOf(TensorException.class)
          .hasMessage("gather: id 5 at place 1 is out of range, the table has 5 entries");
      assertThat(out.toDoubles()).containsOnly(Double.NaN);
      assertThatThrownBy(() -> f.kernels.scatterAdd(f.ints(0, 1, -1), f.random(3, 2), table))
          .isInstanceOf(TensorException.class)
          .hasMessage("scatterAdd: id -1 at place 2 is out of range, the table has 5 entries");
      assertThat(table.toDoubles()).isEqualTo(before);
      assertThatThrownBy(() -> f.kernels.gather(table, f.random(3), out))
          .hasMessage("gather: ids is F32, expected I32");
      assertThatThrownBy(() -> f.kernels.gather(table, f.ints(1), out))
          .hasMessage("gather: out has shape [3, 2], expected [1, 2]");
    }
  }
}
