package filigree.tensor.cpu.x86;

import static filigree.tensor.cpu.x86.Assembler.Register.R10;
import static filigree.tensor.cpu.x86.Assembler.Register.R11;
import static filigree.tensor.cpu.x86.Assembler.Register.R12;
import static filigree.tensor.cpu.x86.Assembler.Register.R13;
import static filigree.tensor.cpu.x86.Assembler.Register.R14;
import static filigree.tensor.cpu.x86.Assembler.Register.R15;
import static filigree.tensor.cpu.x86.Assembler.Register.R8;
import static filigree.tensor.cpu.x86.Assembler.Register.R9;
import static filigree.tensor.cpu.x86.Assembler.Register.RAX;
import static filigree.tensor.cpu.x86.Assembler.Register.RBP;
import static filigree.tensor.cpu.x86.Assembler.Register.RBX;
import static filigree.tensor.cpu.x86.Assembler.Register.RCX;
import static filigree.tensor.cpu.x86.Assembler.Register.RDI;
import static filigree.tensor.cpu.x86.Assembler.Register.RDX;
import static filigree.tensor.cpu.x86.Assembler.Register.RSI;
import static filigree.tensor.cpu.x86.Assembler.Register.RSP;

import filigree.tensor.cpu.x86.Assembler.Address;
import filigree.tensor.cpu.x86.Assembler.Condition;
import filigree.tensor.cpu.x86.Assembler.Label;
import filigree.tensor.cpu.x86.Assembler.Mask;
import filigree.tensor.cpu.x86.Assembler.Register;
import filigree.tensor.cpu.x86.Assembler.Vector;
import java.util.ArrayList;
import java.util.List;

/**
 * The instructions of a product's innermost loop, for AVX-512 or AVX2 and the calling convention of
 * Linux (System V ABI, AMD64 supplement, section 3.2).
 *
 * <p>With AVX-512 a tile has up to 12 rows and 32 columns: 24 registers of sums, two for a row of
 * B, and some through which numbers of A pass, each broadcast and used twice. That is 14 loads for
 * 24 multiply-adds, and almost nothing else: a compiler of Java needs integer instructions between
 * them, which take the multiply-adds' ports, and has no prefetch. With AVX2, of half as many
 * registers, half as wide, it has up to 6 rows and 16 columns.
 *
 * <p>What has to be packed is packed by the first tile that reads it: two stores, by a port that
 * the sums do not use, instead of a pass over memory.
 */
final class TileProgram {
  private static final int VECTORS = Isa.VECTORS;

  /** How the left matrix is read. */
  enum Left {
    /** Row by row, a stride apart. */
    ROWS,
    /** Column by column, a stride apart; they are packed, and their rows summed. */
    COLUMNS,
    /** A packed panel: columns of {@link Isa#rows} numbers. */
    PANEL
  }

  /** How the right matrix is read. */
  enum Right {
    /** Row by row, a stride apart; they are packed. */
    ROWS,
    /** A packed panel: rows of {@link Isa#columns} numbers. */
    PANEL
  }

  private static final int LINE = 64;

  /** Steps of depth in a round of the loop; a power of two. */
  private static final int UNROLLED = 4;

  private static final int PHASES = 3;

  /** What each phase finds on the stack: pointer, step and rounds. */
  private static final int PUSHED_BY_PHASE = 3;

  // Registers of numbers: 0 and 1 a row of B, then those of A, then the sums.
  private static final int FIRST_ELEMENT = VECTORS;

  // AVX-512: columns of the tile, rows of A.
  private static final Mask[] COLUMNS = {new Mask(1), new Mask(2)};
  private static final Mask LEFT_ROWS = new Mask(3);

  // The first six arguments; the others are on the stack.
  private static final Register LEFT = RDI;
  private static final Register RIGHT = RSI;
  private static final Register DEPTH = RDX;
  private static final Register C = RCX;
  private static final Register NEXT_C = R8;
  private static final Register START = R9;

