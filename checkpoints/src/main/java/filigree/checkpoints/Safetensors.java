package filigree.checkpoints;

import filigree.tensor.DType;
import filigree.tensor.Memory;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;

/**
 * A safetensors file, mapped into memory: eight bytes with the length of the header, a JSON header
 * with a type, a shape and a range of bytes for each tensor, and the bytes (format:
 * github.com/huggingface/safetensors). Everything is checked when the file is opened; nothing of
 * the data is read before it is asked for, and files above 2 GiB are ordinary.
 *
 * <p>A file can be cut short by another process while it is mapped. The JVM then throws {@link
 * InternalError} from the read. Only bulk copies touch the mapped bytes here, in one method that
 * turns that error into a {@link CheckpointException} and also looks at the file's length
 * afterwards, because the rest of the last page reads as zeros without any error.
 */
public final class Safetensors implements AutoCloseable {
  /** The reference implementation's limit. */
  static final long MAX_HEADER_BYTES = 100_000_000;

  private static final int LENGTH_BYTES = Long.BYTES;

  private final Path file;
  private final FileChannel channel;
  private final Arena arena;
  private final long fileBytes;
  private final MemorySegment data;
  private final SafetensorsHeader header;

  /** What to do where the file to write exists. */
  public enum IfExists {
    /** Leave it and fail. */
    FAIL,
    /** Put the new file in its place, at once. */
    REPLACE
  }

  private Safetensors(
      Path file, FileChannel channel, Arena arena, MemorySegment mapped, SafetensorsHeader header) {
    this.file = file;
    this.channel = channel;
    this.arena = arena;
    this.fileBytes = mapped.byteSize();
    this.data = mapped.asSlice(fileBytes - dataBytes(header));
    this.header = header;
  }

  /**
   * Opens and checks a file.
   *
   * @param file its path
   * @return the file, to be closed by the caller
   * @throws CheckpointException where it cannot be read or breaks a rule of the format
   */
  public static Safetensors open(Path file) {
    // Opening a directory for reading succeeds on Linux and a pipe would block.
    if (!Files.isRegularFile(file)) {
      throw new CheckpointException(
          file + (Files.exists(file) ? ": this is not a file" : ": there is no such file"));
    }
    FileChannel channel = null;
    @SuppressWarnings("MustBeClosedChecker") // closed by close(), or below where opening fails
    Arena arena = Arena.ofShared();
    try {
      channel = FileChannel.open(file, StandardOpenOption.READ);
      long size = channel.size();
      // The header is read, not mapped: a read of a shrinking file ends early, without an error.
      SafetensorsHeader header = readHeader(file, channel, size);
      MemorySegment mapped = channel.map(FileChannel.MapMode.READ_ONLY, 0, size, arena);
      return new Safetensors(file, channel, arena, mapped, header);
    } catch (IOException e) {
      close(channel, arena);
      throw new CheckpointException(file + ": the file could not be read: " + e.getMessage(), e);
    } catch (RuntimeException e) {
      close(channel, arena);
      throw e;
    }
  }

  private static SafetensorsHeader readHeader(Path file, FileChannel channel, long size)
      throws IOException {
    if (size < LENGTH_BYTES) {
      throw new CheckpointException(
          "%s: the file has %d bytes, too few for the 8 bytes of a header's length"
              .formatted(file, size));
    }
    long length = read(file, channel, 0, LENGTH_BYTES).order(ByteOrder.LITTLE_ENDIAN).getLong();
    if (length < 0 || length > MAX_HEADER_BYTES) {
      throw new CheckpointException(
          "%s: the header is said to have %s bytes, more than the limit of %d; this may not be a safetensors file"
              .formatted(file, Long.toUnsignedString(length), MAX_HEADER_BYTES));
    }
    if (length > size - LENGTH_BYTES) {
      throw new CheckpointException(
          "%s: the header is said to have %d bytes, and only %d follow; the file may be cut short"
              .formatted(file, length, size - LENGTH_BYTES));
    }
    String text;
    try {
      text = Json.decode(read(file, channel, LENGTH_BYTES, (int) length));
    } catch (CharacterCodingException e) {
      throw new CheckpointException(file + ": the header is not UTF-8 text", e);
    }
    return SafetensorsHeader.parse(file.toString(), text, size - LENGTH_BYTES - length);
  }

  private static ByteBuffer read(Path file, FileChannel channel, long position, int bytes)
      throws IOException {
    ByteBuffer out = ByteBuffer.allocate(bytes);
    while (out.hasRemaining()) {
      if (channel.read(out, position + out.position()) < 0) {
        throw new CheckpointException(file + ": the file was cut short while it was read");
      }
    }
    return out.flip();
  }

  private static long dataBytes(SafetensorsHeader header) {
    return header.tensors().isEmpty() ? 0 : header.tensors().lastEntry().getValue().end();
  }

  /**
   * Returns the file.
   *
   * @return its path as it was given
   */
  public Path file() {
    return file;
  }

  /**
   * Returns what the file holds.
   *
   * @return the tensors by name, in the order of their bytes
   */
  public SequencedMap<String, StoredTensor> tensors() {
    return header.tensors();
  }

  /**
   * Returns the file's own notes, usually {@code format=pt}.
   *
   * @return the strings under {@code __metadata__}
   */
  public Map<String, String> metadata() {
    return header.metadata();
  }

