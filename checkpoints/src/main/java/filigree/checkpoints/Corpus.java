package filigree.checkpoints;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * Documents to train on or to measure with: a {@code .jsonl} file, one object with the key {@code
 * text} per line, or a {@code .txt} file, which is one document. Blank lines of a {@code .jsonl}
 * file are passed over; all else that is not a document is an error that names the line.
 */
public final class Corpus {
  /** A whole .txt file, or one line, becomes one string. */
  private static final int MAX_DOCUMENT_BYTES = 1 << 30;

  private final Path file;
  private final Format format;

  private enum Format {
    LINES,
    TEXT
  }

  private Corpus(Path file, Format format) {
    this.file = file;
    this.format = format;
  }

  /**
   * Names a file of documents.
   *
   * @param file ends in {@code .jsonl} or {@code .txt}
   * @return the corpus; nothing is read yet
   * @throws CheckpointException where there is no such file or it ends in something else
   */
  public static Corpus of(Path file) {
    String name = file.toString();
    Format format;
    if (name.endsWith(".jsonl")) {
      format = Format.LINES;
    } else if (name.endsWith(".txt")) {
      format = Format.TEXT;
    } else {
      throw new CheckpointException(
          file + ": expected a file that ends in .jsonl, with \"text\" in each line, or in .txt");
    }
    if (!Files.isRegularFile(file)) {
      throw new CheckpointException(
          file + (Files.exists(file) ? ": this is not a file" : ": there is no such file"));
    }
    return new Corpus(file, format);
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
   * Reads all documents.
   *
   * @return their texts, at least one, none of them empty
   * @throws CheckpointException where a line is not a document, one is empty, or there is none
   */
  public List<String> documents() {
    return documents(Long.MAX_VALUE);
  }

  /**
   * Reads the first documents; what follows them in the file is not looked at.
   *
   * @param limit how many at most
   * @return their texts, at least one, none of them empty
   * @throws CheckpointException where a line is not a document, one is empty, or there is none
   */
  public List<String> documents(long limit) {
    try (Stream<String> stream = stream()) {
      List<String> out = stream.limit(limit).toList();
      if (out.isEmpty()) {
        throw new CheckpointException(file + ": the file holds no document");
      }
      return out;
    }
  }

  /**
   * Reads documents one at a time, for files that do not fit in memory.
   *
   * @return their texts, none of them empty, perhaps none at all; to be closed by the caller
   * @throws CheckpointException here, or later from the stream, where a line is not a document or
   *     one is empty
   */
  public Stream<String> stream() {
    return switch (format) {
      case TEXT -> Stream.of(requireText(Json.readText(file, MAX_DOCUMENT_BYTES), 1));
      case LINES -> {
        Lines lines = new Lines();
        yield StreamSupport.stream(
                Spliterators.spliteratorUnknownSize(
                    lines, Spliterator.ORDERED | Spliterator.NONNULL),
                false)
            .onClose(lines::close);
      }
    };
  }

  private String requireText(String text, long line) {
    if (text.isEmpty()) {
      throw bad(line, "the document is empty; remove it");
    }
    if (Surrogates.firstUnpaired(text) >= 0) {
      throw bad(line, "the document holds half of a surrogate pair, which is not text");
    }
    return text;
  }

  private CheckpointException bad(long line, String what) {
    return new CheckpointException("%s: line %d: %s".formatted(file, line, what));
  }

  /** Lines are cut as bytes, so that a line that is not UTF-8 can be named. */
  private final class Lines implements Iterator<String> {
    private final InputStream in;
    private long line;
    private String next;

    Lines() {
      try {
        in = new BufferedInputStream(Files.newInputStream(file), 1 << 16);
      } catch (IOException e) {
        throw unreadable(e);
      }
    }

    private CheckpointException unreadable(IOException e) {
      return new CheckpointException(file + ": the file could not be read: " + e.getMessage(), e);
    }

    @Override
    public boolean hasNext() {
      while (next == null) {
        ByteBuffer bytes = nextLine();
        if (bytes == null) {
          return false;
        }
        line++;
        String text = decode(bytes);
        if (!text.isBlank()) {
          next = requireText(document(text), line);
        }
      }
      return true;
    }

    @Override
    public String next() {
      if (!hasNext()) {
        throw new NoSuchElementException();
      }
      String out = next;
      next = null;
      return out;
    }

    private ByteBuffer nextLine() {
      try {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        int read = in.read();
        if (read < 0) {
          return null;
        }
        for (; read >= 0 && read != '\n'; read = in.read()) {
          if (out.size() == MAX_DOCUMENT_BYTES) {
            throw bad(line + 1, "the line has more than " + MAX_DOCUMENT_BYTES + " bytes");
          }
          out.write(read);
        }
        return ByteBuffer.wrap(out.toByteArray());
      } catch (IOException e) {
        throw unreadable(e);
      }
    }

    private String decode(ByteBuffer bytes) {
      try {
        return Json.decode(bytes);
      } catch (CharacterCodingException e) {
        throw new CheckpointException(
            "%s: line %d: the line is not UTF-8 text".formatted(file, line), e);
      }
    }

    private String document(String json) {
      JsonNode node;
      try {
        node = Json.parse(json);
      } catch (JsonProcessingException e) {
        throw new CheckpointException(
            "%s: line %d: the line is not valid JSON (%s)".formatted(file, line, Json.reason(e)),
            e);
      }
      if (!node.isObject()) {
        throw bad(line, "expected an object with the key \"text\"");
      }
      JsonNode text = node.get("text");
      if (text == null || !text.isTextual()) {
        throw bad(
            line,
            text == null ? "the key \"text\" is missing" : "the key \"text\" is not a string");
      }
      return text.textValue();
    }

    void close() {
      try {
        in.close();
      } catch (IOException e) {
        throw unreadable(e);
      }
    }
  }
}