  // While the loop runs, C and the start are on the stack.
  private static final Register POINTER = RCX;
  private static final Register STEP = R8;
  private static final Register RIGHT_STRIDE = R9;
  private static final Register ROUNDS = RAX;
  private static final Register COUNT = R11;
  private static final Register PHASE = RBP;
  private static final Register LEFT_STRIDE = R10;
  private static final Register RIGHT_PANEL = R14;
  private static final Register OTHER = R15;

  // Every third row of A has a base register; between them, it is a stride or two away.
  private static final Register[] BASES = {LEFT, RBX, R12, R13};
  private static final int ROWS_PER_BASE = 3;
  // Where A is not read by rows:
  private static final Register LEFT_PANEL = RBX;

  // AVX2, where a tile has fewer rows: addresses of the masks of columns and of rows of A.
  private static final Register COLUMNS_MASK = R13;
  private static final Register ROWS_MASK = R12;

  private static final Register[] SAVED = {RBX, RBP, R12, R13, R14, R15};

  private final Assembler code;
  private final Isa isa;
  private final Masks masks;
  private final int vector;
  private final int panelRow;
  private final int panelColumn;
  private final int firstSum;
  private final Vector rowSums;
  private final Vector leftColumn;
  private final int height;
  private final Left left;
  private final Right right;
  private int pushed;

  private TileProgram(Assembler code, Isa isa, Masks masks, int height, Left left, Right right) {
    this.code = code;
    this.isa = isa;
    this.masks = masks;
    this.vector = isa.bytes();
    this.panelRow = VECTORS * vector;
    this.panelColumn = isa.rows() * Float.BYTES;
    this.firstSum = isa.registers() - VECTORS * isa.rows();
    this.rowSums = new Vector(firstSum - 1);
    this.leftColumn = new Vector(firstSum - 2);
    this.height = height;
    this.left = left;
    this.right = right;
  }

  /** The arguments that lie on the stack, in their order. */
  private enum Argument {
    MASK(0),
    LEFT_STRIDE(1),
    LEFT_PANEL(2),
    ROW_SUMS(3),
    RIGHT_STRIDE(4),
    RIGHT_PANEL(5),
    AHEAD(6),
    AHEAD_STEP(7),
    AHEAD_ROUNDS(8);

    private final int place;

    Argument(int place) {
      this.place = place;
    }
  }

  /**
   * Writes the function that computes a tile:
   *
   * <pre>
   * void tile(const float *a, const float *b, long depth, float *c, long next, const float *start,
   *           long mask, long leftStride, float *leftPanel, float *rowSums,
   *           long rightStride, float *rightPanel,
   *           const char *ahead, long aheadStep, long aheadRounds)
   * </pre>
   *
   * <p>Row i of C is {@code start + sum over p of a[i][p] b[p]}, and where start is null the sum is
   * added to C; each element is summed in the order of p. Bit j of the mask tells whether column j
   * of C is written and, in a matrix, column j of B read. While the tile is computed, its lines of
   * C are asked for, and then in each of so many rounds two cache lines from ahead on, a step of
   * bytes apart. Strides are in bytes; those of panels are not looked at.
   *
   * @param isa of the code
   * @param masks in the same program
   * @param height rows of the tile
   */
  static void tile(Assembler code, Isa isa, Masks masks, int height, Left left, Right right) {
    new TileProgram(code, isa, masks, height, left, right).write();
  }

  /**
   * What AVX2 has for masks: numbers whose signs say which floats are meant. Ones for all columns
   * and then as many zeros, so that the last n ones and what follows mean the first n columns.
   */
  static final class Masks {
    private final Label ones = new Label();
    private final Label zeros = new Label();

    /** Writes the numbers. */
    Masks(Assembler code, Isa isa) {
      code.bind(ones);
      code.ints(-1, isa.columns());
      code.bind(zeros);
      code.ints(0, isa.columns());
    }
  }

