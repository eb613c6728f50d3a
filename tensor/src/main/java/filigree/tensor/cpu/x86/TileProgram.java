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
import filigree.tensor.cpu.x86.Assembler.Zmm;
import java.util.ArrayList;
import java.util.List;

/**
 * The instructions of a product's innermost loop, for AVX-512 and the calling convention of Linux
 * (System V ABI, AMD64 supplement, section 3.2).
 *
 * <p>A tile has up to 12 rows and 32 columns: 24 registers of sums, two for a row of B, and some
 * through which numbers of A pass, each broadcast and used twice. That is 14 loads for 24
 * multiply-adds, and almost nothing else: a compiler of Java needs integer instructions between
 * them, which take the multiply-adds' ports, and has no prefetch.
 *
 * <p>What has to be packed is packed by the first tile that reads it: two stores, by a port that
 * the sums do not use, instead of a pass over memory.
 */
final class TileProgram {
  static final int ROWS = 12;
  static final int COLUMNS = 32;

  /** How the left matrix is read. */
  enum Left {
    /** Row by row, a stride apart. */
    ROWS,
    /** Column by column, a stride apart; they are packed, and their rows summed. */
    COLUMNS,
    /** A packed panel: columns of {@link TileProgram#ROWS} numbers. */
    PANEL
  }

  /** How the right matrix is read. */
  enum Right {
    /** Row by row, a stride apart; they are packed. */
    ROWS,
    /** A packed panel: rows of {@link TileProgram#COLUMNS} numbers. */
    PANEL
  }

  private static final int VECTOR = 64;
  private static final int VECTORS = 2;
  private static final int PANEL_ROW = VECTORS * VECTOR;
  private static final int PANEL_COLUMN = ROWS * Float.BYTES;

  /** Steps of depth in a round of the loop; a power of two. */
  private static final int UNROLLED = 4;

  private static final int PHASES = 3;

  /** What each phase finds on the stack: pointer, step and rounds. */
  private static final int PUSHED_BY_PHASE = 3;

  // Registers of numbers: 0 and 1 a row of B, then those of A, then the sums.
  private static final int FIRST_ELEMENT = VECTORS;
  private static final Zmm LEFT_COLUMN = new Zmm(6);
  private static final Zmm ROW_SUMS = new Zmm(7);
  private static final int FIRST_SUM = 8;
  private static final Mask FIRST = new Mask(1);
  private static final Mask SECOND = new Mask(2);
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

  private static final Register[] SAVED = {RBX, RBP, R12, R13, R14, R15};

  private final Assembler code;
  private final int height;
  private final Left left;
  private final Right right;
  private int pushed;

