package filigree.tensor.nd4j;

import filigree.tensor.TensorException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Properties;
import java.util.stream.Stream;
import org.bytedeco.javacpp.Loader;
import org.nd4j.linalg.factory.Nd4j;

/**
 * Starts ND4J on the device that the build is for, or says in one sentence why not. Left to itself
 * ND4J answers with stack traces, stops the process at an instruction that the processor lacks, or
 * goes on with another backend of the class path.
 */
final class Start {
  /** The device that a build of Filigree runs ND4J on. */
  enum Device {
    /** nd4j-native. */
    CPU("org.nd4j.linalg.cpu.nativecpu.CpuBackend"),
    /** nd4j-cuda-11.6, with -Pcuda. */
    GPU("org.nd4j.linalg.jcublas.JCublasBackend");

    private final String backend;

    Device(String backend) {
      this.backend = backend;
    }

    private boolean isOnClassPath() {
      return resource(backend.replace('.', '/') + ".class");
    }
  }

  private static final String NATIVES = "org/nd4j/linalg/cpu/nativecpu/bindings/linux-x86_64";
  private static final Path PROCESSOR = Path.of("/proc/cpuinfo");

  private Start() {}

  /**
   * Starts ND4J.
   *
   * @return what runs, for logs
   * @throws TensorException where the backend of this build cannot run here
   */
  static String run() {
    Device device = device(Device.CPU.isOnClassPath(), Device.GPU.isOnClassPath());
    return switch (device) {
      case CPU -> {
        refuseProcessor();
        yield started(device);
      }
      case GPU -> {
        CudaDriver.Answer answer = CudaDriver.ask();
        GpuVerdict.refusal(answer).ifPresent(Start::refuseGpu);
        loadCudaLibraries();
        String description = started(device);
        requireArithmetic();
        Bridge.copying(true);
        yield description + gpus(answer);
      }
    };
  }

  /** Which device a build is for, by the backends on its class path. */
  static Device device(boolean cpu, boolean gpu) {
    if (cpu && gpu) {
      throw new TensorException(
          "backend nd4j: both nd4j-native and nd4j-cuda-11.6 are on the class path, and ND4J would"
              + " go from one to the other in silence; build with or without -Pcuda, not both");
    }
    if (!cpu && !gpu) {
      throw new TensorException(
          "backend nd4j: no ND4J backend is on the class path; put org.nd4j:nd4j-native with the"
              + " classifier of this platform there, or choose --backend cpu");
    }
    return gpu ? Device.GPU : Device.CPU;
  }

  private static String started(Device device) {
    String backend;
    String executioner;
    String description;
    try {
      Properties environment = Nd4j.getExecutioner().getEnvironmentInformation();
      backend = Nd4j.getBackend().getClass().getName();
      executioner = Nd4j.getExecutioner().getClass().getSimpleName();
      description =
          "%s, BLAS %s, %s threads, computes in float64"
              .formatted(
                  Nd4j.getBackend().getClass().getSimpleName(),
                  environment.get("blas.vendor"),
                  environment.get("omp.threads"));
    } catch (LinkageError | RuntimeException e) {
      throw new TensorException(
          "backend nd4j: ND4J did not start (%s); ".formatted(reason(e))
              + switch (device) {
                case CPU ->
                    "put org.nd4j:nd4j-native with the classifier of this platform on the class"
                        + " path, or choose --backend cpu";
                case GPU -> "choose --backend cpu";
              },
          e);
    }
    requireDevice(device, backend, executioner);
    return description;
  }

  /** Requires that what runs is what the build is for. */
  static void requireDevice(Device expected, String backend, String executioner) {
    boolean onGpu = executioner.startsWith("Cuda");
    if (!backend.equals(expected.backend) || onGpu != (expected == Device.GPU)) {
      throw new TensorException(
          "backend nd4j: ND4J started %s with %s, expected %s; put one backend on the class path"
              .formatted(backend, executioner, expected.backend));
    }
  }

