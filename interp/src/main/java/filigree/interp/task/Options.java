package filigree.interp.task;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;

/** The options of one task: what a user wrote after the name, checked against what there is. */
final class Options {
  private final String task;
  private final Map<String, String> given = new TreeMap<>();
  private final Map<String, String> valid = new LinkedHashMap<>();
  private final Map<String, String> chosen = new LinkedHashMap<>();

  /**
   * Splits options.
   *
   * @param task the name before the colon
   * @param text such as {@code digit=tens,carry=yes}; may be empty
   * @throws TaskException where a part is not {@code key=value}, or a key stands twice
   */
  Options(String task, String text) {
    this.task = task;
    for (String part : text.isEmpty() ? new String[0] : text.split(",", -1)) {
      int equals = part.indexOf('=');
      if (equals < 1 || equals == part.length() - 1) {
        throw new TaskException(
            "task '%s': '%s' is not an option; write %s:option=value,option=value"
                .formatted(task, part, task));
      }
      if (given.put(part.substring(0, equals), part.substring(equals + 1)) != null) {
        throw new TaskException(
            "task '%s': the option '%s' is given twice; keep one"
                .formatted(task, part.substring(0, equals)));
      }
    }
  }

  /**
   * Reads a choice.
   *
   * @param key the option
   * @param usual what it is where it is not given
   * @return the constant whose lower-case name, with hyphens, was given
   * @throws TaskException where there is no such constant; lists those that there are
   */
  <E extends Enum<E>> E choice(String key, E usual) {
    E[] constants = usual.getDeclaringClass().getEnumConstants();
    String labels = Arrays.stream(constants).map(Options::label).collect(Collectors.joining("|"));
    valid.put(key, labels);
    String wanted = given.getOrDefault(key, label(usual));
    E found =
        Arrays.stream(constants)
            .filter(constant -> label(constant).equals(wanted))
            .findFirst()
            .orElseThrow(() -> bad(key, wanted, labels));
    chosen.put(key, wanted);
    return found;
  }

  /**
   * Reads a number.
   *
   * @param key the option
   * @param range what it may be
   * @param usual what it is where it is not given
   * @return the number
   * @throws TaskException where it is not a whole number within the range
   */
  int number(String key, Range range, int usual) {
    valid.put(key, range.toString());
    String wanted = given.getOrDefault(key, Integer.toString(usual));
    int number;
    try {
      number = Integer.parseInt(wanted);
    } catch (NumberFormatException e) {
      throw bad(key, wanted, range.toString());
    }
    if (number < range.least() || number > range.most()) {
      throw bad(key, wanted, range.toString());
    }
    chosen.put(key, Integer.toString(number));
    return number;
  }

  /**
   * Whole numbers.
   *
   * @param least the smallest
   * @param most the largest
   */
  record Range(int least, int most) {
    @Override
    public String toString() {
      return least + " to " + most;
    }
  }

  /**
   * Names the task with all its options; called when every option has been read.
   *
   * @return such as {@code addition:digit=tens,carry=any}
   * @throws TaskException where an option was given that the task does not have
   */
  String canonicalName() {
    for (String key : given.keySet()) {
      if (!valid.containsKey(key)) {
        throw new TaskException(
            valid.isEmpty()
                ? "task '%s' has no options, found '%s'; remove it".formatted(task, key)
                : "task '%s' has no option '%s'; its options are %s"
                    .formatted(task, key, describe()));
      }
    }
    return chosen.isEmpty()
        ? task
        : chosen.entrySet().stream()
            .map(entry -> entry.getKey() + "=" + entry.getValue())
            .collect(Collectors.joining(",", task + ":", ""));
  }

  /** The options that were read so far with what they may be. */
  String describe() {
    return valid.entrySet().stream()
        .map(entry -> entry.getKey() + "=" + entry.getValue())
        .collect(Collectors.joining(", "));
  }

  /** Makes the error for two options that do not go together. */
  TaskException conflict(String sentence) {
    return new TaskException("task '" + task + "': " + sentence);
  }

  private TaskException bad(String key, String found, String expected) {
    return new TaskException(
        "task '%s': %s is '%s', expected %s".formatted(task, key, found, expected));
  }

  /** How a constant is written on the command line. */
  static String label(Enum<?> constant) {
    return constant.name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
