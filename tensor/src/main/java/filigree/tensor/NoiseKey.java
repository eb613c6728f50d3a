package filigree.tensor;

/**
 * Names one stream of gate noise. The uniform number of a gate is a pure function of this key and
 * the gate's place, so that the backward pass recomputes it and a run repeats bit for bit.
 *
 * @param seed the run's seed
 * @param step the training step
 * @param layer the layer
 */
public record NoiseKey(long seed, long step, int layer) {
  /**
   * Fills the four uniform numbers for keys {@code 4 * quad} to {@code 4 * quad + 3}. With the
   * Philox key (k0, k1) derived from (seed, step), the counter is (quad, query, head + 65536 layer,
   * batch).
   *
   * @param batch index in the batch
   * @param head the head
   * @param query the query's position in the sequence, not in the call: with a key-value cache they
   *     differ
   * @param quad a quarter of the key position
   * @param out four uniform numbers in the open interval (0, 1)
   */
  public void uniforms(int batch, int head, int query, int quad, float[] out) {
    int[] bits = new int[4];
    int[] key = streamKey();
    Philox.block(quad, query, head | layer << 16, batch, key[0], key[1], bits);
    for (int i = 0; i < 4; i++) {
      out[i] = uniform(bits[i]);
    }
  }

  /**
   * Derives the two words of the Philox key of this step.
   *
   * @return two words
   */
  public int[] streamKey() {
    int[] out = new int[4];
    Philox.block(
        (int) step, (int) (step >>> 32), 0x46494c47, 0, (int) seed, (int) (seed >>> 32), out);
    return new int[] {out[0], out[1]};
  }

  /**
   * Maps 32 random bits to a float in the open interval (0, 1): the upper 23 bits and a half, so
   * that neither u nor 1 - u is ever 0 and both are exact.
   *
   * @param bits random bits
   * @return (bits / 2^9 + 1/2) / 2^23
   */
  public static float uniform(int bits) {
    return ((bits >>> 9) + 0.5f) * 0x1p-23f;
  }
}