  private void write() {
    for (Register register : SAVED) {
      push(register);
    }
    beginMasks();
    begin();
    push(START);
    push(NEXT_C);
    push(C);
    code.mov(ROUNDS, DEPTH);
    code.shr(ROUNDS, Integer.numberOfTrailingZeros(UNROLLED));
    code.and(DEPTH, UNROLLED - 1);
    pushPhases();
    beginLeft();
    if (right == Right.ROWS) {
      load(RIGHT_STRIDE, Argument.RIGHT_STRIDE);
      load(RIGHT_PANEL, Argument.RIGHT_PANEL);
    }
    phases();
    rest();
    pop(C);
    pop(NEXT_C);
    pop(START);
    end();
    for (int i = SAVED.length - 1; i >= 0; i--) {
      pop(SAVED[i]);
    }
    code.vzeroupper();
    code.ret();
  }

  private void beginMasks() {
    load(ROUNDS, Argument.MASK);
    switch (isa) {
      case AVX512 -> {
        code.kmovw(COLUMNS[0], ROUNDS);
        code.shr(ROUNDS, isa.lanes());
        code.kmovw(COLUMNS[1], ROUNDS);
      }
      case AVX2 -> {
        code.popcnt(ROUNDS, ROUNDS);
        code.shl(ROUNDS, Integer.numberOfTrailingZeros(Integer.BYTES));
        code.lea(COLUMNS_MASK, masks.zeros);
        code.sub(COLUMNS_MASK, ROUNDS);
      }
    }
  }

  private void push(Register register) {
    code.push(register);
    pushed++;
  }

  private void pop(Register register) {
    code.pop(register);
    pushed--;
  }

  private void load(Register to, Argument argument) {
    // Behind what was pushed and the return address.
    code.mov(to, Address.at(RSP, (pushed + 1 + argument.place) * Long.BYTES));
  }

  private void beginLeft() {
    if (left == Left.PANEL) {
      return;
    }
    load(LEFT_STRIDE, Argument.LEFT_STRIDE);
    if (left == Left.COLUMNS) {
      load(LEFT_PANEL, Argument.LEFT_PANEL);
      switch (isa) {
        case AVX512 -> {
          code.mov(PHASE, (1 << height) - 1);
          code.kmovw(LEFT_ROWS, PHASE);
        }
        case AVX2 -> {
          code.lea(ROWS_MASK, masks.zeros);
          code.add(ROWS_MASK, -height * Integer.BYTES);
        }
      }
      code.vpxor(rowSums, rowSums, rowSums);
      return;
    }
    code.lea(OTHER, new Address(LEFT_STRIDE, LEFT_STRIDE, 2, 0));
    for (int i = 1; i < bases(); i++) {
      code.mov(BASES[i], BASES[i - 1]);
      code.add(BASES[i], OTHER);
    }
  }

  private int bases() {
    return (height + ROWS_PER_BASE - 1) / ROWS_PER_BASE;
  }

  private Vector sum(int row, int index) {
    return new Vector(firstSum + VECTORS * row + index);
  }

  private void begin() {
    Label zeros = new Label();
    Label copies = new Label();
    code.test(START, START);
    code.jump(Condition.ZERO, zeros);
    for (int j = 0; j < VECTORS; j++) {
      code.vmovups(sum(0, j), Address.at(START, j * vector));
    }
    code.jump(copies);
    code.bind(zeros);
    for (int j = 0; j < VECTORS; j++) {
      code.vpxor(sum(0, j), sum(0, j), sum(0, j));
    }
    code.bind(copies);
    for (int i = 1; i < height; i++) {
      for (int j = 0; j < VECTORS; j++) {
        code.vmovaps(sum(i, j), sum(0, j));
      }
    }
  }

  /**
   * The loop runs in three phases, which differ in what they ask the memory for: the tile of C,
   * what the caller wants, and nothing new.
   */
  private void pushPhases() {
    code.mov(OTHER, 0);
    push(ROUNDS);
    push(OTHER);
    push(C);
    for (Argument argument :
        new Argument[] {Argument.AHEAD_ROUNDS, Argument.AHEAD_STEP, Argument.AHEAD}) {
      load(OTHER, argument);
      push(OTHER);
    }
    code.mov(OTHER, height);
    push(OTHER);
    push(NEXT_C);
    push(C);
  }

