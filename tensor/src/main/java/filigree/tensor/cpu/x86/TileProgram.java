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
import filigree.tensor.cpu.x86.Assembler.Near;
import filigree.tensor.cpu.x86.Assembler.Register;
import filigree.tensor.cpu.x86.Assembler.Zmm;
import java.util.ArrayList;
import java.util.List;

/**
 * The instructions of a product's innermost loop, for AVX-512 and the calling convention of Linux
 * (System V ABI, AMD64 supplement, section 3.2).
 *
 * <p>A tile has up to 12 rows and 32 columns: 24 registers of sums, two for a row of B, six through
 * which numbers of A pass, each broadcast and used twice. That is 14 loads for 24 multiply-adds,
 * and almost nothing else: a compiler of Java needs integer instructions between them, which take
 * the multiply-adds' ports, and has no prefetch.
 */
final class TileProgram {
  static final int ROWS = 12;
  static final int COLUMNS = 32;

  /** How the left matrix lies. */
  enum Left {
    /** Row by row, as many bytes apart as the caller says. */
    ROWS,
    /** In panels of {@link TileProgram#ROWS} rows, column by column. */
    PANELS
  }

  private static final int VECTOR = 64;
  private static final int VECTORS = 2;
  private static final int RIGHT_ROW = VECTORS * VECTOR;
  private static final int PANEL_COLUMN = ROWS * Float.BYTES;

  /** Steps of depth in a round of the loop; a power of two. */
  private static final int UNROLLED = 4;

  private static final int FIRST_SUM = 8;
  private static final Mask FIRST = new Mask(1);
  private static final Mask SECOND = new Mask(2);

  // Arguments: six in registers, the rest behind the return address on the stack.
  private static final Register LEFT = RDI;
  private static final Register RIGHT = RSI;
  private static final Register DEPTH = RDX;
  private static final Register C = RCX;
  private static final Register NEXT_C = R8;
  private static final Register START = R9;
  private static final Register[] SAVED = {RBX, RBP, R12, R13, R14, R15};
  private static final int STACK = (SAVED.length + 1) * Long.BYTES;
  private static final Address LEFT_STRIDE = Address.at(RSP, STACK);
  private static final Address MASK = Address.at(RSP, STACK + Long.BYTES);
  private static final Address AHEAD = Address.at(RSP, STACK + 2 * Long.BYTES);
  private static final Address AHEAD_NEXT = Address.at(RSP, STACK + 3 * Long.BYTES);
  private static final Address AHEAD_COUNT = Address.at(RSP, STACK + 4 * Long.BYTES);

  // Every third row of A has a base register; between them, it is a stride or two away.
  private static final Register STRIDE = R10;
  private static final Register[] BASES = {LEFT, RBX, R12, R13};
  private static final int ROWS_PER_BASE = 3;

  private static final Register ROUNDS = RAX;
  private static final Register COUNT = R11;
  private static final Register AHEAD_AT = R14;
  private static final Register AHEAD_STEP = R15;
  private static final Register AHEAD_ROUNDS = RBP;

  private final Assembler code;
  private final int height;
  private final Left left;

  private TileProgram(Assembler code, int height, Left left) {
    this.code = code;
    this.height = height;
    this.left = left;
  }

  /**
   * Writes the function that computes a tile:
   *
   * <pre>
   * void tile(const float *a, const float *b, long depth, float *c, long next, const float *start,
   *           long stride, long mask, const char *ahead, long step, long rounds)
   * </pre>
   *
   * <p>Row i of C is {@code start + sum over p of a[i][p] b[p]}, and where start is null it is
   * added to C; each element is summed in the order of p. b are rows of 32 floats. Bit j of the
   * mask tells whether column j of C is written. While it computes, it asks for the tile of C, and
   * then in each of so many rounds for two cache lines from ahead on, a step of bytes apart.
   *
   * @param height rows of the tile
   */
  static void tile(Assembler code, int height, Left left) {
    new TileProgram(code, height, left).write();
  }

