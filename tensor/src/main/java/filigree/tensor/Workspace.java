package filigree.tensor;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Predicate;

/**
 * Off-heap slabs, cut into tensors. A tensor takes the best hole of the first slab that has one,
 * and a new slab only where none has; a released one joins its free neighbours. Long tensors get
 * slabs of their length, so that no rest is left, short ones share.
 *
 * <p>So the same tensors made and released in the same order lie at the same places after every
 * {@link #reset}, and a training step takes nothing from the system after the first: what does not
 * fit in the first k slabs did not in the first step either, and finds slab k + 1 as it was made
 * for it. (The best hole of all slabs would waste as little, but a second step would see holes that
 * the first did not, and could end up in need of more.)
 *
 * <p>Where every round wants longer tensors than the last, as in an evaluation of ever longer
 * documents, slabs become too short: those that a round did not touch are given back at its end
 * while more than twice of what was ever in use is reserved.
 *
 * <p>{@link #reset} forgets all tensors at once and keeps the slabs. A tensor used after the reset
 * or close is an error, not a read of someone else's bytes.
 *
 * <p>Not thread-safe: one owner, one thread.
 */
public final class Workspace implements Memory {
  /** Every tensor starts on a cache line, which is also the widest vector register. */
  static final long ALIGNMENT = 64;

  // Of the gpt2 training step 2 % of what is reserved lies idle at its peak, of the small one 8 %;
  // with 16 MiB for tensors of all lengths 20 % and 16 %.
  private static final long SLAB_BYTES = 8L << 20;
  private static final long LONG_BYTES = 1L << 20;

  // No system gives out addresses of this size, so a real tensor is never taken for one of these.
  private static final long FIRST_IMAGINARY = 1L << 60;

  // Several at once do not overlap: 128 TiB for each.
  private static final long IMAGINARY_STRIDE = 1L << 47;
  private static final AtomicLong IMAGINARY = new AtomicLong();

  private final String name;
  private final long limitBytes;
  private final Source source;
  private final List<Slab> slabs = new ArrayList<>();
  private final TreeMap<Long, Slab> slabsByAddress = new TreeMap<>();
  private long reserved;
  private long live;
  private long peak;
  private Lifetime lifetime = new Lifetime();

  /** Where slabs come from; empty where there are no more. */
  private interface Source {
    Optional<Slab> slab(long bytes);
  }

  /** Tells the tensors of one round that their bytes were taken away. */
  static final class Lifetime {
    private volatile boolean over;

    boolean isOver() {
      return over;
    }
  }

  /**
   * Makes an empty workspace.
   *
   * @param name what errors call it
   * @param limitBytes the most it may take from the system
   */
  public Workspace(String name, long limitBytes) {
    this(name, limitBytes, bytes -> Slab.real(bytes, ALIGNMENT));
  }

  private Workspace(String name, long limitBytes, Source source) {
    this.name = name;
    this.limitBytes = limitBytes;
    this.source = source;
  }

  /**
   * Makes an empty workspace that counts and has no bytes: what would be reserved and in use is as
   * in a real one, and tensors can be made, shaped, sliced and released, but not read or written,
   * which is an IllegalStateException.
   *
   * @param name what errors call it
   * @return the workspace
   */
  public static Workspace imaginary(String name) {
    long[] next = {FIRST_IMAGINARY + IMAGINARY.getAndIncrement() * IMAGINARY_STRIDE};
    return new Workspace(
        name,
        Long.MAX_VALUE,
        bytes -> {
          Slab slab = Slab.imaginary(next[0], bytes);
          next[0] += bytes;
          return Optional.of(slab);
        });
  }

  /**
   * Makes an empty workspace without a limit of its own.
   *
   * @param name what errors call it
   */
  public Workspace(String name) {
    this(name, Long.MAX_VALUE);
  }

  @Override
  public Tensor allocate(Shape shape, DType dtype) {
    long bytes = roundUp(Math.multiplyExact(shape.size(), dtype.bytes()));
    MemorySegment segment = place(bytes);
    live += bytes;
    peak = Math.max(peak, live);
    return new Tensor(shape, dtype, segment, lifetime);
  }

  @Override
  public void release(Tensor tensor) {
    MemorySegment segment = tensor.storage();
    Map.Entry<Long, Slab> entry = slabsByAddress.floorEntry(segment.address());
    boolean taken =
        entry != null
            && segment.address() + segment.byteSize() <= entry.getKey() + entry.getValue().length()
            && entry.getValue().give(segment);
    if (!taken) {
      throw new TensorException(
          "%s: a tensor of shape %s was released that is not, or no longer, of this memory"
              .formatted(name, tensor.shape()));
    }
    live -= segment.byteSize();
  }

  /** Forgets all tensors and keeps the slabs. */
  public void reset() {
    lifetime.over = true;
    lifetime = new Lifetime();
    shrink(Math.max(4 * SLAB_BYTES, 2 * peak), slab -> !slab.isTouched());
    slabs.forEach(Slab::clear);
    live = 0;
  }

  @Override
  public long reservedBytes() {
    return reserved;
  }

  /**
   * Returns the most bytes that were in use at once since the workspace was made.
   *
   * @return bytes
   */
  public long peakBytes() {
    return peak;
  }

  /** Gives all memory back; once more does nothing. */
  @Override
  public void close() {
    lifetime.over = true;
    slabs.forEach(Slab::close);
    slabs.clear();
    reserved = 0;
  }

  private MemorySegment place(long bytes) {
    for (Slab slab : slabs) {
      if (slab.fits(bytes)) {
        return slab.take(bytes);
      }
    }
    long slabBytes = bytes < LONG_BYTES ? SLAB_BYTES : bytes;
    if (slabBytes > limitBytes - reserved) {
      shrink(limitBytes - slabBytes, Slab::isEmpty);
    }
    if (slabBytes > limitBytes - reserved) {
      throw new TensorException(
          "%s: %d MiB are reserved and %d MiB more are needed, above the limit of %d MiB; try a smaller batch, a shorter context or a higher --memory"
              .formatted(name, reserved >> 20, slabBytes >> 20, limitBytes >> 20));
    }
    Slab slab =
        source
            .slab(slabBytes)
            .orElseThrow(
                () ->
                    new TensorException(
                        "%s: the system has no %d MiB more, and %d MiB are reserved; try a smaller batch, a shorter context, or end other programs"
                            .formatted(name, slabBytes >> 20, reserved >> 20)));
    slabs.add(slab);
    slabsByAddress.put(slab.address(), slab);
    reserved += slabBytes;
    return slab.take(bytes);
  }

  /** Gives some slabs back to the system while more than so many bytes are reserved. */
  private void shrink(long most, Predicate<Slab> which) {
    Iterator<Slab> all = slabs.iterator();
    while (reserved > most && all.hasNext()) {
      Slab slab = all.next();
      if (which.test(slab)) {
        all.remove();
        slabsByAddress.remove(slab.address());
        reserved -= slab.length();
        slab.close();
      }
    }
  }

  private static long roundUp(long bytes) {
    return Math.max(ALIGNMENT, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
  }
}
