package filigree.tensor.cpu.x86;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import filigree.tensor.os.LinuxMemory;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.Arrays;
import java.util.Optional;

/**
 * Machine code in memory of its own, which can be executed and no longer be written. It stays until
 * the process ends.
 */
final class Program {
  /** Where functions begin, for the sake of the caches of instructions. */
  static final int ALIGNMENT = 64;

  private Program() {}

  /** Tells whether this process can run such code: Linux on x86-64. */
  static boolean suitsThisMachine() {
    return LinuxMemory.isHere() && System.getProperty("os.arch").equals("amd64");
  }

  /**
   * Puts code where it can be executed.
   *
   * @param code the instructions, which may lie anywhere
   * @return where it lies, from a multiple of 4096 on; empty where the system refuses
   */
  static Optional<MemorySegment> load(byte[] code) {
    Optional<MemorySegment> memory = LinuxMemory.map(code.length);
    memory.ifPresent(
        bytes -> MemorySegment.copy(MemorySegment.ofArray(code), 0, bytes, 0, code.length));
    return memory.filter(LinuxMemory::makeExecutable);
  }

  /** Returns what begins at so many offsets. */
  static MemorySegment[] slices(MemorySegment memory, int[] offsets) {
    return Arrays.stream(offsets).mapToObj(memory::asSlice).toArray(MemorySegment[]::new);
  }

  /**
   * Returns what calls a function of so many numbers of 64 bits that returns nothing. The garbage
   * collector is not told, which saves most of what a call costs; so a call should be short.
   */
  @SuppressWarnings("restricted")
  static MethodHandle function(int arguments) {
    MemoryLayout[] layouts = new MemoryLayout[arguments];
    Arrays.fill(layouts, JAVA_LONG);
    return Linker.nativeLinker()
        .downcallHandle(FunctionDescriptor.ofVoid(layouts), Linker.Option.critical(false));
  }
}
