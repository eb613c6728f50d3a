package filigree.tensor.os;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;

@EnabledOnOs(OS.LINUX)
class LinuxMemoryTest {
  private static final long BYTES = 300 << 20;
  private static final long PAGE = 4096;

  /** The classes that calls need take memory too, the first time. */
  @BeforeAll
  static void callOnce() throws IOException {
    LinuxMemory.unmap(LinuxMemory.map(1).orElseThrow());
    addressSpace();
  }

  private static long addressSpace() throws IOException {
    String pages = Files.readString(Path.of("/proc/self/statm"));
    return PAGE * Long.parseLong(pages.substring(0, pages.indexOf(' ')));
  }

  @Test
  void memoryBeginsWithAPageReadsAsZerosAndCanBeWritten() {
    MemorySegment memory = LinuxMemory.map(3 * PAGE + 5).orElseThrow();
    LinuxMemory.preferHugePages(memory);
    assertThat(memory.byteSize()).isEqualTo(3 * PAGE + 5);
    assertThat(memory.address() % PAGE).isZero();
    assertThat(memory.toArray(JAVA_BYTE)).containsOnly(0);
    memory.fill((byte) 7);
    assertThat(memory.toArray(JAVA_BYTE)).containsOnly(7);
    LinuxMemory.unmap(memory);
  }

  @Test
  void whatIsGivenBackIsGoneAtOnce() throws IOException {
    long before = addressSpace();
    MemorySegment memory = LinuxMemory.map(BYTES).orElseThrow();
    long between = addressSpace();
    LinuxMemory.unmap(memory);
    assertThat(between - before).isGreaterThan(BYTES / 2);
    assertThat(between - addressSpace()).isGreaterThan(BYTES / 2);
  }

  @Test
  void moreThanAnAddressCanNameIsRefused() {
    assertThat(LinuxMemory.map(1L << 60)).isEmpty();
  }
}
