package filigree.test.memory;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * A training run takes nothing from the system after its first step: resident memory is flat over
 * 1,000 steps with sampled gates and AdamW, the workspaces are as large after the last step as
 * after the first.
 *
 * <p>Measured in a process of its own, so that other tests' garbage and classes do not count, with
 * a heap that is resident from the start, so that what grows is what nobody gave back.
 */
class MemoryTest {
  /** Steps in which the compilers do most of their work; their memory is not the engine's. */
  private static final int WARM_UP = 1000;

  private static final int STEPS = 1000;
  private static final int EVERY = 50;

  /**
   * For the compilers: one late compilation leaves up to 3 MB behind. The smallest activation, lost
   * in every step, would be 15 MB.
   */
  private static final long CONSTANT_BYTES = 4L << 20;

  /** What the process printed. */
  private record Reading(int step, long resident, long reserved) {}

  @Test
  void memoryIsFlatOverAThousandSteps(@TempDir Path folder)
      throws IOException, InterruptedException {
    assumeTrue(
        Files.exists(Path.of("/proc/self/status")),
        "resident memory is read from /proc, which this system lacks");
    List<Reading> readings = train(folder);
    assertThat(readings).hasSize(1 + STEPS / EVERY);
    long afterFirstStep = readings.getFirst().reserved();
    assertThat(readings)
        .allSatisfy(
            reading ->
                assertThat(reading.reserved())
                    .as("bytes of the workspaces after step %d", reading.step())
                    .isEqualTo(afterFirstStep));
    long early = readings.get(1).resident();
    // A compiler at work holds some 10 MB, so one reading may stand out; a leak lifts them all.
    long late =
        readings.subList(readings.size() - 5, readings.size()).stream()
            .mapToLong(Reading::resident)
            .min()
            .orElseThrow();
    assertThat(readings.get(1).step()).isEqualTo(EVERY);
    assertThat(late - early)
        .as("growth from step %d to the end; all readings: %s", EVERY, readings)
        .isLessThan(early / 100 + CONSTANT_BYTES);
  }

  private static List<Reading> train(Path folder) throws IOException, InterruptedException {
    Path printed = folder.resolve("readings");
    Path errors = folder.resolve("errors");
    Process process =
        new ProcessBuilder(command())
            .redirectOutput(printed.toFile())
            .redirectError(errors.toFile())
            .start();
    try {
      assertThat(process.waitFor(5, TimeUnit.MINUTES)).as("finished in time").isTrue();
    } finally {
      process.destroyForcibly();
    }
    assertThat(process.exitValue()).as(Files.readString(errors)).isZero();
    return Files.readAllLines(printed).stream()
        .map(line -> Arrays.stream(line.split(" ")).mapToLong(Long::parseLong).toArray())
        .map(numbers -> new Reading((int) numbers[0], numbers[1], numbers[2]))
        .toList();
  }

  private static List<String> command() {
    List<String> out =
        new ArrayList<>(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=ALL-UNNAMED",
                "--sun-misc-unsafe-memory-access=allow",
                "--add-modules",
                "jdk.incubator.vector",
                "-Xms64m",
                "-Xmx64m",
                "-XX:+AlwaysPreTouch",
                "-XX:+UseSerialGC"));
    out.add("-cp");
    out.add(System.getProperty("java.class.path"));
    out.add(TrainingProcess.class.getName());
    out.add(Integer.toString(WARM_UP));
    out.add(Integer.toString(STEPS));
    out.add(Integer.toString(EVERY));
    return out;
  }
}