  // --- the processor

  private static void refuseProcessor() {
    if (!Loader.getPlatform().equals("linux-x86_64") || !Files.isReadable(PROCESSOR)) {
      return;
    }
    try (Stream<String> lines = Files.lines(PROCESSOR)) {
      List<String> flags = lines.filter(line -> line.startsWith("flags")).limit(1).toList();
      processorRefusal(
              flags,
              resource(NATIVES + "-avx2/libnd4jcpu.so"),
              resource(NATIVES + "/libnd4jcpu.so"))
          .ifPresent(
              sentence -> {
                throw new TensorException(sentence);
              });
    } catch (IOException e) {
      // Not known, so not refused.
    }
  }

  /**
   * Decides whether ND4J's native library would meet an instruction that the processor lacks.
   *
   * @param flags the line of /proc/cpuinfo, or none
   * @param avx2 whether the library for AVX2 is on the class path
   * @param plain whether the one for every x86-64 processor is
   */
  static Optional<String> processorRefusal(List<String> flags, boolean avx2, boolean plain) {
    boolean lacks = !flags.isEmpty() && !List.of(flags.getFirst().split("\\s+")).contains("avx2");
    return lacks && avx2 && !plain
        ? Optional.of(
            "backend nd4j: ND4J's native library on the class path needs AVX2, which this processor"
                + " lacks; put org.nd4j:nd4j-native with the classifier linux-x86_64 there instead,"
                + " or choose --backend cpu")
        : Optional.empty();
  }

  // --- the GPU

  private static void refuseGpu(String reason) {
    throw new TensorException(gpuSentence(reason));
  }

  /** The one sentence for whatever keeps the GPU from computing. */
  static String gpuSentence(String reason) {
    return "backend nd4j: this build computes on a GPU (-Pcuda), and "
        + reason
        + ", or build without -Pcuda to compute on the processor";
  }

  // Before ND4J does, which prints a stack trace when it cannot.
  static void loadCudaLibraries() {
    try {
      for (String binding :
          List.of(
              "org.bytedeco.cuda.global.cudart",
              "org.bytedeco.cuda.global.cublas",
              "org.nd4j.linalg.jcublas.bindings.Nd4jCuda")) {
        Loader.load(Class.forName(binding));
      }
    } catch (LinkageError | ClassNotFoundException e) {
      throw new TensorException(
          gpuSentence(
              "the CUDA libraries could not be loaded (%s); build with -Pcuda,cuda-natives, and with"
                      .formatted(reason(e))
                  + " cuda-redist too where the system has no CUDA 11"),
          e);
    }
  }

  /** A kernel that does not exist for a GPU fails only when it is called, or writes nothing. */
  private static void requireArithmetic() {
    double found;
    try {
      found = Nd4j.createFromArray(1.0, 2.0).addi(0.5).sumNumber().doubleValue();
    } catch (LinkageError | RuntimeException e) {
      throw new TensorException(
          gpuSentence("its first kernel failed (%s); choose --backend cpu".formatted(reason(e))),
          e);
    }
    if (found != 4) {
      throw new TensorException(
          gpuSentence(
              "its first kernel gave %s instead of 4; choose --backend cpu".formatted(found)));
    }
  }

  private static String gpus(CudaDriver.Answer answer) {
    StringBuilder text = new StringBuilder();
    if (answer instanceof CudaDriver.Answer.Found found) {
      for (CudaDriver.Gpu gpu : found.gpus()) {
        text.append(", ").append(gpu.name()).append(" (").append(gpu.capability()).append(')');
      }
    }
    return text.toString();
  }

  private static boolean resource(String path) {
    return Start.class.getClassLoader().getResource(path) != null;
  }

  /** The first line of what went wrong first. */
  private static String reason(Throwable error) {
    Throwable cause = error;
    while (cause.getCause() != null) {
      cause = cause.getCause();
    }
    return cause.toString().lines().findFirst().orElse("");
  }
}
