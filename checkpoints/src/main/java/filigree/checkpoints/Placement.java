package filigree.checkpoints;

import filigree.tensor.DType;
import filigree.tensor.Memory;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.transformer.MemoryEstimate;
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
 * Where parameters lie in a file: the parts, stacked along their first axis in the order that a
 * layout says, are one tensor of the file. Reading and writing are both derived from this; both
 * move bits and never numbers.
 *
 * @param tensor its name in the file
 * @param layout how the stack is stored
 * @param parts the parameters, in order; equal in all axes but the first
 */
record Placement(String tensor, Layout layout, List<ParameterSpec> parts) {
  /** {@link AsItIs}. */
  static final Layout AS_IT_IS = new AsItIs();

  /** {@link Transposed}. */
  static final Layout TRANSPOSED = new Transposed();

  /** Rows and columns of a tile of the transposition, so that both sides stay in the cache. */
  private static final long TILE = 32;

  /** How a stack is stored. */
  sealed interface Layout {}

  /** One part after the other, in the order of their elements. */
  record AsItIs() implements Layout {}

  /** One part after the other, as a matrix [in, out]. */
  record Transposed() implements Layout {}

  /**
   * The rows of the first head of every part, then those of the second.
   *
   * @param heads divides the rows of each part; all parts have equally many
   */
  record HeadByHead(int heads) implements Layout {}