  private void phases() {
    Label phase = new Label();
    Label again = new Label();
    Label done = new Label();
    code.mov(PHASE, PHASES);
    code.bind(phase);
    code.pop(POINTER);
    code.pop(STEP);
    code.pop(COUNT);
    pushed -= PHASES * PUSHED_BY_PHASE;
    code.cmp(ROUNDS, COUNT);
    code.cmovl(COUNT, ROUNDS);
    code.sub(ROUNDS, COUNT);
    code.test(COUNT, COUNT);
    code.jump(Condition.NOT_GREATER, done);
    code.align(LINE / 2);
    code.bind(again);
    for (int p = 0; p < UNROLLED; p++) {
      step(p);
      if (p == 0) {
        code.prefetcht1(Address.at(POINTER, 0));
        code.prefetcht1(Address.at(POINTER, LINE));
      }
    }
    code.add(POINTER, STEP);
    advance(UNROLLED);
    code.dec(COUNT);
    code.jump(Condition.NOT_ZERO, again);
    code.bind(done);
    code.dec(PHASE);
    code.jump(Condition.NOT_ZERO, phase);
  }

  /** Steps that are no whole round. */
  private void rest() {
    Label again = new Label();
    Label done = new Label();
    code.test(DEPTH, DEPTH);
    code.jump(Condition.ZERO, done);
    code.bind(again);
    step(0);
    advance(1);
    code.dec(DEPTH);
    code.jump(Condition.NOT_ZERO, again);
    code.bind(done);
  }

  /** One step of depth, the p-th of a round. */
  private void step(int p) {
    Vector[] row = {new Vector(0), new Vector(1)};
    for (int j = 0; j < VECTORS; j++) {
      switch (right) {
        case PANEL -> code.vmovups(row[j], Address.at(RIGHT, p * panelRow + j * vector));
        case ROWS -> {
          loadColumns(row[j], j, Address.at(RIGHT, j * vector));
          code.vmovups(Address.at(RIGHT_PANEL, p * panelRow + j * vector), row[j]);
        }
      }
    }
    if (right == Right.ROWS) {
      code.add(RIGHT, RIGHT_STRIDE);
    }
    int elements = firstSum - FIRST_ELEMENT;
    if (left == Left.COLUMNS) {
      packLeftColumn(Address.at(LEFT_PANEL, p * panelColumn));
      // Its register is free again, if it is needed.
      elements = Math.max(1, leftColumn.number() - FIRST_ELEMENT);
    }
    for (int i = 0; i < height; i++) {
      Vector element = new Vector(FIRST_ELEMENT + i % elements);
      code.vbroadcastss(element, element(i, p));
      for (int j = 0; j < VECTORS; j++) {
        code.vfmadd231ps(sum(i, j), element, row[j]);
      }
    }
    if (left == Left.COLUMNS) {
      code.add(LEFT, LEFT_STRIDE);
    }
  }

  private void packLeftColumn(Address packed) {
    Address column = Address.at(LEFT, 0);
    switch (isa) {
      case AVX512 -> {
        code.vmovups(leftColumn, LEFT_ROWS, column);
        code.vmovups(packed, LEFT_ROWS, leftColumn);
      }
      case AVX2 -> {
        code.vmovups(leftColumn, Address.at(ROWS_MASK, 0));
        code.vmaskmovps(leftColumn, leftColumn, column);
        // Whole, since masked stores are slow: the next column overwrites what is too much.
        code.vmovups(packed, leftColumn);
      }
    }
    code.vaddps(rowSums, rowSums, leftColumn);
  }

