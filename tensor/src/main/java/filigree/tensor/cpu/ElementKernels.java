package filigree.tensor.cpu;

import filigree.tensor.AdamWStep;
import filigree.tensor.Arithmetic;
import filigree.tensor.Elementwise;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;

/** Kernels whose elements do not depend on each other, and the sum of squares. */
final class ElementKernels {
  // Ranges that take a core about 10 us: simple loops move 10 floats a nanosecond from the cache,
  // functions compute 2.
  private static final long SIMPLE_GRAIN = 32 << 10;
  private static final long FUNCTION_GRAIN = 8 << 10;

  private static final long ALIGN = 64;

  private final Workers workers;
  private final ElementLanes lanes;

  ElementKernels(Workers workers, Lanes lanes) {
    this.workers = workers;
    this.lanes = lanes.elements();
  }

  /** A loop over one range. */
  private interface Loop {
    void run(long byteOffset, int n);
  }

  // Ranges begin at multiples of ALIGN, so that the same elements always share a vector.
  private void loop(long size, long grain, Loop loop) {
    workers.ranges(
        (size + ALIGN - 1) / ALIGN,
        grain / ALIGN,
        (first, last) -> {
          long from = first * ALIGN;
          long to = Math.min(size, last * ALIGN);
          while (from < to) {
            int n = (int) Math.min(to - from, 1 << 30);
            loop.run(from * Float.BYTES, n);
            from += n;
          }
        });
  }

  void fill(Tensor out, double value) {
    Checks.floats("fill", out);
    long o = out.address();
    loop(out.size(), SIMPLE_GRAIN, (at, n) -> lanes.fill((float) value, o + at, n));
  }

  void map(Elementwise function, Tensor x, Tensor out) {
    Checks.floats("map", x, out);
    Checks.sameShape("map", "out", out, "x", x);
    long a = x.address();
    long o = out.address();
    loop(x.size(), FUNCTION_GRAIN, (at, n) -> lanes.map(function, a + at, o + at, n));
  }

  void mapBackward(Elementwise function, Tensor x, Tensor y, Tensor gradient, Tensor out) {
    Checks.floats("mapBackward", x, y, gradient, out);
    Checks.sameShape("mapBackward", "y", y, "x", x);
    Checks.sameShape("mapBackward", "gradient", gradient, "x", x);
    Checks.sameShape("mapBackward", "out", out, "x", x);
    long a = x.address();
    long b = y.address();
    long g = gradient.address();
    long o = out.address();
    loop(
        x.size(),
        FUNCTION_GRAIN,
        (at, n) -> lanes.mapBackward(function, a + at, b + at, g + at, o + at, n));
  }

  void accumulate(double alpha, Tensor x, Tensor y) {
    Checks.floats("accumulate", x, y);
    Checks.sameShape("accumulate", "y", y, "x", x);
    long a = x.address();
    long b = y.address();
    loop(x.size(), SIMPLE_GRAIN, (at, n) -> lanes.axpy((float) alpha, a + at, b + at, n));
  }

  void scale(double alpha, Tensor x, Tensor out) {
    Checks.floats("scale", x, out);
    Checks.sameShape("scale", "out", out, "x", x);
    long a = x.address();
    long o = out.address();
    loop(x.size(), SIMPLE_GRAIN, (at, n) -> lanes.scale((float) alpha, a + at, o + at, n));
  }

  void clip(double limit, Tensor x, Tensor out) {
    Checks.floats("clip", x, out);
    Checks.sameShape("clip", "out", out, "x", x);
    long a = x.address();
    long o = out.address();
    loop(x.size(), SIMPLE_GRAIN, (at, n) -> lanes.clip((float) limit, a + at, o + at, n));
  }

  void clipBackward(double limit, Tensor x, Tensor gradient, Tensor out) {
    Checks.floats("clipBackward", x, gradient, out);
    Checks.sameShape("clipBackward", "gradient", gradient, "x", x);
    Checks.sameShape("clipBackward", "out", out, "x", x);
    long a = x.address();
    long g = gradient.address();
    long o = out.address();
    loop(
        x.size(),
        SIMPLE_GRAIN,
        (at, n) -> lanes.clipBackward((float) limit, a + at, g + at, o + at, n));
  }

  void adamw(AdamWStep step, Tensor parameter, Tensor gradient, Tensor mean, Tensor variance) {
    Checks.floats("adamw", parameter, gradient, mean, variance);
    Checks.sameShape("adamw", "gradient", gradient, "parameter", parameter);
    Checks.sameShape("adamw", "mean", mean, "parameter", parameter);
    Checks.sameShape("adamw", "variance", variance, "parameter", parameter);
    ElementLanes.AdamWConstants constants =
        new ElementLanes.AdamWConstants(
            (float) (1 - step.rate() * step.weightDecay()),
            (float) step.gradientScale(),
            (float) step.beta1(),
            (float) (1 - step.beta1()),
            (float) step.beta2(),
            (float) (1 - step.beta2()),
            (float) (step.rate() / (1 - Math.pow(step.beta1(), step.step()))),
            (float) (1 / (1 - Math.pow(step.beta2(), step.step()))),
            (float) step.epsilon());
    long p = parameter.address();
    long g = gradient.address();
    long m = mean.address();
    long v = variance.address();
    loop(
        parameter.size(),
        FUNCTION_GRAIN,
        (at, n) -> lanes.adamw(constants, p + at, g + at, m + at, v + at, n));
  }

  void combine(Arithmetic op, Tensor a, Tensor b, Tensor out) {
    Checks.floats("combine", a, b, out);
    Shape shape = Checks.broadcast("combine", a, b);
    Checks.shape("combine", "out", out, shape);
    if (out.size() == 0) {
      return;
    }
    Broadcast plan = Broadcast.of(a.shape(), b.shape(), shape);
    long left = a.address();
    long right = b.address();
    long to = out.address();
    if (plan.rows() == 1) {
      loop(
          plan.columns(),
          SIMPLE_GRAIN,
          (at, n) ->
              row(op, left + at * plan.stepA(), right + at * plan.stepB(), to + at, plan, n));
      return;
    }
    int columns = Math.toIntExact(plan.columns());
    workers.ranges(
        plan.rows(),
        Math.max(1, SIMPLE_GRAIN / Math.max(1, columns)),
        (from, end) -> {
          for (long r = from; r < end; r++) {
            row(
                op,
                left + plan.offsetA(r) * Float.BYTES,
                right + plan.offsetB(r) * Float.BYTES,
                to + r * columns * Float.BYTES,
                plan,
                columns);
          }
        });
  }

  private void row(Arithmetic op, long a, long b, long out, Broadcast plan, int n) {
    if (plan.stepA() == 1 && plan.stepB() == 1) {
      lanes.combine(op, a, b, out, n);
    } else if (plan.stepA() == 1) {
      lanes.combineRight(op, a, Native.getFloat(b), out, n);
    } else {
      lanes.combineLeft(op, Native.getFloat(a), b, out, n);
    }
  }
}
