package filigree.interp.circuit;

import static java.nio.charset.StandardCharsets.US_ASCII;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayDeque;
import java.util.Queue;
import java.util.function.Supplier;
import java.util.zip.CRC32;

/**
 * A journal in a file: a line that tells which search it is of, then a record for each run (its
 * length, its numbers, their CRC-32; big-endian). A kill at any moment leaves whole records and at
 * most one torn one at the end, which is dropped.
 */
public final class JournalFile implements Journal, AutoCloseable {
  private static final int FRAME = Integer.BYTES + Integer.BYTES;

  /** What becomes of a file that is there already. */
  public enum IfExists {
    /** It is an error. */
    FAIL,
    /** What it remembers is taken over, where it is of the same search. */
    GO_ON
  }

  private final Path file;
  private final FileChannel channel;
  private final Queue<double[]> known = new ArrayDeque<>();
  private long runs;

  private JournalFile(Path file, FileChannel channel) {
    this.file = file;
    this.channel = channel;
  }

  /**
   * Opens or begins a journal.
   *
   * @param file its path
   * @param search tells this search from others: one line of ASCII
   * @param ifExists what becomes of a file that is there already
   * @return the journal
   * @throws CircuitException where the file exists and must not, is of another search, or cannot be
   *     read or written
   */
  public static JournalFile open(Path file, String search, IfExists ifExists) {
    try {
      boolean exists = Files.exists(file);
      if (exists && ifExists == IfExists.FAIL) {
        throw new CircuitException(
            "%s remembers a search that was interrupted; go on with it by --resume, or delete it"
                .formatted(file));
      }
      FileChannel channel =
          FileChannel.open(
              file, StandardOpenOption.READ, StandardOpenOption.WRITE, StandardOpenOption.CREATE);
      JournalFile journal = new JournalFile(file, channel);
      try {
        journal.begin(search + "\n");
      } catch (IOException | RuntimeException e) {
        channel.close();
        throw e;
      }
      return journal;
    } catch (IOException e) {
      throw failed(file, e);
    }
  }

  private void begin(String head) throws IOException {
    byte[] expected = head.getBytes(US_ASCII);
    ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file));
    byte[] found = new byte[Math.min(expected.length, bytes.remaining())];
    bytes.get(found);
    if (!head.startsWith(new String(found, US_ASCII))) {
      throw new CircuitException(
          "%s is of another search: model, prompts, settings or threads differ; give the options of"
                  .formatted(file)
              + " that search, or another --out");
    }
    if (found.length < expected.length) {
      // The kill came before the first line was whole.
      channel.truncate(0);
      write(ByteBuffer.wrap(expected));
      return;
    }
    int end = bytes.position();
    while (readRecord(bytes)) {
      end = bytes.position();
    }
    channel.truncate(end);
    channel.position(end);
  }

  private boolean readRecord(ByteBuffer bytes) {
    if (bytes.remaining() < FRAME) {
      return false;
    }
    int length = bytes.getInt();
    if (length < 0 || (long) length * Double.BYTES + Integer.BYTES > bytes.remaining()) {
      return false;
    }
    ByteBuffer body = bytes.slice(bytes.position(), length * Double.BYTES);
    bytes.position(bytes.position() + length * Double.BYTES);
    if (bytes.getInt() != check(body.duplicate())) {
      return false;
    }
    double[] values = new double[length];
    body.asDoubleBuffer().get(values);
    known.add(values);
    runs++;
    return true;
  }

  private static int check(ByteBuffer body) {
    CRC32 crc = new CRC32();
    crc.update(body);
    return (int) crc.getValue();
  }

  /**
   * Counts the runs that need not be done again.
   *
   * @return those that are remembered and were not yet asked for
   */
  public int remembered() {
    return known.size();
  }

  @Override
  public double[] recall(Supplier<double[]> run) {
    double[] before = known.poll();
    if (before != null) {
      return before;
    }
    double[] values = run.get();
    ByteBuffer record = ByteBuffer.allocate(FRAME + values.length * Double.BYTES);
    record.putInt(values.length);
    for (double value : values) {
      record.putDouble(value);
    }
    record.putInt(check(record.slice(Integer.BYTES, values.length * Double.BYTES)));
    try {
      write(record.flip());
    } catch (IOException e) {
      throw failed(file, e);
    }
    runs++;
    return values;
  }

  /**
   * Counts the runs in the file.
   *
   * @return old ones and new ones
   */
  public long runs() {
    return runs;
  }

  /**
   * Returns where it is.
   *
   * @return its path
   */
  public Path file() {
    return file;
  }

  private void write(ByteBuffer bytes) throws IOException {
    while (bytes.hasRemaining()) {
      channel.write(bytes);
    }
  }

  private static CircuitException failed(Path file, IOException e) {
    return new CircuitException(
        "%s cannot be read or written (%s); check free space and permissions"
            .formatted(file, e.getMessage()),
        e);
  }

  /** Keeps the file; whoever has the result deletes it. */
  @Override
  public void close() {
    try {
      channel.close();
    } catch (IOException e) {
      throw failed(file, e);
    }
  }
}