  /** Loads those floats of a tile's row that belong to its columns, and zeros. */
  private void loadColumns(Vector to, int index, Address from) {
    switch (isa) {
      case AVX512 -> code.vmovups(to, COLUMNS[index], from);
      case AVX2 -> {
        code.vmovups(to, Address.at(COLUMNS_MASK, index * vector));
        code.vmaskmovps(to, to, from);
      }
    }
  }

  private Address element(int i, int p) {
    return switch (left) {
      case ROWS ->
          new Address(BASES[i / ROWS_PER_BASE], LEFT_STRIDE, i % ROWS_PER_BASE, p * Float.BYTES);
      case COLUMNS -> Address.at(LEFT, i * Float.BYTES);
      case PANEL -> Address.at(LEFT, p * panelColumn + i * Float.BYTES);
    };
  }

  /** Moves what no step has moved. */
  private void advance(int steps) {
    switch (left) {
      case ROWS -> {
        for (int i = 0; i < bases(); i++) {
          code.add(BASES[i], steps * Float.BYTES);
        }
      }
      case COLUMNS -> code.add(LEFT_PANEL, steps * panelColumn);
      case PANEL -> code.add(LEFT, steps * panelColumn);
    }
    switch (right) {
      case ROWS -> code.add(RIGHT_PANEL, steps * panelRow);
      case PANEL -> code.add(RIGHT, steps * panelRow);
    }
  }

  private void end() {
    if (left == Left.COLUMNS) {
      load(OTHER, Argument.ROW_SUMS);
      Address sums = Address.at(OTHER, 0);
      switch (isa) {
        case AVX512 -> code.vmovups(sums, LEFT_ROWS, rowSums);
        case AVX2 -> {
          code.vmovups(leftColumn, Address.at(ROWS_MASK, 0));
          code.vmaskmovps(sums, leftColumn, rowSums);
        }
      }
    }
    Label store = new Label();
    code.test(START, START);
    code.jump(Condition.NOT_ZERO, store);
    addC();
    code.bind(store);
    storeC();
  }

  private void addC() {
    Vector spare = new Vector(0);
    code.mov(RAX, C);
    for (int i = 0; i < height; i++) {
      for (int j = 0; j < VECTORS; j++) {
        Address at = Address.at(RAX, j * vector);
        switch (isa) {
          case AVX512 -> code.vaddps(sum(i, j), COLUMNS[j], sum(i, j), at);
          case AVX2 -> {
            loadColumns(spare, j, at);
            code.vaddps(sum(i, j), sum(i, j), spare);
          }
        }
      }
      code.add(RAX, NEXT_C);
    }
  }

  private void storeC() {
    switch (isa) {
      case AVX512 -> storeRows((j, at, sum) -> code.vmovups(at, COLUMNS[j], sum));
      case AVX2 -> {
        // Masked stores are slow, so that whole rows have their own.
        Label whole = new Label();
        Label done = new Label();
        code.lea(RAX, masks.ones);
        code.cmp(RAX, COLUMNS_MASK);
        code.jump(Condition.ZERO, whole);
        for (int j = 0; j < VECTORS; j++) {
          code.vmovups(new Vector(j), Address.at(COLUMNS_MASK, j * vector));
        }
        storeRows((j, at, sum) -> code.vmaskmovps(at, new Vector(j), sum));
        code.jump(done);
        code.bind(whole);
        storeRows((_, at, sum) -> code.vmovups(at, sum));
        code.bind(done);
      }
    }
  }

  /** Stores one vector of a row of C. */
  private interface Store {
    void write(int index, Address at, Vector sum);
  }

  private void storeRows(Store store) {
    for (int i = 0; i < height; i++) {
      for (int j = 0; j < VECTORS; j++) {
        store.write(j, Address.at(C, j * vector), sum(i, j));
      }
      code.add(C, NEXT_C);
    }
  }

