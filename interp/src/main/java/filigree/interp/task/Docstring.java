package filigree.interp.task;

import filigree.tensor.Philox;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Docstring: the parameters of a Python function are described in their order; which comes next?
 *
 * <p>Heimersheim and Janiak, "A circuit for Python docstrings in a 4-layer attention-only
 * transformer" (2023), in the form that ACDC uses: two parameters that are not described, three
 * that are, of which the third is asked for, and one more.
 */
final class Docstring {
  private static final WordLists WORDS = WordLists.read("docstring.json");
  private static final int PARAMETERS = 6;
  private static final int FIRST_DESCRIBED = 2;
  private static final int ASKED = 4;

  private Docstring() {}

  /** What is different in the corrupted prompt. */
  enum Corruption {
    /** Other parameters in the definition, and others again in the description. */
    RANDOM_RANDOM,
    /** Other parameters in the description. */
    RANDOM_DOC,
    /** Another parameter in the place of the one that is asked for. */
    RANDOM_ANSWER
  }

  static Task task(Options options) {
    Corruption corruption = options.choice("corruption", Corruption.RANDOM_RANDOM);
    return new DrawnTask(
        options.canonicalName(),
        "The docstring of a Python function describes its parameters in order; the name of the next"
            + " one follows.",
        "Heimersheim and Janiak 2023, as in ACDC, arXiv 2304.14997",
        "names of parameters must be single tokens, as in tokenizers of 30,000 tokens and more",
        random -> draft(random, corruption));
  }

  private static Draft draft(Philox random, Corruption corruption) {
    List<String> names = Pick.several(random, WORDS.list("parameters"), 2 * PARAMETERS + 3);
    List<String> words = Pick.several(random, WORDS.list("nouns"), 7);
    List<String> own = names.subList(0, PARAMETERS);
    List<String> others = names.subList(PARAMETERS, 2 * PARAMETERS);
    List<String> strangers = names.subList(2 * PARAMETERS, 2 * PARAMETERS + 2);
    String function = names.getLast();
    List<String> described = own.subList(FIRST_DESCRIBED, ASKED);
    List<String> replaced = new ArrayList<>(own);
    replaced.set(ASKED, others.get(ASKED));
    String corrupted =
        switch (corruption) {
          case RANDOM_RANDOM -> text(function, words, others, strangers);
          case RANDOM_DOC -> text(function, words, own, strangers);
          case RANDOM_ANSWER -> text(function, words, replaced, described);
        };
    List<String> incorrect =
        switch (corruption) {
          case RANDOM_RANDOM ->
              Stream.concat(own.stream(), others.stream())
                  .filter(name -> !name.equals(own.get(ASKED)))
                  .toList();
          case RANDOM_DOC -> own.stream().filter(name -> !name.equals(own.get(ASKED))).toList();
          case RANDOM_ANSWER -> List.of(others.get(ASKED));
        };
    return new Draft(
        text(function, words, own, described),
        corrupted,
        new Draft.Whole(
            List.of(" " + own.get(ASKED)), incorrect.stream().map(name -> " " + name).toList()));
  }

  private static String text(
      String function, List<String> words, List<String> parameters, List<String> described) {
    String defined = parameters.stream().collect(Collectors.joining(", ", "self, ", ""));
    return """

    def %s(%s):
        \"""%s %s %s

        :param %s: %s %s
        :param %s: %s %s
        :param\
    """
        .formatted(
            function,
            defined,
            words.get(0),
            words.get(1),
            words.get(2),
            described.get(0),
            words.get(3),
            words.get(4),
            described.get(1),
            words.get(5),
            words.get(6));
  }
}
