package filigree.tensor.cpu.x86;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Writes the x86-64 instructions that the programs here are made of as bytes (Intel 64 and IA-32
 * Architectures Software Developer's Manual, volume 2; the prefix of 256-bit instructions, VEX:
 * section 2.3, of 512-bit ones, EVEX: section 2.7). Operands are in Intel's order, the destination
 * first.
 */
final class Assembler {
  /** The general registers, by their numbers. */
  enum Register {
    RAX(0),
    RCX(1),
    RDX(2),
    RBX(3),
    RSP(4),
    RBP(5),
    RSI(6),
    RDI(7),
    R8(8),
    R9(9),
    R10(10),
    R11(11),
    R12(12),
    R13(13),
    R14(14),
    R15(15);

    private final int number;

    Register(int number) {
      this.number = number;
    }
  }

  /**
   * A register of 256 or 512 bits, as the program's instructions are.
   *
   * @param number 0 to 15 or 31
   */
  record Vector(int number) {}

  /**
   * A register of AVX-512 that masks the floats of a {@link Vector}.
   *
   * @param number 1 to 7; number 0 means no mask
   */
  record Mask(int number) {
    static final Mask NONE = new Mask(0);
  }

  /**
   * Where an operand in memory lies: {@code base + scale * index + displacement}.
   *
   * @param scale 0 for no index, 1, 2, 4 or 8
   */
  record Address(Register base, Register index, int scale, int displacement) {
    static Address at(Register base, int displacement) {
      return new Address(base, base, 0, displacement);
    }
  }

  /** A place in the program that instructions name. */
  static final class Label {
    private int position = -1;
    private final List<Integer> references = new ArrayList<>();
  }

  /** Conditions of a jump, by their numbers. */
  enum Condition {
    ZERO(4),
    NOT_ZERO(5),
    NOT_GREATER(0xe);

    private final int number;

    Condition(int number) {
      this.number = number;
    }
  }

  /**
   * A vector instruction: the map and the byte of its code, and two bits of its prefix. That it is
   * wide only EVEX needs to know.
   */
  private record Opcode(int map, int prefix, int wide, int code) {}

  private static final int NO_PREFIX = 0;
  private static final int PREFIX_66 = 1;
  private static final int PREFIX_F3 = 2;
  private static final int MAP_0F = 1;
  private static final int MAP_0F38 = 2;
  private static final int MAP_0F3A = 3;

  // In VEX: one number, or a whole register.
  private static final int SCALAR = 0;
  private static final int WHOLE = 1;

  /** In EVEX: what a mask leaves out becomes zero. */
  private static final int ZEROING = 0x80;

  /** In the byte of operands: the last one is a register. */
  private static final int REGISTER = 3;

  private final Isa isa;
  private byte[] code = new byte[1 << 14];
  private int size;

  /**
   * Begins a program.
   *
   * @param isa of its vector instructions
   */
  Assembler(Isa isa) {
    this.isa = isa;
  }

  /** Returns the program. */
  byte[] bytes() {
    return Arrays.copyOf(code, size);
  }

  /** Returns the offset of the next instruction. */
  int position() {
    return size;
  }

  // --- vectors --------------------------------------------------------------------------------

  void vmovups(Vector to, Address from) {
    vector(new Opcode(MAP_0F, NO_PREFIX, 0, 0x10), to, 0, from, isa.bytes());
  }

  void vmovups(Address to, Vector from) {
    vector(new Opcode(MAP_0F, NO_PREFIX, 0, 0x11), from, 0, to, isa.bytes());
  }

  void vmovaps(Vector to, Vector from) {
    vector(new Opcode(MAP_0F, NO_PREFIX, 0, 0x28), to, 0, from);
  }

  /** Of 512 bits it is called vpxord. */
  void vpxor(Vector to, Vector first, Vector second) {
    vector(new Opcode(MAP_0F, PREFIX_66, 0, 0xef), to, first.number, second);
  }

  void vbroadcastss(Vector to, Address from) {
    vector(new Opcode(MAP_0F38, PREFIX_66, 0, 0x18), to, 0, from, Float.BYTES);
  }

  /** {@code sum += first * second}. */
  void vfmadd231ps(Vector sum, Vector first, Vector second) {
    vector(new Opcode(MAP_0F38, PREFIX_66, 0, 0xb8), sum, first.number, second);
  }

  /** {@code sum += first * second}. */
  void vfmadd231ps(Vector sum, Vector first, Address second) {
    vector(new Opcode(MAP_0F38, PREFIX_66, 0, 0xb8), sum, first.number, second, isa.bytes());
  }

  void vaddps(Vector to, Vector first, Vector second) {
    vector(new Opcode(MAP_0F, NO_PREFIX, 0, 0x58), to, first.number, second);
  }

