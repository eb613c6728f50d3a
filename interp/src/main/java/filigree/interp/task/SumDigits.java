package filigree.interp.task;

import filigree.tensor.Philox;
import java.util.List;

/**
 * Two-digit addition as in Figure 1 of "Sparse Attention Post-Training for Mechanistic
 * Interpretability" (arXiv 2512.05865): eleven tokens {@code dd+dd=?????}, the five digits of the
 * sum read at the question marks. Of the sum, padded with zeros, the last three digits vary; one of
 * them is asked for, and the corrupted problem differs in one digit of one number and in the digit
 * asked for.
 */
final class SumDigits {
  private static final int FIRST_ANSWER = 6;
  private static final List<Integer> FIRST_PLACES = List.of(0, 1);

  private SumDigits() {}

  /** The digit of the sum that is asked for, and the question mark at which it is read. */
  enum Digit {
    /** The last. */
    UNITS(4),
    /** The one before it. */
    TENS(3),
    /** 1 where the sum is 100 or more. */
    HUNDREDS(2);

    private final int place;

    Digit(int place) {
      this.place = place;
    }

    private char of(int sum) {
      return "%05d".formatted(sum).charAt(place);
    }
  }

  /** Whether the units of the clean problem add up to ten or more. */
  enum Carry {
    /** Either. */
    ANY,
    /** They do. */
    YES,
    /** They do not. */
    NO;

    private boolean holds(int a, int b) {
      boolean carries = a % 10 + b % 10 >= 10;
      return switch (this) {
        case ANY -> true;
        case YES -> carries;
        case NO -> !carries;
      };
    }
  }

  /** Where the corrupted problem has another digit. */
  enum Change {
    /** Anywhere. */
    ANY,
    /** In the units of a number. */
    UNITS,
    /** In the tens of a number. */
    TENS
  }

  static Task task(Options options) {
    Digit digit = options.choice("digit", Digit.TENS);
    Carry carry = options.choice("carry", Carry.ANY);
    Change change = options.choice("change", Change.ANY);
    if (digit == Digit.UNITS && change == Change.TENS) {
      throw options.conflict(
          "a change of tens never changes the units of a sum; take change=units or change=any");
    }
    return new DrawnTask(
        options.canonicalName(),
        "One digit of the sum of two numbers of two digits is read at its question mark.",
        "Draye et al., arXiv 2512.05865, Figure 1",
        "the task needs a token for each of the characters 0123456789+=?, as in the model of"
            + " filigree demo",
        random -> draft(random, digit, carry, change));
  }

  private static Draft draft(Philox random, Digit digit, Carry carry, Change change) {
    while (true) {
      int a = random.nextInt(100);
      int b = random.nextInt(100);
      int place =
          switch (change) {
            case ANY -> Pick.one(random, FIRST_PLACES);
            case TENS -> 0;
            case UNITS -> 1;
          };
      // Places of the text: the tens and units of a are 0 and 1, those of b are 3 and 4.
      int at = place + 3 * random.nextInt(2);
      String clean = "%02d+%02d=?????".formatted(a, b);
      String corrupted = clean.substring(0, at) + random.nextInt(10) + clean.substring(at + 1);
      int other =
          Integer.parseInt(corrupted.substring(0, 2)) + Integer.parseInt(corrupted.substring(3, 5));
      if (carry.holds(a, b) && digit.of(a + b) != digit.of(other)) {
        return new Draft(
            clean,
            corrupted,
            new Draft.InPlace(FIRST_ANSWER + digit.place, digit.of(a + b), digit.of(other)));
      }
    }
  }
}
