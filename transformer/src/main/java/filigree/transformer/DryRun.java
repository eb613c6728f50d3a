package filigree.transformer;

import filigree.tensor.Kernels;
import filigree.tensor.Workspace;
import java.lang.reflect.Proxy;

/**
 * Runs a program with kernels that compute nothing, in memory that has no bytes: what it would
 * reserve is what it will reserve, because the same operations are applied and the same tensors
 * made and given back in the same order. Takes milliseconds for a model of any size.
 */
final class DryRun {
  /** Computes nothing; every number that it returns is 0 and every answer yes. */
  private static final Kernels IDLE =
      (Kernels)
          Proxy.newProxyInstance(
              Kernels.class.getClassLoader(),
              new Class<?>[] {Kernels.class},
              (proxy, method, arguments) -> {
                Class<?> type = method.getReturnType();
                if (type == double.class) {
                  return 0.0;
                }
                if (type == boolean.class) {
                  return true;
                }
                return type == String.class ? "idle" : null;
              });

  private DryRun() {}

  /** A program. It must not look at elements of tensors of the workspace. */
  interface Program {
    void run(Kernels kernels, Workspace memory);
  }

  /** Returns how many bytes a program's workspace takes from the system. */
  static long reservedBytes(Program program) {
    try (Workspace memory = Workspace.imaginary("dry run")) {
      program.run(IDLE, memory);
      return memory.reservedBytes();
    }
  }
}
