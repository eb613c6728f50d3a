package filigree.autograd;

import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Predicate;

/**
 * One run of a model. It applies operations, records them when gradients are wanted, names values
 * at sites, owns what it made and frees it in {@link #close}. There is no tape, hook registry or
 * gradient slot that outlives it.
 *
 * <p>Not thread-safe.
 */
public final class Pass implements AutoCloseable {
  private enum Mode {
    RECORDING,
    INFERENCE
  }

  private final Workspace workspace;
  private final Scope scope;
  private final Mode mode;
  private final Optional<Tap> tap;
  private final Predicate<Param> trained;
  private final List<Call> record = new ArrayList<>();
  private final List<Var> open = new ArrayList<>(); // outputs that may be asked for, oldest first
  private final Buffers buffers;
  private final Map<Param, Var> params = new LinkedHashMap<>();
  private final List<Var> variables = new ArrayList<>();
  private int vars;

  private Pass(
      Scope scope, Workspace workspace, Mode mode, Optional<Tap> tap, Predicate<Param> trained) {
    this.workspace = workspace;
    this.scope = scope;
    this.mode = mode;
    this.tap = tap;
    this.trained = trained;
    this.buffers = new Buffers(workspace);
  }

  private static Pass start(Kernels kernels, Workspace workspace, Mode mode) {
    return new Pass(
        new Scope(kernels, workspace), workspace, mode, Optional.empty(), param -> true);
  }

  /**
   * Starts a pass that can be differentiated.
   *
   * @param kernels the provider
   * @param workspace memory for this pass alone, which resets it at its end
   * @return the pass
   */
  public static Pass recording(Kernels kernels, Workspace workspace) {
    return start(kernels, workspace, Mode.RECORDING);
  }

  /**
   * Starts a pass that keeps no record.
   *
   * @param kernels the provider
   * @param workspace memory for this pass alone, which resets it at its end
   * @return the pass
   */
  public static Pass inference(Kernels kernels, Workspace workspace) {
    return start(kernels, workspace, Mode.INFERENCE);
  }

  /**
   * Returns the same pass with somebody looking. To be called before anything is applied.
   *
   * @param observer who looks
   * @return a pass to be used instead of this one
   */
  public Pass with(Tap observer) {
    requireUnused("a tap");
    return new Pass(scope, workspace, mode, Optional.of(observer), trained);
  }

  /**
   * Returns the same pass with some parameters frozen: no gradient is computed for them. To be
   * called before anything is applied.
   *
   * @param which the parameters that are trained
   * @return a pass to be used instead of this one
   */
  public Pass training(Predicate<Param> which) {
    requireUnused("the choice of parameters");
    return new Pass(scope, workspace, mode, tap, which);
  }

  private void requireUnused(String what) {
    if (vars > 0) {
      throw new AutogradException(what + " must be given before the first value of a pass is made");
    }
  }

  /**
   * Returns kernels and memory.
   *
   * @return the scope
   */
  public Scope scope() {
    return scope;
  }

  /**
   * Enters a value through which no gradient flows.
   *
   * @param value the value; it must outlive the pass or belong to it
   * @return its name in this pass
   */
  public Var constant(Tensor value) {
    return make(value, false);
  }

  /**
   * Enters a value whose gradient is wanted.
   *
   * @param value the value; it must outlive the pass or belong to it
   * @return its name in this pass
   * @throws AutogradException where gradients are recorded and the value has no type for one
   */
  public Var variable(Tensor value) {
    if (mode == Mode.RECORDING && !value.dtype().computes()) {
      throw notDifferentiable("a variable of shape " + value.shape(), value);
    }
    Var var = make(value, mode == Mode.RECORDING);
    variables.add(var);
    return var;
  }

  /**
   * Enters a parameter; each is entered once, however often it is used.
   *
   * @param param the parameter
   * @return its value in this pass
   * @throws AutogradException where its gradient is wanted and it is stored in 16 bits
   */
  public Var param(Param param) {
    Var known = params.get(param);
    if (known != null) {
      return known;
    }
    boolean wanted = mode == Mode.RECORDING && trained.test(param);
    if (wanted && !param.value().dtype().computes()) {
      throw notDifferentiable("parameter " + param, param.value());
    }
    Var entered = make(param.value(), wanted);
    params.put(param, entered);
    return entered;
  }

  private static AutogradException notDifferentiable(String what, Tensor value) {
    return new AutogradException(
        "%s is stored as %s, and gradients are F32 or F64; freeze it with Pass.training, or load its numbers widened"
            .formatted(what, value.dtype()));
  }

  /**
   * Applies an operation with one output.
   *
   * @param op the operation
   * @param inputs its inputs, values of this pass
   * @return its first output
   */
  public Var apply(Op op, Var... inputs) {
    return applyAll(op, inputs).getFirst();
  }

