package filigree.tensor.cpu.vector;

import filigree.tensor.Philox;
import filigree.tensor.cpu.GateLanes.NoiseRow;
import filigree.tensor.cpu.Native;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.LongVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;

/**
 * {@link Philox} with one block in each lane. A lane is a long whose lower half holds a word,
 * because the cipher needs 64-bit products of 32-bit words and the upper half masked off lets the
 * compiler use the cheap 32-bit multiplication.
 */
final class VectorPhilox {
  private static final VectorSpecies<Long> LONGS = LongVector.SPECIES_PREFERRED;
  private static final VectorSpecies<Float> FLOATS = FloatVector.SPECIES_PREFERRED;
  private static final int BLOCKS = LONGS.length();
  private static final long BYTES = LONGS.vectorByteSize();
  private static final long MASK = 0xffffffffL;
  private static final int ROUNDS = 10;
  private static final LongVector INDEX = LongVector.zero(LONGS).addIndex(1);

  // Words come as pairs (0, 1) and (2, 3), a pair to a lane; lane i of the first result of the
  // interleaving is pair i % 2 of block i / 2.
  private static final VectorShuffle<Long> FIRST =
      VectorShuffle.fromOp(LONGS, i -> i / 2 - (i % 2) * BLOCKS);
  private static final VectorShuffle<Long> SECOND =
      VectorShuffle.fromOp(LONGS, i -> (i + BLOCKS) / 2 - (i % 2) * BLOCKS);

  private VectorPhilox() {}

  /** Writes uniform numbers for keys 0 to n - 1, and up to the end of the last vector. */
  static void uniforms(NoiseRow row, long out, int n) {
    for (int quad = 0; 4L * quad < n; quad += BLOCKS, out += 2 * BYTES) {
      blocks(row, quad, out);
    }
  }

  private static void blocks(NoiseRow row, int quad, long out) {
    // Both factors are masked, although the constants need it not: the mask is what the compiler
    // looks for.
    LongVector m0 = LongVector.broadcast(LONGS, Philox.M0).and(MASK);
    LongVector m1 = LongVector.broadcast(LONGS, Philox.M1).and(MASK);
    LongVector c0 = INDEX.add(quad);
    LongVector c1 = LongVector.broadcast(LONGS, row.query());
    LongVector c2 = LongVector.broadcast(LONGS, row.head());
    LongVector c3 = LongVector.broadcast(LONGS, row.batch());
    int k0 = row.key0();
    int k1 = row.key1();
    for (int round = 0; round < ROUNDS; round++) {
      LongVector p0 = c0.and(MASK).mul(m0);
      LongVector p1 = c2.and(MASK).mul(m1);
      c0 = upper(p1).lanewise(VectorOperators.XOR, c1).lanewise(VectorOperators.XOR, k0);
      c2 = upper(p0).lanewise(VectorOperators.XOR, c3).lanewise(VectorOperators.XOR, k1);
      c1 = p1;
      c3 = p0;
      k0 += Philox.W0;
      k1 += Philox.W1;
    }
    LongVector low = pair(c0, c1);
    LongVector high = pair(c2, c3);
    store(low.rearrange(FIRST, high), out);
    store(low.rearrange(SECOND, high), out + BYTES);
  }

  private static LongVector upper(LongVector product) {
    return product.lanewise(VectorOperators.LSHR, 32);
  }

  // The upper halves hold rubbish until here: only lower halves enter the products.
  private static LongVector pair(LongVector even, LongVector odd) {
    return even.and(MASK).or(odd.lanewise(VectorOperators.LSHL, 32));
  }

  private static void store(LongVector pairs, long out) {
    IntVector bits = pairs.reinterpretAsInts().lanewise(VectorOperators.LSHR, 9);
    FloatVector uniform =
        ((FloatVector) bits.convertShape(VectorOperators.I2F, FLOATS, 0)).add(0.5f).mul(0x1p-23f);
    uniform.intoMemorySegment(Native.MEMORY, out, Vectors.ORDER);
  }
}