  /**
   * Writes the function that turns rows into columns, block by block of 16 x 16, or 8 x 8 with
   * AVX2:
   *
   * <pre>
   * void transpose(const float *from, long stride, long blocks, float *to, long next)
   * </pre>
   *
   * <p>{@code to[j][i] = from[i][j]} for the i of a block and the j of all; strides are in bytes.
   * The rows are read side by side.
   */
  static void transpose(Assembler code, Isa isa) {
    Register from = RDI;
    Register stride = RSI;
    Register blocks = RDX;
    Register to = RCX;
    Register next = R8;
    Label again = new Label();
    code.align(LINE / 2);
    code.bind(again);
    code.mov(RAX, from);
    List<Vector> rows = registers(0, isa.lanes());
    for (Vector row : rows) {
      code.vmovups(row, Address.at(RAX, 0));
      code.add(RAX, stride);
    }
    List<Vector> fours = fours(code, rows);
    List<Vector> columns =
        switch (isa) {
          case AVX2 -> columnsOf8(code, fours);
          case AVX512 -> columnsOf16(code, fours);
        };
    for (Vector column : columns) {
      code.vmovups(Address.at(to, 0), column);
      code.add(to, next);
    }
    code.add(from, isa.bytes());
    code.dec(blocks);
    code.jump(Condition.NOT_ZERO, again);
    code.vzeroupper();
    code.ret();
  }

  /**
   * The first two rounds: pairs of numbers, then of pairs, within each 128 bits of the registers.
   * The lower and the upper half of the registers take turns.
   *
   * @return at 4 g + c: every fourth column from c on, of the rows 4 g to 4 g + 3
   */
  private static List<Vector> fours(Assembler code, List<Vector> rows) {
    int count = rows.size();
    List<Vector> pairs = registers(count, count);
    for (int i = 0; i < count; i += 2) {
      code.vunpcklps(pairs.get(i), rows.get(i), rows.get(i + 1));
      code.vunpckhps(pairs.get(i + 1), rows.get(i), rows.get(i + 1));
    }
    List<Vector> fours = registers(0, count);
    for (int i = 0; i < count; i += 4) {
      for (int half = 0; half < 2; half++) {
        Vector low = pairs.get(i + half);
        Vector high = pairs.get(i + half + 2);
        code.vunpcklpd(fours.get(i + 2 * half), low, high);
        code.vunpckhpd(fours.get(i + 2 * half + 1), low, high);
      }
    }
    return fours;
  }

  /** One more round: halves of the registers. */
  private static List<Vector> columnsOf8(Assembler code, List<Vector> fours) {
    List<Vector> columns = registers(8, 8);
    for (int c = 0; c < 4; c++) {
      code.vperm2f128(columns.get(c), fours.get(c), fours.get(4 + c), 0x20);
      code.vperm2f128(columns.get(4 + c), fours.get(c), fours.get(4 + c), 0x31);
    }
    return columns;
  }

  /** Two more rounds: quarters of the registers. */
  private static List<Vector> columnsOf16(Assembler code, List<Vector> fours) {
    // Even quarters of the rows 0 to 7, odd ones, then the same of the rows 8 to 15.
    List<Vector> eights = registers(16, 16);
    for (int half = 0; half < 2; half++) {
      for (int c = 0; c < 4; c++) {
        Vector low = fours.get(8 * half + c);
        Vector high = fours.get(8 * half + 4 + c);
        code.vshuff32x4(eights.get(8 * half + c), low, high, 0x88);
        code.vshuff32x4(eights.get(8 * half + 4 + c), low, high, 0xdd);
      }
    }
    List<Vector> columns = registers(0, 16);
    for (int odd = 0; odd < 2; odd++) {
      for (int c = 0; c < 4; c++) {
        Vector low = eights.get(4 * odd + c);
        Vector high = eights.get(8 + 4 * odd + c);
        code.vshuff32x4(columns.get(4 * odd + c), low, high, 0x88);
        code.vshuff32x4(columns.get(8 + 4 * odd + c), low, high, 0xdd);
      }
    }
    return columns;
  }

  private static List<Vector> registers(int first, int count) {
    List<Vector> registers = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      registers.add(new Vector(first + i));
    }
    return registers;
  }
}
