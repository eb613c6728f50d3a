package filigree.interp.task;

import java.util.List;

/** A question that prompts of one form pose to a model. */
public interface Task {
  /**
   * Returns what {@link Tasks#named} made the task from.
   *
   * @return the name with every option, the chosen and the usual ones, such as {@code
   *     ioi:corruption=s2-io,templates=abba}; or the name of a file
   */
  String name();

  /**
   * Returns what is asked.
   *
   * @return one sentence
   */
  String description();

  /**
   * Returns where the task comes from.
   *
   * @return a publication or a file
   */
  String source();

  /**
   * Draws prompts.
   *
   * @param codec the tokenizer of the model that will be asked
   * @param count how many are wanted
   * @param seed the same seed gives the same prompts
   * @return from one to {@code count} different prompts: fewer where the task has no more. Within
   *     one pair the lengths agree; two pairs may differ in length
   * @throws TaskException where the tokenizer cannot express a single prompt of the task
   */
  List<Contrast> contrasts(TokenCodec codec, int count, long seed);
}
