package filigree.tensor.os;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.Optional;

/**
 * Memory straight from Linux, past malloc: it begins with a page, reads as zeros, is in memory only
 * where it was touched, and is gone when it is given back. Numbers of calls are those of mmap(2)
 * and madvise(2), the same on all processors that a JDK is made for.
 */
public final class LinuxMemory {
  private static final int READ = 1;
  private static final int WRITE = 2;
  private static final int EXECUTE = 4;
  private static final int PRIVATE_ANONYMOUS = 0x22;
  private static final int HUGE_PAGES = 14;
  private static final long FAILED = -1;

  private static final MethodHandle MAP =
      function(
          "mmap",
          FunctionDescriptor.of(
              JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_LONG));
  private static final MethodHandle UNMAP =
      function("munmap", FunctionDescriptor.of(JAVA_INT, JAVA_LONG, JAVA_LONG));
  private static final MethodHandle ADVISE =
      function("madvise", FunctionDescriptor.of(JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_INT));
  private static final MethodHandle PROTECT =
      function("mprotect", FunctionDescriptor.of(JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_INT));

  private LinuxMemory() {}

  /**
   * Tells whether this is Linux; elsewhere nothing else here may be called.
   *
   * @return whether it is
   */
  public static boolean isHere() {
    return System.getProperty("os.name").equals("Linux");
  }

  /**
   * Takes memory, to read and write.
   *
   * @param bytes how much, 1 at least
   * @return the memory, which nothing frees but {@link #unmap}; empty where Linux refuses
   */
  @SuppressWarnings("restricted")
  public static Optional<MemorySegment> map(long bytes) {
    long address;
    try {
      address = (long) MAP.invokeExact(0L, bytes, READ | WRITE, PRIVATE_ANONYMOUS, -1, 0L);
    } catch (Throwable e) {
      throw thrown(e);
    }
    return address == FAILED
        ? Optional.empty()
        : Optional.of(MemorySegment.ofAddress(address).reinterpret(bytes));
  }

  /**
   * Gives memory back. A read of it ends the process from then on.
   *
   * @param memory what {@link #map} returned
   */
  public static void unmap(MemorySegment memory) {
    try {
      // Its only errors are those of an argument that map did not return.
      int ignored = (int) UNMAP.invokeExact(memory.address(), memory.byteSize());
    } catch (Throwable e) {
      throw thrown(e);
    }
  }

  /**
   * Asks for pages of 2 MiB instead of 4 KiB, wherever one fits in: there is less to look up for
   * the processor, and a first touch brings more. Linux may say no, which changes nothing else.
   *
   * @param memory what {@link #map} returned
   */
  public static void preferHugePages(MemorySegment memory) {
    try {
      int ignored = (int) ADVISE.invokeExact(memory.address(), memory.byteSize(), HUGE_PAGES);
    } catch (Throwable e) {
      throw thrown(e);
    }
  }

  /**
   * Makes what memory holds executable, and no longer writable.
   *
   * @param memory what {@link #map} returned
   * @return whether Linux agreed
   */
  public static boolean makeExecutable(MemorySegment memory) {
    try {
      return 0 == (int) PROTECT.invokeExact(memory.address(), memory.byteSize(), READ | EXECUTE);
    } catch (Throwable e) {
      throw thrown(e);
    }
  }

  private static IllegalStateException thrown(Throwable e) {
    return new IllegalStateException(e); // C functions throw nothing
  }

  @SuppressWarnings("restricted")
  private static MethodHandle function(String name, FunctionDescriptor type) {
    Linker linker = Linker.nativeLinker();
    return linker.downcallHandle(linker.defaultLookup().findOrThrow(name), type);
  }
}
