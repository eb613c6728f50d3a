package filigree.tensor.os;

import java.lang.foreign.Arena;

/**
 * Memory that malloc holds ready from the start. The JVM's compilers take up to 18 MiB for one
 * method while a program warms up, and give it back; how much, and when, differs from run to run.
 * Taken before the work begins, it does not show as growth during the work, so that what does is
 * the program's.
 */
public final class MallocReserve {
  /** In three runs of small dense with 24 MiB malloc took no more later, with 16 it did in one. */
  private static final int BYTES = 24 << 20;

  // Blocks of the size that the compilers ask for, or malloc takes them from the system one by one
  // and gives them back at once.
  private static final int BLOCK = (32 << 10) - 64;

  private MallocReserve() {}

  /**
   * Takes it from the system, touches it and leaves it to malloc, which keeps it where it was told
   * to by {@code GLIBC_TUNABLES} (docs/building.md); otherwise this is in vain, and harmless.
   */
  public static void fill() {
    try (Arena all = Arena.ofConfined()) {
      for (int taken = 0; taken < BYTES; taken += BLOCK) {
        all.allocate(BLOCK); // which writes zeros
      }
    }
  }
}