  /** Of which type weights are read. */
  enum Precision {
    /** Widened or rounded to {@link DType#F32}. */
    F32,
    /** As the file has them. */
    AS_STORED,
    /**
     * For weights that are read and never changed: matrices of 16 bits stay as the file has them,
     * and in the file where they can be used as they lie there; everything else as {@link #F32}.
     */
    FROZEN
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
      // What no family has: weights of gates, under names that other tools pass over.
      for (ParameterSpec spec : List.copyOf(specs.values())) {
        if (spec.name().contains(".attn.gate")) {
          add(ConfigJson.FILIGREE + "." + spec.name(), AS_IT_IS, spec.name());
        }
      }
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
      case AsItIs(), HeadByHead(int _) -> Shape.of(dims);
      case Transposed() -> Shape.of(dims[1], dims[0]);
    };
  }

  private long rows() {
    return parts.stream().mapToLong(part -> part.shape().dim(0)).sum();
  }

  /**
   * Reads the parts.
   *
   * @param file the open file
   * @param stored the tensor, of this placement's shape and a floating type
   * @param precision of which type the parts are to be
   * @param memory who owns the parts that are copied
   * @return the parts by name
   */
  Map<String, Tensor> read(
      Safetensors file, StoredTensor stored, Precision precision, Memory memory) {
    boolean kept = precision == Precision.FROZEN && isHalfMatrix(stored);
    boolean same = precision == Precision.AS_STORED || stored.type() == StoredType.F32 || kept;
    DType dtype = stored.type().dtype().orElseThrow();
    Map<String, Tensor> out = new LinkedHashMap<>();
    if (layout instanceof AsItIs && same) {
      long from = 0;
      for (ParameterSpec part : parts) {
        // F32 is copied: OpenBLAS would read the file itself, and a file that another process cuts
        // short then ends the JVM; the cpu kernels read 16 bits by Java, which gets an error.
        Tensor tensor =
            kept
                ? file.map(stored, from, part.shape(), memory)
                : file.copy(stored, from, part.shape(), memory);
        out.put(part.name(), tensor);
        from += tensor.byteSize();
      }
      return out;
    }
    try (Arena arena = Arena.ofConfined()) {
      // Copied first, because only bulk copies may touch the mapped file.
      MemorySegment all = arena.allocate(stored.byteSize(), Double.BYTES);
      file.copyBytes(stored, 0, all);
      for (int part = 0; part < parts.size(); part++) {
        Shape shape = parts.get(part).shape();
        MemorySegment bits = arena.allocate(shape.size() * dtype.bytes(), Double.BYTES);
        move(part, all, bits, dtype.bytes(), Direction.OUT_OF_STACK);
        Tensor tensor =
            same
                ? Tensor.wrap(bits, shape, dtype)
                : Tensor.wrap(Widening.toFloats(bits, stored.type(), arena), shape, DType.F32);
        out.put(parts.get(part).name(), tensor.copy(memory));
      }
    }
    return out;
  }

  private boolean isHalfMatrix(StoredTensor stored) {
    boolean half = stored.type() == StoredType.BF16 || stored.type() == StoredType.F16;
    return half && parts.getFirst().shape().rank() == 2;
  }

  /** Counts what {@link Precision#FROZEN} reads of an aligned file. */
  MemoryEstimate.Weights frozenBytes(StoredTensor stored) {
    if (!isHalfMatrix(stored)) {
      return new MemoryEstimate.Weights(shape().size() * Float.BYTES, 0);
    }
    return layout instanceof AsItIs
        ? new MemoryEstimate.Weights(0, stored.byteSize())
        : new MemoryEstimate.Weights(stored.byteSize(), 0);
  }

  /**
   * Describes the tensor of the file for writing.
   *
   * @param weights has at least the parts, of their shapes and of one floating type
   */
  SafetensorsWriter.Source source(WeightSource weights) {
    DType dtype = weights.dtype(parts.getFirst().name());
    if (parts.size() == 1 && layout instanceof AsItIs) {
      return new SafetensorsWriter.Source(
          tensor, dtype, shape(), arena -> bytes(weights, parts.getFirst(), arena));
    }
    return new SafetensorsWriter.Source(
        tensor,
        dtype,
        shape(),
        arena -> {
          MemorySegment out = arena.allocate(shape().size() * dtype.bytes(), Double.BYTES);
          for (int part = 0; part < parts.size(); part++) {
            try (Arena once = Arena.ofConfined()) {
              MemorySegment own = bytes(weights, parts.get(part), once);
              move(part, out, own, dtype.bytes(), Direction.INTO_STACK);
            }
          }
          return out;
        });
  }

  private static MemorySegment bytes(WeightSource weights, ParameterSpec part, Arena arena) {
    return weights.bytes(part.name(), part.shape().size(), arena);
  }

  /** Which way bits are moved. */
  private enum Direction {
    INTO_STACK,
    OUT_OF_STACK
  }

  /**
   * Moves one part between the stack and its own memory.
   *
   * @param part its number
   * @param stack the bytes of the file's tensor
   * @param own the bytes of the parameter
   * @param bytes of one element
   */
  private void move(
      int part, MemorySegment stack, MemorySegment own, int bytes, Direction direction) {
    Shape shape = parts.get(part).shape();
    long rowBytes = shape.size() / shape.dim(0) * bytes;
    long first = parts.subList(0, part).stream().mapToLong(spec -> spec.shape().dim(0)).sum();
    switch (layout) {
      case AsItIs() -> copy(stack, first * rowBytes, own, 0, own.byteSize(), direction);
      case HeadByHead(int heads) -> {
        long run = shape.dim(0) / heads * rowBytes;
        for (long head = 0; head < heads; head++) {
          long at = (head * parts.size() + part) * run;
          copy(stack, at, own, head * run, run, direction);
        }
      }
      case Transposed() -> {
        Matrix columns = new Matrix(stack.asSlice(first * bytes), rows());
        Matrix rows = new Matrix(own, shape.dim(1));
        switch (direction) {
          case INTO_STACK -> transpose(rows, columns, shape.dim(0), shape.dim(1), bytes);
          case OUT_OF_STACK -> transpose(columns, rows, shape.dim(1), shape.dim(0), bytes);
        }
      }
    }
  }

  private static void copy(
      MemorySegment stack, long at, MemorySegment own, long to, long bytes, Direction direction) {
    switch (direction) {
      case INTO_STACK -> MemorySegment.copy(own, to, stack, at, bytes);
      case OUT_OF_STACK -> MemorySegment.copy(stack, at, own, to, bytes);
    }
  }

  /**
   * A matrix inside a larger one.
   *
   * @param bytes from its first element on
   * @param stride elements from one row to the next
   */
  private record Matrix(MemorySegment bytes, long stride) {}

  /** Copies an element. */
  private interface Move {
    void run(MemorySegment from, long at, MemorySegment to, long target);
  }

  /** Elements move as integers: a float register may quieten a signalling NaN. */
  private static Move moveOf(int bytes) {
    return switch (bytes) {
      case Short.BYTES ->
          (from, at, to, target) ->
              to.setAtIndex(
                  ValueLayout.JAVA_SHORT_UNALIGNED,
                  target,
                  from.getAtIndex(ValueLayout.JAVA_SHORT_UNALIGNED, at));
      case Integer.BYTES ->
          (from, at, to, target) ->
              to.setAtIndex(
                  ValueLayout.JAVA_INT_UNALIGNED,
                  target,
                  from.getAtIndex(ValueLayout.JAVA_INT_UNALIGNED, at));
      case Long.BYTES ->
          (from, at, to, target) ->
              to.setAtIndex(
                  ValueLayout.JAVA_LONG_UNALIGNED,
                  target,
                  from.getAtIndex(ValueLayout.JAVA_LONG_UNALIGNED, at));
      default -> throw new AssertionError("no floating type has " + bytes + " bytes");
    };
  }

  private static void transpose(Matrix from, Matrix to, long rows, long columns, int bytes) {
    Move move = moveOf(bytes);
    for (long tileRow = 0; tileRow < rows; tileRow += TILE) {
      for (long tileColumn = 0; tileColumn < columns; tileColumn += TILE) {
        long endRow = Math.min(rows, tileRow + TILE);
        long endColumn = Math.min(columns, tileColumn + TILE);
        for (long row = tileRow; row < endRow; row++) {
          for (long column = tileColumn; column < endColumn; column++) {
            move.run(
                from.bytes(), row * from.stride() + column, to.bytes(), column * to.stride() + row);
          }
        }
      }
    }
  }
}
