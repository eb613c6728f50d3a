package filigree.tensor.cpu.vector;

import filigree.tensor.cpu.Native;
import java.nio.ByteOrder;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * Loads, stores and functions of float vectors.
 *
 * <p>What the compiler wants of the loops of this package: everything inlined, because a vector
 * that passes through a real call becomes an object (and the loop 20 times slower). It stops
 * inlining at some 35 vector operations a method. So functions take their constants as vectors made
 * once; loops that compute much leave the end of a row, less than a vector, to the plain loops, and
 * do one thing each; loops that compute little end with a masked step.
 *
 * <p>exp is our own polynomial rather than the JDK's, whose last bits differ between platforms.
 */
@SuppressWarnings("FloatingPointLiteralPrecision") // coefficients as their sources print them
final class Vectors {
  static final VectorSpecies<Float> SPECIES = FloatVector.SPECIES_PREFERRED;
  static final int LANES = SPECIES.length();
  static final long BYTES = SPECIES.vectorByteSize();
  static final ByteOrder ORDER = ByteOrder.nativeOrder();

  static final FloatVector ZERO = splat(0);
  static final FloatVector HALF = splat(0.5f);
  static final FloatVector ONE = splat(1);
  static final FloatVector LOWEST = splat(Float.NEGATIVE_INFINITY);
  private static final FloatVector HIGHEST = splat(Float.POSITIVE_INFINITY);
  private static final FloatVector MINUS_TWO = splat(-2);
  private static final FloatVector MINUS_HALF = splat(-0.5f);
  private static final FloatVector INDEX = ZERO.addIndex(1);

  // exp: x = k log 2 + r with |r| <= log(2) / 2; log 2 in two parts (Cody and Waite), polynomial of
  // Cephes expf.
  private static final FloatVector LOG2_E = splat(1.44269504f);
  private static final FloatVector MINUS_LN2_HIGH = splat(-0.693359375f);
  private static final FloatVector MINUS_LN2_LOW = splat(2.12194440e-4f);
  private static final FloatVector E5 = splat(1.9875691500E-4f);
  private static final FloatVector E4 = splat(1.3981999507E-3f);
  private static final FloatVector E3 = splat(8.3334519073E-3f);
  private static final FloatVector E2 = splat(4.1665795894E-2f);
  private static final FloatVector E1 = splat(1.6666665459E-1f);
  private static final FloatVector E0 = splat(5.0000001201E-1f);

  // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits.
  private static final FloatVector ROUND = splat(0x1.8p23f);
  private static final IntVector ROUND_BITS = ROUND.reinterpretAsInts();
  private static final int MANTISSA_BITS = 23;
  private static final IntVector EXPONENT_BIAS = ONE.reinterpretAsInts();

  private static final FloatVector SMALLEST_NORMAL_EXP = splat(-87.33654f);
  private static final FloatVector SMALLEST_EXP = splat(-103.97f);
  private static final FloatVector LARGEST_EXP = splat(88.72283f);

  // tanh near 0: the polynomial of Cephes tanhf.
  private static final FloatVector TANH_NEAR = splat(0.625f);
  private static final FloatVector T4 = splat(-5.70498872745E-3f);
  private static final FloatVector T3 = splat(2.06390887954E-2f);
  private static final FloatVector T2 = splat(-5.37397155531E-2f);
  private static final FloatVector T1 = splat(1.33314422036E-1f);
  private static final FloatVector T0 = splat(-3.33332819422E-1f);

