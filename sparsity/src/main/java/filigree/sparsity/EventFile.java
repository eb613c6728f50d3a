package filigree.sparsity;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.time.InstantSource;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.zip.CRC32C;

/**
 * Scalars for TensorBoard. The file is a TFRecord (length, masked CRC-32C of the length, data,
 * masked CRC-32C of the data; tensorflow/core/lib/io/record_writer.h) of {@code Event} messages in
 * protocol buffers' wire format (tensorflow/core/util/event.proto and framework/summary.proto), of
 * which it needs five fields.
 */
final class EventFile implements AutoCloseable {
  private static final String PREFIX = "events.out.tfevents.";

  /** What the first record of every such file says. */
  private static final String VERSION = "brain.Event:2";

  private static final int MASK_DELTA = 0xa282ead8;
  private static final int HEADER_BYTES = Long.BYTES + Integer.BYTES;

  // Field numbers with their wire types: 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes.
  private static final int WALL_TIME = (1 << 3) | 1;
  private static final int STEP = 2 << 3;
  private static final int FILE_VERSION = (3 << 3) | 2;
  private static final int SUMMARY = (5 << 3) | 2;
  private static final int VALUE = (1 << 3) | 2;
  private static final int TAG = (1 << 3) | 2;
  private static final int SIMPLE_VALUE = (2 << 3) | 5;

  private final Path file;
  private final OutputStream out;
  private final InstantSource clock;

  private EventFile(Path file, OutputStream out, InstantSource clock) {
    this.file = file;
    this.out = out;
    this.clock = clock;
  }

  /**
   * Starts a file.
   *
   * @param folder where; TensorBoard finds the file by its name
   * @param clock what the time is
   */
  static EventFile create(Path folder, InstantSource clock) throws IOException {
    String name = PREFIX + "%010d.filigree".formatted(clock.instant().getEpochSecond());
    Path file = folder.resolve(name);
    OutputStream out = Files.newOutputStream(file, StandardOpenOption.CREATE_NEW);
    EventFile events = new EventFile(file, out, clock);
    byte[] version = VERSION.getBytes(StandardCharsets.UTF_8);
    Message message = events.now();
    message.bytes(FILE_VERSION, version);
    events.append(message);
    return events;
  }

  /**
   * Goes on with the file of an interrupted run, or starts one where there is none.
   *
   * @param folder holds the file
   * @param step records of later steps are dropped, and with them one that was cut short
   * @param clock what the time is
   */
  static EventFile resume(Path folder, long step, InstantSource clock) throws IOException {
    Optional<Path> found = find(folder);
    if (found.isEmpty()) {
      return create(folder, clock);
    }
    Path file = found.get();
    ByteBuffer all = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
    Path temporary = folder.resolve(file.getFileName() + ".part");
    try (OutputStream kept = Files.newOutputStream(temporary)) {
      for (Optional<byte[]> data = next(all); data.isPresent(); data = next(all)) {
        if (stepOf(data.get()) <= step) {
          write(kept, data.get());
        }
      }
    }
    Files.move(temporary, file, StandardCopyOption.ATOMIC_MOVE);
    return new EventFile(file, Files.newOutputStream(file, StandardOpenOption.APPEND), clock);
  }

  private static Optional<Path> find(Path folder) throws IOException {
    try (var files = Files.list(folder)) {
      return files
          .filter(file -> file.getFileName().toString().startsWith(PREFIX))
          .filter(file -> !file.getFileName().toString().endsWith(".part"))
          .sorted()
          .findFirst();
    }
  }

  Path file() {
    return file;
  }

  /**
   * Appends the scalars of a step and hands them to the system.
   *
   * @param step the step
   * @param scalars by tag
   */
  void append(long step, SequencedMap<String, Double> scalars) throws IOException {
    Message summary = new Message();
    for (Map.Entry<String, Double> scalar : scalars.entrySet()) {
      Message value = new Message();
      value.bytes(TAG, scalar.getKey().getBytes(StandardCharsets.UTF_8));
      value.number(SIMPLE_VALUE, scalar.getValue().floatValue());
      summary.bytes(VALUE, value.toBytes());
    }
    Message event = now();
    event.varint(STEP, step);
    event.bytes(SUMMARY, summary.toBytes());
    append(event);
  }

