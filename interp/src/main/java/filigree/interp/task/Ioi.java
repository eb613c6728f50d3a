package filigree.interp.task;

import filigree.tensor.Philox;
import java.util.List;

/**
 * Indirect object identification: of two names the one that was not repeated follows "to".
 *
 * <p>Wang, Variengien, Conmy, Shlegeris, Steinhardt, "Interpretability in the wild" (arXiv
 * 2211.00593); the templates of the MIB benchmark (arXiv 2504.13151), and the fifteen that ACDC
 * (arXiv 2304.14997) took from the first paper.
 */
final class Ioi {
  private static final WordLists WORDS = WordLists.read("ioi.json");

  private Ioi() {}

  /** What is different in the corrupted prompt. */
  enum Corruption {
    /** All three names are others, and all different. */
    ABC,
    /** The repeated name stands only once: in its second place is a third name. */
    S2_RANDOM,
    /** In its second place is the other name, so that the answer is the first one. */
    S2_IO
  }

  /** Which sentences there are, and in which order they introduce the two names. */
  enum Templates {
    /** All of MIB's, in both orders. */
    MIB,
    /** ACDC's fifteen, in both orders. */
    ACDC,
    /** ACDC's fifteen, the repeated name first. */
    BABA,
    /** ACDC's fifteen, the repeated name second. */
    ABBA;

    private List<String> list() {
      return switch (this) {
        case MIB -> WORDS.list("templates");
        case ACDC, BABA, ABBA -> WORDS.list("acdc_templates");
      };
    }

    private Order order(Philox random) {
      return switch (this) {
        case MIB, ACDC -> random.nextInt(2) == 0 ? Order.SUBJECT_FIRST : Order.SUBJECT_SECOND;
        case BABA -> Order.SUBJECT_FIRST;
        case ABBA -> Order.SUBJECT_SECOND;
      };
    }
  }

  private enum Order {
    SUBJECT_FIRST,
    SUBJECT_SECOND
  }

  /**
   * The names of one sentence.
   *
   * @param object the indirect object: the name that stands once
   * @param subject the name that is repeated
   * @param repeated what stands in the place of the repetition
   */
  private record Names(String object, String subject, String repeated) {
    String fill(String template, Order order) {
      String first =
          switch (order) {
            case SUBJECT_FIRST -> subject;
            case SUBJECT_SECOND -> object;
          };
      String second =
          switch (order) {
            case SUBJECT_FIRST -> object;
            case SUBJECT_SECOND -> subject;
          };
      return template
          .replace("{name_A}", first)
          .replace("{name_B}", second)
          .replace("{name_C}", repeated);
    }
  }

  static Task task(Options options) {
    Corruption corruption = options.choice("corruption", Corruption.S2_IO);
    Templates templates = options.choice("templates", Templates.MIB);
    return new DrawnTask(
        options.canonicalName(),
        "Of two people one is named again as the giver; the prompt ends where the other one's name"
            + " follows.",
        "Wang et al., arXiv 2211.00593; templates of MIB, arXiv 2504.13151, and ACDC, arXiv"
            + " 2304.14997",
        "the names must be single tokens; for a model of characters or few tokens try story-names",
        random -> draft(random, templates, corruption));
  }

  private static Draft draft(Philox random, Templates templates, Corruption corruption) {
    String object = Pick.one(random, WORDS.list("objects"));
    List<String> fitting = templates.list().stream().filter(t -> fits(t, object)).toList();
    String frame =
        Pick.one(random, fitting)
            .replace("{object}", object)
            .replace("{place}", Pick.one(random, WORDS.list("places")));
    Order order = templates.order(random);
    List<String> five = Pick.several(random, WORDS.list("names"), 5);
    Names clean = new Names(five.get(0), five.get(1), five.get(1));
    Names corrupted =
        switch (corruption) {
          case ABC -> new Names(five.get(2), five.get(3), five.get(4));
          case S2_RANDOM -> new Names(clean.object(), clean.subject(), five.get(2));
          case S2_IO -> new Names(clean.object(), clean.subject(), clean.object());
        };
    return new Draft(
        clean.fill(frame, order),
        corrupted.fill(frame, order),
        new Draft.Whole(List.of(" " + clean.object()), List.of(" " + clean.subject())));
  }

  /** MIB has each sentence with "a" and with "an"; only one of them is English. */
  private static boolean fits(String template, String object) {
    String wrong = "aeiou".indexOf(object.charAt(0)) < 0 ? " an {object}" : " a {object}";
    return !template.contains(wrong);
  }
}
