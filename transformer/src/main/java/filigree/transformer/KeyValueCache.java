package filigree.transformer;

import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.Memory;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * Keys and values of the tokens seen so far, so that generating a token costs one token's work. For
 * one sequence; keys are stored after rotation.
 */
public final class KeyValueCache {
  private final List<Tensor> keys = new ArrayList<>();
  private final List<Tensor> values = new ArrayList<>();
  private final List<Tensor> gateKeys = new ArrayList<>();
  private final int capacity;
  private int length;

  /**
   * Makes an empty cache.
   *
   * @param config the model
   * @param type the type that the model computes in, {@link Parameters#computing}
   * @param capacity tokens it can hold
   * @param memory owns it
   */
  public KeyValueCache(ModelConfig config, DType type, int capacity, Memory memory) {
    this.capacity = capacity;
    Shape shape = Shape.of(1, capacity, config.attention().kvHeads(), config.attention().headDim());
    for (int layer = 0; layer < config.sizes().layers(); layer++) {
      keys.add(memory.allocate(shape, type));
      values.add(memory.allocate(shape, type));
      if (config.gating().contains(GateVariant.OWN_PROJECTION)) {
        gateKeys.add(memory.allocate(shape, type));
      }
    }
  }

  /**
   * Returns the number of tokens held.
   *
   * @return 0 at first
   */
  public int length() {
    return length;
  }

  /** Notes the keys of new tokens and returns those of all: [1, length + new, kvHeads, headDim]. */
  Tensor extendKeys(Kernels kernels, int layer, Tensor k) {
    return extend(kernels, keys.get(layer), k);
  }

  /** Notes the values of new tokens and returns those of all. */
  Tensor extendValues(Kernels kernels, int layer, Tensor v) {
    return extend(kernels, values.get(layer), v);
  }

  /** Notes the keys that gates have of their own and returns those of all. */
  Tensor extendGateKeys(Kernels kernels, int layer, Tensor k) {
    return extend(kernels, gateKeys.get(layer), k);
  }

  /** Counts tokens as held once every layer has noted them. */
  void advance(int tokens) {
    length += tokens;
  }

  private Tensor extend(Kernels kernels, Tensor store, Tensor fresh) {
    long tokens = fresh.shape().dim(1);
    if (length + tokens > capacity) {
      throw new ModelException(
          "the key-value cache holds %d tokens and cannot take %d more; its capacity is %d"
              .formatted(length, tokens, capacity));
    }
    kernels.copyAlong(fresh, 0, store, length, 1, tokens);
    // One sequence: the first tokens of [1, capacity, ...] are contiguous.
    Shape all = store.shape();
    return store
        .reshape(Shape.of(all.dim(1), all.dim(2), all.dim(3)))
        .rows(0, length + tokens)
        .reshape(Shape.of(1, length + tokens, all.dim(2), all.dim(3)));
  }
}
