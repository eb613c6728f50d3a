package filigree.checkpoints;

import filigree.tensor.DType;
import filigree.tensor.Memory;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.transformer.ModelConfig;
import filigree.transformer.ModelConfig.ParameterSpec;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Where parameters lie in a file: the parts, stacked along their first axis, are one tensor of the
 * file, as it is or transposed. Reading and writing are both derived from this.
 *
 * @param tensor its name in the file
 * @param layout how the stack is stored
 * @param parts the parameters, in order; equal in all axes but the first
 */
record Placement(String tensor, Layout layout, List<ParameterSpec> parts) {
  private static final ValueLayout.OfInt BITS = ValueLayout.JAVA_INT_UNALIGNED;

  /** Rows and columns of a tile of the transposition, so that both sides stay in the cache. */
  private static final long TILE = 32;

  /** How a stack is stored. */
  enum Layout {
    /** In the order of its elements. */
    AS_IT_IS,
    /** A matrix [in, out]. */
    TRANSPOSED
  }

  /** Collects the placements of a model and finds the shapes of their parts by name. */
  static final class Listing {
    private final Map<String, ParameterSpec> specs = new LinkedHashMap<>();
    private final List<Placement> placements = new ArrayList<>();

    Listing(ModelConfig config) {
      config.parameters().forEach(spec -> specs.put(spec.name(), spec));
    }

    void add(String tensor, Layout layout, String... parameters) {
      List<ParameterSpec> parts = new ArrayList<>();
      for (String name : parameters) {
        ParameterSpec spec = specs.remove(name);
        if (spec == null) {
          throw new AssertionError(name + " is not a parameter, or is placed twice");
        }
        parts.add(spec);
      }
      placements.add(new Placement(tensor, layout, List.copyOf(parts)));
    }

    List<Placement> placements() {
      if (!specs.isEmpty()) {
        throw new AssertionError("no place for " + specs.keySet());
      }
      return List.copyOf(placements);
    }
  }

  /** The shape in the file. */
  Shape shape() {
    long[] dims = parts.getFirst().shape().dims();
    dims[0] = rows();
    return switch (layout) {
      case AS_IT_IS -> Shape.of(dims);
      case TRANSPOSED -> Shape.of(dims[1], dims[0]);
    };
  }

  private long rows() {
    return parts.stream().mapToLong(part -> part.shape().dim(0)).sum();
  }

  /**
   * Reads the parts as {@link DType#F32}.
   *
   * @param file the open file
   * @param stored the tensor, of this placement's shape and a floating type
   * @param memory who owns the parts
   * @return the parts by name
   */
  Map<String, Tensor> read(Safetensors file, StoredTensor stored, Memory memory) {
    Map<String, Tensor> out = new LinkedHashMap<>();
    if (layout == Layout.AS_IT_IS && stored.type() == StoredType.F32) {
      long from = 0;
      for (ParameterSpec part : parts) {
        Tensor tensor = file.copy(stored, from, part.shape(), memory);
        out.put(part.name(), tensor);
        from += tensor.byteSize();
      }
      return out;
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment all = Widening.toFloats(file, stored, arena);
      long row = 0;
      for (ParameterSpec part : parts) {
        MemorySegment floats =
            switch (layout) {
              case AS_IT_IS ->
                  all.asSlice(row * rowBytes(part.shape()), part.shape().size() * Float.BYTES);
              case TRANSPOSED -> columns(all, row, part.shape(), arena);
            };
        out.put(part.name(), Tensor.wrap(floats, part.shape(), DType.F32).copy(memory));
        row += part.shape().dim(0);
      }
    }
    return out;
  }

  private static long rowBytes(Shape shape) {
    return shape.size() / shape.dim(0) * Float.BYTES;
  }

  /** Takes a part's columns out of the transposed stack and transposes them back. */
  private MemorySegment columns(MemorySegment all, long first, Shape part, Arena arena) {
    MemorySegment out = arena.allocate(part.size() * Float.BYTES, Float.BYTES);
    Matrix from = new Matrix(all.asSlice(first * Float.BYTES), rows());
    transpose(from, new Matrix(out, part.dim(1)), part.dim(1), part.dim(0));
    return out;
  }

  /**
   * Describes the tensor of the file for writing.
   *
   * @param weights at least the parts, by name, {@link DType#F32} and of their shapes
   */
  SafetensorsWriter.Source source(Map<String, Tensor> weights) {
    List<Tensor> tensors = parts.stream().map(part -> weights.get(part.name())).toList();
    if (tensors.size() == 1 && layout == Layout.AS_IT_IS) {
      return SafetensorsWriter.Source.of(tensor, tensors.getFirst());
    }
    return new SafetensorsWriter.Source(tensor, DType.F32, shape(), arena -> stack(tensors, arena));
  }

  private MemorySegment stack(List<Tensor> tensors, Arena arena) {
    MemorySegment out = arena.allocate(shape().size() * Float.BYTES, Float.BYTES);
    long first = 0;
    for (Tensor part : tensors) {
      switch (layout) {
        case AS_IT_IS ->
            MemorySegment.copy(
                part.bytes(), 0, out, first * rowBytes(part.shape()), part.byteSize());
        case TRANSPOSED -> {
          Matrix to = new Matrix(out.asSlice(first * Float.BYTES), rows());
          long width = part.shape().dim(1);
          transpose(new Matrix(part.bytes(), width), to, part.shape().dim(0), width);
        }
      }
      first += part.shape().dim(0);
    }
    return out;
  }

  /**
   * A matrix inside a larger one.
   *
   * @param bytes from its first element on
   * @param stride elements from one row to the next
   */
  private record Matrix(MemorySegment bytes, long stride) {}

  /** Moves the bits as integers: a float register may quieten a signalling NaN. */
  private static void transpose(Matrix from, Matrix to, long rows, long columns) {
    for (long tileRow = 0; tileRow < rows; tileRow += TILE) {
      for (long tileColumn = 0; tileColumn < columns; tileColumn += TILE) {
        long endRow = Math.min(rows, tileRow + TILE);
        long endColumn = Math.min(columns, tileColumn + TILE);
        for (long row = tileRow; row < endRow; row++) {
          for (long column = tileColumn; column < endColumn; column++) {
            int bits = from.bytes().getAtIndex(BITS, row * from.stride() + column);
            to.bytes().setAtIndex(BITS, column * to.stride() + row, bits);
          }
        }
      }
    }
  }
}
