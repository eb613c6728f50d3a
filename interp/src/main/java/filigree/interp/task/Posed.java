package filigree.interp.task;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.Collectors;

/** What becomes of a draft before one tokenizer. */
sealed interface Posed {
  /**
   * It can be asked.
   *
   * @param contrast the tokens
   */
  record Asked(Contrast contrast) implements Posed {}

  /**
   * It cannot.
   *
   * @param reason the kind of obstacle, the same for every draft that meets it
   * @param example the obstacle of this draft
   */
  record Refused(String reason, String example) implements Posed {}

  /**
   * Finds the tokens of a draft.
   *
   * @param draft prompts and answers as text
   * @param codec the tokenizer
   * @return the tokens, or why there are none
   */
  static Posed of(Draft draft, TokenCodec codec) {
    for (String text : List.of(draft.clean(), draft.corrupted())) {
      String read = read(text, codec);
      if (!legible(text, read)) {
        return new Refused(
            "the tokenizer has no tokens for all of a prompt's characters",
            "'%s' is read as '%s'".formatted(text.strip(), read.strip()));
      }
    }
    return switch (draft.answers()) {
      case Draft.Whole answers -> whole(draft, answers, codec);
      case Draft.FirstDifference answers -> firstDifference(draft, answers, codec);
      case Draft.InPlace answers -> inPlace(draft, answers, codec);
      case Draft.LaterYears answers -> laterYears(draft, answers, codec);
    };
  }

  /**
   * Whether the tokens say what the text says. A tokenizer with a token for what is unknown splits
   * any text, and the model reads something else. Parts of characters cannot be compared and pass.
   */
  private static boolean legible(String text, String read) {
    return read.indexOf('\uFFFD') >= 0 || read.strip().equals(text.strip());
  }

  private static String read(String text, TokenCodec codec) {
    return Arrays.stream(codec.encode(text))
        .skip(codec.encode("").length)
        .mapToObj(codec::piece)
        .collect(Collectors.joining());
  }

  private static Posed whole(Draft draft, Draft.Whole answers, TokenCodec codec) {
    int[] clean = codec.encode(draft.clean());
    int[] corrupted = codec.encode(draft.corrupted());
    int[] correct = new int[answers.correct().size()];
    int[] incorrect = new int[answers.incorrect().size()];
    for (int i = 0; i < correct.length + incorrect.length; i++) {
      boolean right = i < correct.length;
      int at = right ? i : i - correct.length;
      String answer = (right ? answers.correct() : answers.incorrect()).get(at);
      OptionalInt token = token(draft.clean(), answer, codec);
      if (token.isEmpty()) {
        int own = codec.encode(draft.clean() + answer).length - clean.length;
        return new Refused(
            "an answer is not one token of its own",
            own > 1
                ? "'%s' becomes %d tokens".formatted(answer, own)
                : "'%s' merges with the end of the prompt".formatted(answer));
      }
      (right ? correct : incorrect)[at] = token.getAsInt();
    }
    return compared(new Pair(clean, corrupted), clean.length - 1, correct, incorrect);
  }

  /**
   * The token that an answer adds to its prompt. Where text would merge with the end of the prompt
   * ( 17 and 76 to 1776), a model may still answer with the token that is the answer by itself.
   */
  private static OptionalInt token(String prompt, String answer, TokenCodec codec) {
    int[] front = codec.encode(prompt);
    int[] all = codec.encode(prompt + answer);
    if (all.length == front.length + 1 && common(all, front) == front.length) {
      return OptionalInt.of(all[front.length]);
    }
    int[] alone = codec.encode(answer);
    int last = alone.length - 1;
    boolean itself =
        alone.length == codec.encode("").length + 1 && codec.piece(alone[last]).equals(answer);
    return itself ? OptionalInt.of(alone[last]) : OptionalInt.empty();
  }

  private static Posed firstDifference(
      Draft draft, Draft.FirstDifference answers, TokenCodec codec) {
    int[] right = codec.encode(draft.clean() + answers.correct());
    int[] wrong = codec.encode(draft.clean() + answers.incorrect());
    int[] otherRight = codec.encode(draft.corrupted() + answers.correct());
    int[] otherWrong = codec.encode(draft.corrupted() + answers.incorrect());
    int asked = common(right, wrong);
    if (asked == Math.min(right.length, wrong.length)
        || asked < codec.encode(draft.clean()).length) {
      return new Refused(
          "the two answers do not part at a token of their own",
          "'%s' and '%s'".formatted(answers.correct(), answers.incorrect()));
    }
    int otherAsked = common(otherRight, otherWrong);
    if (otherAsked != asked) {
      return unequal(asked, otherAsked);
    }
    if (otherRight[asked] != right[asked] || otherWrong[asked] != wrong[asked]) {
      return new Refused(
          "an answer is split in two ways after the two prompts",
          "'%s' and '%s'".formatted(answers.correct(), answers.incorrect()));
    }
    return compared(
        new Pair(Arrays.copyOf(right, asked), Arrays.copyOf(otherRight, asked)),
        asked - 1,
        new int[] {right[asked]},
        new int[] {wrong[asked]});
  }

