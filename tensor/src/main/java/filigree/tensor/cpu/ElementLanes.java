package filigree.tensor.cpu;

import filigree.tensor.Arithmetic;
import filigree.tensor.Elementwise;

/** Loops over n independent floats at given addresses. Outputs may be inputs, exactly. */
public interface ElementLanes {
  /** Writes {@code out[i] = function(x[i])}. */
  void map(Elementwise function, long x, long out, int n);

  /** Writes {@code out[i] = gradient[i] function'(x[i])}, with y the values of the function. */
  void mapBackward(Elementwise function, long x, long y, long gradient, long out, int n);

  /** Writes {@code out[i] = a[i] op b[i]}. */
  void combine(Arithmetic op, long a, long b, long out, int n);

  /** Writes {@code out[i] = a[i] op b}. */
  void combineRight(Arithmetic op, long a, float b, long out, int n);

  /** Writes {@code out[i] = a op b[i]}. */
  void combineLeft(Arithmetic op, float a, long b, long out, int n);

  /** Writes {@code out[i] = value}. */
  void fill(float value, long out, int n);

  /** Writes {@code out[i] = alpha x[i]}. */
  void scale(float alpha, long x, long out, int n);

  /** Writes {@code out[i] = min(max(x[i], -limit), limit)}. */
  void clip(float limit, long x, long out, int n);

  /** Writes {@code out[i] = gradient[i]} where {@code |x[i]| <= limit}, else 0. */
  void clipBackward(float limit, long x, long gradient, long out, int n);

  /** Adds {@code y[i] += alpha x[i]}. */
  void axpy(float alpha, long x, long y, int n);

  /** Adds floats to doubles: {@code sums[i] += x[i]}. */
  void addToDoubles(long x, long sums, int n);

  /** Updates parameters p from gradients g, with moments m and v. */
  void adamw(AdamWConstants constants, long p, long g, long m, long v, int n);

  /**
   * The constants of one update, in the form that the loop uses.
   *
   * @param keep {@code 1 - rate weightDecay}
   * @param scale multiplies gradients
   * @param beta1 decay of m
   * @param rest1 {@code 1 - beta1}
   * @param beta2 decay of v
   * @param rest2 {@code 1 - beta2}
   * @param rate {@code rate / (1 - beta1^step)}
   * @param correction {@code 1 / (1 - beta2^step)}
   * @param epsilon added to the root
   */
  record AdamWConstants(
      float keep,
      float scale,
      float beta1,
      float rest1,
      float beta2,
      float rest2,
      float rate,
      float correction,
      float epsilon) {}
}
