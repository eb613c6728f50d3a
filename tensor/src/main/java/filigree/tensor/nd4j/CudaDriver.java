package filigree.tensor.nd4j;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.nio.charset.StandardCharsets.UTF_8;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * Asks NVIDIA's driver which GPUs there are, by the Foreign Function API and before ND4J starts:
 * ND4J itself answers a missing driver with a stack trace and an unknown GPU at its first kernel.
 * Functions and numbers are those of the CUDA Driver API.
 */
final class CudaDriver {
  private static final int SUCCESS = 0;
  private static final int MAJOR_ATTRIBUTE = 75; // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
  private static final int MINOR_ATTRIBUTE = 76; // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR
  private static final int NAME_BYTES = 256;

  /**
   * A GPU.
   *
   * @param name such as "NVIDIA A100-SXM4-40GB"
   * @param major of the compute capability, 8 of 8.6
   * @param minor of the compute capability, 6 of 8.6
   */
  record Gpu(String name, int major, int minor) {
    String capability() {
      return major + "." + minor;
    }
  }

  /** What the driver said. */
  sealed interface Answer {
    /**
     * There is no driver.
     *
     * @param library what was looked for
     */
    record NoDriver(String library) implements Answer {}

    /**
     * The driver refused.
     *
     * @param function the function that did
     * @param error its number
     */
    record Refused(String function, int error) implements Answer {}

    /**
     * The driver works.
     *
     * @param version the newest CUDA that it supports, 1000 major + 10 minor
     * @param gpus those that CUDA_VISIBLE_DEVICES leaves, in order
     */
    record Found(int version, List<Gpu> gpus) implements Answer {}
  }

  private final SymbolLookup symbols;

  private CudaDriver(SymbolLookup symbols) {
    this.symbols = symbols;
  }

  /** Asks the driver of this machine. */
  @SuppressWarnings("restricted") // loads the driver's own library
  static Answer ask() {
    String library =
        System.getProperty("os.name").toLowerCase(Locale.ROOT).startsWith("windows")
            ? "nvcuda.dll"
            : "libcuda.so.1";
    return ask(
        library,
        name -> {
          try {
            return SymbolLookup.libraryLookup(name, Arena.global());
          } catch (IllegalArgumentException e) {
            return null; // how the API says that the library is not there
          }
        });
  }

  /** Opens a library; null where there is none. */
  interface Libraries {
    SymbolLookup open(String name);
  }

  static Answer ask(String library, Libraries libraries) {
    SymbolLookup symbols = libraries.open(library);
    if (symbols == null) {
      return new Answer.NoDriver(library);
    }
    try (Arena arena = Arena.ofConfined()) {
      return new CudaDriver(symbols).ask(arena);
    } catch (Refusal e) {
      return new Answer.Refused(e.function, e.error);
    }
  }

  private Answer ask(Arena arena) throws Refusal {
    MemorySegment number = arena.allocate(JAVA_INT);
    call("cuInit", JAVA_INT, 0);
    call("cuDriverGetVersion", ADDRESS, number);
    int version = number.get(JAVA_INT, 0);
    call("cuDeviceGetCount", ADDRESS, number);
    int count = number.get(JAVA_INT, 0);
    List<Gpu> gpus = new ArrayList<>();
    MemorySegment name = arena.allocate(NAME_BYTES);
    for (int ordinal = 0; ordinal < count; ordinal++) {
      call("cuDeviceGet", ADDRESS, number, JAVA_INT, ordinal);
      int device = number.get(JAVA_INT, 0);
      call("cuDeviceGetName", ADDRESS, name, JAVA_INT, NAME_BYTES, JAVA_INT, device);
      gpus.add(
          new Gpu(
              name.getString(0, UTF_8),
              attribute(number, MAJOR_ATTRIBUTE, device),
              attribute(number, MINOR_ATTRIBUTE, device)));
    }
    return new Answer.Found(version, List.copyOf(gpus));
  }

  private int attribute(MemorySegment number, int attribute, int device) throws Refusal {
    call("cuDeviceGetAttribute", ADDRESS, number, JAVA_INT, attribute, JAVA_INT, device);
    return number.get(JAVA_INT, 0);
  }

  /** Calls a function of the driver; arguments are layout and value, one after the other. */
  @SuppressWarnings("restricted") // calls the driver; the launcher passes --enable-native-access
  private void call(String function, Object... arguments) throws Refusal {
    List<MemoryLayout> layouts = new ArrayList<>();
    List<Object> values = new ArrayList<>();
    for (int i = 0; i < arguments.length; i += 2) {
      layouts.add((ValueLayout) arguments[i]);
      values.add(arguments[i + 1]);
    }
    MemorySegment address = symbols.find(function).orElse(null);
    if (address == null) {
      throw new Refusal(function, MISSING);
    }
    int error;
    try {
      error =
          (int)
              Linker.nativeLinker()
                  .downcallHandle(
                      address,
                      FunctionDescriptor.of(JAVA_INT, layouts.toArray(MemoryLayout[]::new)))
                  .invokeWithArguments(values);
    } catch (Throwable e) {
      throw new IllegalStateException(function, e); // a C function throws nothing
    }
    if (error != SUCCESS) {
      throw new Refusal(function, error);
    }
  }

  /** CUDA_ERROR_NOT_FOUND, for a library without the function. */
  static final int MISSING = 500;

  /** Ends the questions at the first error. */
  private static final class Refusal extends Exception {
    private static final long serialVersionUID = 1;

    private final String function;
    private final int error;

    Refusal(String function, int error) {
      super(function + " " + error);
      this.function = function;
      this.error = error;
    }
  }
}
