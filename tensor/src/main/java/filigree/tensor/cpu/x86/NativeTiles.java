package filigree.tensor.cpu.x86;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.Arrays;
import java.util.Optional;

/**
 * The innermost loops of a matrix product as machine code, {@link TileProgram}, called through the
 * Foreign Function API. Calls take 1 to 10 us, so that they may go without telling the JVM's
 * garbage collector, which saves most of what a call costs.
 */
public final class NativeTiles {
  /** The rows of the largest tile. */
  public static final int ROWS = TileProgram.ROWS;

  /** The columns of a tile. */
  public static final int COLUMNS = TileProgram.COLUMNS;

  /** The rows that {@link #transpose} reads. */
  public static final int TRANSPOSED = 16;

  private static final int FUNCTION_ALIGNMENT = 64;

  private static final MethodHandle TILE = handle(11);
  private static final MethodHandle TRANSPOSE = handle(5);

  private final MemorySegment[] rows;
  private final MemorySegment[] panels;
  private final MemorySegment transpose;

  private NativeTiles(MemorySegment[] rows, MemorySegment[] panels, MemorySegment transpose) {
    this.rows = rows;
    this.panels = panels;
    this.transpose = transpose;
  }

  @SuppressWarnings("restricted")
  private static MethodHandle handle(int arguments) {
    MemoryLayout[] layouts = new MemoryLayout[arguments];
    Arrays.fill(layouts, JAVA_LONG);
    return Linker.nativeLinker()
        .downcallHandle(FunctionDescriptor.ofVoid(layouts), Linker.Option.critical(false));
  }

  /**
   * Returns the loops, which are assembled once.
   *
   * @return empty where this system cannot run them; that its processor has AVX-512 the caller
   *     knows
   */
  public static Optional<NativeTiles> ofThisProcess() {
    return Loaded.TILES;
  }

  /** When it is first asked for. */
  private static final class Loaded {
    private static final Optional<NativeTiles> TILES = load();
  }

  private static Optional<NativeTiles> load() {
    if (!Program.suitsThisMachine()) {
      return Optional.empty();
    }
    Assembler code = new Assembler();
    int[] rows = tiles(code, TileProgram.Left.ROWS);
    int[] panels = tiles(code, TileProgram.Left.PANELS);
    code.align(FUNCTION_ALIGNMENT);
    int transpose = code.position();
    TileProgram.transpose(code);
    return Program.load(code.bytes())
        .map(
            memory ->
                new NativeTiles(
                    functions(memory, rows), functions(memory, panels), memory.asSlice(transpose)));
  }

  /** Writes a function for each height and returns where they begin; no height is 0. */
  private static int[] tiles(Assembler code, TileProgram.Left left) {
    int[] offsets = new int[ROWS + 1];
    for (int height = 1; height <= ROWS; height++) {
      code.align(FUNCTION_ALIGNMENT);
      offsets[height] = code.position();
      TileProgram.tile(code, height, left);
    }
    return offsets;
  }

  private static MemorySegment[] functions(MemorySegment memory, int[] offsets) {
    return Arrays.stream(offsets).mapToObj(memory::asSlice).toArray(MemorySegment[]::new);
  }

  /**
   * What a call asks the memory for while it computes: so many times two cache lines.
   *
   * @param address where
   * @param step bytes from one time to the next
   * @param count how many times at most; what is not reached is left out
   */
  public record Ahead(long address, long step, long count) {
    /** Nothing. */
    public static final Ahead NOTHING = new Ahead(0, 0, 0);
  }

  /**
   * Where a tile of C lies and what it begins with.
   *
   * @param address of its first element
   * @param next bytes from one row to the next
   * @param height its rows, 1 to {@link #ROWS}
   * @param width its columns, 1 to {@link #COLUMNS}
   * @param start address of what every row begins with, {@link #COLUMNS} floats; 0 to add to C
   */
  public record Tile(long address, long next, int height, int width, long start) {}

  /**
   * Computes a tile from rows of A.
   *
   * @param a address of its first row; no more than the tile's rows are read
   * @param stride bytes from one row to the next
   * @param right address of rows of {@link #COLUMNS} floats
   * @param depth how many
   */
  public void multiplyRows(long a, long stride, long right, int depth, Tile tile, Ahead ahead) {
    call(rows[tile.height], a, stride, right, depth, tile, ahead);
  }

  /**
   * Computes a tile from a panel of A, {@link #ROWS} numbers for each step of depth.
   *
   * @param a address of the panel
   * @param right address of rows of {@link #COLUMNS} floats
   * @param depth how many
   */
  public void multiplyPanel(long a, long right, int depth, Tile tile, Ahead ahead) {
    call(panels[tile.height], a, 0, right, depth, tile, ahead);
  }

  private static void call(
      MemorySegment function, long a, long stride, long right, int depth, Tile tile, Ahead ahead) {
    try {
      TILE.invokeExact(
          function,
          a,
          right,
          (long) depth,
          tile.address,
          tile.next,
          tile.start,
          stride,
          (1L << tile.width) - 1,
          ahead.address,
          ahead.step,
          ahead.count);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  /**
   * Writes {@code to[j][i] = from[i][j]} for {@link #TRANSPOSED} i.
   *
   * @param from address
   * @param stride bytes from one row to the next
   * @param columns how many j, a positive multiple of {@link #TRANSPOSED}
   * @param to address
   * @param next bytes from one row of to to the next
   */
  public void transpose(long from, long stride, int columns, long to, long next) {
    try {
      TRANSPOSE.invokeExact(transpose, from, stride, (long) columns / TRANSPOSED, to, next);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  // A downcall of a void function throws nothing of its own.
  private static IllegalStateException unexpected(Throwable e) {
    return new IllegalStateException(e);
  }
}
