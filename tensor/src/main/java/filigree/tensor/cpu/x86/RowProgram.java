package filigree.tensor.cpu.x86;

import static filigree.tensor.cpu.x86.Assembler.Register.R10;
import static filigree.tensor.cpu.x86.Assembler.Register.R11;
import static filigree.tensor.cpu.x86.Assembler.Register.R12;
import static filigree.tensor.cpu.x86.Assembler.Register.R8;
import static filigree.tensor.cpu.x86.Assembler.Register.R9;
import static filigree.tensor.cpu.x86.Assembler.Register.RAX;
import static filigree.tensor.cpu.x86.Assembler.Register.RBX;
import static filigree.tensor.cpu.x86.Assembler.Register.RCX;
import static filigree.tensor.cpu.x86.Assembler.Register.RDI;
import static filigree.tensor.cpu.x86.Assembler.Register.RDX;
import static filigree.tensor.cpu.x86.Assembler.Register.RSI;

import filigree.tensor.DType;
import filigree.tensor.cpu.x86.Assembler.Address;
import filigree.tensor.cpu.x86.Assembler.Condition;
import filigree.tensor.cpu.x86.Assembler.Label;
import filigree.tensor.cpu.x86.Assembler.Mask;
import filigree.tensor.cpu.x86.Assembler.Register;
import filigree.tensor.cpu.x86.Assembler.Vector;

/**
 * The instructions of dot products of a few rows of x with many rows of weights, for AVX-512 or
 * AVX2 and the calling convention of Linux (System V ABI, AMD64 supplement, section 3.2).
 *
 * <p>Memory sets the pace. Rows of weights lie one after another, so that they are one run of
 * memory, of which the lines {@link #AHEAD} bytes further are asked for, whether they belong to
 * this row or to a later one. The processor's own prefetching stops at every page of 4 KiB and
 * needs a few lines to begin again.
 */
final class RowProgram {
  /** The most rows of x. */
  static final int MOST = 4;

  private static final int AHEAD = 8192;
  private static final int LINE = 64;
  private static final int BF16_DROPPED_BITS = 16;

  // The arguments, and the rows of x after the first.
  private static final Register W = RSI;
  private static final Register COLUMNS = RDX;
  private static final Register ROWS = RCX;
  private static final Register OUT = R8;
  private static final Register MASK = R9;
  private static final Register[] X = {RDI, R9, R10, R11};

  // Columns: where the row is read, where rounds end, where whole vectors end.
  private static final Register AT = RAX;
  private static final Register ROUNDS_END = RBX;
  private static final Register VECTORS_END = R12;

  private static final Mask END = new Mask(1);
  private static final Mask FIRST = new Mask(2);

  private final Assembler code;
  private final Isa isa;
  private final DType type;
  private final int count;
  private final int vectors;
  private final int lanes;

  // Registers of numbers: weights, something else, then sums.
  private final Vector other;
  private final int firstSum;

  private RowProgram(Assembler code, Isa isa, DType type, int count) {
    this.code = code;
    this.isa = isa;
    this.vectors = vectors(isa);
    this.lanes = isa.lanes();
    this.other = new Vector(vectors);
    this.firstSum = vectors + 1;
    this.type = type;
    this.count = count;
  }

  /**
   * Writes the function
   *
   * <pre>
   * void dots(const float *x, const void *w, long columns, long rows, float *out, long mask)
   * </pre>
   *
   * <p>which sets {@code out[j][i] = x[i] . w[j]} for all rows j of w and i of x, both contiguous.
   * With AVX-512 the mask has the lowest {@code columns % 16} bits set; with AVX2 the columns are a
   * multiple of 8.
   *
   * @param isa of the code
   * @param type of the weights, F32 or BF16
   * @param count rows of x, 1 to {@link #MOST}
   */
  static void dots(Assembler code, Isa isa, DType type, int count) {
    new RowProgram(code, isa, type, count).write();
  }

  /**
   * Vectors in a round of the loop, each with sums of its own, since additions wait for one
   * another; as many as there are registers for {@link #MOST} rows. A power of two.
   */
  static int vectors(Isa isa) {
    return switch (isa) {
      case AVX2 -> 2;
      case AVX512 -> 4;
    };
  }

