package filigree.tensor.cpu.x86;

import filigree.tensor.cpu.x86.TileProgram.Left;
import filigree.tensor.cpu.x86.TileProgram.Masks;
import filigree.tensor.cpu.x86.TileProgram.Right;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.EnumMap;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;

/**
 * The innermost loops of a matrix product as machine code, {@link TileProgram}, called through the
 * Foreign Function API. Calls take 1 to 10 us, so that they may go without telling the JVM's
 * garbage collector, which saves most of what a call costs.
 */
public final class NativeTiles {
  private static final MethodHandle TILE = Program.function(15);
  private static final MethodHandle TRANSPOSE = Program.function(5);

  private static final Map<Isa, Optional<NativeTiles>> LOADED = new ConcurrentHashMap<>();

  private final Isa isa;
  private final Map<Left, Map<Right, MemorySegment[]>> tiles;
  private final MemorySegment transpose;

  private NativeTiles(
      Isa isa, Map<Left, Map<Right, MemorySegment[]>> tiles, MemorySegment transpose) {
    this.isa = isa;
    this.tiles = tiles;
    this.transpose = transpose;
  }

  /**
   * Returns the loops, which are assembled once.
   *
   * @param isa the processor has, as the caller knows
   * @return empty where this system cannot run them
   */
  public static Optional<NativeTiles> ofThisProcess(Isa isa) {
    return LOADED.computeIfAbsent(isa, NativeTiles::load);
  }

  private static Optional<NativeTiles> load(Isa isa) {
    if (!Program.suitsThisMachine()) {
      return Optional.empty();
    }
    Assembler code = new Assembler(isa);
    Masks masks = new Masks(code, isa);
    Map<Left, Map<Right, int[]>> offsets = new EnumMap<>(Left.class);
    for (Left left : Left.values()) {
      Map<Right, int[]> byRight = new EnumMap<>(Right.class);
      for (Right right : Right.values()) {
        int[] begins = new int[isa.rows() + 1];
        for (int height = 1; height <= isa.rows(); height++) {
          code.align(Program.ALIGNMENT);
          begins[height] = code.position();
          TileProgram.tile(code, isa, masks, height, left, right);
        }
        byRight.put(right, begins);
      }
      offsets.put(left, byRight);
    }
    code.align(Program.ALIGNMENT);
    int transpose = code.position();
    TileProgram.transpose(code, isa);
    return Program.load(code.bytes())
        .map(memory -> new NativeTiles(isa, functions(memory, offsets), memory.asSlice(transpose)));
  }

  /** The rows of the largest tile. */
  public int rows() {
    return isa.rows();
  }

  /** The columns of a tile. */
  public int columns() {
    return isa.columns();
  }

  /** The rows that {@link #transpose} reads. */
  public int transposed() {
    return isa.lanes();
  }

  /** What the code is written in. */
  public Isa isa() {
    return isa;
  }

  private static Map<Left, Map<Right, MemorySegment[]>> functions(
      MemorySegment memory, Map<Left, Map<Right, int[]>> offsets) {
    Map<Left, Map<Right, MemorySegment[]>> functions = new EnumMap<>(Left.class);
    offsets.forEach(
        (left, byRight) -> {
          Map<Right, MemorySegment[]> slices = new EnumMap<>(Right.class);
          byRight.forEach((right, heights) -> slices.put(right, Program.slices(memory, heights)));
          functions.put(left, slices);
        });
    return functions;
  }

  /**
   * What a tile is computed from and where it goes. One object serves many calls: one for each
   * would be most of the garbage of a training step. Addresses and strides are in bytes.
   */
  public static final class Operands {
    private Left left = Left.PANEL;
    private long a;
    private long leftStride;
    private long leftPanel;
    private long rowSums;
    private Right right = Right.PANEL;
    private long b;
    private long rightStride;
    private long rightPanel;
    private int depth;
    private long c;
    private long next;
    private int height;
    private int width;
    private long start;
    private long ahead;
    private long aheadStep;
    private int aheadRounds;