  private TileProgram(Assembler code, int height, Left left, Right right) {
    this.code = code;
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
   * @param height rows of the tile
   */
  static void tile(Assembler code, int height, Left left, Right right) {
    new TileProgram(code, height, left, right).write();
  }

  private void write() {
    for (Register register : SAVED) {
      push(register);
    }
    load(ROUNDS, Argument.MASK);
    code.kmovw(FIRST, ROUNDS);
    code.shr(ROUNDS, VECTOR / Float.BYTES);
    code.kmovw(SECOND, ROUNDS);
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
      code.mov(PHASE, (1 << height) - 1);
      code.kmovw(LEFT_ROWS, PHASE);
      code.vpxord(ROW_SUMS, ROW_SUMS, ROW_SUMS);
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

  private static Zmm sum(int row, int vector) {
    return new Zmm(FIRST_SUM + VECTORS * row + vector);
  }

  private void begin() {
    Label zeros = new Label();
    Label copies = new Label();
    code.test(START, START);
    code.jump(Condition.ZERO, zeros);
    for (int j = 0; j < VECTORS; j++) {
      code.vmovups(sum(0, j), Address.at(START, j * VECTOR));
    }
    // Always: the flags are still those of the test.
    code.jump(Condition.NOT_ZERO, copies);
    code.bind(zeros);
    for (int j = 0; j < VECTORS; j++) {
      code.vpxord(sum(0, j), sum(0, j), sum(0, j));
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
    code.align(VECTOR / 2);
    code.bind(again);
    for (int p = 0; p < UNROLLED; p++) {
      step(p);
      if (p == 0) {
        code.prefetcht1(Address.at(POINTER, 0));
        code.prefetcht1(Address.at(POINTER, VECTOR));
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
    Zmm[] row = {new Zmm(0), new Zmm(1)};
    for (int j = 0; j < VECTORS; j++) {
      switch (right) {
        case PANEL -> code.vmovups(row[j], Address.at(RIGHT, p * PANEL_ROW + j * VECTOR));
        case ROWS -> {
          code.vmovups(row[j], mask(j), Address.at(RIGHT, j * VECTOR));
          Address packed = Address.at(RIGHT_PANEL, p * PANEL_ROW + j * VECTOR);
          code.vmovups(packed, Mask.NONE, row[j]);
        }
      }
    }
    if (right == Right.ROWS) {
      code.add(RIGHT, RIGHT_STRIDE);
    }
    if (left == Left.COLUMNS) {
      code.vmovups(LEFT_COLUMN, LEFT_ROWS, Address.at(LEFT, 0));
      code.vmovups(Address.at(LEFT_PANEL, p * PANEL_COLUMN), LEFT_ROWS, LEFT_COLUMN);
      code.vaddps(ROW_SUMS, ROW_SUMS, LEFT_COLUMN);
    }
    int elements = (left == Left.COLUMNS ? LEFT_COLUMN.number() : FIRST_SUM) - FIRST_ELEMENT;
    for (int i = 0; i < height; i++) {
      Zmm element = new Zmm(FIRST_ELEMENT + i % elements);
      code.vbroadcastss(element, element(i, p));
      for (int j = 0; j < VECTORS; j++) {
        code.vfmadd231ps(sum(i, j), element, row[j]);
      }
    }
    if (left == Left.COLUMNS) {
      code.add(LEFT, LEFT_STRIDE);
    }
  }

  private Address element(int i, int p) {
    return switch (left) {
      case ROWS ->
          new Address(BASES[i / ROWS_PER_BASE], LEFT_STRIDE, i % ROWS_PER_BASE, p * Float.BYTES);
      case COLUMNS -> Address.at(LEFT, i * Float.BYTES);
      case PANEL -> Address.at(LEFT, p * PANEL_COLUMN + i * Float.BYTES);
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
      case COLUMNS -> code.add(LEFT_PANEL, steps * PANEL_COLUMN);
      case PANEL -> code.add(LEFT, steps * PANEL_COLUMN);
    }
    switch (right) {
      case ROWS -> code.add(RIGHT_PANEL, steps * PANEL_ROW);
      case PANEL -> code.add(RIGHT, steps * PANEL_ROW);
    }
  }

  private void end() {
    if (left == Left.COLUMNS) {
      load(OTHER, Argument.ROW_SUMS);
      code.vmovups(Address.at(OTHER, 0), LEFT_ROWS, ROW_SUMS);
    }
    Label store = new Label();
    code.test(START, START);
    code.jump(Condition.NOT_ZERO, store);
    code.mov(RAX, C);
    for (int i = 0; i < height; i++) {
      for (int j = 0; j < VECTORS; j++) {
        code.vaddps(sum(i, j), mask(j), sum(i, j), Address.at(RAX, j * VECTOR));
      }
      code.add(RAX, NEXT_C);
    }
    code.bind(store);
    for (int i = 0; i < height; i++) {
      for (int j = 0; j < VECTORS; j++) {
        code.vmovups(Address.at(C, j * VECTOR), mask(j), sum(i, j));
      }
      code.add(C, NEXT_C);
    }
  }

  private static Mask mask(int vector) {
    return vector == 0 ? FIRST : SECOND;
  }

  /**
   * Writes the function that turns 16 rows into 16 columns, block by block of 16 x 16:
   *
   * <pre>
   * void transpose(const float *from, long stride, long blocks, float *to, long next)
   * </pre>
   *
   * <p>{@code to[j][i] = from[i][j]} for 16 i and 16 x blocks j; strides are in bytes. The rows are
   * read side by side.
   */
  static void transpose(Assembler code) {
    Register from = RDI;
    Register stride = RSI;
    Register blocks = RDX;
    Register to = RCX;
    Register next = R8;
    Label again = new Label();
    code.align(VECTOR / 2);
    code.bind(again);
    code.mov(RAX, from);
    List<Zmm> rows = new ArrayList<>();
    for (int i = 0; i < 16; i++) {
      rows.add(new Zmm(i));
      code.vmovups(rows.get(i), Address.at(RAX, 0));
      code.add(RAX, stride);
    }
    for (Zmm column : transposed(code, rows)) {
      code.vmovups(Address.at(to, 0), Mask.NONE, column);
      code.add(to, next);
    }
    code.add(from, VECTOR);
    code.dec(blocks);
    code.jump(Condition.NOT_ZERO, again);
    code.vzeroupper();
    code.ret();
  }

  /**
   * In four rounds: pairs of numbers, then of pairs, within each quarter of the registers, and then
   * of quarters. Registers 0 to 15 and 16 to 31 take turns.
   */
  private static List<Zmm> transposed(Assembler code, List<Zmm> rows) {
    List<Zmm> pairs = registers(16);
    for (int i = 0; i < 16; i += 2) {
      code.vunpcklps(pairs.get(i), rows.get(i), rows.get(i + 1));
      code.vunpckhps(pairs.get(i + 1), rows.get(i), rows.get(i + 1));
    }
    // fours(4 g + c): column c of each quarter, of the rows 4 g to 4 g + 3.
    List<Zmm> fours = registers(0);
    for (int i = 0; i < 16; i += 4) {
      for (int half = 0; half < 2; half++) {
        Zmm low = pairs.get(i + half);
        Zmm high = pairs.get(i + half + 2);
        code.vunpcklpd(fours.get(i + 2 * half), low, high);
        code.vunpckhpd(fours.get(i + 2 * half + 1), low, high);
      }
    }
    // Even quarters of the rows 0 to 7, odd ones, then the same of the rows 8 to 15.
    List<Zmm> eights = registers(16);
    for (int half = 0; half < 2; half++) {
      for (int c = 0; c < 4; c++) {
        Zmm low = fours.get(8 * half + c);
        Zmm high = fours.get(8 * half + 4 + c);
        code.vshuff32x4(eights.get(8 * half + c), low, high, 0x88);
        code.vshuff32x4(eights.get(8 * half + 4 + c), low, high, 0xdd);
      }
    }
    List<Zmm> columns = registers(0);
    for (int odd = 0; odd < 2; odd++) {
      for (int c = 0; c < 4; c++) {
        Zmm low = eights.get(4 * odd + c);
        Zmm high = eights.get(8 + 4 * odd + c);
        code.vshuff32x4(columns.get(4 * odd + c), low, high, 0x88);
        code.vshuff32x4(columns.get(8 + 4 * odd + c), low, high, 0xdd);
      }
    }
    return columns;
  }

  private static List<Zmm> registers(int first) {
    List<Zmm> registers = new ArrayList<>();
    for (int i = 0; i < 16; i++) {
      registers.add(new Zmm(first + i));
    }
    return registers;
  }
}
