package filigree.cli;

import filigree.interp.circuit.CircuitSearch;
import filigree.interp.circuit.GateRule;
import filigree.interp.circuit.Metric;
import filigree.interp.circuit.TokenPairs;
import filigree.interp.task.Task;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * How models are looked into: alike where two are compared.
 *
 * @param task poses the prompts
 * @param prompts how many, at most
 * @param request the search
 * @param metric what counts as an answer
 * @param gateRule what gates do in runs that are patched
 * @param extras what is done besides
 */
record CircuitPlan(
    Task task,
    int prompts,
    CircuitSearch.Request request,
    Metric metric,
    GateRule gateRule,
    Extras extras) {
  /** The effect whose circuit is kept and whose size every result names. */
  static final double EFFECT = 0.9;

  /**
   * What is done besides the search.
   *
   * @param attention whether the page shows attention
   * @param tokenPairs how open pairs of tokens are patched, where they are
   * @param subsets how many subsets the check of completeness draws, where there are checks
   */
  record Extras(Attention attention, Optional<TokenPairs.Patch> tokenPairs, OptionalInt subsets) {}

  /** Whether the page shows attention. */
  enum Attention {
    /** On a few prompts. */
    SHOWN,
    /** Not where gates are those of another model: the maps would be those of another run. */
    LEFT_OUT
  }
}