  void vaddps(Vector to, Vector first, Address second) {
    vector(new Opcode(MAP_0F, NO_PREFIX, 0, 0x58), to, first.number, second, isa.bytes());
  }

  /** Numbers of 16 bits become numbers of 32; the upper halves are zeros. */
  void vpmovzxwd(Vector to, Address from) {
    vector(new Opcode(MAP_0F38, PREFIX_66, 0, 0x33), to, 0, from, isa.bytes() / 2);
  }

  void vunpcklps(Vector to, Vector first, Vector second) {
    vector(new Opcode(MAP_0F, NO_PREFIX, 0, 0x14), to, first.number, second);
  }

  void vunpckhps(Vector to, Vector first, Vector second) {
    vector(new Opcode(MAP_0F, NO_PREFIX, 0, 0x15), to, first.number, second);
  }

  void vunpcklpd(Vector to, Vector first, Vector second) {
    vector(new Opcode(MAP_0F, PREFIX_66, 1, 0x14), to, first.number, second);
  }

  void vunpckhpd(Vector to, Vector first, Vector second) {
    vector(new Opcode(MAP_0F, PREFIX_66, 1, 0x15), to, first.number, second);
  }

  /** A shift of numbers of 32 bits; empty places become zeros. */
  void vpslld(Vector to, Vector from, int bits) {
    // The operation is named by a number in place of the first operand.
    vector(new Opcode(MAP_0F, PREFIX_66, 0, 0x72), new Vector(6), to.number, from);
    put(bits);
  }

  void vzeroupper() {
    put(0xc5, 0xf8, 0x77);
  }

  // --- AVX2 alone -----------------------------------------------------------------------------

  /** Floats whose sign in the mask is not set are not read, and become zeros. */
  void vmaskmovps(Vector to, Vector mask, Address from) {
    vex(new Opcode(MAP_0F38, PREFIX_66, 0, 0x2c), to, mask.number, from);
  }

  /** Floats whose sign in the mask is not set are not written. */
  void vmaskmovps(Address to, Vector mask, Vector from) {
    vex(new Opcode(MAP_0F38, PREFIX_66, 0, 0x2e), from, mask.number, to);
  }

  /** Stores the first float. */
  void vmovss(Address to, Vector from) {
    int index = to.scale == 0 ? 0 : to.index.number;
    Opcode opcode = new Opcode(MAP_0F, PREFIX_F3, 0, 0x11);
    vexPrefix(opcode, SCALAR, from.number, 0, index, to.base.number);
    operand(from.number, to, 1);
  }

  /** Chooses a half of two registers for each half. */
  void vperm2f128(Vector to, Vector first, Vector second, int choice) {
    vex(new Opcode(MAP_0F3A, PREFIX_66, 0, 0x06), to, first.number, second);
    put(choice);
  }

  // --- AVX-512 alone --------------------------------------------------------------------------

  /** Floats that the mask leaves out are not read, and become zeros. */
  void vmovups(Vector to, Mask mask, Address from) {
    evex(new Opcode(MAP_0F, NO_PREFIX, 0, 0x10), to, 0, from, mask, isa.bytes(), ZEROING);
  }

  /** Floats that the mask leaves out are not written. */
  void vmovups(Address to, Mask mask, Vector from) {
    evex(new Opcode(MAP_0F, NO_PREFIX, 0, 0x11), from, 0, to, mask, isa.bytes(), 0);
  }

  /** Floats that the mask leaves out are not read, and stay as they are. */
  void vaddps(Vector to, Mask mask, Vector first, Address second) {
    evex(new Opcode(MAP_0F, NO_PREFIX, 0, 0x58), to, first.number, second, mask, isa.bytes(), 0);
  }

  /** Numbers that the mask leaves out are not read, and become zeros. */
  void vpmovzxwd(Vector to, Mask mask, Address from) {
    evex(new Opcode(MAP_0F38, PREFIX_66, 0, 0x33), to, 0, from, mask, isa.bytes() / 2, ZEROING);
  }

  void vshuff32x4(Vector to, Vector first, Vector second, int choice) {
    evex(new Opcode(MAP_0F3A, PREFIX_66, 0, 0x23), to, first.number, second);
    put(choice);
  }

  /** The lower 16 bits of a general register; one of the first eight. */
  void kmovw(Mask to, Register from) {
    if (from.number > 7) {
      throw new IllegalArgumentException(from + " is not one of the first eight registers");
    }
    put(0xc5, 0xf8, 0x92, fields(REGISTER, to.number, from.number));
  }

  // --- 64 bits --------------------------------------------------------------------------------

  void mov(Register to, Register from) {
    registers(0x89, from, to);
  }

