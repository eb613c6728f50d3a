package filigree.interp.task;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;

/** The tasks that there are. */
public final class Tasks {
  private static final int SUGGESTIONS = 3;

  /** How a task's name ends that is the name of a file. */
  private static final String FILE = ".jsonl";

  private Tasks() {}

  private enum Known {
    INDUCTION,
    COPY,
    IOI,
    GREATER_THAN,
    DOCSTRING,
    AGREEMENT,
    ADDITION,
    STORY_NAMES,
    STORY_PRONOUNS,
    STORY_POSSESSIVES,
    STORY_AGREEMENT,
    STORY_NUMBER,
    STORY_WORDS;

    Task make(Options options) {
      return switch (this) {
        case INDUCTION -> Repetition.induction(options);
        case COPY -> Repetition.copy(options);
        case IOI -> Ioi.task(options);
        case GREATER_THAN -> GreaterThan.task(options);
        case DOCSTRING -> Docstring.task(options);
        case AGREEMENT -> Agreement.task(options);
        case ADDITION -> SumDigits.task(options);
        case STORY_NAMES -> Stories.names(options);
        case STORY_PRONOUNS -> Stories.pronouns(options);
        case STORY_POSSESSIVES -> Stories.possessives(options);
        case STORY_AGREEMENT -> Stories.agreement(options);
        case STORY_NUMBER -> Stories.number(options);
        case STORY_WORDS -> Stories.words(options);
      };
    }
  }

  /**
   * A task and what can be chosen about it.
   *
   * @param name what {@link #named} takes
   * @param description one sentence
   * @param options such as {@code digit=units|tens|hundreds, carry=any|yes|no}; empty where there
   *     are none
   */
  public record Entry(String name, String description, String options) {}

  /**
   * Makes a task.
   *
   * @param spec a name, perhaps with options, such as {@code ioi} or {@code
   *     ioi:corruption=abc,templates=abba}; or the path of a {@code .jsonl} file whose lines are
   *     objects with {@code clean}, {@code corrupted}, {@code correct} and {@code incorrect}
   * @return the task
   * @throws TaskException where there is no such task (the nearest and all names are told), no such
   *     option or value (the valid ones are told), or the file or one of its lines is bad
   */
  public static Task named(String spec) {
    if (spec.endsWith(FILE)) {
      return JsonLines.read(Path.of(spec));
    }
    int colon = spec.indexOf(':');
    String name = colon < 0 ? spec : spec.substring(0, colon);
    Known known =
        Arrays.stream(Known.values())
            .filter(task -> Options.label(task).equals(name))
            .findFirst()
            .orElseThrow(() -> unknown(name));
    return known.make(new Options(name, colon < 0 ? "" : spec.substring(colon + 1)));
  }

  /**
   * Returns the names that {@link #named} takes.
   *
   * @return names without options
   */
  public static List<String> names() {
    return Arrays.stream(Known.values()).map(Options::label).toList();
  }

  /**
   * Describes the tasks, for a help text.
   *
   * @return one entry for each name
   */
  public static List<Entry> all() {
    return Arrays.stream(Known.values())
        .map(
            known -> {
              Options options = new Options(Options.label(known), "");
              Task task = known.make(options);
              return new Entry(Options.label(known), task.description(), options.describe());
            })
        .toList();
  }

  private static TaskException unknown(String name) {
    List<String> nearest =
        names().stream()
            .sorted(Comparator.comparingInt(other -> distance(name, other)))
            .limit(SUGGESTIONS)
            .toList();
    return new TaskException(
        "there is no task '%s'; the nearest are %s; all are %s, or the path of a .jsonl file"
            .formatted(name, String.join(", ", nearest), String.join(", ", names())));
  }

  /** Levenshtein's edit distance. */
  private static int distance(String a, String b) {
    int[] row = new int[b.length() + 1];
    for (int j = 0; j <= b.length(); j++) {
      row[j] = j;
    }
    for (int i = 1; i <= a.length(); i++) {
      int diagonal = row[0];
      row[0] = i;
      for (int j = 1; j <= b.length(); j++) {
        int substituted = diagonal + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
        diagonal = row[j];
        row[j] = Math.min(substituted, 1 + Math.min(row[j], row[j - 1]));
      }
    }
    return row[b.length()];
  }
}
