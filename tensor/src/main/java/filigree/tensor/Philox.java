package filigree.tensor;

/**
 * The counter-based generator Philox 4x32-10: four random words are a pure function of a 128-bit
 * counter and a 64-bit key (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2,
 * 3", SC 2011). Tested against the vectors that its authors published.
 */
public final class Philox {
  /** Multiplier of words 0 and 1. */
  public static final int M0 = 0xD2511F53;

  /** Multiplier of words 2 and 3. */
  public static final int M1 = 0xCD9E8D57;

  /** Added to key word 0 after each round: the golden ratio. */
  public static final int W0 = 0x9E3779B9;

  /** Added to key word 1 after each round: the square root of 3 less 1. */
  public static final int W1 = 0xBB67AE85;

  private static final int ROUNDS = 10;
  private static final long MASK = 0xffffffffL;

  private final int k0;
  private final int k1;
  private final int stream;
  private long counter;
  private final int[] block = new int[4];
  private int used = 4;

  /**
   * Starts a sequential stream, for initial weights and shuffles.
   *
   * @param seed the key
   * @param stream tells streams of one seed apart
   */
  public Philox(long seed, int stream) {
    this.k0 = (int) seed;
    this.k1 = (int) (seed >>> 32);
    this.stream = stream;
  }

  /**
   * Computes one block.
   *
   * @param c0 counter word 0
   * @param c1 counter word 1
   * @param c2 counter word 2
   * @param c3 counter word 3
   * @param k0 key word 0
   * @param k1 key word 1
   * @param out receives four random words
   */
  public static void block(int c0, int c1, int c2, int c3, int k0, int k1, int[] out) {
    for (int round = 0; round < ROUNDS; round++) {
      long p0 = (M0 & MASK) * (c0 & MASK);
      long p1 = (M1 & MASK) * (c2 & MASK);
      c0 = (int) (p1 >>> 32) ^ c1 ^ k0;
      c2 = (int) (p0 >>> 32) ^ c3 ^ k1;
      c1 = (int) p1;
      c3 = (int) p0;
      k0 += W0;
      k1 += W1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
  }

  /**
   * Returns the next 32 random bits.
   *
   * @return any int, each equally likely
   */
  public int nextInt() {
    if (used == 4) {
      block((int) counter, (int) (counter >>> 32), stream, 0x53455121, k0, k1, block);
      counter++;
      used = 0;
    }
    return block[used++];
  }

  /**
   * Returns the next integer below a bound, without bias.
   *
   * @param bound greater than 0
   * @return from 0 to {@code bound - 1}
   */
  public int nextInt(int bound) {
    // Lemire, "Fast random integer generation in an interval", 2019: reject the short last stretch.
    long product = (nextInt() & MASK) * bound;
    if ((product & MASK) < bound) {
      long threshold = (1L << 32) % bound;
      while ((product & MASK) < threshold) {
        product = (nextInt() & MASK) * bound;
      }
    }
    return (int) (product >>> 32);
  }

  /**
   * Returns the next number in the open interval (0, 1).
   *
   * @return a double with 53 random bits
   */
  public double nextDouble() {
    long bits = ((long) nextInt() << 32) | (nextInt() & MASK);
    return ((bits >>> 12) + 0.5) * 0x1p-52;
  }

  /**
   * Returns the next number from the standard normal distribution (Box and Muller; the second of
   * each pair is not kept, so that a draw always costs the same four words of the stream).
   *
   * @return a normal deviate
   */
  public double nextGaussian() {
    double radius = Math.sqrt(-2 * Math.log(nextDouble()));
    return radius * Math.cos(2 * Math.PI * nextDouble());
  }

  /**
   * Shuffles in place (Fisher and Yates).
   *
   * @param values to be permuted, each order equally likely
   */
  public void shuffle(int[] values) {
    for (int i = values.length - 1; i > 0; i--) {
      int j = nextInt(i + 1);
      int swap = values[i];
      values[i] = values[j];
      values[j] = swap;
    }
  }
}