  void mov(Register to, Address from) {
    memory(0x8b, to.number, from);
  }

  void mov(Register to, int value) {
    put(rex(1, 0, 0, to.number), 0xc7, fields(REGISTER, 0, to.number));
    putInt(value);
  }

  void lea(Register to, Address address) {
    memory(0x8d, to.number, address);
  }

  /** The address of a place in the program. */
  void lea(Register to, Label label) {
    put(rex(1, to.number, 0, 0), 0x8d, fields(0, to.number, Register.RBP.number));
    reference(label);
  }

  void add(Register to, Register from) {
    registers(0x01, from, to);
  }

  void add(Register to, int value) {
    immediate(0, to, value);
  }

  void and(Register to, int value) {
    immediate(4, to, value);
  }

  void sub(Register to, Register from) {
    registers(0x29, from, to);
  }

  void cmp(Register first, Register second) {
    registers(0x39, second, first);
  }

  void test(Register first, Register second) {
    registers(0x85, second, first);
  }

  /** A shift by a number of bits; empty places become zeros. */
  void shl(Register to, int bits) {
    put(rex(1, 0, 0, to.number), 0xc1, fields(REGISTER, 4, to.number), bits);
  }

  /** A shift by a number of bits; empty places become zeros. */
  void shr(Register to, int bits) {
    put(rex(1, 0, 0, to.number), 0xc1, fields(REGISTER, 5, to.number), bits);
  }

  /** Counts the bits that are set. */
  void popcnt(Register to, Register from) {
    put(0xf3, rex(1, to.number, 0, from.number), 0x0f, 0xb8);
    put(fields(REGISTER, to.number, from.number));
  }

  void dec(Register register) {
    put(rex(1, 0, 0, register.number), 0xff, fields(REGISTER, 1, register.number));
  }

  /** Moves where the last comparison found less (signed). */
  void cmovl(Register to, Register from) {
    put(rex(1, to.number, 0, from.number), 0x0f, 0x4c);
    put(fields(REGISTER, to.number, from.number));
  }

  void push(Register register) {
    putRex(0, 0, register.number);
    put(0x50 | (register.number & 7));
  }

  void pop(Register register) {
    putRex(0, 0, register.number);
    put(0x58 | (register.number & 7));
  }

  void ret() {
    put(0xc3);
  }

  /** Asks for a cache line, into the second level. */
  void prefetcht1(Address address) {
    putRex(0, address.scale == 0 ? 0 : address.index.number, address.base.number);
    put(0x0f, 0x18);
    operand(2, address, 1);
  }

  // --- jumps ----------------------------------------------------------------------------------

  /** Puts a label here. */
  void bind(Label label) {
    label.position = size;
    for (int reference : label.references) {
      link(reference, label);
    }
  }

  void jump(Condition condition, Label label) {
    put(0x0f, 0x80 | condition.number);
    reference(label);
  }

  /** Jumps whatever there was. */
  void jump(Label label) {
    put(0xe9);
    reference(label);
  }

  /** Ends an instruction with the distance to a label. */
  private void reference(Label label) {
    label.references.add(size);
    putInt(0);
    if (label.position >= 0) {
      link(size - Integer.BYTES, label);
    }
  }

  /** Puts numbers of 32 bits here. */
  void ints(int value, int count) {
    for (int i = 0; i < count; i++) {
      putInt(value);
    }
  }

  /** Does nothing up to a multiple of so many bytes, where loops begin faster. */
  void align(int bytes) {
    while (size % bytes != 0) {
      put(0x90);
    }
  }

  // A place is named relative to the instruction after the one that names it.
  private void link(int reference, Label label) {
    int distance = label.position - (reference + Integer.BYTES);
    for (int i = 0; i < Integer.BYTES; i++) {
      code[reference + i] = (byte) (distance >> (8 * i));
    }
  }

  // --- encoding -------------------------------------------------------------------------------

  /** The last operand in a register. */
  private void vector(Opcode opcode, Vector first, int second, Vector third) {
    switch (isa) {
      case AVX2 -> vex(opcode, first, second, third);
      case AVX512 -> evex(opcode, first, second, third);
    }
  }

  /** The last operand in memory, of so many bytes. */
  private void vector(Opcode opcode, Vector first, int second, Address third, int bytes) {
    switch (isa) {
      case AVX2 -> vex(opcode, first, second, third);
      case AVX512 -> evex(opcode, first, second, third, Mask.NONE, bytes, 0);
    }
  }

  private void vex(Opcode opcode, Vector first, int second, Vector third) {
    vexPrefix(opcode, WHOLE, first.number, second, 0, third.number);
    put(fields(REGISTER, first.number, third.number));
  }

