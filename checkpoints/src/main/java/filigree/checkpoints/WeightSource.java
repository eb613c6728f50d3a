package filigree.checkpoints;

import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.Tensor;
import filigree.tensor.Transpose;
import filigree.tensor.Workspace;
import filigree.transformer.Adapter;
import filigree.transformer.InitialWeights;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Map;
import java.util.function.LongToDoubleFunction;

/** Gives parameters to a writer when their turn comes, so that they need not all exist at once. */
sealed interface WeightSource {
  /** A parameter's element type. */
  DType dtype(String name);

  /**
   * A parameter's elements, row-major.
   *
   * @param elements how many
   * @param arena owns them where they are made here
   */
  MemorySegment bytes(String name, long elements, Arena arena);

  /** Weights that exist. */
  record Existing(Map<String, Tensor> tensors) implements WeightSource {
    @Override
    public DType dtype(String name) {
      return tensors.get(name).dtype();
    }

    @Override
    public MemorySegment bytes(String name, long elements, Arena arena) {
      return tensors.get(name).bytes();
    }
  }

  /**
   * Weights of a checkpoint, some with an adapter added: W + scale B A in float32, or in float64
   * where W is that, rounded once to the type of W.
   */
  record Sum(Match base, Map<String, Adapter> adapters, Kernels kernels) implements WeightSource {
    @Override
    public DType dtype(String name) {
      return base.find(name).located().stored().type().dtype().orElseThrow();
    }

    @Override
    public MemorySegment bytes(String name, long elements, Arena arena) {
      try (Workspace memory = new Workspace("merge")) {
        Tensor weight = base.find(name).read(name, memory);
        Adapter adapter = adapters.get(name);
        Tensor sum = adapter == null ? weight : sum(weight, adapter, memory);
        MemorySegment out = arena.allocate(sum.byteSize(), Double.BYTES);
        return out.copyFrom(sum.bytes());
      }
    }

    private Tensor sum(Tensor weight, Adapter adapter, Workspace memory) {
      Tensor low = adapter.a().value();
      Tensor product = memory.allocate(weight.shape(), low.dtype());
      kernels.matmul(
          adapter.scale(), adapter.b().value(), Transpose.NO, low, Transpose.NO, 0, product);
      if (weight.dtype() == DType.F64) {
        return Tensor.generate(
            memory, DType.F64, weight.shape(), i -> weight.get(i) + product.get(i));
      }
      Tensor wide = memory.allocate(weight.shape(), low.dtype());
      kernels.cast(weight, wide);
      kernels.accumulate(1, product, wide);
      Tensor out = memory.allocate(weight.shape(), weight.dtype());
      kernels.cast(wide, out);
      return out;
    }
  }

  /** Initial weights, drawn as {@link InitialWeights} says and rounded to nearest, ties to even. */
  record Drawn(InitialWeights initial, DType type) implements WeightSource {
    @Override
    public DType dtype(String name) {
      return type;
    }

    @Override
    public MemorySegment bytes(String name, long elements, Arena arena) {
      MemorySegment out = arena.allocate(elements * type.bytes(), Double.BYTES);
      LongToDoubleFunction element = initial.elements(name);
      switch (type) {
        case F32 -> {
          for (long i = 0; i < elements; i++) {
            out.setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) element.applyAsDouble(i));
          }
        }
        case BF16 -> {
          for (long i = 0; i < elements; i++) {
            out.setAtIndex(ValueLayout.JAVA_SHORT, i, bfloat16((float) element.applyAsDouble(i)));
          }
        }
        case F64, F16, I32, I64, I8, U8 ->
            throw new CheckpointException("initial weights can be F32 or BF16, and not " + type);
      }
      return out;
    }

    /** The upper half of a finite binary32, rounded. */
    private static short bfloat16(float number) {
      int bits = Float.floatToRawIntBits(number);
      return (short) ((bits + 0x7fff + (bits >>> 16 & 1)) >>> 16);
    }
  }
}