  /**
   * Applies an operation.
   *
   * @param op the operation
   * @param inputs its inputs, values of this pass
   * @return all its outputs
   */
  public List<Var> applyAll(Op op, Var... inputs) {
    List<Var> in = List.of(inputs);
    List<Tensor> values = new ArrayList<>(in.size());
    boolean differentiable = false;
    for (Var input : in) {
      requireOwn(op, input);
      values.add(input.value());
      differentiable |= input.differentiable();
    }
    Op.Result result = op.forward(scope, values);
    List<Var> outputs = new ArrayList<>(result.outputs().size());
    for (int i = 0; i < result.outputs().size(); i++) {
      Tensor value = result.outputs().get(i);
      Buffers.Buffer buffer =
          switch (result.ownership()) {
            case NEW -> buffers.made(value);
            case VIEW -> buffers.holding(value);
          };
      outputs.add(make(value, differentiable && i < result.differentiableOutputs(), buffer));
    }
    open.addAll(outputs);
    if (differentiable) {
      Call call = new Call(op, in, outputs, result.saved());
      buffers.keepFor(call);
      record.add(call);
    } else {
      result.saved().forEach(workspace::release);
    }
    return outputs;
  }

  private void requireOwn(Object user, Var input) {
    if (input.pass() != this) {
      throw new AutogradException(user + ": an input belongs to another pass");
    }
  }

  /** A part of a model, such as a block: a function of values and of the parameters it enters. */
  @FunctionalInterface
  public interface Part {
    /**
     * Computes the outputs; again, and the same, whenever it is called.
     *
     * @param pass where to apply operations; not the pass that is asked to recompute
     * @param inputs values of that pass
     * @return the outputs, values of that pass
     */
    List<Var> run(Pass pass, List<Var> inputs);
  }

  /**
   * Runs a part of a model and keeps only its outputs, no record: the backward pass runs it again
   * (activation checkpointing). Gradients have the same bits as without. Where no gradients are
   * recorded, or where a tap looks, which must see each value once, the part is simply run.
   *
   * @param part the part; values from outside reach it as inputs alone
   * @param inputs its inputs, values of this pass
   * @return its outputs
   */
  public List<Var> recomputed(Part part, Var... inputs) {
    if (mode == Mode.INFERENCE || tap.isPresent()) {
      return part.run(this, List.of(inputs));
    }
    Pass inner = nested();
    List<Var> in = new ArrayList<>();
    List<Var> within = new ArrayList<>();
    for (Var input : inputs) {
      requireOwn("recomputed", input);
      in.add(input);
      within.add(
          input.differentiable() ? inner.variable(input.value()) : inner.constant(input.value()));
    }
    List<Var> results = part.run(inner, within);
    List<Param> used = List.copyOf(inner.params.keySet());
    used.forEach(param -> in.add(param(param)));
    inner.dropRecord();
    List<Var> outputs = results.stream().map(result -> adopted(inner, result)).toList();
    inner.leave();
    open.addAll(outputs);
    if (outputs.stream().anyMatch(Var::differentiable)) {
      Recomputation again = new Recomputation(this::nested, part, inputs.length, used);
      Call call = new Call(again, in, outputs, List.of());
      buffers.keepFor(call);
      record.add(call);
    }
    return outputs;
  }

  /** A pass in the memory of this one, which frees what it made itself, in {@link #leave}. */
  private Pass nested() {
    return new Pass(scope, workspace, mode, Optional.empty(), trained);
  }

  /** Takes over a result of a nested pass. */
  private Var adopted(Pass inner, Var result) {
    inner.requireOwn("a part that is recomputed", result);
    Tensor value = result.value();
    if (inner.buffers.surrender(result.buffer(), value)) {
      return make(value, result.differentiable(), buffers.made(value));
    }
    if (inner.buffers.owns(result.buffer())) {
      Tensor copy = scope.like(value);
      scope.kernels().cast(value, copy);
      return make(copy, result.differentiable(), buffers.made(copy));
    }
    return make(value, result.differentiable());
  }

  private void dropRecord() {
    for (Call call : record) {
      call.saved.forEach(workspace::release);
      buffers.doneWith(call);
    }
    record.clear();
  }

  /** Gives back all values that a nested pass made and that nobody took over. */
  void leave() {
    for (Var var : open) {
      if (!var.isClosed()) {
        close(var, "after the part that made it was done; return it from the part");
      }
    }
    open.clear();
  }

  /**
   * Names a value, for whoever looks.
   *
   * @param site its name
   * @param value the value
   * @return the value to go on with
   */
  public Var at(Site site, Var value) {
    return tap.isPresent() ? seen(tap.get(), site, value) : value;
  }

  /**
   * Tells whether somebody looks at a site.
   *
   * @param site the site
   * @return whether the value must exist
   */
  public boolean wants(Site site) {
    return tap.isPresent() && tap.get().wants(site);
  }

