package filigree.interp.task;

import filigree.tensor.Philox;
import java.util.List;

/**
 * Subject and verb agree in number.
 *
 * <p>The sentences and words of Marks, Rager, Michaud, Belinkov, Bau, Mueller, "Sparse feature
 * circuits" (arXiv 2403.19647), after Finlayson et al. 2021.
 */
final class Agreement {
  private static final WordLists WORDS = WordLists.read("agreement.json");

  private Agreement() {}

  /** What stands before the verb. */
  enum Structure {
    /** "The uncle". */
    SIMPLE,
    /** "The uncle behind the dogs": another noun stands between. */
    NOUNPP,
    /** "The athlete that the chefs": the verb belongs to the second noun. */
    WITHIN_RC
  }

  /**
   * A word in both numbers.
   *
   * @param singular one
   * @param plural several
   */
  private record Forms(String singular, String plural) {
    static Forms parse(String line) {
      int slash = line.indexOf('/');
      return new Forms(line.substring(0, slash), line.substring(slash + 1));
    }

    String of(Numerus numerus) {
      return switch (numerus) {
        case SINGULAR -> singular;
        case PLURAL -> plural;
      };
    }
  }

  private enum Numerus {
    SINGULAR,
    PLURAL;

    Numerus other() {
      return switch (this) {
        case SINGULAR -> PLURAL;
        case PLURAL -> SINGULAR;
      };
    }

    static Numerus draw(Philox random) {
      return random.nextInt(2) == 0 ? SINGULAR : PLURAL;
    }
  }

  static Task task(Options options) {
    Structure structure = options.choice("structure", Structure.SIMPLE);
    return new DrawnTask(
        options.canonicalName(),
        "The number of a noun, singular or plural, decides the form of the verb that follows.",
        "Marks et al., arXiv 2403.19647, after Finlayson et al. 2021",
        "nouns must have as many tokens in the plural as in the singular, and verbs one; for a"
            + " model of characters or few tokens try story-agreement",
        random -> draft(random, structure));
  }

  private static Draft draft(Philox random, Structure structure) {
    Numerus numerus = Numerus.draw(random);
    Forms subject = draw(random, "people");
    Forms verb = draw(random, "verbs");
    String frame =
        switch (structure) {
          case SIMPLE -> "The %s";
          case NOUNPP ->
              "The %s "
                  + Pick.one(random, WORDS.list("prepositions"))
                  + " the "
                  + draw(random, "things").of(Numerus.draw(random));
          case WITHIN_RC -> {
            subject = draw(random, "clause_people");
            yield "The " + draw(random, "people").of(Numerus.draw(random)) + " that the %s";
          }
        };
    return new Draft(
        frame.formatted(subject.of(numerus)),
        frame.formatted(subject.of(numerus.other())),
        new Draft.Whole(List.of(" " + verb.of(numerus)), List.of(" " + verb.of(numerus.other()))));
  }

  private static Forms draw(Philox random, String list) {
    return Forms.parse(Pick.one(random, WORDS.list(list)));
  }
}
