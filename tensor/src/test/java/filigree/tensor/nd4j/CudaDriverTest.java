package filigree.tensor.nd4j;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import filigree.tensor.nd4j.CudaDriver.Answer;
import filigree.tensor.nd4j.CudaDriver.Gpu;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** The questions to the driver, put to a driver written in Java and to that of this machine. */
class CudaDriverTest {
  private static final String LIBRARY = "libcuda.so.1";

  /** A driver whose functions are called through native code as the real ones are. */
  @SuppressWarnings("restricted") // stands for a native library
  public static final class Driver implements AutoCloseable {
    private final Arena arena = Arena.ofConfined();
    private final List<Gpu> gpus;
    private final int initResult;

    Driver(int initResult, Gpu... gpus) {
      this.initResult = initResult;
      this.gpus = List.of(gpus);
    }

    public int cuInit(int flags) {
      return flags == 0 ? initResult : 1;
    }

    public int cuDriverGetVersion(MemorySegment out) {
      return write(out, 12_040);
    }

    public int cuDeviceGetCount(MemorySegment out) {
      return write(out, gpus.size());
    }

    public int cuDeviceGet(MemorySegment out, int ordinal) {
      return write(out, 70 + ordinal);
    }

    public int cuDeviceGetName(MemorySegment out, int length, int device) {
      out.reinterpret(length).setString(0, gpus.get(device - 70).name());
      return 0;
    }

    public int cuDeviceGetAttribute(MemorySegment out, int attribute, int device) {
      Gpu gpu = gpus.get(device - 70);
      return switch (attribute) {
        case 75 -> write(out, gpu.major());
        case 76 -> write(out, gpu.minor());
        default -> 1;
      };
    }

    private static int write(MemorySegment out, int value) {
      out.reinterpret(Integer.BYTES).set(JAVA_INT, 0, value);
      return 0;
    }

    SymbolLookup symbols() {
      return name ->
          Arrays.stream(Driver.class.getMethods())
              .filter(method -> method.getName().equals(name))
              .findFirst()
              .map(
                  method -> {
                    MethodType type =
                        MethodType.methodType(method.getReturnType(), method.getParameterTypes());
                    try {
                      return Linker.nativeLinker()
                          .upcallStub(
                              MethodHandles.lookup().bind(this, name, type),
                              FunctionDescriptor.of(
                                  JAVA_INT,
                                  type.parameterList().stream()
                                      .map(p -> p == int.class ? JAVA_INT : ADDRESS)
                                      .toArray(ValueLayout[]::new)),
                              arena);
                    } catch (ReflectiveOperationException e) {
                      throw new LinkageError(name, e);
                    }
                  });
    }

    @Override
    public void close() {
      arena.close();
    }
  }

  @Test
  void readsNamesAndCapabilities() {
    Gpu[] gpus = {new Gpu("NVIDIA H200", 9, 0), new Gpu("NVIDIA GeForce RTX 3090", 8, 6)};
    try (Driver driver = new Driver(0, gpus)) {
      assertThat(CudaDriver.ask(LIBRARY, name -> driver.symbols()))
          .isEqualTo(new Answer.Found(12_040, List.of(gpus)));
    }
  }

  @Test
  void passesTheDriversErrorOn() {
    try (Driver driver = new Driver(100)) {
      assertThat(CudaDriver.ask(LIBRARY, name -> driver.symbols()))
          .isEqualTo(new Answer.Refused("cuInit", 100));
    }
  }

  @Test
  void aLibraryWithoutTheFunctionsIsRefused() {
    assertThat(CudaDriver.ask(LIBRARY, library -> name -> Optional.empty()))
        .isEqualTo(new Answer.Refused("cuInit", CudaDriver.MISSING));
  }

  @Test
  void aMachineWithoutADriverIsToldSo() {
    Answer answer = CudaDriver.ask();
    assumeTrue(
        answer instanceof Answer.NoDriver, () -> "this machine has an NVIDIA driver: " + answer);
    assertThat(GpuVerdict.refusal(answer))
        .hasValue("there is no NVIDIA driver (libcuda.so.1 was not found); install it");
  }
}