  private void write() {
    code.push(ROUNDS_END);
    code.push(VECTORS_END);
    if (isa == Isa.AVX512) {
      code.mov(AT, MASK);
      code.kmovw(END, AT);
      code.mov(AT, 1);
      code.kmovw(FIRST, AT);
    }
    for (int i = 1; i < count; i++) {
      code.lea(X[i], new Address(X[i - 1], COLUMNS, Float.BYTES, 0));
    }
    code.mov(ROUNDS_END, COLUMNS);
    code.and(ROUNDS_END, -vectors * lanes);
    code.mov(VECTORS_END, COLUMNS);
    code.and(VECTORS_END, -lanes);
    Label row = new Label();
    code.align(LINE);
    code.bind(row);
    for (int i = 0; i < count; i++) {
      for (int j = 0; j < vectors; j++) {
        code.vpxor(sum(i, j), sum(i, j), sum(i, j));
      }
    }
    code.mov(AT, 0);
    loop(ROUNDS_END, vectors);
    loop(VECTORS_END, 1);
    if (isa == Isa.AVX512) {
      end();
    }
    for (int i = 0; i < count; i++) {
      addUp(i);
      Address to = Address.at(OUT, i * Float.BYTES);
      switch (isa) {
        case AVX2 -> code.vmovss(to, sum(i, 0));
        case AVX512 -> code.vmovups(to, FIRST, sum(i, 0));
      }
    }
    code.lea(W, new Address(W, COLUMNS, type.bytes(), 0));
    code.add(OUT, count * Float.BYTES);
    code.dec(ROWS);
    code.jump(Condition.NOT_ZERO, row);
    code.pop(VECTORS_END);
    code.pop(ROUNDS_END);
    code.vzeroupper();
    code.ret();
  }

  private Vector sum(int row, int vector) {
    return new Vector(firstSum + row * vectors + vector);
  }

  private Address weights(int bytes) {
    return new Address(W, AT, type.bytes(), bytes);
  }

  private void loop(Register end, int together) {
    Label next = new Label();
    Label done = new Label();
    code.cmp(AT, end);
    code.jump(Condition.ZERO, done);
    code.bind(next);
    for (int j = 0; j < together; j++) {
      Vector w = new Vector(j);
      if (type == DType.BF16) {
        code.vpmovzxwd(w, weights(j * lanes * Short.BYTES));
        code.vpslld(w, w, BF16_DROPPED_BITS);
      } else {
        code.vmovups(w, weights(j * isa.bytes()));
      }
      int at = j * lanes * type.bytes();
      if (at % LINE == 0) {
        // Between the loads: behind all of them, bfloat16 is read a tenth slower.
        code.prefetcht1(weights(AHEAD + at));
      }
      for (int i = 0; i < count; i++) {
        code.vfmadd231ps(sum(i, j), w, new Address(X[i], AT, Float.BYTES, j * isa.bytes()));
      }
    }
    code.add(AT, together * lanes);
    code.cmp(AT, end);
    code.jump(Condition.NOT_ZERO, next);
    code.bind(done);
  }

  /** The last columns, less than a vector. */
  private void end() {
    Vector w = new Vector(0);
    if (type == DType.BF16) {
      code.vpmovzxwd(w, END, weights(0));
      code.vpslld(w, w, BF16_DROPPED_BITS);
    } else {
      code.vmovups(w, END, weights(0));
    }
    for (int i = 0; i < count; i++) {
      code.vmovups(other, END, new Address(X[i], AT, Float.BYTES, 0));
      code.vfmadd231ps(sum(i, 0), w, other);
    }
  }

  /** Leaves the sum of all numbers of a row's vectors in the first lane of its first vector. */
  private void addUp(int row) {
    for (int apart = vectors / 2; apart > 0; apart /= 2) {
      for (int j = 0; j < apart; j++) {
        code.vaddps(sum(row, j), sum(row, j), sum(row, j + apart));
      }
    }
    Vector total = sum(row, 0);
    switch (isa) {
      case AVX2 -> {
        code.vperm2f128(other, total, total, 0x01);
        code.vaddps(total, total, other);
      }
      case AVX512 -> {
        code.vshuff32x4(other, total, total, 0b01_00_11_10);
        code.vaddps(total, total, other);
        code.vshuff32x4(other, total, total, 0b10_11_00_01);
        code.vaddps(total, total, other);
      }
    }
    // Of four numbers a, b, c, d in each 128 bits: a + c, a + c, b + d, b + d.
    code.vunpcklps(other, total, total);
    code.vunpckhps(total, total, total);
    code.vaddps(total, total, other);
    code.vunpckhpd(other, total, total);
    code.vaddps(total, total, other);
  }
}
