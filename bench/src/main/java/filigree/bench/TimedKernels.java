package filigree.bench;

import filigree.tensor.Arithmetic;
import filigree.tensor.Elementwise;
import filigree.tensor.Kernels;
import filigree.tensor.Tensor;
import filigree.tensor.Transpose;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.Map;

/** Kernels that note how long each call took: where the time of a step goes. */
final class TimedKernels {
  private static final class Total {
    private long nanos;
    private long calls;
  }

  private final Map<String, Total> totals = new LinkedHashMap<>();
  private final Kernels kernels;

  /**
   * Wraps a provider.
   *
   * @param inner the provider, which its owner closes
   */
  TimedKernels(Kernels inner) {
    this.kernels =
        (Kernels)
            Proxy.newProxyInstance(
                Kernels.class.getClassLoader(),
                new Class<?>[] {Kernels.class},
                (_, method, arguments) -> {
                  long began = System.nanoTime();
                  try {
                    return method.invoke(inner, arguments);
                  } catch (InvocationTargetException e) {
                    throw e.getCause();
                  } finally {
                    add(name(method.getName(), arguments), System.nanoTime() - began);
                  }
                });
  }

  /** The kernels to be used instead of the wrapped ones; about 1 us slower a call. */
  Kernels kernels() {
    return kernels;
  }

  void reset() {
    totals.clear();
  }

  /** The kernel and, where it has one, the function. */
  private static String name(String method, Object[] arguments) {
    if (arguments != null && arguments.length > 0) {
      if (arguments[0] instanceof Elementwise function) {
        return method + " " + function.name().toLowerCase(java.util.Locale.ROOT);
      }
      if (arguments[0] instanceof Arithmetic op) {
        return method + " " + op.name().toLowerCase(java.util.Locale.ROOT);
      }
      if (method.equals("matmul")) {
        return "matmul " + product(arguments);
      }
      if (method.equals("affine")) {
        Object[] matmul = {
          1.0, arguments[0], Transpose.NO, arguments[1], arguments[2], 0.0, arguments[4]
        };
        return "affine " + product(matmul);
      }
      if (method.equals("affineBackward")) {
        Tensor g = (Tensor) arguments[0];
        Tensor x = (Tensor) arguments[1];
        return "affineBackward TN %d x %d x %d"
            .formatted(g.shape().dim(-1), x.shape().dim(-1), g.shape().rows());
      }
    }
    return method;
  }

  /**
   * Such as {@code NT 1024 x 768 x 256}: rows, columns, summed axis; N as it lies, T transposed.
   */
  private static String product(Object[] arguments) {
    Tensor a = (Tensor) arguments[1];
    Transpose ta = (Transpose) arguments[2];
    Transpose tb = (Transpose) arguments[4];
    Tensor out = (Tensor) arguments[6];
    long summed = a.shape().dim(ta == Transpose.YES ? -2 : -1);
    return "%s%s %d x %d x %d"
        .formatted(
            ta == Transpose.YES ? "T" : "N",
            tb == Transpose.YES ? "T" : "N",
            out.shape().rows(),
            out.shape().dim(-1),
            summed);
  }

  private void add(String name, long nanos) {
    Total total = totals.computeIfAbsent(name, _ -> new Total());
    total.nanos += nanos;
    total.calls++;
  }

  /**
   * Makes a Markdown table of the time since the last reset.
   *
   * @param steps steps since then
   * @param wallNanos time that they took
   * @return a line per kernel, most time first, and one for what lies between kernels
   */
  String table(int steps, long wallNanos) {
    StringBuilder out = new StringBuilder("| kernel | calls a step | ms a step | share |\n");
    out.append("|---|---:|---:|---:|\n");
    long inKernels = totals.values().stream().mapToLong(total -> total.nanos).sum();
    totals.entrySet().stream()
        .sorted(
            Comparator.comparingLong((Map.Entry<String, Total> entry) -> -entry.getValue().nanos))
        .forEach(
            entry -> {
              Total total = entry.getValue();
              out.append(row(entry.getKey(), total.calls / steps, total.nanos, steps, wallNanos));
            });
    out.append(row("between kernels", 0, wallNanos - inKernels, steps, wallNanos));
    return out.toString();
  }

  private static String row(String name, long calls, long nanos, int steps, long wallNanos) {
    return "| %s | %s | %.2f | %.1f %% |%n"
        .formatted(name, calls == 0 ? "" : calls, nanos / 1e6 / steps, 100.0 * nanos / wallNanos);
  }
}