  private static Posed inPlace(Draft draft, Draft.InPlace answers, TokenCodec codec) {
    int[] clean = codec.encode(draft.clean());
    int[] corrupted = codec.encode(draft.corrupted());
    int front = codec.encode("").length;
    int position = front + answers.place();
    int[] correct = codec.encode(with(draft.clean(), answers.place(), answers.correct()));
    int[] incorrect = codec.encode(with(draft.clean(), answers.place(), answers.incorrect()));
    int length = front + draft.clean().length();
    for (int[] ids : List.of(clean, corrupted, correct, incorrect)) {
      if (ids.length != length) {
        return new Refused(
            "not every character is one token",
            "'%s' becomes %d tokens, expected %d".formatted(draft.clean(), ids.length, length));
      }
    }
    for (int[] ids : List.of(correct, incorrect)) {
      if (!differOnlyAt(position, clean, ids)) {
        return new Refused(
            "a digit of the answer is not one token of its own",
            "'%s' or '%s'".formatted(answers.correct(), answers.incorrect()));
      }
    }
    return compared(
        new Pair(clean, corrupted),
        position,
        new int[] {correct[position]},
        new int[] {incorrect[position]});
  }

  /**
   * As published, a year counts only where it is the token of its century and the token of its last
   * two digits. Which token those digits are is looked up after any century, because some years (
   * 1776) are one token, and their digits are an answer nevertheless.
   */
  private static Posed laterYears(Draft draft, Draft.LaterYears answers, TokenCodec codec) {
    int own = answers.year() % 100;
    if (ending(answers.year() / 100, own, codec).isEmpty()) {
      return new Refused(
          "a year is not the token of its century and the token of its last two digits",
          "%d becomes %d tokens"
              .formatted(
                  answers.year(),
                  codec.encode("year " + answers.year()).length - codec.encode("year").length));
    }
    List<Integer> earlier = new ArrayList<>();
    List<Integer> later = new ArrayList<>();
    for (int digits = 0; digits < 100; digits++) {
      OptionalInt token = OptionalInt.empty();
      for (int century = 11; century < 18 && token.isEmpty(); century++) {
        token = token("year " + century, "%02d".formatted(digits), codec);
      }
      if (token.isEmpty()) {
        return new Refused(
            "two digits at the end of a year are not one token", "%02d".formatted(digits));
      }
      (digits > own ? later : earlier).add(token.getAsInt());
    }
    int[] clean = codec.encode(draft.clean());
    return compared(
        new Pair(clean, codec.encode(draft.corrupted())),
        clean.length - 1,
        later.stream().mapToInt(Integer::intValue).toArray(),
        earlier.stream().mapToInt(Integer::intValue).toArray());
  }

  /** The token of two digits after a century, where both are one token. */
  private static OptionalInt ending(int century, int digits, TokenCodec codec) {
    int[] whole = codec.encode("year %d%02d".formatted(century, digits));
    int[] front = codec.encode("year " + century);
    boolean split =
        whole.length == front.length + 1
            && common(whole, front) == front.length
            && front.length == codec.encode("year").length + 1;
    return split ? OptionalInt.of(whole[front.length]) : OptionalInt.empty();
  }

  /**
   * Two sequences side by side.
   *
   * @param clean ids
   * @param corrupted ids
   */
  record Pair(int[] clean, int[] corrupted) {}

  private static Posed compared(Pair prompts, int position, int[] correct, int[] incorrect) {
    if (prompts.clean().length != prompts.corrupted().length) {
      return unequal(prompts.clean().length, prompts.corrupted().length);
    }
    if (prompts.clean().length == 0) {
      return new Refused("the prompt has no token", "an empty prompt");
    }
    if (Arrays.equals(prompts.clean(), prompts.corrupted())) {
      return new Refused("both prompts have the same tokens", "the corruption changes nothing");
    }
    for (int answer : correct) {
      if (Arrays.stream(incorrect).anyMatch(other -> other == answer)) {
        return new Refused(
            "a correct and an incorrect answer are the same token", "token " + answer);
      }
    }
    return new Asked(
        new Contrast(prompts.clean(), prompts.corrupted(), position, correct, incorrect));
  }

  private static Refused unequal(int clean, int corrupted) {
    return new Refused(
        "the clean and the corrupted prompt differ in length",
        "%d and %d tokens".formatted(clean, corrupted));
  }

  private static String with(String text, int place, char character) {
    return text.substring(0, place) + character + text.substring(place + 1);
  }

  private static boolean differOnlyAt(int position, int[] a, int[] b) {
    return a[position] != b[position]
        && Arrays.equals(a, 0, position, b, 0, position)
        && Arrays.equals(a, position + 1, a.length, b, position + 1, b.length);
  }

  private static int common(int[] a, int[] b) {
    int mismatch = Arrays.mismatch(a, b);
    return mismatch < 0 ? a.length : mismatch;
  }
}
