package filigree.autograd;

import java.util.Collection;
import java.util.Comparator;

/**
 * The name of a value inside a model, in TransformerLens's words: {@code
 * blocks.3.attn.hook_pattern}.
 *
 * @param name the name
 */
public record Site(String name) {
  private static final int SUGGESTIONS = 3;

  /**
   * Finds a site by its name.
   *
   * @param name what a user wrote
   * @param known the sites that exist
   * @return the site
   * @throws AutogradException where there is none; names the nearest ones
   */
  public static Site find(String name, Collection<Site> known) {
    Site wanted = new Site(name);
    if (known.contains(wanted)) {
      return wanted;
    }
    String nearest =
        String.join(
            ", ",
            known.stream()
                .map(Site::name)
                .sorted(Comparator.comparingInt((String other) -> distance(name, other)))
                .limit(SUGGESTIONS)
                .toList());
    throw new AutogradException(
        "there is no value named '" + name + "' in this model; the nearest names are " + nearest);
  }

  /** Levenshtein's edit distance. */
  private static int distance(String a, String b) {
    int[] row = new int[b.length() + 1];
    for (int j = 0; j <= b.length(); j++) {
      row[j] = j;
    }
    for (int i = 1; i <= a.length(); i++) {
      int diagonal = row[0];
      row[0] = i;
      for (int j = 1; j <= b.length(); j++) {
        int substituted = diagonal + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
        diagonal = row[j];
        row[j] = Math.min(substituted, 1 + Math.min(row[j], row[j - 1]));
      }
    }
    return row[b.length()];
  }

  @Override
  public String toString() {
    return name;
  }
}
