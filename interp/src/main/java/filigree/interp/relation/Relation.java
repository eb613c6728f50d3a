package filigree.interp.relation;

import filigree.interp.task.TaskException;
import filigree.interp.task.TokenCodec;
import java.util.List;
import java.util.Optional;

/**
 * Puts every attention edge of a kind of prompt into a class, by what its key is to its query. What
 * a circuit is said to read can so be counted: the column's own digits, the induction target.
 */
public sealed interface Relation permits InductionTargets, SumColumns {
  /**
   * Returns the classes of keys.
   *
   * @return names, in the order in which they are shown
   */
  List<String> kinds();

  /**
   * Returns the groups of queries.
   *
   * @return names, in the order in which they are shown
   */
  List<String> groups();

  /**
   * Draws prompts.
   *
   * @param codec the tokenizer of the model that reads them
   * @param context the most tokens that a prompt may have
   * @param count how many
   * @param seed the same seed gives the same prompts
   * @return prompts
   * @throws TaskException where the tokenizer or the context cannot express one
   */
  List<Prompt> prompts(TokenCodec codec, int context, int count, long seed);

  /** A prompt whose edges can be told apart. */
  interface Prompt {
    /**
     * Returns the tokens.
     *
     * @return ids
     */
    int[] ids();

    /**
     * Returns the group of a query.
     *
     * @param query position
     * @return one of {@link Relation#groups}; empty where this query is not looked at
     */
    Optional<String> group(int query);

    /**
     * Returns the class of an edge of a query that is looked at.
     *
     * @param query position
     * @param key position, at most that of the query
     * @return one of {@link Relation#kinds}
     */
    String kind(int query, int key);
  }

  /**
   * Finds a relation.
   *
   * @param name {@code addition} or {@code induction}
   * @return the relation
   * @throws TaskException where there is none of this name
   */
  static Relation named(String name) {
    return switch (name) {
      case "addition" -> new SumColumns();
      case "induction" -> new InductionTargets();
      default ->
          throw new TaskException(
              "there is no relation '%s', expected addition or induction".formatted(name));
    };
  }
}
