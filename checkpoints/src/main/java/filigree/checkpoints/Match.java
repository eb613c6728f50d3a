package filigree.checkpoints;

import filigree.checkpoints.WeightFiles.Located;
import filigree.tensor.Memory;
import filigree.tensor.Tensor;
import filigree.transformer.MemoryEstimate;
import filigree.transformer.ModelConfig;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A model's parameters found in its files: every placement has its tensor, of its shape and a
 * floating type, and every tensor of the files is accounted for.
 */
final class Match {
  private static final int MOST_LISTED = 20;
  private static final long COMPARED_BYTES = 1 << 20;

  private final Map<Placement, Located> found = new LinkedHashMap<>();
  private Optional<Located> tiedHead = Optional.empty();
  private Located embedding;

  private Match() {}

  /**
   * Looks for every parameter.
   *
   * @throws CheckpointException where tensors are missing, unknown or of another shape: all in one
   */
  static Match of(Translation family, ModelConfig config, WeightFiles weights) {
    return new Match().fill(family, config, weights);
  }

  private Match fill(Translation family, ModelConfig config, WeightFiles weights) {
    String prefix = family.prefix();
    Map<String, Located> left = new LinkedHashMap<>(weights.tensors());
    boolean prefixed = left.keySet().stream().anyMatch(name -> name.startsWith(prefix));
    List<String> missing = new ArrayList<>();
    List<String> contradictions = new ArrayList<>();
    for (Placement placement : family.placements(config)) {
      String name = prefixed ? placement.tensor() : without(prefix, placement.tensor());
      Located located = left.remove(name);
      if (located == null) {
        missing.add(name);
        continue;
      }
      found.put(placement, located);
      if (without(prefix, name).equals(family.embedding())) {
        embedding = located;
      }
      check(located.stored(), placement, contradictions);
    }
    if (config.head() == ModelConfig.Head.TIED) {
      // Stored although it is tied: compared when the weights are loaded.
      tiedHead = Optional.ofNullable(left.remove(family.head()));
    }
    left.keySet().removeIf(name -> family.buffers().matcher(without(prefix, name)).matches());
    List<String> problems = new ArrayList<>();
    list(problems, "missing tensors", missing);
    list(problems, "unknown tensors", List.copyOf(left.keySet()));
    list(problems, "tensors that contradict config.json", contradictions);
    if (!problems.isEmpty()) {
      throw new CheckpointException(
          weights.source()
              + ": the weights do not fit config.json: "
              + String.join("; ", problems));
    }
    return this;
  }

  private static String without(String prefix, String name) {
    return name.startsWith(prefix) ? name.substring(prefix.length()) : name;
  }

  private static void check(StoredTensor stored, Placement placement, List<String> out) {
    if (!stored.shape().equals(placement.shape())) {
      out.add(
          "%s found %s, expected %s".formatted(stored.name(), stored.shape(), placement.shape()));
    } else if (!Widening.isFloating(stored.type())) {
      out.add(
          "%s found %s, expected F32, F16, BF16 or F64".formatted(stored.name(), stored.type()));
    }
  }

  /** Lists names in a sentence; a model of another family has hundreds of them. */
  static void list(List<String> problems, String what, List<String> names) {
    if (!names.isEmpty()) {
      String listed = String.join(", ", names.subList(0, Math.min(MOST_LISTED, names.size())));
      int more = names.size() - MOST_LISTED;
      problems.add(what + ": " + listed + (more > 0 ? " and " + more + " more" : ""));
    }
  }

  /** Where a parameter lies. */
  record Place(Placement placement, Located located) {
    /** Reads the parts of the tensor in which the parameter lies, and gives the parameter. */
    Tensor read(String name, Memory memory) {
      return placement
          .read(located.file(), located.stored(), Placement.Precision.AS_STORED, memory)
          .get(name);
    }
  }

  /** Finds a parameter. */
  Place find(String name) {
    return found.entrySet().stream()
        .filter(e -> e.getKey().parts().stream().anyMatch(part -> part.name().equals(name)))
        .findFirst()
        .map(e -> new Place(e.getKey(), e.getValue()))
        .orElseThrow(() -> new AssertionError(name + " is not a parameter"));
  }

  /** Reads everything. */
  Map<String, Tensor> read(Placement.Precision precision, Memory memory) {
    tiedHead.ifPresent(head -> requireEqual(head, embedding));
    Map<String, Tensor> out = new LinkedHashMap<>();
    found.forEach(
        (placement, located) ->
            out.putAll(placement.read(located.file(), located.stored(), precision, memory)));
    return out;
  }

  /** Counts what reading with {@link Placement.Precision#FROZEN} takes. */
  MemoryEstimate.Weights frozenBytes() {
    long resident = 0;
    long mapped = 0;
    for (Map.Entry<Placement, Located> entry : found.entrySet()) {
      MemoryEstimate.Weights bytes = entry.getKey().frozenBytes(entry.getValue().stored());
      resident += bytes.residentBytes();
      mapped += bytes.mappedBytes();
    }
    return new MemoryEstimate.Weights(resident, mapped);
  }

  /** Compares piece by piece: a head of 7B models has a gigabyte. */
  private static boolean sameBytes(Located one, Located other) {
    long bytes = one.stored().byteSize();
    try (Arena arena = Arena.ofConfined()) {
      long most = Math.min(bytes, COMPARED_BYTES);
      MemorySegment a = arena.allocate(most, 1);
      MemorySegment b = arena.allocate(most, 1);
      for (long from = 0; from < bytes; from += most) {
        long length = Math.min(most, bytes - from);
        one.file().copyBytes(one.stored(), from, a.asSlice(0, length));
        other.file().copyBytes(other.stored(), from, b.asSlice(0, length));
        if (a.asSlice(0, length).mismatch(b.asSlice(0, length)) >= 0) {
          return false;
        }
      }
    }
    return true;
  }

  /** A head of its own under a tied config would be lost without a word; transformers drops it. */
  private static void requireEqual(Located head, Located embedding) {
    boolean equal =
        head.stored().type() == embedding.stored().type()
            && head.stored().shape().equals(embedding.stored().shape());
    if (equal) {
      equal = sameBytes(head, embedding);
    }
    if (!equal) {
      throw new CheckpointException(
          "%s: %s differs from %s, although tie_word_embeddings is true in config.json; set it to false to use both, or remove %s"
              .formatted(
                  head.file().file(),
                  head.stored().name(),
                  embedding.stored().name(),
                  head.stored().name()));
    }
  }
}
