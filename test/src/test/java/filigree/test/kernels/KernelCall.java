package filigree.test.kernels;

import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * One call of a kernel, without a provider and without memory: operands by the names of the
 * kernel's parameters, what to do with them, and how exact the result must be.
 */
final class KernelCall {
  /** What a kernel does with an operand. */
  enum Role {
    /** It must not change. */
    READ,
    /** It is written whole; what it held does not matter. */
    WRITTEN,
    /** It is read, and written at least in part. */
    CHANGED
  }

  /**
   * One operand.
   *
   * @param name the kernel's parameter
   * @param role what happens to it
   * @param type its type; empty for the type that the provider computes in
   * @param shape its shape
   * @param values its elements; for a written operand anything
   */
  record Operand(String name, Role role, Optional<DType> type, Shape shape, double[] values) {
    Operand withShape(Shape other) {
      double[] more = new double[Math.toIntExact(other.size())];
      for (int i = 0; i < more.length; i++) {
        more[i] = values.length == 0 ? 0 : values[i % values.length];
      }
      return new Operand(name, role, type, other, more);
    }

    Operand withType(DType other) {
      return new Operand(name, role, Optional.of(other), shape, values);
    }
  }

  /**
   * How exact a written operand must be: the error, in units of the scale or of the right number,
   * whichever is larger.
   */
  record Accuracy(double tolerance, double scale) {
    static final Accuracy EXACT = new Accuracy(0, 1);
  }

  /** The operands as tensors, by name. */
  interface Tensors {
    Tensor of(String name);
  }

  /** The call itself. */
  interface Body {
    /** Returns what the kernel returns, 0 where it returns nothing. */
    double run(Kernels kernels, Tensors tensors);
  }

  /** The call of a kernel that returns nothing. */
  interface Effect {
    void run(Kernels kernels, Tensors tensors);
  }

  private final String kernel;
  private final Map<String, Operand> operands = new LinkedHashMap<>();
  private final Map<String, Accuracy> accuracies = new LinkedHashMap<>();
  private final Map<String, Set<String>> places = new LinkedHashMap<>();
  private final Set<String> free = new LinkedHashSet<>();
  private Accuracy ordinary = new Accuracy(2e-6, 1);
  private Body body;

  private KernelCall(String kernel) {
    this.kernel = kernel;
  }

  static KernelCall of(String kernel) {
    return new KernelCall(kernel);
  }

  /** An operand that is read, in the provider's type. */
  KernelCall reads(String name, Numbers numbers) {
    return add(name, Role.READ, Optional.empty(), numbers);
  }

  /** An operand that is read, in a type of its own. */
  KernelCall reads(String name, DType type, Numbers numbers) {
    return add(name, Role.READ, Optional.of(type), numbers);
  }

  /** Token ids. */
  KernelCall readsIds(String name, Numbers numbers) {
    return add(name, Role.READ, Optional.of(DType.I32), numbers);
  }

  /** An operand that is written whole. */
  KernelCall writes(String name, Shape shape) {
    return add(name, Role.WRITTEN, Optional.empty(), Numbers.nothing(shape));
  }

  /** An operand that is written whole, in a type of its own. */
  KernelCall writes(String name, DType type, Shape shape) {
    return add(name, Role.WRITTEN, Optional.of(type), Numbers.nothing(shape));
  }

  /** An operand that is read and written. */
  KernelCall changes(String name, Numbers numbers) {
    return add(name, Role.CHANGED, Optional.empty(), numbers);
  }

  /** An operand that is read and written, in a type of its own. */
  KernelCall changes(String name, DType type, Numbers numbers) {
    return add(name, Role.CHANGED, Optional.of(type), numbers);
  }

  private KernelCall add(String name, Role role, Optional<DType> type, Numbers numbers) {
    operands.put(name, new Operand(name, role, type, numbers.shape(), numbers.values()));
    return this;
  }

  /** The contract lets a written operand be a read one of its shape. */
  KernelCall mayShare(String written, String read) {
    places.computeIfAbsent(written, name -> new LinkedHashSet<>()).add(read);
    return this;
  }

  /** An axis that may have any length, whatever the other operands are. */
  KernelCall anyLength(String name, int axis) {
    free.add(name + axis);
    return this;
  }

  /** The accuracy of every operand that has none of its own. */
  KernelCall within(double tolerance, double scale) {
    ordinary = new Accuracy(tolerance, scale);
    return this;
  }

  /** The accuracy of one operand. */
  KernelCall within(String name, double tolerance, double scale) {
    accuracies.put(name, new Accuracy(tolerance, scale));
    return this;
  }

  /** No rounding at all. */
  KernelCall exactly() {
    ordinary = Accuracy.EXACT;
    return this;
  }

  KernelCall runs(Effect effect) {
    return returns(
        (kernels, tensors) -> {
          effect.run(kernels, tensors);
          return 0;
        });
  }

  KernelCall returns(Body whole) {
    body = whole;
    return this;
  }

  String kernel() {
    return kernel;
  }

  List<Operand> operands() {
    return new ArrayList<>(operands.values());
  }

  Operand operand(String name) {
    return operands.get(name);
  }

  boolean isFree(String name, int axis) {
    return free.contains(name + axis);
  }

  /** Which read operands a written one may be, where the shapes allow it. */
  Map<String, String> sharings() {
    Map<String, String> out = new LinkedHashMap<>();
    places.forEach(
        (written, all) ->
            all.stream()
                .filter(read -> operand(read).shape().equals(operand(written).shape()))
                .forEach(read -> out.put(read, written)));
    return out;
  }

  Accuracy accuracy(String name) {
    return accuracies.getOrDefault(name, ordinary);
  }

  double run(Kernels kernels, Tensors tensors) {
    return body.run(kernels, tensors);
  }

  /** The same call with another operand in one place. */
  KernelCall with(Operand other) {
    KernelCall out = new KernelCall(kernel);
    out.operands.putAll(operands);
    out.operands.put(other.name(), other);
    out.accuracies.putAll(accuracies);
    out.places.putAll(places);
    out.free.addAll(free);
    out.ordinary = ordinary;
    out.body = body;
    return out;
  }

  @Override
  public String toString() {
    StringBuilder text = new StringBuilder(kernel).append('(');
    operands.forEach(
        (name, operand) ->
            text.append(text.charAt(text.length() - 1) == '(' ? "" : ", ")
                .append(name)
                .append(' ')
                .append(operand.shape()));
    return text.append(')').toString();
  }
}
