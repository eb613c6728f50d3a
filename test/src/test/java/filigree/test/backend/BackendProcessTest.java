package filigree.test.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import filigree.test.Closeness;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * The provider is chosen once, by what the JVM and the class path offer: so each choice needs a JVM
 * of its own. Whatever was chosen, training gives the same numbers as the float64 twin; where
 * nothing can be chosen, one sentence says what is missing.
 */
class BackendProcessTest {
  /** After four steps; found 8e-8, the rounding of one float32. */
  private static final double TOLERANCE = 2e-6;

  private static final String VECTORS = "--add-modules jdk.incubator.vector ";

  @TempDir static Path folder;

  private static double[] twin;

  /** What a process printed and how it ended. */
  private record Run(int code, List<String> lines, List<String> errors) {
    double[] numbers() {
      return lines.stream().skip(1).mapToDouble(Double::parseDouble).toArray();
    }
  }

  @BeforeAll
  static void runTwin() throws IOException, InterruptedException {
    Run run = run("", "", "nd4j");
    assertThat(run.code()).as("%s", run).isZero();
    assertThat(run.lines().getFirst()).startsWith("nd4j: ").contains("CpuBackend");
    twin = run.numbers();
    assertThat(twin).hasSizeGreaterThan(100);
  }

  @Test
  void withoutTheModuleLoopsAreScalarAndTheNumbersTheSame()
      throws IOException, InterruptedException {
    Run run = run("", "", "cpu");
    assertSame(run);
    assertThat(run.lines().getFirst())
        .endsWith(
            ", scalar loops, because the module jdk.incubator.vector is absent: start with"
                + " --add-modules jdk.incubator.vector");
  }

  @ParameterizedTest
  @CsvSource({
    "1, avx, ' threads, OpenBLAS, ', 128",
    "2, avx2, ' products in AVX2 code of its own, OpenBLAS, ', 256",
    "3, avx512bw, ' products in AVX-512 code of its own, OpenBLAS, ', 512"
  })
  void everyWidthOfVectorsGivesTheSameNumbers(int useAvx, String needs, String products, int bits)
      throws IOException, InterruptedException {
    assumeProcessor(needs);
    assumeProcessor("fma");
    Run run = run(VECTORS + "-XX:UseAVX=" + useAvx, "", "cpu");
    assertSame(run);
    assertThat(run.lines().getFirst()).contains(products).contains(", Vector API " + bits + " bit");
  }

  @Test
  void withoutFusedMultiplyAddLoopsAreScalarAndTheNumbersTheSame()
      throws IOException, InterruptedException {
    assumeProcessor("sse2");
    Run run = run(VECTORS + "-XX:UseAVX=0", "", "cpu");
    assertSame(run);
    assertThat(run.lines().getFirst())
        .contains(", scalar loops, because the JVM has no fused multiply-add: ");
  }

  @Test
  void withoutTheOptimisingCompilerLoopsAreScalarAndTheNumbersTheSame()
      throws IOException, InterruptedException {
    Run run = run(VECTORS + "-XX:TieredStopAtLevel=1", "", "cpu");
    assertSame(run);
    assertThat(run.lines().getFirst())
        .contains(", scalar loops, because the JVM runs without its optimising compiler: ");
  }

  @ParameterizedTest
  @CsvSource({
    "cpu, openblas-.*-linux-x86_64, backend cpu: OpenBLAS could not be loaded,"
        + " org.bytedeco:openblas",
    "cpu, openblas-.*, backend cpu: OpenBLAS could not be loaded, org.bytedeco:openblas",
    "nd4j, nd4j-native-.*-avx2, backend nd4j: ND4J did not start, org.nd4j:nd4j-native",
    "nd4j, nd4j-native-[0-9].*, backend nd4j: no ND4J backend is on the class path,"
        + " org.nd4j:nd4j-native",
    "nd4j, openblas-.*, backend nd4j: ND4J did not start, --backend cpu",
  })
  void whatIsMissingIsSaidInOneSentence(
      String backend, String missing, String beginning, String remedy)
      throws IOException, InterruptedException {
    Run run = run(VECTORS, missing + "\\.jar", backend, "only start");
    assertThat(run.code()).as("%s", run).isEqualTo(2);
    assertThat(run.lines()).hasSize(1);
    assertThat(run.lines().getFirst()).startsWith(beginning).contains(remedy);
    assertThat(run.errors()).isEmpty();
  }

  private static void assertSame(Run run) {
    assertThat(run.code()).as("%s", run).isZero();
    Closeness.assertClose(run.lines().getFirst(), twin, run.numbers(), TOLERANCE);
  }

  private static void assumeProcessor(String feature) throws IOException {
    Path info = Path.of("/proc/cpuinfo");
    assumeTrue(Files.isReadable(info), "the processor's features are read from " + info);
    assumeTrue(
        Files.readString(info)
            .lines()
            .anyMatch(line -> line.matches("flags.*\\b" + feature + "\\b.*")),
        "this processor has no " + feature);
  }

  /** Runs {@link BackendProcess} with flags, and without the jars whose names match. */
  private static Run run(String flags, String missing, String... args)
      throws IOException, InterruptedException {
    Path printed = folder.resolve("printed");
    Path errors = folder.resolve("errors");
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(
        List.of(
            "--enable-native-access=ALL-UNNAMED",
            "--sun-misc-unsafe-memory-access=allow",
            "-XX:+UseSerialGC",
            "-Xmx512m",
            "-Dorg.bytedeco.javacpp.maxbytes=0",
            "-Dorg.bytedeco.javacpp.maxphysicalbytes=0"));
    Stream.of(flags.split(" ")).filter(flag -> !flag.isEmpty()).forEach(command::add);
    command.add("-cp");
    String[] jars = System.getProperty("java.class.path").split(File.pathSeparator);
    List<String> kept =
        Arrays.stream(jars)
            .filter(jar -> !Path.of(jar).getFileName().toString().matches(missing))
            .toList();
    if (!missing.isEmpty()) {
      assertThat(kept).as("%s is on the class path", missing).hasSizeLessThan(jars.length);
    }
    command.add(String.join(File.pathSeparator, kept));
    command.add(BackendProcess.class.getName());
    command.addAll(List.of(args));
    Process process =
        new ProcessBuilder(command)
            .redirectOutput(printed.toFile())
            .redirectError(errors.toFile())
            .start();
    try {
      assertThat(process.waitFor(2, TimeUnit.MINUTES)).as("finished in time").isTrue();
    } finally {
      process.destroyForcibly();
    }
    return new Run(
        process.exitValue(),
        Files.readAllLines(printed),
        Files.readAllLines(errors).stream()
            .filter(line -> !line.startsWith("WARNING: Using incubator modules"))
            .toList());
  }
}
