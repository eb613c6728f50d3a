package filigree.checkpoints;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.tensor.DType;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.function.LongConsumer;

/** Writes safetensors files; see {@link Safetensors#write}. */
final class SafetensorsWriter {
  /** A ByteBuffer view has at most 2 GiB; smaller pieces cost nothing. */
  private static final long PIECE_BYTES = 64L << 20;

  private SafetensorsWriter() {}

  /**
   * A tensor to be written. Its bytes are asked for when their turn comes, so that rearranged
   * tensors exist one at a time.
   *
   * @param name its name in the file
   * @param dtype its element type
   * @param shape its shape in the file
   * @param bytes makes its bytes; what it allocates for them is freed once they are written
   */
  record Source(String name, DType dtype, Shape shape, Function<Arena, MemorySegment> bytes) {
    static Source of(String name, Tensor tensor) {
      return new Source(name, tensor.dtype(), tensor.shape(), arena -> tensor.bytes());
    }

    long byteSize() {
      return Math.multiplyExact(shape.size(), dtype.bytes());
    }
  }

  /**
   * What to write.
   *
   * @param shown the path that errors name; not the file's where its folder is still to be renamed
   * @param sources the tensors, in order
   * @param metadata the file's own notes
   * @param progress told the number of bytes of data written so far
   */
  record Contents(
      Path shown, List<Source> sources, Map<String, String> metadata, LongConsumer progress) {}

  static void write(Path file, Contents contents, Safetensors.IfExists ifExists) {
    requireAbsent(file, ifExists);
    byte[] header = header(contents);
    long total = header.length + contents.sources().stream().mapToLong(Source::byteSize).sum();
    Path temporary = AtomicFiles.temporarySibling(file);
    try {
      try (FileChannel channel =
          FileChannel.open(temporary, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
        write(channel, ByteBuffer.wrap(header));
        long written = 0;
        for (Source source : contents.sources()) {
          writeTensor(channel, source);
          written += source.byteSize();
          contents.progress().accept(written);
        }
        channel.force(true);
      } catch (IOException e) {
        throw failed(contents.shown(), temporary, total, e);
      }
      requireAbsent(file, ifExists);
      AtomicFiles.rename(temporary, file);
    } catch (RuntimeException e) {
      AtomicFiles.deleteTree(temporary);
      throw e;
    }
  }

  private static void requireAbsent(Path file, Safetensors.IfExists ifExists) {
    if (ifExists == Safetensors.IfExists.FAIL && Files.exists(file)) {
      throw new CheckpointException(
          file + ": the file exists and is not overwritten; remove it or choose another name");
    }
  }

  private static CheckpointException failed(
      Path shown, Path temporary, long total, IOException cause) {
    String reached;
    try {
      reached = Long.toString(Files.size(temporary));
    } catch (IOException e) {
      reached = "0";
    }
    return new CheckpointException(
        "%s: writing failed after %s of %d bytes (%s); what was written is removed, check the free space and permissions of its folder"
            .formatted(shown, reached, total, cause.getMessage()),
        cause);
  }

  /** The length of the JSON, the JSON, and spaces that align the data to 8 bytes. */
  private static byte[] header(Contents contents) {
    ObjectNode json = Json.MAPPER.createObjectNode();
    if (!contents.metadata().isEmpty()) {
      ObjectNode notes = json.putObject("__metadata__");
      contents.metadata().forEach(notes::put);
    }
    long begin = 0;
    for (Source source : contents.sources()) {
      ObjectNode entry = json.putObject(source.name());
      entry.put("dtype", storedType(source.dtype()).name());
      ArrayNode shape = entry.putArray("shape");
      for (long dim : source.shape().dims()) {
        shape.add(dim);
      }
      entry.putArray("data_offsets").add(begin).add(begin + source.byteSize());
      begin += source.byteSize();
    }
    byte[] text = json.toString().getBytes(StandardCharsets.UTF_8);
    int padded = (text.length + 7) / 8 * 8;
    if (padded > Safetensors.MAX_HEADER_BYTES) {
      throw new CheckpointException(
          "%s: the header of %d tensors would have %d bytes, more than the limit of %d"
              .formatted(
                  contents.shown(),
                  contents.sources().size(),
                  padded,
                  Safetensors.MAX_HEADER_BYTES));
    }
    byte[] out = Arrays.copyOf(new byte[0], Long.BYTES + padded);
    Arrays.fill(out, (byte) ' ');
    ByteBuffer.wrap(out).order(ByteOrder.LITTLE_ENDIAN).putLong(padded).put(text);
    return out;
  }

  private static StoredType storedType(DType dtype) {
    return switch (dtype) {
      case F32 -> StoredType.F32;
      case F64 -> StoredType.F64;
      case BF16 -> StoredType.BF16;
      case F16 -> StoredType.F16;
      case I32 -> StoredType.I32;
      case I64 -> StoredType.I64;
      case I8 -> StoredType.I8;
      case U8 -> StoredType.U8;
    };
  }

  private static void writeTensor(FileChannel channel, Source source) throws IOException {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment bytes = source.bytes().apply(arena);
      if (bytes.byteSize() != source.byteSize()) {
        throw new AssertionError(source.name() + " has " + bytes.byteSize() + " bytes");
      }
      for (long from = 0; from < bytes.byteSize(); from += PIECE_BYTES) {
        long length = Math.min(PIECE_BYTES, bytes.byteSize() - from);
        write(channel, bytes.asSlice(from, length).asByteBuffer());
      }
    }
  }

  private static void write(FileChannel channel, ByteBuffer bytes) throws IOException {
    while (bytes.hasRemaining()) {
      channel.write(bytes);
    }
  }
}