  private void vex(Opcode opcode, Vector first, int second, Address third) {
    int index = third.scale == 0 ? 0 : third.index.number;
    vexPrefix(opcode, WHOLE, first.number, second, index, third.base.number);
    operand(first.number, third, 1);
  }

  /** Of two bytes where that is enough. */
  private void vexPrefix(Opcode opcode, int length, int first, int second, int index, int base) {
    int rest = ((~second & 0xf) << 3) | (length << 2) | opcode.prefix;
    if (opcode.map == MAP_0F && index < 8 && base < 8) {
      put(0xc5, inverted(first >> 3, 7) | rest);
    } else {
      put(0xc4);
      put(inverted(first >> 3, 7) | inverted(index >> 3, 6) | inverted(base >> 3, 5) | opcode.map);
      put(rest);
    }
    put(opcode.code);
  }

  private void evex(Opcode opcode, Vector first, int second, Vector third) {
    evexPrefix(opcode, first.number, second, third.number >> 4, third.number >> 3, 0);
    put(fields(REGISTER, first.number, third.number));
  }

  /** The last operand in memory, of so many bytes, in which short displacements are counted. */
  private void evex(
      Opcode opcode, Vector first, int second, Address third, Mask mask, int bytes, int zeroing) {
    int index = third.scale == 0 ? 0 : third.index.number;
    evexPrefix(
        opcode, first.number, second, index >> 3, third.base.number >> 3, zeroing | mask.number);
    operand(first.number, third, bytes);
  }

  // Bits of register numbers beyond the third lie inverted in the prefix.
  private void evexPrefix(Opcode opcode, int first, int second, int x, int b, int masking) {
    put(
        0x62,
        inverted(first >> 3, 7)
            | inverted(x, 6)
            | inverted(b, 5)
            | inverted(first >> 4, 4)
            | opcode.map,
        (opcode.wide << 7) | ((~second & 0xf) << 3) | (1 << 2) | opcode.prefix,
        (0b10 << 5) | inverted(second >> 4, 3) | masking,
        opcode.code);
  }

  /** Two bits and the lower three of two numbers: the byte of operands, and that of an index. */
  private static int fields(int top, int middle, int bottom) {
    return (top << 6) | ((middle & 7) << 3) | (bottom & 7);
  }

  private static int inverted(int bit, int place) {
    return (~bit & 1) << place;
  }

  private static int rex(int wide, int first, int index, int base) {
    return 0x40 | (wide << 3) | (first >> 3 << 2) | (index >> 3 << 1) | (base >> 3);
  }

  /** Where no bit of it is set, the prefix can be left out. */
  private void putRex(int first, int index, int base) {
    int rex = rex(0, first, index, base);
    if (rex != rex(0, 0, 0, 0)) {
      put(rex);
    }
  }

  /** These forms name the source first. */
  private void registers(int opcode, Register source, Register target) {
    put(rex(1, source.number, 0, target.number), opcode);
    put(fields(REGISTER, source.number, target.number));
  }

  private void memory(int opcode, int first, Address address) {
    int index = address.scale == 0 ? 0 : address.index.number;
    put(rex(1, first, index, address.base.number), opcode);
    operand(first, address, 1);
  }

  private void immediate(int operation, Register to, int value) {
    boolean small = value == (byte) value;
    put(rex(1, 0, 0, to.number), small ? 0x83 : 0x81);
    put(fields(REGISTER, operation, to.number));
    if (small) {
      put(value);
    } else {
      putInt(value);
    }
  }

  /** The bytes that say where an operand lies; a short displacement counts units. */
  private void operand(int first, Address address, int unit) {
    int base = address.base.number & 7;
    int displacement = address.displacement;
    boolean small = displacement % unit == 0 && displacement / unit == (byte) (displacement / unit);
    // Without a displacement, the number of RBP and R13 means another form.
    boolean none = displacement == 0 && base != Register.RBP.number;
    int form = none ? 0 : small ? 1 : 2;
    boolean indexed = address.scale != 0 || base == Register.RSP.number;
    put(fields(form, first, indexed ? Register.RSP.number : base));
    if (address.scale != 0) {
      int log = Integer.numberOfTrailingZeros(address.scale);
      put(fields(log, address.index.number, base));
    } else if (indexed) {
      put(fields(0, Register.RSP.number, base));
    }
    if (!none && small) {
      put(displacement / unit);
    } else if (!none) {
      putInt(displacement);
    }
  }

  private void put(int... values) {
    if (size + values.length > code.length) {
      code = Arrays.copyOf(code, 2 * code.length);
    }
    for (int value : values) {
      code[size++] = (byte) value;
    }
  }

  private void putInt(int value) {
    put(value, value >> 8, value >> 16, value >> 24);
  }
}
