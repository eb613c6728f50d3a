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
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import filigree.tensor.cpu.x86.Assembler.Address;
import filigree.tensor.cpu.x86.Assembler.Condition;
import filigree.tensor.cpu.x86.Assembler.Label;
import filigree.tensor.cpu.x86.Assembler.Mask;
import filigree.tensor.cpu.x86.Assembler.Register;
import filigree.tensor.cpu.x86.Assembler.Vector;
import java.util.HexFormat;
import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class AssemblerTest {
  /** An instruction, and what GNU as 2.40 makes of it. */
  record Case(String text, String hex, Consumer<Assembler> instruction) {
    @Override
    public String toString() {
      return text;
    }
  }

  static List<Case> cases() {
    return List.of(
        new Case("vmovups zmm0,[rsi]", "62f17c481006", c -> c.vmovups(zmm(0), at(RSI, 0))),
        new Case("vmovups zmm31,[r9+0x40]", "62417c48107901", c -> c.vmovups(zmm(31), at(R9, 64))),
        new Case(
            "vmovups zmm17,[r12+0x1fc0]",
            "62c17c48104c247f",
            c -> c.vmovups(zmm(17), at(R12, 8128))),
        new Case(
            "vmovups zmm1{k2}{z},[rsi+0x40]",
            "62f17cca104e01",
            c -> c.vmovups(zmm(1), new Mask(2), at(RSI, 64))),
        new Case(
            "vmovups zmm6{k3}{z},[rdi]",
            "62f17ccb1037",
            c -> c.vmovups(zmm(6), new Mask(3), at(RDI, 0))),
        new Case("vmovups zmm8,[rbp+0]", "62717c48104500", c -> c.vmovups(zmm(8), at(RBP, 0))),
        new Case(
            "vmovups zmm8,[r13+0x2000]",
            "62517c48108500200000",
            c -> c.vmovups(zmm(8), at(R13, 8192))),
        new Case(
            "vmovups zmm8,[rsp+0x24]",
            "62717c4810842424000000",
            c -> c.vmovups(zmm(8), at(RSP, 36))),
        new Case(
            "vmovups [rcx]{k1},zmm9",
            "62717c491109",
            c -> c.vmovups(at(RCX, 0), new Mask(1), zmm(9))),
        new Case(
            "vmovups [r11+0x40]{k2},zmm30",
            "62417c4a117301",
            c -> c.vmovups(at(R11, 64), new Mask(2), zmm(30))),
        new Case(
            "vmovups [rcx-0x40],zmm16",
            "62e17c481141ff",
            c -> c.vmovups(at(RCX, -64), Mask.NONE, zmm(16))),
        new Case("vmovaps zmm10,zmm8", "62517c4828d0", c -> c.vmovaps(zmm(10), zmm(8))),
        new Case("vmovaps zmm25,zmm15", "62417c4828cf", c -> c.vmovaps(zmm(25), zmm(15))),
        new Case("vmovaps zmm1,zmm31", "62917c4828cf", c -> c.vmovaps(zmm(1), zmm(31))),
        new Case("vpxord zmm9,zmm9,zmm9", "62513548efc9", c -> c.vpxor(zmm(9), zmm(9), zmm(9))),
        new Case("vpxord zmm31,zmm18,zmm5", "62616d40effd", c -> c.vpxor(zmm(31), zmm(18), zmm(5))),
        new Case(
            "vbroadcastss zmm2,[rdi]", "62f27d481817", c -> c.vbroadcastss(zmm(2), at(RDI, 0))),
        new Case(
            "vbroadcastss zmm7,[rdi+0x2c]",
            "62f27d48187f0b",
            c -> c.vbroadcastss(zmm(7), at(RDI, 44))),
        new Case(
            "vbroadcastss zmm7,[rdi+0x200]",
            "62f27d4818bf00020000",
            c -> c.vbroadcastss(zmm(7), at(RDI, 512))),
        new Case(
            "vbroadcastss zmm3,[rbx+r10*1+0xc]",
            "62b27d48185c1303",
            c -> c.vbroadcastss(zmm(3), new Address(RBX, R10, 1, 12))),
        new Case(
            "vbroadcastss zmm23,[r13+r10*2+0]",
            "62827d48187c5500",
            c -> c.vbroadcastss(zmm(23), new Address(R13, R10, 2, 0))),
        new Case(
            "vbroadcastss zmm4,[r12+rax*8+2]",
            "62d27d4818a4c402000000",
            c -> c.vbroadcastss(zmm(4), new Address(R12, RAX, 8, 2))),
        new Case(
            "vfmadd231ps zmm8,zmm2,zmm0",
            "62726d48b8c0",
            c -> c.vfmadd231ps(zmm(8), zmm(2), zmm(0))),
        new Case(
            "vfmadd231ps zmm31,zmm7,zmm1",
            "62624548b8f9",
            c -> c.vfmadd231ps(zmm(31), zmm(7), zmm(1))),
        new Case(
            "vfmadd231ps zmm15,zmm16,zmm24",
            "62127d40b8f8",
            c -> c.vfmadd231ps(zmm(15), zmm(16), zmm(24))),
        new Case(
            "vaddps zmm9{k1},zmm9,[rax+0x40]",
            "62713449584801",
            c -> c.vaddps(zmm(9), new Mask(1), zmm(9), at(RAX, 64))),
        new Case(
            "vaddps zmm30{k2},zmm29,[r8]",
            "624114425830",
            c -> c.vaddps(zmm(30), new Mask(2), zmm(29), at(R8, 0))),
        new Case(
            "vunpcklps zmm16,zmm0,zmm1", "62e17c4814c1", c -> c.vunpcklps(zmm(16), zmm(0), zmm(1))),
        new Case(
            "vunpckhps zmm17,zmm14,zmm15",
            "62c10c4815cf",
            c -> c.vunpckhps(zmm(17), zmm(14), zmm(15))),
        new Case(
            "vunpcklpd zmm0,zmm16,zmm18",
            "62b1fd4014c2",
            c -> c.vunpcklpd(zmm(0), zmm(16), zmm(18))),
        new Case(
            "vunpckhpd zmm3,zmm29,zmm31",
            "6291954015df",
            c -> c.vunpckhpd(zmm(3), zmm(29), zmm(31))),
        new Case(
            "vshuff32x4 zmm20,zmm4,zmm8,0x88",
            "62c35d4823e088",
            c -> c.vshuff32x4(zmm(20), zmm(4), zmm(8), 0x88)),
        new Case(
            "vshuff32x4 zmm1,zmm17,zmm25,0xdd",
            "6293754023c9dd",
            c -> c.vshuff32x4(zmm(1), zmm(17), zmm(25), 0xdd)),
        new Case("kmovw k1,eax", "c5f892c8", c -> c.kmovw(new Mask(1), RAX)),
        new Case("kmovw k2,edx", "c5f892d2", c -> c.kmovw(new Mask(2), RDX)),
        new Case("vzeroupper", "c5f877", c -> c.vzeroupper()),
        new Case("mov rax,rdx", "4889d0", c -> c.mov(RAX, RDX)),
        new Case("mov r12,rbx", "4989dc", c -> c.mov(R12, RBX)),
        new Case("mov rdi,r9", "4c89cf", c -> c.mov(RDI, R9)),
        new Case("mov r10,[rsp+0x38]", "4c8b542438", c -> c.mov(R10, at(RSP, 56))),
        new Case("mov rbp,[r13+0x100]", "498bad00010000", c -> c.mov(RBP, at(R13, 256))),
        new Case("mov r11,12", "49c7c30c000000", c -> c.mov(R11, 12)),
        new Case("mov rax,-1", "48c7c0ffffffff", c -> c.mov(RAX, -1)),
        new Case("lea r11,[r10+r10*2]", "4f8d1c52", c -> c.lea(R11, new Address(R10, R10, 2, 0))),
        new Case("lea rbx,[rdi+r11*1]", "4a8d1c1f", c -> c.lea(RBX, new Address(RDI, R11, 1, 0))),
        new Case("add rsi,r15", "4c01fe", c -> c.add(RSI, R15)),
        new Case("add r14,rax", "4901c6", c -> c.add(R14, RAX)),
        new Case("add rdi,48", "4883c730", c -> c.add(RDI, 48)),
        new Case("add r13,512", "4981c500020000", c -> c.add(R13, 512)),
        new Case("and rdx,3", "4883e203", c -> c.and(RDX, 3)),
        new Case("sub rax,r11", "4c29d8", c -> c.sub(RAX, R11)),
        new Case("cmp rax,r11", "4c39d8", c -> c.cmp(RAX, R11)),
        new Case("test r9,r9", "4d85c9", c -> c.test(R9, R9)),
        new Case("shr rax,16", "48c1e810", c -> c.shr(RAX, 16)),
        new Case("shr r9,2", "49c1e902", c -> c.shr(R9, 2)),
        new Case("dec rax", "48ffc8", c -> c.dec(RAX)),
        new Case("dec r11", "49ffcb", c -> c.dec(R11)),
        new Case("cmovl r11,rax", "4c0f4cd8", c -> c.cmovl(R11, RAX)),
        new Case("cmovl rbp,r8", "490f4ce8", c -> c.cmovl(RBP, R8)),
        new Case("ret", "c3", c -> c.ret()),
        new Case(
            "vfmadd231ps zmm5,zmm0,[rdi+rax*4+0x40]",
            "62f27d48b86c8701",
            c -> c.vfmadd231ps(zmm(5), zmm(0), new Address(RDI, RAX, 4, 64))),
        new Case(
            "vfmadd231ps zmm20,zmm3,[r11+rax*4+0xc0]",
            "62c26548b8648303",
            c -> c.vfmadd231ps(zmm(20), zmm(3), new Address(R11, RAX, 4, 192))),
        new Case(
            "vpmovzxwd zmm0,[rsi+rax*2]",
            "62f27d48330446",
            c -> c.vpmovzxwd(zmm(0), new Address(RSI, RAX, 2, 0))),
        new Case(
            "vpmovzxwd zmm3,[rsi+rax*2+0x60]",
            "62f27d48335c4603",
            c -> c.vpmovzxwd(zmm(3), new Address(RSI, RAX, 2, 96))),
        new Case("vpmovzxwd zmm19,[r9]", "62c27d483319", c -> c.vpmovzxwd(zmm(19), at(R9, 0))),
        new Case(
            "vpmovzxwd zmm0{k1}{z},[rsi+rax*2]",
            "62f27dc9330446",
            c -> c.vpmovzxwd(zmm(0), new Mask(1), new Address(RSI, RAX, 2, 0))),
        new Case("vpslld zmm3,zmm3,0x10", "62f1654872f310", c -> c.vpslld(zmm(3), zmm(3), 16)),
        new Case("vpslld zmm20,zmm31,0x7", "62915d4072f707", c -> c.vpslld(zmm(20), zmm(31), 7)),
        new Case(
            "vmovups zmm4{k1}{z},[r11+rax*4]",
            "62d17cc9102483",
            c -> c.vmovups(zmm(4), new Mask(1), new Address(R11, RAX, 4, 0))),
        new Case(
            "vmovups [r8+0xc]{k2},zmm5",
            "62d17c4a11a80c000000",
            c -> c.vmovups(at(R8, 12), new Mask(2), zmm(5))),
        new Case("and r12,-16", "4983e4f0", c -> c.and(R12, -16)),
        new Case(
            "prefetcht1 [rsi+rax*2+0x2040]",
            "0f18944640200000",
            c -> c.prefetcht1(new Address(RSI, RAX, 2, 8256))),
        new Case("vaddps zmm7,zmm7,zmm6", "62f1444858fe", c -> c.vaddps(zmm(7), zmm(7), zmm(6))),
        new Case("kmovw k3,ebp", "c5f892dd", c -> c.kmovw(new Mask(3), RBP)),
        new Case("prefetcht1 [rcx]", "0f1811", c -> c.prefetcht1(at(RCX, 0))),
        new Case("prefetcht1 [rcx+0x40]", "0f185140", c -> c.prefetcht1(at(RCX, 64))),
        new Case("prefetcht1 [r14+0x40]", "410f185640", c -> c.prefetcht1(at(R14, 64))),
        new Case("push rbx", "53", c -> c.push(RBX)),
        new Case("push r12", "4154", c -> c.push(R12)),
        new Case("pop r15", "415f", c -> c.pop(R15)),
        new Case("pop rbp", "5d", c -> c.pop(RBP)),
        new Case("popcnt rax,rdx", "f3480fb8c2", c -> c.popcnt(RAX, RDX)),
        new Case("popcnt r15,r9", "f34d0fb8f9", c -> c.popcnt(R15, R9)),
        new Case("shl rax,2", "48c1e002", c -> c.shl(RAX, 2)),
        new Case("shl r13,5", "49c1e505", c -> c.shl(R13, 5)),
        new Case("add r12,-24", "4983c4e8", c -> c.add(R12, -24)),
        new Case("sub r13,rax", "4929c5", c -> c.sub(R13, RAX)),
        new Case(
            "vmovups [rdx+0x40],zmm17", "62e17c48114a01", c -> c.vmovups(at(RDX, 64), zmm(17))),
        new Case(
            "vaddps zmm4,zmm17,[rdx+0x40]",
            "62f17440586201",
            c -> c.vaddps(zmm(4), zmm(17), at(RDX, 64))));
  }

  static List<Case> casesOf256Bits() {
    return List.of(
        new Case("vmovss [r8+0xc],xmm5", "c4c17a11680c", c -> c.vmovss(at(R8, 12), ymm(5))),
        new Case("vmovss [rax],xmm14", "c57a1130", c -> c.vmovss(at(RAX, 0), ymm(14))),
        new Case("vpslld ymm3,ymm3,0x10", "c5e572f310", c -> c.vpslld(ymm(3), ymm(3), 16)),
        new Case("vpslld ymm1,ymm12,0x7", "c4c17572f407", c -> c.vpslld(ymm(1), ymm(12), 7)),
        new Case("vmovups ymm0,[rsi]", "c5fc1006", c -> c.vmovups(ymm(0), at(RSI, 0))),
        new Case("vmovups ymm15,[r9+0x40]", "c4417c107940", c -> c.vmovups(ymm(15), at(R9, 64))),
        new Case(
            "vmovups ymm8,[rbp+0x1fc0]", "c57c1085c01f0000", c -> c.vmovups(ymm(8), at(RBP, 8128))),
        new Case("vmovups [rcx-0x20],ymm9", "c57c1149e0", c -> c.vmovups(at(RCX, -32), ymm(9))),
        new Case("vmovups [r14+0x20],ymm1", "c4c17c114e20", c -> c.vmovups(at(R14, 32), ymm(1))),
        new Case("vmovaps ymm10,ymm4", "c57c28d4", c -> c.vmovaps(ymm(10), ymm(4))),
        new Case("vpxor ymm3,ymm3,ymm3", "c5e5efdb", c -> c.vpxor(ymm(3), ymm(3), ymm(3))),
        new Case("vpxor ymm12,ymm5,ymm12", "c44155efe4", c -> c.vpxor(ymm(12), ymm(5), ymm(12))),
        new Case("vbroadcastss ymm2,[rdi]", "c4e27d1817", c -> c.vbroadcastss(ymm(2), at(RDI, 0))),
        new Case(
            "vbroadcastss ymm3,[rbx+r10*2+0xc]",
            "c4a27d185c530c",
            c -> c.vbroadcastss(ymm(3), new Address(RBX, R10, 2, 12))),
        new Case(
            "vfmadd231ps ymm4,ymm2,ymm0", "c4e26db8e0", c -> c.vfmadd231ps(ymm(4), ymm(2), ymm(0))),
        new Case(
            "vfmadd231ps ymm15,ymm3,ymm9",
            "c44265b8f9",
            c -> c.vfmadd231ps(ymm(15), ymm(3), ymm(9))),
        new Case(
            "vfmadd231ps ymm5,ymm0,[rdi+rax*4+0x40]",
            "c4e27db86c8740",
            c -> c.vfmadd231ps(ymm(5), ymm(0), new Address(RDI, RAX, 4, 64))),
        new Case("vaddps ymm7,ymm7,ymm6", "c5c458fe", c -> c.vaddps(ymm(7), ymm(7), ymm(6))),
        new Case(
            "vaddps ymm9,ymm9,[r8+0x20]",
            "c44134584820",
            c -> c.vaddps(ymm(9), ymm(9), at(R8, 32))),
        new Case(
            "vpmovzxwd ymm3,[rsi+rax*2+0x10]",
            "c4e27d335c4610",
            c -> c.vpmovzxwd(ymm(3), new Address(RSI, RAX, 2, 16))),
        new Case("vunpcklps ymm8,ymm0,ymm1", "c57c14c1", c -> c.vunpcklps(ymm(8), ymm(0), ymm(1))),
        new Case(
            "vunpckhps ymm9,ymm14,ymm15", "c4410c15cf", c -> c.vunpckhps(ymm(9), ymm(14), ymm(15))),
        new Case(
            "vunpcklpd ymm0,ymm8,ymm10", "c4c13d14c2", c -> c.vunpcklpd(ymm(0), ymm(8), ymm(10))),
        new Case("vunpckhpd ymm3,ymm2,ymm7", "c5ed15df", c -> c.vunpckhpd(ymm(3), ymm(2), ymm(7))),
        new Case(
            "vmaskmovps ymm0,ymm0,[rsi]",
            "c4e27d2c06",
            c -> c.vmaskmovps(ymm(0), ymm(0), at(RSI, 0))),
        new Case(
            "vmaskmovps ymm2,ymm9,[r12+0x20]",
            "c4c2352c542420",
            c -> c.vmaskmovps(ymm(2), ymm(9), at(R12, 32))),
        new Case(
            "vmaskmovps [rcx],ymm1,ymm11",
            "c462752e19",
            c -> c.vmaskmovps(at(RCX, 0), ymm(1), ymm(11))),
        new Case(
            "vmaskmovps [r15+0x20],ymm8,ymm3",
            "c4c23d2e5f20",
            c -> c.vmaskmovps(at(R15, 32), ymm(8), ymm(3))),
        new Case(
            "vperm2f128 ymm8,ymm0,ymm4,0x20",
            "c4637d06c420",
            c -> c.vperm2f128(ymm(8), ymm(0), ymm(4), 0x20)),
        new Case(
            "vperm2f128 ymm1,ymm12,ymm13,0x31",
            "c4c31d06cd31",
            c -> c.vperm2f128(ymm(1), ymm(12), ymm(13), 0x31)));
  }

  @ParameterizedTest
  @MethodSource("cases")
  void instructionsAreThoseOfTheGnuAssembler(Case instruction) {
    Assembler code = new Assembler(Isa.AVX512);
    instruction.instruction.accept(code);
    assertThat(HexFormat.of().formatHex(code.bytes())).isEqualTo(instruction.hex);
  }

  @ParameterizedTest
  @MethodSource("casesOf256Bits")
  void instructionsOf256BitsAreThoseOfTheGnuAssembler(Case instruction) {
    Assembler code = new Assembler(Isa.AVX2);
    instruction.instruction.accept(code);
    assertThat(HexFormat.of().formatHex(code.bytes())).isEqualTo(instruction.hex);
  }

  @Test
  void placesInTheProgramHaveAddresses() {
    Assembler code = new Assembler(Isa.AVX2);
    Label numbers = new Label();
    Label end = new Label();
    code.bind(numbers);
    code.ints(-1, 2);
    code.lea(R13, numbers);
    code.lea(RAX, end);
    code.bind(end);
    assertThat(HexFormat.of().formatHex(code.bytes()))
        .isEqualTo("ffffffffffffffff" + "4c8d2df1ffffff" + "488d0500000000");
  }

  /** Distances are counted from the instruction after the jump. */
  @Test
  void jumpsReachTheirLabelsForwardsAndBackwards() {
    Assembler code = new Assembler(Isa.AVX512);
    Label back = new Label();
    Label forward = new Label();
    code.bind(back);
    code.dec(RAX);
    code.jump(Condition.ZERO, forward);
    code.jump(Condition.NOT_ZERO, back);
    code.jump(Condition.NOT_GREATER, forward);
    code.jump(forward);
    code.bind(forward);
    code.ret();
    assertThat(HexFormat.of().formatHex(code.bytes()))
        .isEqualTo(
            "48ffc8" + "0f8411000000" + "0f85f1ffffff" + "0f8e05000000" + "e900000000" + "c3");
  }

  /** Whose number has no fourth bit: it would take a longer form of the instruction. */
  @Test
  void masksAreSetFromTheFirstEightRegisters() {
    assertThatThrownBy(() -> new Assembler(Isa.AVX512).kmovw(new Mask(1), R8))
        .hasMessage("R8 is not one of the first eight registers");
  }

  @Test
  void programsGrowBeyondTheFirstBuffer() {
    Assembler code = new Assembler(Isa.AVX512);
    for (int i = 0; i < 20_000; i++) {
      code.mov(RAX, i);
    }
    assertThat(code.bytes()).hasSize(7 * 20_000);
    assertThat(code.position()).isEqualTo(7 * 20_000);
  }

  private static Vector zmm(int number) {
    return new Vector(number);
  }

  private static Vector ymm(int number) {
    return new Vector(number);
  }

  private static Address at(Register base, int displacement) {
    return Address.at(base, displacement);
  }
}
