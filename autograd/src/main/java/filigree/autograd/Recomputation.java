package filigree.autograd;

import java.util.ArrayList;
import java.util.List;
import java.util.function.IntPredicate;
import java.util.function.Supplier;

/**
 * A part of a model of which only inputs and outputs were kept: a pass inside the backward pass
 * runs it again, this time with its record, and is differentiated. Inputs are the part's values,
 * then the parameters that it used.
 *
 * @param nested starts a pass in the memory of the one that goes backward
 * @param part what is run again
 * @param values how many inputs are values
 * @param params the other inputs
 */
record Recomputation(Supplier<Pass> nested, Pass.Part part, int values, List<Param> params)
    implements Rule {
  @Override
  public Reads reads(IntPredicate needs) {
    return new Reads(i -> i < values, i -> false);
  }

  @Override
  public void vjp(Backward back) {
    Pass inner = nested.get();
    List<Var> in = new ArrayList<>();
    for (int i = 0; i < values; i++) {
      in.add(back.needs(i) ? inner.variable(back.input(i)) : inner.constant(back.input(i)));
    }
    List<Var> out = part.run(inner, in);
    List<Pass.Arrived> arrived = new ArrayList<>();
    for (int i = 0; i < out.size(); i++) {
      if (back.hasGradient(i)) {
        arrived.add(new Pass.Arrived(out.get(i), back.takeGradient(i)));
      }
    }
    Gradients gradients = inner.pullBack(arrived);
    for (int i = 0; i < values; i++) {
      if (back.needs(i)) {
        int input = i;
        gradients.of(in.get(i)).ifPresent(gradient -> back.give(input, gradient));
      }
    }
    for (int p = 0; p < params.size(); p++) {
      int input = values + p;
      gradients.of(params.get(p)).ifPresent(gradient -> back.give(input, gradient));
    }
    inner.leave();
  }
}
