package filigree.sparsity;

import filigree.autograd.Param;
import filigree.tensor.DType;
import filigree.tensor.Memory;
import filigree.tensor.Philox;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.transformer.Adapter;
import filigree.transformer.ModelConfig.ParameterSpec;
import filigree.transformer.Transformer;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;

/**
 * Training of low-rank additions to some linear maps, while all weights of the model stay as they
 * are (Hu et al., "LoRA", arXiv 2106.09685). Without dropout: post-training has little time to
 * overfit through so few numbers, and a run is to be repeatable.
 *
 * @param rank of each addition
 * @param alpha the addition is scaled by alpha / rank
 * @param targets which maps: names such as {@code blocks.0.attn.q}, or their ends after a point
 *     such as {@code attn.q} or {@code q}; {@code *} stands for anything
 */
public record Lora(int rank, double alpha, List<String> targets) implements Sparsifier.Trainables {
  /** Query, key, value and output of every layer. */
  public static final List<String> DEFAULT_TARGETS =
      List.of("attn.q", "attn.k", "attn.v", "attn.o");

  private static final String A = ".lora_A";
  private static final String B = ".lora_B";
  private static final String WEIGHT = ".weight";

  /** Streams of the draw from here on; those of initial weights are counted from 0. */
  private static final int FIRST_STREAM = 0x4c6f5241;

  /** Checks the ranges. */
  public Lora {
    if (rank < 1) {
      throw new RunException("--lora is " + rank + ", expected a rank of 1 or more");
    }
    if (!(alpha > 0) || !Double.isFinite(alpha)) {
      throw new RunException("--lora-alpha is " + alpha + ", expected more than 0");
    }
    if (targets.isEmpty()) {
      throw new RunException("--lora-targets names nothing; give names such as q,k,v,o");
    }
    targets = List.copyOf(targets);
  }

  /**
   * The usual alpha: twice the rank, so that another rank changes the size of a step little.
   *
   * @param rank the rank
   * @return alpha; {@code LoraConfig} of PEFT has 8 for its rank of 8
   */
  public static double defaultAlpha(int rank) {
    return 2.0 * rank;
  }

  @Override
  public boolean includes(Param param) {
    return param.name().endsWith(A) || param.name().endsWith(B);
  }

  /**
   * Finds the targets in a model.
   *
   * @param model the model
   * @return the weights of the maps, in the model's order
   * @throws RunException where a target names nothing
   */
  List<ParameterSpec> find(Transformer model) {
    List<ParameterSpec> maps =
        model.config().parameters().stream()
            .filter(spec -> spec.name().startsWith("blocks.") && spec.shape().rank() == 2)
            .toList();
    Set<ParameterSpec> chosen = new LinkedHashSet<>();
    Set<String> endings = new LinkedHashSet<>();
    maps.forEach(spec -> endings.add(mapOf(spec).replaceFirst("blocks\\.\\d+\\.", "")));
    for (String target : targets) {
      Pattern pattern =
          Pattern.compile("(.*\\.)?" + Pattern.quote(target).replace("*", "\\E.*\\Q"));
      List<ParameterSpec> found =
          maps.stream()
              .filter(
                  spec ->
                      pattern.matcher(mapOf(spec)).matches()
                          || pattern.matcher(spec.name()).matches())
              .toList();
      if (found.isEmpty()) {
        throw new RunException(
            "--lora-targets: '%s' names no linear map of this model; it has %s in each of its blocks"
                .formatted(target, String.join(", ", endings)));
      }
      chosen.addAll(found);
    }
    return maps.stream().filter(chosen::contains).toList();
  }

  private static String mapOf(ParameterSpec spec) {
    return spec.name().substring(0, spec.name().length() - WEIGHT.length());
  }

  /**
   * Makes adapters that change nothing yet: A uniform in +-1 / sqrt(in), which is PEFT's Kaiming
   * draw with a = sqrt(5), and B zero.
   *
   * @param model the model that is to carry them
   * @param memory owns their factors
   * @param seed chooses the draw
   * @return adapters by the name of their weight; F64 for a model of that type, and otherwise F32,
   *     of whatever type the frozen weights are
   * @throws RunException where a target names nothing or the rank exceeds what a map can have
   */
  public Map<String, Adapter> adapters(Transformer model, Memory memory, long seed) {
    DType type = model.parameters().computing();
    return adapters(
        model,
        (shape, index) -> {
          Philox random = new Philox(seed, FIRST_STREAM + index);
          double bound = 1 / Math.sqrt((double) shape.dim(1));
          return Tensor.generate(memory, type, shape, i -> bound * (2 * random.nextDouble() - 1));
        },
        (shape, index) -> Tensor.generate(memory, type, shape, i -> 0));
  }

  /** The same adapters with undefined contents. */
  Map<String, Adapter> vacant(Transformer model, Memory memory) {
    Maker undefined = (shape, index) -> memory.allocate(shape, model.parameters().computing());
    return adapters(model, undefined, undefined);
  }

  /** Makes a factor for one of the model's parameters, counted in its order. */
  private interface Maker {
    Tensor make(Shape shape, int parameter);
  }

  private Map<String, Adapter> adapters(Transformer model, Maker a, Maker b) {
    Map<String, Adapter> out = new LinkedHashMap<>();
    for (ParameterSpec spec : find(model)) {
      long to = spec.shape().dim(0);
      long from = spec.shape().dim(1);
      if (rank > Math.min(to, from)) {
        throw new RunException(
            "--lora is %d, but %s has the shape %s and so a rank of %d at most"
                .formatted(rank, spec.name(), spec.shape(), Math.min(to, from)));
      }
      String name = mapOf(spec);
      int parameter = model.config().parameters().indexOf(spec);
      out.put(
          spec.name(),
          new Adapter(
              new Param(name + A, a.make(Shape.of(rank, from), parameter)),
              new Param(name + B, b.make(Shape.of(to, rank), parameter)),
              alpha / rank));
    }
    return out;
  }
}