  private Var seen(Tap observer, Site site, Var value) {
    if (!observer.wants(site)) {
      return value;
    }
    Var next = observer.see(this, site, value);
    if (!next.shape().equals(value.shape())) {
      throw new AutogradException(
          "the value put at %s has shape %s, expected %s"
              .formatted(site, next.shape(), value.shape()));
    }
    return next;
  }

  /**
   * A moment of a pass.
   *
   * @param vars how many values there were
   */
  public record Mark(int vars) {}

  /**
   * Returns this moment, for {@link #keepOnly}.
   *
   * @return the moment
   */
  public Mark mark() {
    return new Mark(vars);
  }

  /**
   * Says that of what was computed since a moment only some values will be asked for again. The
   * others are given back at once, except for those that a rule will read, which the backward pass
   * gives back. Where a tap {@linkplain Tap.Holding#KEEPS keeps} what it sees nothing is.
   *
   * @param since the moment
   * @param kept values that live on
   */
  public void keepOnly(Mark since, Collection<Var> kept) {
    if (tap.isPresent() && tap.get().holding() == Tap.Holding.KEEPS) {
      return;
    }
    Set<Var> alive = new HashSet<>(kept);
    int from = open.size();
    while (from > 0 && open.get(from - 1).index() >= since.vars()) {
      from--;
    }
    List<Var> recent = open.subList(from, open.size());
    for (Var var : recent) {
      if (!alive.contains(var)) {
        close(var, "after its part of the model was done; name it in keepOnly, or read it before");
      }
    }
    recent.removeIf(Var::isClosed);
  }

  private void close(Var var, String why) {
    var.close(why);
    buffers.close(var.buffer());
  }

  /**
   * Differentiates a scalar with respect to all parameters and variables: one loop over the record,
   * last to first. Each gradient is given back when it has been used, and so is each recorded
   * value; what entered the pass stays.
   *
   * @param result a scalar of this pass
   * @return the gradients, alive until this pass is closed
   * @throws AutogradException where the result is not a scalar or depends on nothing
   */
  public Gradients backward(Var result) {
    if (result.shape().size() != 1) {
      throw new AutogradException(
          "backward: the result has shape "
              + result.shape()
              + ", expected one number; sum it first");
    }
    Tensor one = scope.like(result.value());
    scope.kernels().fill(one, 1);
    return backward(result, one);
  }

  /**
   * Pulls a gradient back: the product of a vector with the Jacobian.
   *
   * @param result a value of this pass
   * @param gradient the vector, of the result's shape; this pass then owns it and may write to it
   * @return the gradients, alive until this pass is closed
   * @throws AutogradException where the result depends on nothing
   */
  public Gradients backward(Var result, Tensor gradient) {
    if (!result.differentiable()) {
      throw new AutogradException(
          "backward: the result depends on no parameter or variable of a recording pass");
    }
    return pullBack(List.of(new Arrived(result, gradient)));
  }

  /**
   * A gradient to begin with.
   *
   * @param result a value of this pass; may occur twice
   * @param gradient which this pass owns from now on
   */
  record Arrived(Var result, Tensor gradient) {}

  /** One loop over the record. */
  Gradients pullBack(List<Arrived> arrived) {
    closeRecorded();
    Accumulator gradients = new Accumulator(scope);
    arrived.forEach(one -> gradients.add(one.result(), one.gradient()));
    while (!record.isEmpty()) {
      Call call = record.removeLast();
      Backward step = new Backward(scope, call, gradients, buffers);
      if (step.isReached()) {
        call.rule.vjp(step);
      }
      step.finish();
      call.saved.forEach(workspace::release);
      buffers.doneWith(call);
    }
    Gradients out = new Gradients();
    params.forEach((param, var) -> gradients.find(var).ifPresent(g -> out.put(param, g)));
    variables.forEach(var -> gradients.find(var).ifPresent(g -> out.put(var, g)));
    return out;
  }

  /** From here on only rules read what was recorded: what none will read is given back now. */
  private void closeRecorded() {
    for (Call call : record) {
      for (Var output : call.outputs) {
        if (!output.isClosed()) {
          close(output, "after the backward pass freed it; copy it before backward");
        }
      }
    }
    open.removeIf(Var::isClosed);
  }

  private Var make(Tensor value, boolean differentiable) {
    return make(value, differentiable, buffers.holding(value));
  }

  private Var make(Tensor value, boolean differentiable, Buffers.Buffer buffer) {
    buffers.open(buffer);
    return new Var(this, vars++, value, differentiable, buffer);
  }

  /** Frees everything that this pass made. */
  @Override
  public void close() {
    record.clear();
    open.clear();
    buffers.clear();
    workspace.reset();
  }

  /**
   * Makes a tensor in this pass's memory.
   *
   * @param shape its shape
   * @param dtype its type
   * @return a tensor with undefined contents
   */
  public Tensor make(Shape shape, DType dtype) {
    return scope.make(shape, dtype);
  }
}
