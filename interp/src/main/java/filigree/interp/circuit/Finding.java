package filigree.interp.circuit;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * What is written about one search: scores, the circuit, the curve, and where they come from.
 *
 * @param ranking scores, largest first
 * @param circuit the circuit that is shown, of the ranking's graph
 * @param curve how much the k first explain
 * @param bootstrap draws of the prompts
 * @param settings by name, in the order in which they are written; such as {@code method}
 * @param hashes of model and task by name, in the order in which they are written
 */
public record Finding(
    Ranking ranking,
    Circuit circuit,
    Curve curve,
    Bootstrap bootstrap,
    Map<String, String> settings,
    Map<String, String> hashes) {
  /** Copies the maps, in their order. */
  public Finding {
    settings = new LinkedHashMap<>(settings);
    hashes = new LinkedHashMap<>(hashes);
  }

  @Override
  public Map<String, String> settings() {
    return new LinkedHashMap<>(settings);
  }

  @Override
  public Map<String, String> hashes() {
    return new LinkedHashMap<>(hashes);
  }
}
