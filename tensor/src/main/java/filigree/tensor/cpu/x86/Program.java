package filigree.tensor.cpu.x86;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

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
  // Of the Linux kernel, the same on every x86-64.
  private static final int READ = 1;
  private static final int WRITE = 2;
  private static final int EXECUTE = 4;
  private static final int PRIVATE_ANONYMOUS = 0x22;
  private static final long FAILED = -1;

  /** Where functions begin, for the sake of the caches of instructions. */
  static final int ALIGNMENT = 64;

  private Program() {}

  /** Tells whether this process can run such code: Linux on x86-64. */
  static boolean suitsThisMachine() {
    return System.getProperty("os.name").equals("Linux")
        && System.getProperty("os.arch").equals("amd64");
  }

  /**
   * Puts code where it can be executed.
   *
   * @param code the instructions, which may lie anywhere
   * @return where it lies, from a multiple of 4096 on; empty where the system refuses
   */
  @SuppressWarnings("restricted")
  static Optional<MemorySegment> load(byte[] code) {
    MethodHandle map =
        function(
            "mmap",
            FunctionDescriptor.of(
                JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_LONG));
    MethodHandle protect =
        function("mprotect", FunctionDescriptor.of(JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_INT));
    try {
      long size = code.length;
      long address = (long) map.invokeExact(0L, size, READ | WRITE, PRIVATE_ANONYMOUS, -1, 0L);
      if (address == FAILED) {
        return Optional.empty();
      }
      MemorySegment memory = MemorySegment.ofAddress(address).reinterpret(size);
      MemorySegment.copy(MemorySegment.ofArray(code), 0, memory, 0, size);
      int result = (int) protect.invokeExact(address, size, READ | EXECUTE);
      return result == 0 ? Optional.of(memory) : Optional.empty();
    } catch (Throwable e) {
      throw new IllegalStateException(e); // C functions throw nothing
    }
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

  @SuppressWarnings("restricted")
  private static MethodHandle function(String name, FunctionDescriptor type) {
    Linker linker = Linker.nativeLinker();
    return linker.downcallHandle(linker.defaultLookup().findOrThrow(name), type);
  }
}
