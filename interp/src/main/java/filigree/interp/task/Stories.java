package filigree.interp.task;

import filigree.tensor.Philox;
import java.util.List;

/**
 * Questions that small models of children's stories (TinyStories, Eldan and Li, arXiv 2305.07759)
 * can answer, whatever their tokens are: characters, or a few hundred pieces. An answer may have
 * several tokens; the first one in which it differs from the other answer is asked for.
 *
 * <p>Clean and corrupted prompts have one frame and differ in one or two words, which may be as
 * different as the tokenizer allows: for a model of characters, words of equal length.
 */
final class Stories {
  private static final WordLists WORDS = WordLists.read("stories.json");
  private static final String SOURCE = "Filigree's own sentences in the style of TinyStories";
  private static final String ADVICE =
      "these tasks need a tokenizer of English text; is this one for something else?";

  private Stories() {}

  private enum Gender {
    GIRL("girls", "girl", " she", " her"),
    BOY("boys", "boy", " he", " his");

    private final String names;
    private final String child;
    private final String pronoun;
    private final String possessive;

    Gender(String names, String child, String pronoun, String possessive) {
      this.names = names;
      this.child = child;
      this.pronoun = pronoun;
      this.possessive = possessive;
    }

    Gender other() {
      return switch (this) {
        case GIRL -> BOY;
        case BOY -> GIRL;
      };
    }

    /** The word for a child as it stands after this text. */
    String pronounAfter(String text) {
      return text.endsWith(".") ? capital(pronoun) : pronoun;
    }

    static Gender draw(Philox random) {
      return random.nextInt(2) == 0 ? GIRL : BOY;
    }
  }

  /** A name that stood before is to be repeated; in the corrupted story it is another name. */
  static Task names(Options options) {
    return task(
        options,
        "A story names a child; the prompt ends where the name stands again.",
        random -> {
          Gender gender = Gender.draw(random);
          List<String> names = Pick.several(random, WORDS.list(gender.names), 2);
          String frame =
              Pick.one(random, WORDS.list("name_frames")).replace("{child}", gender.child);
          return draft(frame, names, " " + names.get(0), " " + names.get(1));
        });
  }

  /** A name decides between "she" and "he"; in the corrupted story it is one of the other kind. */
  static Task pronouns(Options options) {
    return task(
        options,
        "A story names a child; the prompt ends where \"she\" or \"he\" follows.",
        random -> {
          Gender gender = Gender.draw(random);
          String frame = Pick.one(random, WORDS.list("pronoun_frames"));
          return draft(
              frame,
              pairOfGenders(random, gender),
              gender.pronounAfter(frame),
              gender.other().pronounAfter(frame));
        });
  }

  /** A name decides between "her" and "his". */
  static Task possessives(Options options) {
    return task(
        options,
        "A story names a child; the prompt ends where \"her\" or \"his\" follows.",
        random -> {
          Gender gender = Gender.draw(random);
          return draft(
              Pick.one(random, WORDS.list("possessive_frames")),
              pairOfGenders(random, gender),
              gender.possessive,
              gender.other().possessive);
        });
  }

  /** A noun in the singular or plural decides between "was" and "were". */
  static Task agreement(Options options) {
    return task(
        options,
        "The number of a noun decides between \"was\" and \"were\".",
        random -> {
          String singular = Pick.one(random, WORDS.list("nouns"));
          String plural = Pick.one(random, WORDS.list("plural_nouns"));
          String frame = Pick.one(random, WORDS.list("agreement_frames"));
          return random.nextInt(2) == 0
              ? draft(frame, List.of(singular, plural), " was", " were")
              : draft(frame, List.of(plural, singular), " were", " was");
        });
  }

  /** Two subjects or one: "and" or "saw" decides between "They" and "She" or "He". */
  static Task number(Options options) {
    return task(
        options,
        "Two children are joined by \"and\"; the prompt ends where \"They\" follows, and not"
            + " \"She\" or \"He\".",
        random -> {
          Gender gender = Gender.draw(random);
          List<String> names = Pick.several(random, WORDS.list(gender.names), 2);
          String frame =
              Pick.one(random, WORDS.list("number_frames"))
                  .replace("{a}", names.get(0))
                  .replace("{b}", names.get(1));
          String they = " They";
          String alone = capital(gender.pronoun);
          return random.nextInt(2) == 0
              ? draft(frame, List.of("and", "saw"), they, alone)
              : draft(frame, List.of("saw", "and"), alone, they);
        });
  }

  /** A thing that stood before is to be repeated; in the corrupted story it is another thing. */
  static Task words(Options options) {
    return task(
        options,
        "A story tells of a thing; the prompt ends where its name stands again.",
        random -> {
          List<String> nouns = Pick.several(random, WORDS.list("nouns"), 2);
          return draft(
              Pick.one(random, WORDS.list("word_frames")),
              nouns,
              " " + nouns.get(0),
              " " + nouns.get(1));
        });
  }

  private static Task task(Options options, String description, DrawnTask.Drafts drafts) {
    return new DrawnTask(options.canonicalName(), description, SOURCE, ADVICE, drafts);
  }

  /** Names of the gender asked for and of the other, in this order. */
  private static List<String> pairOfGenders(Philox random, Gender gender) {
    return List.of(
        Pick.one(random, WORDS.list(gender.names)),
        Pick.one(random, WORDS.list(gender.other().names)));
  }

  /** The frame with the first word in its places, and with the second. */
  private static Draft draft(String frame, List<String> words, String correct, String incorrect) {
    return new Draft(
        frame.replace("{word}", words.get(0)),
        frame.replace("{word}", words.get(1)),
        new Draft.FirstDifference(correct, incorrect));
  }

  /** A word after its space, with a capital letter. */
  private static String capital(String spaced) {
    return " " + Character.toUpperCase(spaced.charAt(1)) + spaced.substring(2);
  }
}
