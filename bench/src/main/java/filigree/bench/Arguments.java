package filigree.bench;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * What a benchmark was asked for.
 *
 * @param words arguments without a name
 * @param options arguments {@code --name value}
 */
record Arguments(List<String> words, Map<String, String> options) {
  private static final List<String> FLAGS = List.of("losses");

  static Arguments of(String[] args, String fallback) {
    List<String> words = new ArrayList<>();
    Map<String, String> options = new LinkedHashMap<>();
    for (int i = 0; i < args.length; i++) {
      if (!args[i].startsWith("--")) {
        words.add(args[i]);
      } else if (FLAGS.contains(args[i].substring(2))) {
        options.put(args[i].substring(2), "");
      } else if (i + 1 < args.length) {
        options.put(args[i].substring(2), args[++i]);
      }
    }
    return new Arguments(words.isEmpty() ? List.of(fallback) : words, options);
  }

  boolean has(String name) {
    return options.containsKey(name);
  }

  String text(String name, String fallback) {
    return options.getOrDefault(name, fallback);
  }

  int number(String name, int fallback) {
    return options.containsKey(name) ? Integer.parseInt(options.get(name)) : fallback;
  }
}
