package filigree.cli;

import filigree.interp.circuit.Finding;
import filigree.interp.circuit.Interval;
import filigree.interp.circuit.NodeScores;
import filigree.interp.report.CircuitPageData;
import filigree.interp.task.Contrast;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * What was seen when one model was looked into.
 *
 * @param name as it is shown
 * @param contrasts the prompts
 * @param answers how it answers them
 * @param outcome whether there is a circuit
 */
record CircuitLook(String name, List<Contrast> contrasts, Answers answers, Outcome outcome) {
  /**
   * How a model answers the prompts of a task.
   *
   * @param accuracy share of clean prompts whose best correct answer is above the best incorrect
   *     one
   * @param clean mean metric of the clean prompts
   * @param corrupted mean metric of the corrupted prompts
   * @param gain how much better the clean ones are answered, with its interval over prompts
   */
  record Answers(double accuracy, double clean, double corrupted, Interval gain) {}

  /** Whether there is a circuit. */
  sealed interface Outcome {}

  /**
   * There is.
   *
   * @param finding the search's result
   * @param nodes scores of heads and MLPs, for the heat map
   * @param attention of the model on the prompts that the page shows
   * @param files texts by name, of those that are written about each model
   */
  record Found(
      Finding finding, NodeScores nodes, List<ShownPrompt> attention, Map<String, String> files)
      implements Outcome {
    Found {
      attention = List.copyOf(attention);
      files = new LinkedHashMap<>(files);
    }

    @Override
    public Map<String, String> files() {
      return new LinkedHashMap<>(files);
    }
  }

  /**
   * The model does not do the task, so nothing explains how.
   *
   * @param sentence says so
   */
  record Unable(String sentence) implements Outcome {}

  /**
   * A prompt with the attention on it.
   *
   * @param prompt its tokens
   * @param pattern [layer][head][query][key]
   */
  record ShownPrompt(CircuitPageData.Prompt prompt, double[][][][] pattern) {}

  CircuitLook {
    contrasts = List.copyOf(contrasts);
  }
}