  // exp(z^2) erfc(z) = t P(t) with t = 1 / (1 + z / 2): our fit, to 5e-8 of the value for z up to
  // 10
  // (minimax by reweighted least squares). The factor 1/2 of the distribution function is in P.
  private static final FloatVector T_SLOPE = splat((float) (0.5 * Math.sqrt(0.5)));
  private static final FloatVector P8 = splat(0.5f * -0.05919362f);
  private static final FloatVector P7 = splat(0.5f * 0.28518417f);
  private static final FloatVector P6 = splat(0.5f * -0.48846358f);
  private static final FloatVector P5 = splat(0.5f * 0.27951553f);
  private static final FloatVector P4 = splat(0.5f * -0.027625345f);
  private static final FloatVector P3 = splat(0.5f * 0.20311068f);
  private static final FloatVector P2 = splat(0.5f * 0.24299644f);
  private static final FloatVector P1 = splat(0.5f * 0.2823901f);
  private static final FloatVector P0 = splat(0.5f * 0.28208557f);
  private static final FloatVector DENSITY = splat((float) (1 / Math.sqrt(2 * Math.PI)));

  // Twice the argument of the tanh in tanh-GELU, because (1 + tanh(u)) / 2 = sigmoid(2 u).
  private static final double ROOT = 2 * Math.sqrt(2 / Math.PI);
  private static final FloatVector GELU_LINEAR = splat((float) ROOT);
  private static final FloatVector GELU_CUBIC = splat((float) (0.044715 * ROOT));
  private static final FloatVector GELU_CUBIC_SLOPE = splat((float) (3 * 0.044715 * ROOT));

  private Vectors() {}

  static FloatVector load(long address) {
    return FloatVector.fromMemorySegment(SPECIES, Native.MEMORY, address, ORDER);
  }

  static FloatVector load(long address, VectorMask<Float> mask) {
    return FloatVector.fromMemorySegment(SPECIES, Native.MEMORY, address, ORDER, mask);
  }

  static void store(FloatVector value, long address) {
    value.intoMemorySegment(Native.MEMORY, address, ORDER);
  }

  static void store(FloatVector value, long address, VectorMask<Float> mask) {
    value.intoMemorySegment(Native.MEMORY, address, ORDER, mask);
  }

  /**
   * Where sums begin: not {@link #ZERO}, because a loop variable that begins as an object stays
   * one.
   */
  static FloatVector zero() {
    return FloatVector.zero(SPECIES);
  }

  /**
   * The sum of all lanes, in their order. That of the JDK's reduceLanes is undefined and in fact
   * changes when a method is compiled, so that the same run would not give the same bits twice.
   */
  static double sum(FloatVector x) {
    // Through memory, because folding the vector by shuffles is more code to inline than most
    // loops.
    double sum = 0;
    for (float lane : x.toArray()) {
      sum += lane;
    }
    return sum;
  }

  /** As {@link #sum(FloatVector)}. */
  static double sum(DoubleVector x) {
    double sum = 0;
    for (double lane : x.toArray()) {
      sum += lane;
    }
    return sum;
  }

  static FloatVector splat(float value) {
    return FloatVector.broadcast(SPECIES, value);
  }

  /** The first n lanes; all of them where n is greater. */
  static VectorMask<Float> first(int n) {
    // A comparison, because the JDK's indexInRange chooses between two objects.
    return INDEX.compare(VectorOperators.LT, splat(n));
  }

  static VectorMask<Float> negative(FloatVector x) {
    return x.compare(VectorOperators.LT, ZERO);
  }

  static VectorMask<Float> positive(FloatVector x) {
    return x.compare(VectorOperators.GT, ZERO);
  }

  /**
   * The greater; NaN counts as smaller. Math.max's rule for NaN and -0 costs three times as much.
   */
  static FloatVector greater(FloatVector x, FloatVector y) {
    return x.blend(y, y.compare(VectorOperators.GT, x));
  }

  private static FloatVector expOfRemainder(FloatVector x, FloatVector k) {
    FloatVector r = k.fma(MINUS_LN2_LOW, k.fma(MINUS_LN2_HIGH, x));
    FloatVector p = E5.fma(r, E4).fma(r, E3).fma(r, E2).fma(r, E1).fma(r, E0);
    return p.fma(r.mul(r), r).add(ONE);
  }

