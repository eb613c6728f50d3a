package filigree.tensor;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.StringTokenizer;

/**
 * A shape by the names of its axes, such as {@code "batch query head width"}; a number stands for
 * itself. A {@link Check} binds each name at its first use and holds later tensors to it, so that
 * an error names the axis: <i>attention: key has 7 along 'batch' (axis 0 of [7, 3]), but query has
 * 4</i>.
 */
public final class ShapeSpec {
  private final List<String> axes;

  private ShapeSpec(List<String> axes) {
    this.axes = axes;
  }

  /**
   * Parses a specification.
   *
   * @param axes names or numbers, separated by spaces
   * @return the specification
   */
  public static ShapeSpec of(String axes) {
    // Every kernel checks its operands so: a regular expression would cost more than the rest of
    // it.
    List<String> names = new ArrayList<>();
    for (StringTokenizer words = new StringTokenizer(axes); words.hasMoreTokens(); ) {
      names.add(words.nextToken());
    }
    return new ShapeSpec(names);
  }

  /**
   * Starts a check of several tensors against each other.
   *
   * @param where the place that errors name
   * @return an empty check
   */
  public static Check check(String where) {
    return new Check(where);
  }

  @Override
  public String toString() {
    return String.join(" ", axes);
  }

  /** Lengths bound to names so far, and who bound them. */
  public static final class Check {
    private final String where;
    private final Map<String, Long> lengths = new HashMap<>();
    private final Map<String, String> owners = new HashMap<>();

    private Check(String where) {
      this.where = where;
    }

    /**
     * Holds a tensor to a specification.
     *
     * @param name what errors call the tensor
     * @param tensor the tensor
     * @param spec its axes
     * @return this check
     * @throws TensorException where rank or a length differs
     */
    public Check that(String name, Tensor tensor, ShapeSpec spec) {
      Shape shape = tensor.shape();
      if (shape.rank() != spec.axes.size()) {
        throw new TensorException(
            "%s: %s has shape %s, expected the %d axes [%s]"
                .formatted(where, name, shape, spec.axes.size(), spec));
      }
      for (int i = 0; i < spec.axes.size(); i++) {
        String axis = spec.axes.get(i);
        long found = shape.dim(i);
        if (Character.isDigit(axis.charAt(0))) {
          if (found != Long.parseLong(axis)) {
            throw mismatch(name, shape, i, axis, "expected " + axis);
          }
        } else {
          Long bound = lengths.putIfAbsent(axis, found);
          owners.putIfAbsent(axis, name);
          if (bound != null && bound != found) {
            throw mismatch(name, shape, i, axis, "but " + owners.get(axis) + " has " + bound);
          }
        }
      }
      return this;
    }

    /**
     * Holds a tensor to a specification.
     *
     * @param name what errors call the tensor
     * @param tensor the tensor
     * @param spec its axes, as in {@link ShapeSpec#of}
     * @return this check
     * @throws TensorException where rank or a length differs
     */
    public Check that(String name, Tensor tensor, String spec) {
      return that(name, tensor, ShapeSpec.of(spec));
    }

    /**
     * Returns the length that a name was bound to.
     *
     * @param axis the name
     * @return its length
     * @throws TensorException where no tensor bound it
     */
    public int length(String axis) {
      Long bound = lengths.get(axis);
      if (bound == null) {
        throw new TensorException(where + ": no tensor has an axis named '" + axis + "'");
      }
      return Math.toIntExact(bound);
    }

    private TensorException mismatch(
        String name, Shape shape, int index, String axis, String expected) {
      return new TensorException(
          "%s: %s has %d along '%s' (axis %d of %s), %s"
              .formatted(where, name, shape.dim(index), axis, index, shape, expected));
    }
  }
}
