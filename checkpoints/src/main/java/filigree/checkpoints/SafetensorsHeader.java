package filigree.checkpoints;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import filigree.tensor.Shape;
import java.io.IOException;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.stream.LongStream;

/**
 * The checked header of a safetensors file. The rules are those of the reference implementation
 * (huggingface/safetensors, {@code Metadata::validate}): tensors in the order of their offsets fill
 * the data without a hole or an overlap, and each is as long as its type and shape say.
 *
 * @param tensors by name, in the order of their bytes
 * @param metadata the strings under {@code __metadata__}; empty where there are none
 */
record SafetensorsHeader(
    SequencedMap<String, StoredTensor> tensors, SequencedMap<String, String> metadata) {
  private static final String METADATA = "__metadata__";

  /** No model needs more; a shape is printed in errors, so it must not be long. */
  private static final int MAX_RANK = 64;

  /**
   * Checks a header. The text is parsed as a stream: a header of 100 MB as a tree of nodes would
   * take gigabytes.
   *
   * @param where the file, for errors
   * @param text the header
   * @param dataBytes the bytes that follow it
   * @return the header
   * @throws CheckpointException where a rule is broken
   */
  static SafetensorsHeader parse(String where, String text, long dataBytes) {
    return new Reader(where, dataBytes).read(text);
  }

  private static final class Reader {
    private final String where;
    private final long dataBytes;
    private final Map<String, StoredTensor> tensors = new LinkedHashMap<>();
    private final SequencedMap<String, String> metadata = new LinkedHashMap<>();

    Reader(String where, long dataBytes) {
      this.where = where;
      this.dataBytes = dataBytes;
    }

    SafetensorsHeader read(String text) {
      if (text.isEmpty() || text.charAt(0) != '{') {
        throw bad("the header does not start with '{'");
      }
      try (JsonParser json = Json.parser(text)) {
        json.nextToken();
        while (json.nextToken() == JsonToken.FIELD_NAME) {
          String name = json.currentName();
          JsonToken value = json.nextToken();
          if (value != JsonToken.START_OBJECT) {
            throw bad("the header's entry " + name + " is not an object");
          }
          if (name.equals(METADATA)) {
            readMetadata(json);
          } else {
            tensors.put(name, readTensor(json, name));
          }
        }
        if (json.nextToken() != null) {
          throw bad("the header's object is followed by more than spaces");
        }
      } catch (JsonProcessingException e) {
        throw new CheckpointException(
            "%s: the header is not valid JSON (%s); the file is damaged, fetch it again"
                .formatted(where, Json.reason(e)),
            e);
      } catch (IOException e) {
        throw new AssertionError("parsing text does no input or output", e);
      }
      return new SafetensorsHeader(
          inOrderOfBytes(), Collections.unmodifiableSequencedMap(metadata));
    }

    private void readMetadata(JsonParser json) throws IOException {
      while (json.nextToken() == JsonToken.FIELD_NAME) {
        String key = json.currentName();
        if (json.nextToken() != JsonToken.VALUE_STRING) {
          throw bad(METADATA + " key " + key + " is not a string");
        }
        metadata.put(key, json.getText());
      }
    }

    private StoredTensor readTensor(JsonParser json, String name) throws IOException {
      StoredType type = null;
      long[] shape = null;
      long[] offsets = null;
      while (json.nextToken() == JsonToken.FIELD_NAME) {
        String key = json.currentName();
        json.nextToken();
        switch (key) {
          case "dtype" -> type = readType(json, name);
          case "shape" -> shape = readLongs(json, name, "shape");
          case "data_offsets" -> offsets = readLongs(json, name, "data_offsets");
          // The reference implementation passes over keys that it does not know.
          default -> json.skipChildren();
        }
      }
      if (type == null || shape == null || offsets == null) {
        throw bad(name, "lacks one of dtype, shape, data_offsets");
      }
      if (offsets.length != 2) {
        throw bad(name, "has " + offsets.length + " data_offsets, expected 2");
      }
      StoredTensor tensor =
          new StoredTensor(name, type, shape(name, shape), offsets[0], offsets[1]);
      requireFit(tensor);
      return tensor;
    }

    private StoredType readType(JsonParser json, String name) throws IOException {
      String text = json.currentToken() == JsonToken.VALUE_STRING ? json.getText() : "";
      return StoredType.named(text)
          .orElseThrow(
              () -> bad(name, "has the unknown dtype " + text + ", expected F32, F16, BF16, ..."));
    }

    private long[] readLongs(JsonParser json, String name, String key) throws IOException {
      if (json.currentToken() != JsonToken.START_ARRAY) {
        throw bad(name, "has a " + key + " that is not an array");
      }
      LongStream.Builder out = LongStream.builder();
      int count = 0;
      while (json.nextToken() != JsonToken.END_ARRAY) {
        boolean fits =
            json.currentToken() == JsonToken.VALUE_NUMBER_INT
                && json.getNumberType() != JsonParser.NumberType.BIG_INTEGER;
        if (!fits || json.getLongValue() < 0) {
          throw bad(name, "has a " + key + " that holds something else than whole numbers >= 0");
        }
        if (++count > MAX_RANK) {
          throw bad(name, "has more than " + MAX_RANK + " numbers in its " + key);
        }
        out.add(json.getLongValue());
      }
      return out.build().toArray();
    }

    private Shape shape(String name, long[] dims) {
      long size = 1;
      for (long dim : dims) {
        if (dim != 0 && size > Long.MAX_VALUE / dim) {
          throw bad(name, "has a shape of more than 2^63 elements");
        }
        size *= dim;
      }
      return Shape.of(dims);
    }

    private void requireFit(StoredTensor tensor) {
      int bits = tensor.type().bits();
      long size = tensor.shape().size();
      boolean whole = size <= Long.MAX_VALUE / bits && size * bits % 8 == 0;
      if (!whole || size * bits / 8 != tensor.byteSize()) {
        throw bad(
            tensor.name(),
            "takes bytes %d to %d, which does not match %s %s"
                .formatted(tensor.begin(), tensor.end(), tensor.type(), tensor.shape()));
      }
      if (tensor.end() > dataBytes) {
        throw bad(
            tensor.name(),
            "ends at byte %d, and there are %d bytes of data; the file may be cut short"
                .formatted(tensor.end(), dataBytes));
      }
    }

    private SequencedMap<String, StoredTensor> inOrderOfBytes() {
      List<StoredTensor> ordered =
          tensors.values().stream()
              .sorted(
                  Comparator.comparingLong(StoredTensor::begin)
                      .thenComparingLong(StoredTensor::end))
              .toList();
      SequencedMap<String, StoredTensor> out = new LinkedHashMap<>();
      long reached = 0;
      for (StoredTensor tensor : ordered) {
        if (tensor.begin() != reached) {
          throw bad(
              tensor.name(),
              "starts at byte %d, expected %d: the tensors %s"
                  .formatted(
                      tensor.begin(),
                      reached,
                      tensor.begin() < reached ? "overlap" : "leave a hole"));
        }
        reached = tensor.end();
        out.put(tensor.name(), tensor);
      }
      if (reached != dataBytes) {
        throw bad(
            "the tensors end at byte %d of the data, expected %d, the end of the file"
                .formatted(reached, dataBytes));
      }
      return Collections.unmodifiableSequencedMap(out);
    }

    private CheckpointException bad(String what) {
      return new CheckpointException(where + ": " + what);
    }

    private CheckpointException bad(String tensor, String what) {
      return new CheckpointException(where + ": tensor " + tensor + " " + what);
    }
  }
}