  /**
   * Returns a tensor over the mapped bytes, without a copy: for frozen weights that stay in the
   * file. Where its first byte is not aligned to its elements, which the format allows and native
   * kernels may not, it is copied into the memory instead. A mapped tensor lives as long as this
   * file is open; a read of it fails with {@link InternalError} where another process has cut the
   * file short.
   *
   * @param name its name in the file
   * @param memory who owns the copy where one is needed
   * @return the tensor, with the type of the file
   * @throws CheckpointException where there is no such tensor or it has a type that tensors lack
   */
  public Tensor map(String name, Memory memory) {
    StoredTensor stored = find(name);
    return map(stored, 0, stored.shape(), memory);
  }

  /**
   * As {@link #map(String, Memory)}, for a part of a tensor's elements.
   *
   * @param fromByte where the part starts within the tensor
   * @param shape the part's shape
   */
  Tensor map(StoredTensor stored, long fromByte, Shape shape, Memory memory) {
    DType dtype = dtype(stored);
    MemorySegment part = part(stored, fromByte, shape, dtype);
    return part.address() % dtype.bytes() == 0
        ? Tensor.wrap(part, shape, dtype)
        : copy(stored, fromByte, shape, memory);
  }

  /**
   * Copies a tensor.
   *
   * @param name its name in the file
   * @param memory who owns the copy
   * @return the tensor, with the type of the file
   * @throws CheckpointException where there is no such tensor, it has a type that tensors lack, or
   *     the file was cut short
   */
  public Tensor copy(String name, Memory memory) {
    StoredTensor stored = find(name);
    return copy(stored, 0, stored.shape(), memory);
  }

  /**
   * Copies a part of a tensor's elements.
   *
   * @param fromByte where the part starts within the tensor
   * @param shape the part's shape
   */
  Tensor copy(StoredTensor stored, long fromByte, Shape shape, Memory memory) {
    DType dtype = dtype(stored);
    MemorySegment part = part(stored, fromByte, shape, dtype);
    Tensor[] out = new Tensor[1];
    guarded(stored, () -> out[0] = Tensor.wrap(part, shape, dtype).copy(memory));
    return out[0];
  }

  private MemorySegment part(StoredTensor stored, long fromByte, Shape shape, DType dtype) {
    return data.asSlice(stored.begin() + fromByte, Math.multiplyExact(shape.size(), dtype.bytes()));
  }

  /**
   * Copies a tensor's bytes, from a given byte on.
   *
   * @param target where to; its size says how many
   */
  void copyBytes(StoredTensor stored, long fromByte, MemorySegment target) {
    long bytes = target.byteSize();
    MemorySegment source = data.asSlice(stored.begin() + fromByte, bytes);
    guarded(stored, () -> MemorySegment.copy(source, 0, target, 0, bytes));
  }

  private void guarded(StoredTensor stored, Runnable copy) {
    try {
      copy.run();
      if (channel.size() < fileBytes) {
        throw cutShort(stored, null);
      }
    } catch (InternalError | IOException e) {
      throw cutShort(stored, e);
    }
  }

  private CheckpointException cutShort(StoredTensor stored, Throwable cause) {
    return new CheckpointException(
        "%s: tensor %s could not be read: the file was cut short after it was opened, or the disk failed"
            .formatted(file, stored.name()),
        cause);
  }

  private StoredTensor find(String name) {
    StoredTensor stored = header.tensors().get(name);
    if (stored == null) {
      throw new CheckpointException(
          "%s: there is no tensor %s among the %d in the file"
              .formatted(file, name, header.tensors().size()));
    }
    return stored;
  }

  private DType dtype(StoredTensor stored) {
    return stored
        .type()
        .dtype()
        .orElseThrow(
            () ->
                new CheckpointException(
                    "%s: tensor %s is stored as %s, which cannot be loaded; convert it to F32, F16 or BF16"
                        .formatted(file, stored.name(), stored.type())));
  }

  /**
   * Writes tensors to a file: under a temporary name in the same folder, forced to the disk, then
   * renamed, so that the path names the old file, the new one, or none, but never a part of one.
   *
   * @param file its path
   * @param tensors by name, in the order in which they are to lie
   * @param metadata the file's own notes, such as {@code format=pt}
   * @param ifExists what to do where the file exists
   * @throws CheckpointException where it exists and must not be replaced, or cannot be written
   */
  public static void write(
      Path file,
      SequencedMap<String, Tensor> tensors,
      Map<String, String> metadata,
      IfExists ifExists) {
    List<SafetensorsWriter.Source> sources = new ArrayList<>();
    tensors.forEach((name, tensor) -> sources.add(SafetensorsWriter.Source.of(name, tensor)));
    SafetensorsWriter.write(
        file, new SafetensorsWriter.Contents(file, sources, metadata, bytes -> {}), ifExists);
  }

  @Override
  public void close() {
    close(channel, arena);
  }

  private static void close(FileChannel channel, Arena arena) {
    arena.close();
    if (channel != null) {
      try {
        channel.close();
      } catch (IOException e) {
        throw new CheckpointException("closing a file that was read failed: " + e.getMessage(), e);
      }
    }
  }
}