  private Message now() {
    Instant instant = clock.instant();
    Message event = new Message();
    event.number(WALL_TIME, instant.getEpochSecond() + instant.getNano() * 1e-9);
    return event;
  }

  private void append(Message event) throws IOException {
    write(out, event.toBytes());
    out.flush();
  }

  /** One write for a whole record, so that a kill between two cannot cut it. */
  private static void write(OutputStream out, byte[] data) throws IOException {
    ByteBuffer record =
        ByteBuffer.allocate(HEADER_BYTES + data.length + Integer.BYTES)
            .order(ByteOrder.LITTLE_ENDIAN);
    record.putLong(data.length);
    record.putInt(maskedCrc(record.array(), 0, Long.BYTES));
    record.put(data);
    record.putInt(maskedCrc(data, 0, data.length));
    out.write(record.array());
  }

  /** The data of the next record; empty at the end, and at what is no whole record. */
  static Optional<byte[]> next(ByteBuffer file) {
    if (file.remaining() < HEADER_BYTES) {
      return Optional.empty();
    }
    byte[] length = new byte[Long.BYTES];
    file.get(file.position(), length);
    long bytes = file.getLong();
    boolean whole = file.getInt() == maskedCrc(length, 0, Long.BYTES);
    if (!whole || bytes < 0 || bytes > file.remaining() - Integer.BYTES) {
      return Optional.empty();
    }
    byte[] data = new byte[(int) bytes];
    file.get(data);
    return file.getInt() == maskedCrc(data, 0, data.length) ? Optional.of(data) : Optional.empty();
  }

  /** The field of an event that says its step; 0 where it has none. */
  private static long stepOf(byte[] event) {
    ByteBuffer in = ByteBuffer.wrap(event);
    while (in.hasRemaining()) {
      long key = varint(in);
      if (key == STEP) {
        return varint(in);
      }
      switch ((int) key & 7) {
        case 0 -> varint(in);
        case 1 -> in.position(in.position() + Long.BYTES);
        case 5 -> in.position(in.position() + Integer.BYTES);
        default -> in.position(Math.toIntExact(varint(in) + in.position()));
      }
    }
    return 0;
  }

  private static long varint(ByteBuffer in) {
    long value = 0;
    for (int shift = 0; ; shift += 7) {
      byte next = in.get();
      value |= (long) (next & 0x7f) << shift;
      if (next >= 0) {
        return value;
      }
    }
  }

  /** Rotated and moved, because a checksum of data that holds checksums is weak. */
  static int maskedCrc(byte[] data, int from, int length) {
    CRC32C crc = new CRC32C();
    crc.update(data, from, length);
    return Integer.rotateRight((int) crc.getValue(), 15) + MASK_DELTA;
  }

  @Override
  public void close() throws IOException {
    out.close();
  }

  /** A message as it grows. */
  private static final class Message {
    private final ByteArrayOutputStream out = new ByteArrayOutputStream();

    void varint(int key, long value) {
      raw(key);
      raw(value);
    }

    void number(int key, double value) {
      raw(key);
      little(Double.doubleToLongBits(value), Double.BYTES);
    }

    void number(int key, float value) {
      raw(key);
      little(Float.floatToIntBits(value), Float.BYTES);
    }

    void bytes(int key, byte[] value) {
      raw(key);
      raw(value.length);
      out.writeBytes(value);
    }

    private void little(long bits, int bytes) {
      for (int i = 0; i < bytes; i++) {
        out.write((int) (bits >>> (8 * i)));
      }
    }

    private void raw(long value) {
      long rest = value;
      while ((rest & ~0x7fL) != 0) {
        out.write((int) ((rest & 0x7f) | 0x80));
        rest >>>= 7;
      }
      out.write((int) rest);
    }

    byte[] toBytes() {
      return out.toByteArray();
    }
  }
}
