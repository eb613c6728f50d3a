package filigree.tensor.cpu.x86;

import filigree.tensor.DType;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Dot products of a few rows with many rows of weights as machine code, {@link RowProgram}, called
 * through the Foreign Function API.
 */
public final class NativeRows {
  /** The most rows that are multiplied at once. */
  public static final int MOST = RowProgram.MOST;

  private static final int LANES = 16;
  private static final MethodHandle DOTS = Program.function(6);

  private final Map<DType, MemorySegment[]> functions;

  private NativeRows(Map<DType, MemorySegment[]> functions) {
    this.functions = functions;
  }

  /**
   * Returns the loops, which are assembled once.
   *
   * @return empty where this system cannot run them; that its processor has AVX-512 the caller
   *     knows
   */
  public static Optional<NativeRows> ofThisProcess() {
    return Loaded.ROWS;
  }

  /** When it is first asked for. */
  private static final class Loaded {
    private static final Optional<NativeRows> ROWS = load();
  }

  private static Optional<NativeRows> load() {
    if (!Program.suitsThisMachine()) {
      return Optional.empty();
    }
    Assembler code = new Assembler(Isa.AVX512);
    Map<DType, int[]> offsets = new EnumMap<>(DType.class);
    for (DType type : List.of(DType.F32, DType.BF16)) {
      int[] begins = new int[MOST + 1];
      for (int count = 1; count <= MOST; count++) {
        code.align(Program.ALIGNMENT);
        begins[count] = code.position();
        RowProgram.dots(code, type, count);
      }
      offsets.put(type, begins);
    }
    return Program.load(code.bytes())
        .map(
            memory -> {
              Map<DType, MemorySegment[]> functions = new EnumMap<>(DType.class);
              offsets.forEach(
                  (type, begins) -> functions.put(type, Program.slices(memory, begins)));
              return new NativeRows(functions);
            });
  }

  /**
   * Sets {@code out[j][i] = x[i] . w[j]}, each sum in an order that depends on the number of
   * columns alone. Lines of memory beyond the last row of w are asked for, but not read.
   *
   * @param type of the weights, F32 or BF16
   * @param count rows of x, 1 to {@link #MOST}, one after another
   * @param x address of floats, [count, columns]
   * @param w address of weights, [rows, columns]
   * @param columns numbers in a row, 0 or more
   * @param rows of w, 1 or more
   * @param out address of floats, [rows, count]
   */
  public void dots(DType type, int count, long x, long w, int columns, int rows, long out) {
    long mask = (1L << columns % LANES) - 1;
    try {
      DOTS.invokeExact(functions.get(type)[count], x, w, (long) columns, (long) rows, out, mask);
    } catch (Throwable e) {
      throw new IllegalStateException(e); // a function that returns nothing throws nothing
    }
  }
}
