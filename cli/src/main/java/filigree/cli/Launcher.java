package filigree.cli;

import static java.lang.foreign.ValueLayout.JAVA_INT;

import filigree.tensor.os.MallocReserve;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.invoke.MethodHandle;

/**
 * What the {@code filigree} script starts: gives standard error back, then hands over to {@link
 * Main}.
 *
 * <p>The JVM prints {@code WARNING: Using incubator modules} before any class of ours runs and has
 * no switch against it. The script therefore starts it with a filter as standard error and the real
 * standard error at the descriptor named by the system property {@code filigree.stderr}. A filter
 * for the whole run would cost the terminal (width, progress bar) and the order of lines, so it
 * ends here.
 */
public final class Launcher {
  private static final int STANDARD_ERROR = 2;

  private Launcher() {}

  /**
   * Restores standard error, takes the compilers' memory and runs the command.
   *
   * @param args passed on unchanged
   */
  public static void main(String[] args) {
    Integer descriptor = Integer.getInteger("filigree.stderr");
    if (descriptor != null) {
      restoreStandardError(descriptor);
    }
    MallocReserve.fill();
    Main.main(args);
  }

  /** Makes descriptor 2 the file behind {@code descriptor}, as {@code dup2} of POSIX does. */
  @SuppressWarnings("restricted") // calls libc; the script passes --enable-native-access
  private static void restoreStandardError(int descriptor) {
    try {
      Linker linker = Linker.nativeLinker();
      MethodHandle dup2 =
          linker.downcallHandle(
              linker.defaultLookup().findOrThrow("dup2"),
              FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_INT));
      MethodHandle close =
          linker.downcallHandle(
              linker.defaultLookup().findOrThrow("close"),
              FunctionDescriptor.of(JAVA_INT, JAVA_INT));
      if ((int) dup2.invokeExact(descriptor, STANDARD_ERROR) == STANDARD_ERROR) {
        int ignored = (int) close.invokeExact(descriptor);
      }
    } catch (Throwable e) {
      // The filter passes everything else on: nothing is lost but the terminal.
      System.err.println("WARNING: standard error stays filtered: " + e);
    }
  }
}
