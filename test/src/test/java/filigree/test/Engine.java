package filigree.test;

import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.cpu.CpuKernels;
import filigree.tensor.cpu.LaneChoice;
import filigree.tensor.provider.Backend;

/** The providers under test, each with the type it computes in here. */
public enum Engine {
  /** Fused kernels in the Vector API. */
  CPU_VECTOR(DType.F32),
  /** The same, work shared by two threads. */
  CPU_VECTOR_2(DType.F32),
  /** Plain loops. */
  CPU_SCALAR(DType.F32),
  /** Plain loops, work shared by two threads. */
  CPU_SCALAR_2(DType.F32),
  /** INDArray operations, results rounded to float32. */
  ND4J_F32(DType.F32),
  /** INDArray operations in float64: the slow twin. */
  ND4J_F64(DType.F64);

  private final DType type;

  Engine(DType type) {
    this.type = type;
  }

  /**
   * Returns the type that floating tensors have here.
   *
   * @return F32 or F64
   */
  public DType type() {
    return type;
  }

  /**
   * Starts the provider.
   *
   * @return the kernels, to be closed by the caller
   */
  public Kernels open() {
    return switch (this) {
      case CPU_VECTOR -> new CpuKernels(1, LaneChoice.VECTOR);
      case CPU_VECTOR_2 -> new CpuKernels(2, LaneChoice.VECTOR);
      case CPU_SCALAR -> new CpuKernels(1, LaneChoice.SCALAR);
      case CPU_SCALAR_2 -> new CpuKernels(2, LaneChoice.SCALAR);
      case ND4J_F32, ND4J_F64 -> Backend.ND4J.open(1);
    };
  }

  /**
   * Chooses a tolerance.
   *
   * @param single for float32
   * @param twice for float64
   * @return the one for this engine's type
   */
  public double tolerance(double single, double twice) {
    return type == DType.F64 ? twice : single;
  }
}