    /**
     * A is read row by row.
     *
     * @param address of the tile's first row
     * @param stride from one row to the next
     */
    public void leftRows(long address, long stride) {
      left = Left.ROWS;
      a = address;
      leftStride = stride;
    }

    /**
     * A is read column by column, packed and its rows summed.
     *
     * @param address of the tile's first column
     * @param stride from one column to the next
     * @param panel where it is packed, {@link NativeTiles#rows} numbers for each step of depth, and
     *     room for a vector more; what is beyond the tile's rows becomes anything
     * @param sums where the sums of the tile's rows of A go
     */
    public void leftColumns(long address, long stride, long panel, long sums) {
      left = Left.COLUMNS;
      a = address;
      leftStride = stride;
      leftPanel = panel;
      rowSums = sums;
    }

    /**
     * A was packed.
     *
     * @param panel address of {@link NativeTiles#rows} numbers for each step of depth
     */
    public void leftPanel(long panel) {
      left = Left.PANEL;
      a = panel;
    }

    /**
     * B is read row by row and packed; only the tile's columns are read.
     *
     * @param address of the tile's first column
     * @param stride from one row to the next
     * @param panel where it is packed, {@link NativeTiles#columns} numbers for each row
     */
    public void rightRows(long address, long stride, long panel) {
      right = Right.ROWS;
      b = address;
      rightStride = stride;
      rightPanel = panel;
    }

    /**
     * B was packed.
     *
     * @param panel address of {@link NativeTiles#columns} numbers for each row
     */
    public void rightPanel(long panel) {
      right = Right.PANEL;
      b = panel;
    }

    /**
     * The summed axis.
     *
     * @param length 1 at least
     */
    public void depth(int length) {
      depth = length;
    }

    /**
     * The tile of C.
     *
     * @param address of its first element
     * @param nextRow from one row to the next
     * @param rows 1 to {@link NativeTiles#rows}
     * @param columns 1 to {@link NativeTiles#columns}
     */
    public void tile(long address, long nextRow, int rows, int columns) {
      c = address;
      next = nextRow;
      height = rows;
      width = columns;
    }

    /**
     * What every row of the tile begins with.
     *
     * @param address of {@link NativeTiles#columns} floats; 0 to add to C
     */
    public void start(long address) {
      start = address;
    }

    /**
     * What the memory is asked for meanwhile: two cache lines in each of some rounds of four steps
     * of depth. Rounds that are not reached are left out.
     *
     * @param address where
     * @param step from one round to the next
     * @param rounds how many
     */
    public void ahead(long address, long step, int rounds) {
      ahead = address;
      aheadStep = step;
      aheadRounds = rounds;
    }
  }

  /** Computes a tile of C: its start, or C, and the product of A and B. */
  public void multiply(Operands o) {
    MemorySegment function = tiles.get(o.left).get(o.right)[o.height];
    try {
      TILE.invokeExact(
          function,
          o.a,
          o.b,
          (long) o.depth,
          o.c,
          o.next,
          o.start,
          (1L << o.width) - 1,
          o.leftStride,
          o.leftPanel,
          o.rowSums,
          o.rightStride,
          o.rightPanel,
          o.ahead,
          o.aheadStep,
          (long) o.aheadRounds);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  /**
   * Writes {@code to[j][i] = from[i][j]} for {@link #transposed} i.
   *
   * @param from address
   * @param stride bytes from one row to the next
   * @param columns how many j, a positive multiple of {@link #transposed}
   * @param to address
   * @param next bytes from one row of to to the next
   */
  public void transpose(long from, long stride, int columns, long to, long next) {
    try {
      TRANSPOSE.invokeExact(transpose, from, stride, (long) columns / isa.lanes(), to, next);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  // A downcall of a void function throws nothing of its own.
  private static IllegalStateException unexpected(Throwable e) {
    return new IllegalStateException(e);
  }
}
