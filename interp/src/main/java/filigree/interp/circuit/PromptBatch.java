package filigree.interp.circuit;

import filigree.interp.task.Contrast;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Prompts of one length that are run at once.
 *
 * @param prompts their numbers in the task
 * @param contrasts as many
 */
record PromptBatch(List<Integer> prompts, List<Contrast> contrasts) {
  int size() {
    return contrasts.size();
  }

  int time() {
    return contrasts.getFirst().clean().length;
  }

  /** Batches of one length each, in the order in which the lengths occur first. */
  static List<PromptBatch> of(List<Contrast> contrasts, int batchSize) {
    Map<Integer, List<Integer>> byLength = new LinkedHashMap<>();
    for (int i = 0; i < contrasts.size(); i++) {
      byLength.computeIfAbsent(contrasts.get(i).clean().length, l -> new ArrayList<>()).add(i);
    }
    List<PromptBatch> out = new ArrayList<>();
    for (List<Integer> group : byLength.values()) {
      for (int from = 0; from < group.size(); from += batchSize) {
        List<Integer> some = group.subList(from, Math.min(group.size(), from + batchSize));
        out.add(new PromptBatch(List.copyOf(some), some.stream().map(contrasts::get).toList()));
      }
    }
    return out;
  }
}
