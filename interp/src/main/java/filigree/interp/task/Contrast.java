package filigree.interp.task;

import java.util.Arrays;

/**
 * Two prompts of equal length that differ in what decides the answer: one line of a task.
 *
 * @param clean token ids of the prompt that is answered correctly
 * @param corrupted token ids of the prompt that is not, position by position beside the clean one
 * @param position whose logits give the answer; usually the last
 * @param correct tokens that answer the clean prompt
 * @param incorrect tokens that they are compared with
 */
public record Contrast(int[] clean, int[] corrupted, int position, int[] correct, int[] incorrect) {
  /** Checks what every method relies on. */
  public Contrast {
    if (clean.length != corrupted.length) {
      throw new TaskException(
          "the clean prompt has %d tokens and the corrupted one %d; they must have as many, so that positions can be exchanged"
              .formatted(clean.length, corrupted.length));
    }
    if (position < 0 || position >= clean.length) {
      throw new TaskException(
          "the answer is read at position %d of a prompt of %d tokens"
              .formatted(position, clean.length));
    }
    if (correct.length == 0 || incorrect.length == 0) {
      throw new TaskException("a prompt needs at least one correct and one incorrect answer");
    }
    for (int answer : correct) {
      if (Arrays.stream(incorrect).anyMatch(other -> other == answer)) {
        throw new TaskException("token " + answer + " is both a correct and an incorrect answer");
      }
    }
    clean = clean.clone();
    corrupted = corrupted.clone();
    correct = correct.clone();
    incorrect = incorrect.clone();
  }
}