  /** exp to about 1 ulp, for every float: infinities, NaN and results below the normal range. */
  static FloatVector exp(FloatVector x) {
    FloatVector t = x.fma(LOG2_E, ROUND);
    FloatVector e = expOfRemainder(x, t.sub(ROUND));
    // Two factors, because 2^k itself may lie outside the normal range.
    IntVector k = t.reinterpretAsInts().sub(ROUND_BITS);
    IntVector half = k.lanewise(VectorOperators.ASHR, 1);
    return e.mul(power(half))
        .mul(power(k.sub(half)))
        .blend(ZERO, x.compare(VectorOperators.LT, SMALLEST_EXP))
        .blend(HIGHEST, x.compare(VectorOperators.GT, LARGEST_EXP));
  }

  /** 2^k, where only the low bits of k count. */
  private static FloatVector power(IntVector k) {
    return k.lanewise(VectorOperators.LSHL, MANTISSA_BITS).add(EXPONENT_BIAS).reinterpretAsFloats();
  }

  /** exp for x up to about 88, such as scores less their maximum; 0 below the normal range. */
  static FloatVector expNegative(FloatVector x) {
    FloatVector t = x.fma(LOG2_E, ROUND);
    return expOfRemainder(x, t.sub(ROUND))
        .mul(power(t.reinterpretAsInts()))
        .blend(ZERO, x.compare(VectorOperators.LT, SMALLEST_NORMAL_EXP));
  }

  /** exp(-|x|): what sigmoids are made of, never above 1. */
  static FloatVector decay(FloatVector x) {
    return expNegative(x.abs().neg());
  }

  /** The sigmoid of a number from its decay and its sign. */
  static FloatVector sigmoid(FloatVector decay, VectorMask<Float> negative) {
    return ONE.blend(decay, negative).div(decay.add(ONE));
  }

  /** The sigmoid's derivative from the decay: {@code e / (1 + e)^2}. */
  static FloatVector sigmoidSlope(FloatVector decay) {
    FloatVector one = decay.add(ONE);
    return decay.div(one.mul(one));
  }

  static FloatVector tanh(FloatVector x) {
    // Near 0 the quotient would cancel.
    FloatVector z = x.mul(x);
    FloatVector near = T4.fma(z, T3).fma(z, T2).fma(z, T1).fma(z, T0).mul(z).fma(x, x);
    FloatVector e = expNegative(x.abs().mul(MINUS_TWO));
    FloatVector far = ONE.sub(e).div(e.add(ONE));
    return far.blend(far.neg(), negative(x))
        .blend(near, x.abs().compare(VectorOperators.LT, TANH_NEAR));
  }

  /** {@code exp(-x^2 / 2)}: what the normal distribution is made of. */
  static FloatVector bell(FloatVector x) {
    return expNegative(x.mul(x).mul(MINUS_HALF));
  }

  static FloatVector normalDensity(FloatVector bell) {
    return bell.mul(DENSITY);
  }

  /** The normal distribution function to 3e-7 of its value, in the lower tail too. */
  static FloatVector normalCdf(FloatVector x, FloatVector bell) {
    FloatVector t = ONE.div(x.abs().fma(T_SLOPE, ONE));
    FloatVector p = P8.fma(t, P7).fma(t, P6).fma(t, P5).fma(t, P4);
    FloatVector tail = p.fma(t, P3).fma(t, P2).fma(t, P1).fma(t, P0).mul(t).mul(bell);
    return ONE.sub(tail).blend(tail, negative(x));
  }

  static FloatVector geluArgument(FloatVector x) {
    return x.mul(x).fma(GELU_CUBIC, GELU_LINEAR).mul(x);
  }

  static FloatVector geluArgumentSlope(FloatVector x) {
    return x.mul(x).fma(GELU_CUBIC_SLOPE, GELU_LINEAR);
  }
}
