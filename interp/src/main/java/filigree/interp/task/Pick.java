package filigree.interp.task;

import filigree.tensor.Philox;
import java.util.ArrayList;
import java.util.List;

/** Draws from lists. */
final class Pick {
  private Pick() {}

  /** One element, each equally likely. */
  static <T> T one(Philox random, List<T> list) {
    return list.get(random.nextInt(list.size()));
  }

  /** Different elements in random order, each choice equally likely. */
  static <T> List<T> several(Philox random, List<T> list, int count) {
    if (count > list.size()) {
      throw new IllegalArgumentException(count + " of " + list.size());
    }
    List<T> left = new ArrayList<>(list);
    List<T> out = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      out.add(left.remove(random.nextInt(left.size())));
    }
    return out;
  }
}
