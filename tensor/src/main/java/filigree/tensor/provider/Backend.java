package filigree.tensor.provider;

import filigree.tensor.Kernels;
import filigree.tensor.TensorException;
import filigree.tensor.cpu.CpuKernels;
import filigree.tensor.nd4j.Nd4jKernels;
import java.util.Arrays;
import java.util.Locale;

/** The kernel providers, one of which is chosen once at start-up. */
public enum Backend {
  /** Own kernels over off-heap memory; float32. */
  CPU {
    @Override
    public Kernels open(int threads) {
      return new CpuKernels(threads);
    }
  },
  /** ND4J operations, composed: the slow twin; float32 and float64. */
  ND4J {
    @Override
    public Kernels open(int threads) {
      return new Nd4jKernels();
    }
  };

  /**
   * Starts the provider.
   *
   * @param threads threads to compute with, where the provider can choose
   * @return the kernels, to be closed by the caller
   * @throws TensorException where a library is missing; never another provider instead
   */
  public abstract Kernels open(int threads);

  /**
   * Finds a provider by the name that a user wrote.
   *
   * @param name such as {@code cpu}
   * @return the provider
   * @throws TensorException where there is none of this name
   */
  public static Backend of(String name) {
    for (Backend backend : values()) {
      if (backend.toString().equals(name)) {
        return backend;
      }
    }
    throw new TensorException(
        "there is no backend named '%s'; choose one of %s"
            .formatted(name, Arrays.toString(values())));
  }

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