  private void write() {
    for (Register register : SAVED) {
      code.push(register);
    }
    code.mov(RAX, MASK);
    code.kmovw(FIRST, RAX);
    code.shr(RAX, VECTOR / Float.BYTES);
    code.kmovw(SECOND, RAX);
    begin();
    if (left == Left.ROWS) {
      code.mov(STRIDE, LEFT_STRIDE);
      code.lea(COUNT, new Address(STRIDE, STRIDE, 2, 0));
      for (int i = 1; i < bases(); i++) {
        code.mov(BASES[i], BASES[i - 1]);
        code.add(BASES[i], COUNT);
      }
    }
    code.mov(AHEAD_AT, AHEAD);
    code.mov(AHEAD_STEP, AHEAD_NEXT);
    code.mov(AHEAD_ROUNDS, AHEAD_COUNT);

    code.mov(ROUNDS, DEPTH);
    code.shr(ROUNDS, Integer.numberOfTrailingZeros(UNROLLED));
    code.and(DEPTH, UNROLLED - 1);
    code.mov(COUNT, height);
    takeRounds(COUNT);
    code.push(C);
    loop(COUNT, UNROLLED, C, NEXT_C, Near.FIRST_LEVEL);
    code.pop(C);
    takeRounds(AHEAD_ROUNDS);
    loop(AHEAD_ROUNDS, UNROLLED, AHEAD_AT, AHEAD_STEP, Near.SECOND_LEVEL);
    loop(ROUNDS, UNROLLED);
    loop(DEPTH, 1);
    end();
    for (int i = SAVED.length - 1; i >= 0; i--) {
      code.pop(SAVED[i]);
    }
    code.vzeroupper();
    code.ret();
  }

  private int bases() {
    return left == Left.ROWS ? (height + ROWS_PER_BASE - 1) / ROWS_PER_BASE : 1;
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

  /** Limits a number of rounds to what is left, and takes it from there. */
  private void takeRounds(Register rounds) {
    code.cmp(ROUNDS, rounds);
    code.cmovl(rounds, ROUNDS);
    code.sub(ROUNDS, rounds);
  }

  private void loop(Register rounds, int steps) {
    loop(rounds, steps, () -> {}, () -> {});
  }

  /** Asks for two lines in each round. */
  private void loop(Register rounds, int steps, Register ahead, Register step, Near near) {
    loop(
        rounds,
        steps,
        () -> {
          code.prefetch(near, Address.at(ahead, 0));
          code.prefetch(near, Address.at(ahead, VECTOR));
        },
        () -> code.add(ahead, step));
  }

  private void loop(Register rounds, int steps, Runnable within, Runnable after) {
    Label again = new Label();
    Label done = new Label();
    code.test(rounds, rounds);
    code.jump(Condition.NOT_GREATER, done);
    code.align(VECTOR / 2);
    code.bind(again);
    for (int p = 0; p < steps; p++) {
      step(p);
      if (p == 0) {
        within.run();
      }
    }
    after.run();
    for (int i = 0; i < bases(); i++) {
      code.add(BASES[i], steps * (left == Left.ROWS ? Float.BYTES : PANEL_COLUMN));
    }
    code.add(RIGHT, steps * RIGHT_ROW);
    code.dec(rounds);
    code.jump(Condition.NOT_ZERO, again);
    code.bind(done);
  }

  /** One step of depth. */
  private void step(int p) {
    Zmm[] right = {new Zmm(0), new Zmm(1)};
    for (int j = 0; j < VECTORS; j++) {
      code.vmovups(right[j], Address.at(RIGHT, p * RIGHT_ROW + j * VECTOR));
    }
    for (int i = 0; i < height; i++) {
      Zmm element = new Zmm(VECTORS + i % (FIRST_SUM - VECTORS));
      code.vbroadcastss(element, element(i, p));
      for (int j = 0; j < VECTORS; j++) {
        code.vfmadd231ps(sum(i, j), element, right[j]);
      }
    }
  }

  private Address element(int i, int p) {
    return switch (left) {
      case PANELS -> Address.at(LEFT, p * PANEL_COLUMN + i * Float.BYTES);
      case ROWS ->
          new Address(BASES[i / ROWS_PER_BASE], STRIDE, i % ROWS_PER_BASE, p * Float.BYTES);
    };
  }

  private void end() {
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
