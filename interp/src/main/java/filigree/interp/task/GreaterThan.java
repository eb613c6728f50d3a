package filigree.interp.task;

import filigree.tensor.Philox;

/**
 * Greater-Than: "The war lasted from the year 1732 to the year 17" is followed by more than 32.
 *
 * <p>Hanna, Liu, Variengien, "How does GPT-2 compute greater-than?" (arXiv 2305.00586), with its
 * 120 nouns. In the corrupted prompt the war begins in the year 01, so that any end is later.
 */
final class GreaterThan {
  private static final WordLists WORDS = WordLists.read("greater-than.json");
  private static final int FIRST_CENTURY = 11;
  private static final int LAST_CENTURY = 17;

  /** From 02 to 98, so that there are earlier and later years and 01 is another one. */
  private static final int FIRST_YEAR = 2;

  private static final int LAST_YEAR = 98;

  private GreaterThan() {}

  static Task task(Options options) {
    return new DrawnTask(
        options.canonicalName(),
        "Something lasted from one year of a century to another, whose last two digits are to be"
            + " greater.",
        "Hanna, Liu, Variengien, arXiv 2305.00586",
        "only tokenizers with a token for every pair of digits, such as GPT-2's, can express this"
            + " task",
        GreaterThan::draft);
  }

  private static Draft draft(Philox random) {
    String noun = Pick.one(random, WORDS.list("nouns"));
    int century = FIRST_CENTURY + random.nextInt(LAST_CENTURY - FIRST_CENTURY + 1);
    int year = FIRST_YEAR + random.nextInt(LAST_YEAR - FIRST_YEAR + 1);
    String frame = "The %s lasted from the year %d%02d to the year %d";
    return new Draft(
        frame.formatted(noun, century, year, century),
        frame.formatted(noun, century, 1, century),
        new Draft.LaterYears(100 * century + year));
  }
}
