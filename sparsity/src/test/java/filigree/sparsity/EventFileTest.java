package filigree.sparsity;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.time.InstantSource;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.zip.CRC32C;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The file for TensorBoard, byte by byte. */
class EventFileTest {
  private static final InstantSource CLOCK =
      InstantSource.fixed(Instant.ofEpochSecond(1_700_000_000, 500_000_000));

  @TempDir Path folder;

  private static SequencedMap<String, Double> scalar(String tag, double value) {
    SequencedMap<String, Double> out = new LinkedHashMap<>();
    out.put(tag, value);
    return out;
  }

  private static String hex(byte[] bytes) {
    return HexFormat.ofDelimiter(" ").formatHex(bytes);
  }

  private static List<byte[]> records(Path file) throws IOException {
    ByteBuffer all = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
    List<byte[]> out = new ArrayList<>();
    Optional<byte[]> record = EventFile.next(all);
    while (record.isPresent()) {
      out.add(record.get());
      record = EventFile.next(all);
    }
    assertThat(all.remaining()).isZero();
    return out;
  }

  /** RFC 3720, appendix B.4; the check value of CRC-32C; the mask of TensorFlow's crc32c.h. */
  @Test
  void checksumsAreThePublishedOnes() {
    byte[] digits = "123456789".getBytes(StandardCharsets.US_ASCII);
    assertThat(plain(digits)).isEqualTo(0xe3069283);
    assertThat(plain(new byte[32])).isEqualTo(0x8a9136aa);
    int crc = 0xe3069283;
    assertThat(EventFile.maskedCrc(digits, 0, digits.length))
        .isEqualTo(((crc >>> 15) | (crc << 17)) + 0xa282ead8);
  }

  private static int plain(byte[] data) {
    CRC32C crc = new CRC32C();
    crc.update(data);
    return (int) crc.getValue();
  }

  @Test
  void everyFileBeginsAsTensorFlowsDo() throws IOException {
    Path file;
    try (EventFile events = EventFile.create(folder, CLOCK)) {
      file = events.file();
    }
    assertThat(file.getFileName().toString()).isEqualTo("events.out.tfevents.1700000000.filigree");
    byte[] bytes = Files.readAllBytes(file);
    // The length 24 with its checksum, which stands at the head of every event file.
    assertThat(hex(bytes)).startsWith("18 00 00 00 00 00 00 00 a3 7f 4b 22 09 ");
    byte[] version = records(file).getFirst();
    assertThat(ByteBuffer.wrap(version).order(ByteOrder.LITTLE_ENDIAN).getDouble(1))
        .isEqualTo(1_700_000_000.5);
    assertThat(hex(version).substring(27))
        .isEqualTo("1a 0d " + hex("brain.Event:2".getBytes(StandardCharsets.US_ASCII)));
  }

  @Test
  void aScalarIsAnEventWithASummary() throws IOException {
    Path file;
    try (EventFile events = EventFile.create(folder, CLOCK)) {
      events.append(300, scalar("a/b", 1.5));
      file = events.file();
    }
    byte[] event = records(file).get(1);
    assertThat(hex(event).substring(27))
        .isEqualTo(
            "10 ac 02" // step 300
                + " 2a 0c" // summary of 12 bytes
                + " 0a 0a" // value of 10
                + " 0a 03 61 2f 62" // tag
                + " 15 00 00 c0 3f"); // simple_value
  }

  @Test
  void aResumedFileHasEachStepOnce() throws IOException {
    Path file;
    try (EventFile events = EventFile.create(folder, CLOCK)) {
      for (int step = 1; step <= 5; step++) {
        events.append(step, scalar("x", step));
      }
      file = events.file();
    }
    byte[] whole = Files.readAllBytes(file);
    // A kill may leave part of a record behind.
    Files.write(file, new byte[] {24, 0, 0}, StandardOpenOption.APPEND);
    try (EventFile events = EventFile.resume(folder, 3, CLOCK)) {
      assertThat(events.file()).isEqualTo(file);
      events.append(4, scalar("x", 4));
      events.append(5, scalar("x", 5));
    }
    assertThat(Files.readAllBytes(file)).isEqualTo(whole);
    assertThat(records(file)).hasSize(6);
    try (var files = Files.list(folder)) {
      assertThat(files).containsExactly(file);
    }
  }

  @Test
  void aRunWithoutAFileGetsOne() throws IOException {
    try (EventFile events = EventFile.resume(folder, 3, CLOCK)) {
      assertThat(records(events.file())).hasSize(1);
    }
  }
}
