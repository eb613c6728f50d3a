package filigree.tensor.cpu.x86;

import filigree.tensor.DType;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Dot products of a few rows with many rows of weights as machine code, {@link RowProgram}, called
 * through the Foreign Function API.
 */
public final class NativeRows {
  /** The most rows that are multiplied at once. */
  public static final int MOST = RowProgram.MOST;

  private static final MethodHandle DOTS = Program.function(6);

  private static final Map<Isa, Optional<NativeRows>> LOADED = new ConcurrentHashMap<>();

  private final Isa isa;
  private final Map<DType, MemorySegment[]> functions;

  private NativeRows(Isa isa, Map<DType, MemorySegment[]> functions) {
    this.isa = isa;
    this.functions = functions;
  }

  /**
   * Returns the loops, which are assembled once.
   *
   * @param isa the processor has, as the caller knows
   * @return empty where this system cannot run them
   */
  public static Optional<NativeRows> ofThisProcess(Isa isa) {
    return LOADED.computeIfAbsent(isa, NativeRows::load);
  }

  private static Optional<NativeRows> load(Isa isa) {
    if (!Program.suitsThisMachine()) {
      return Optional.empty();
    }
    Assembler code = new Assembler(isa);
    Map<DType, int[]> offsets = new EnumMap<>(DType.class);
    for (DType type : List.of(DType.F32, DType.BF16)) {
      int[] begins = new int[MOST + 1];
      for (int count = 1; count <= MOST; count++) {
        code.align(Program.ALIGNMENT);
        begins[count] = code.position();
        RowProgram.dots(code, isa, type, count);
      }
      offsets.put(type, begins);
    }
    return Program.load(code.bytes())
        .map(
            memory -> {
              Map<DType, MemorySegment[]> functions = new EnumMap<>(DType.class);
              offsets.forEach(
                  (type, begins) -> functions.put(type, Program.slices(memory, begins)));
              return new NativeRows(isa, functions);
            });
  }

  /** Tells whether rows may have so many columns: with AVX2 whole vectors of them. */
  public boolean reads(int columns) {
    return isa == Isa.AVX512 || columns % isa.lanes() == 0;
  }

  /**
   * Sets {@code out[j][i] = x[i] . w[j]}, each sum in an order that depends on the number of
   * columns alone. Lines of memory beyond the last row of w are asked for, but not read.
   *
   * @param type of the weights, F32 or BF16
   * @param count rows of x, 1 to {@link #MOST}, one after another
   * @param x address of floats, [count, columns]
   * @param w address of weights, [rows, columns]
   * @param columns numbers in a row, as {@link #reads} allows
   * @param rows of w, 1 or more
   * @param out address of floats, [rows, count]
   */
  public void dots(DType type, int count, long x, long w, int columns, int rows, long out) {
    long mask = (1L << columns % isa.lanes()) - 1;
    try {
      DOTS.invokeExact(functions.get(type)[count], x, w, (long) columns, (long) rows, out, mask);
    } catch (Throwable e) {
      throw new IllegalStateException(e); // a function that returns nothing throws nothing
    }
  }
}
