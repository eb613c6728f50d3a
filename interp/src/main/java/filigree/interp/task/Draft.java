package filigree.interp.task;

import java.util.List;

/**
 * A pair of prompts as text, before a tokenizer has seen it.
 *
 * @param clean the prompt that is answered correctly
 * @param corrupted the prompt beside it
 * @param answers what the answers to the clean prompt are, and where they are read
 */
record Draft(String clean, String corrupted, Answers answers) {

  /** How an answer becomes a token. */
  sealed interface Answers {}

  /**
   * Each answer must be one token and follows the prompt.
   *
   * @param correct with their leading spaces
   * @param incorrect with their leading spaces
   */
  record Whole(List<String> correct, List<String> incorrect) implements Answers {}

  /**
   * Two answers of any number of tokens follow the prompt. What their tokens have in common at the
   * front is given away: it becomes the end of both prompts, and the first token in which they
   * differ is asked for.
   *
   * @param correct with its leading space
   * @param incorrect with its leading space
   */
  record FirstDifference(String correct, String incorrect) implements Answers {}

  /**
   * The answer is a character that is read at the place of another one inside the prompt.
   *
   * @param place index of that character in the prompt
   * @param correct the character
   * @param incorrect the character that the corrupted prompt asks for
   */
  record InPlace(int place, char correct, char incorrect) implements Answers {}

  /**
   * The last two digits of a year follow the prompt, which ends with the first two: later ones are
   * correct, the year's own and earlier ones incorrect.
   *
   * @param year four digits
   */
  record LaterYears(int year) implements Answers {}
}
