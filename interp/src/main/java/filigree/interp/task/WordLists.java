package filigree.interp.task;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Words and frames that the project ships; each file names its source and licence. */
final class WordLists {
  private static final ObjectMapper MAPPER = new ObjectMapper();

  private final String file;
  private final Map<String, List<String>> lists = new LinkedHashMap<>();

  private WordLists(String file, JsonNode json) {
    this.file = file;
    json.properties()
        .forEach(
            entry -> {
              if (entry.getValue().isArray()) {
                List<String> words = new ArrayList<>();
                entry.getValue().forEach(word -> words.add(word.textValue()));
                lists.put(entry.getKey(), List.copyOf(words));
              }
            });
  }

  /** Reads a file beside this class. */
  static WordLists read(String file) {
    try (InputStream in = WordLists.class.getResourceAsStream(file)) {
      if (in == null) {
        throw new IllegalStateException(
            "the word list " + file + " is missing from the class path");
      }
      return new WordLists(file, MAPPER.readTree(in));
    } catch (IOException e) {
      throw new UncheckedIOException("the word list " + file + " cannot be read", e);
    }
  }

  /** The list under a key. */
  List<String> list(String key) {
    List<String> words = lists.get(key);
    if (words == null || words.isEmpty()) {
      throw new IllegalStateException("the word list " + file + " has no list " + key);
    }
    return words;
  }
}
