package filigree.transformer;

import filigree.autograd.Pass;
import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.Philox;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.function.IntPredicate;
import java.util.stream.IntStream;

/** Continues a sequence token by token, with a key-value cache. */
public final class Generator {
  private static final int SAMPLING_STREAM = 0x47454e;

  /**
   * How the next token is drawn.
   *
   * @param temperature divides the logits; 0 takes the most likely token, ties to the lowest id
   * @param topK keep only this many of the likeliest tokens; 0 for all
   * @param topP keep only the likeliest tokens that together have this probability; 1 for all
   * @param seed chooses the draws
   */
  public record Sampling(double temperature, int topK, double topP, long seed) {
    /** The most likely token, always. */
    public static final Sampling GREEDY = new Sampling(0, 0, 1, 0);

    /** Checks the ranges. */
    public Sampling {
      if (!(temperature >= 0)) {
        throw new ModelException("temperature is " + temperature + ", expected 0 or more");
      }
      if (topK < 0) {
        throw new ModelException("top-k is " + topK + ", expected 0 (for all) or more");
      }
      if (!(topP > 0 && topP <= 1)) {
        throw new ModelException("top-p is " + topP + ", expected more than 0 and at most 1");
      }
    }
  }

  private final Transformer model;
  private final Kernels kernels;
  private final Gates gates;

  /**
   * Makes a generator.
   *
   * @param model the model
   * @param kernels the provider
   * @param gates how attention is gated
   */
  public Generator(Transformer model, Kernels kernels, Gates gates) {
    this.model = model;
    this.kernels = kernels;
    this.gates = gates;
  }

  /**
   * Generates.
   *
   * @param prompt token ids, at least one
   * @param maxTokens most tokens to add; generation also ends at the model's context
   * @param sampling how tokens are drawn
   * @param each told every new token; answers whether to go on
   * @return the new tokens
   * @throws ModelException where the prompt is empty or longer than the context
   */
  public int[] generate(int[] prompt, int maxTokens, Sampling sampling, IntPredicate each) {
    int context = model.config().sizes().context();
    if (prompt.length == 0) {
      throw new ModelException("the prompt holds no token; give at least one");
    }
    if (prompt.length > context) {
      throw new ModelException(
          "the prompt has %d tokens, the model's context is %d; use a shorter prompt"
              .formatted(prompt.length, context));
    }
    // The last token that is generated is never read, so it needs no place in the cache.
    int capacity = Math.min(context, prompt.length + maxTokens);
    List<Integer> out = new ArrayList<>();
    Philox random = new Philox(sampling.seed(), SAMPLING_STREAM);
    try (Workspace kept = new Workspace("key-value cache");
        Workspace scratch = new Workspace("generation")) {
      DType type = model.parameters().computing();
      KeyValueCache cache = new KeyValueCache(model.config(), type, capacity, kept);
      int[] next = prompt;
      while (out.size() < maxTokens && cache.length() + next.length <= context) {
        float[] logits;
        try (Pass pass = Pass.inference(kernels, scratch)) {
          Tensor ids = Tensor.ofInts(scratch, Shape.of(1, next.length), next);
          logits = model.next(pass, ids, gates, cache).logits().value().toFloats();
        }
        int token = draw(logits, sampling, random);
        out.add(token);
        if (!each.test(token)) {
          break;
        }
        next = new int[] {token};
      }
    }
    return out.stream().mapToInt(Integer::intValue).toArray();
  }

  /** Draws a token; every comparison breaks ties towards the lower id, so that runs repeat. */
  static int draw(float[] logits, Sampling sampling, Philox random) {
    int best = 0;
    for (int i = 1; i < logits.length; i++) {
      best = logits[i] > logits[best] ? i : best;
    }
    if (sampling.temperature() == 0) {
      return best;
    }
    double top = logits[best];
    List<Integer> order =
        IntStream.range(0, logits.length)
            .boxed()
            .sorted(Comparator.comparingDouble((Integer i) -> -logits[i]))
            .limit(sampling.topK() == 0 ? logits.length : sampling.topK())
            .toList();
    double[] weights = new double[order.size()];
    double total = 0;
    for (int i = 0; i < weights.length; i++) {
      weights[i] = Math.exp((logits[order.get(i)] - top) / sampling.temperature());
      total += weights[i];
    }
    double kept = 0;
    int count = 0;
    while (count < weights.length && kept < sampling.topP() * total) {
      kept += weights[count++];
    }
    double point = random.nextDouble() * kept;
    for (int i = 0; i < count; i++) {
      point -= weights[i];
      if (point <= 0) {
        return order.get(i);
      }
    }
    return order.get(count - 1);
  }
}
