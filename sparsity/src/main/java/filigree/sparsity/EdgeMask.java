package filigree.sparsity;

import filigree.autograd.Pass;
import filigree.autograd.Site;
import filigree.autograd.Tap;
import filigree.autograd.Var;
import filigree.tensor.AttentionSpec;
import filigree.tensor.Philox;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.transformer.ModelConfig;
import java.util.Arrays;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A rule that needs no training and says which edges stay open: what trained gates are to be
 * compared with at as many edges. All else is as with gates: softmax over every causal key, nothing
 * renormalised.
 */
public sealed interface EdgeMask {
  /** Where the masks of one model's queries are drawn from. */
  int STREAM = 0x6d61736b;

  /**
   * The keys with the highest scores of each query and head; of equal scores the later key.
   *
   * @param keys how many; a query that sees fewer keeps all
   */
  record TopK(int keys) implements EdgeMask {
    /** Checks the number. */
    public TopK {
      requirePositive("topk", keys);
    }
  }

  /**
   * The last keys, the query's own among them, and the first token of the sequence.
   *
   * @param keys how many last keys
   */
  record Window(int keys) implements EdgeMask {
    /** Checks the number. */
    public Window {
      requirePositive("window", keys);
    }
  }

  /**
   * Keys drawn at random, all sets equally likely.
   *
   * @param keys how many; a query that sees fewer keeps all
   */
  record RandomKeys(int keys) implements EdgeMask {
    /** Checks the number. */
    public RandomKeys {
      requirePositive("random", keys);
    }
  }

  /**
   * Reads a rule.
   *
   * @param text {@code topk:K}, {@code window:W} or {@code random:K}
   * @return the rule
   * @throws RunException where it is none of them
   */
  static EdgeMask parse(String text) {
    Matcher matcher = Pattern.compile("(topk|window|random):([0-9]{1,9})").matcher(text);
    if (matcher.matches()) {
      int keys = Integer.parseInt(matcher.group(2));
      return switch (matcher.group(1)) {
        case "topk" -> new TopK(keys);
        case "window" -> new Window(keys);
        default -> new RandomKeys(keys);
      };
    }
    throw new RunException(
        "--mask is '%s', expected topk:K, window:W or random:K with a number of 1 or more"
            .formatted(text));
  }

  private static void requirePositive(String kind, int keys) {
    if (keys < 1) {
      throw new RunException(
          "--mask %s:%d keeps nothing, expected a number of 1 or more".formatted(kind, keys));
    }
  }

  /**
   * Makes gate logits of one forward run: infinity where an edge is kept, minus infinity elsewhere,
   * so that {@link filigree.tensor.Gate.Hard} opens exactly the kept edges and every statistic of
   * gates is the mask's.
   *
   * @param config the model
   * @param seed of what is drawn at random
   * @param firstSequence number of the run's first sequence in the whole text, so that the draw
   *     does not depend on how sequences are put into batches
   * @return to be given to a pass whose gates are hard with a bias of 0
   */
  default Tap tap(ModelConfig config, long seed, long firstSequence) {
    EdgeMask mask = this;
    return new Tap() {
      @Override
      public boolean wants(Site site) {
        return site.toString().endsWith(".attn.hook_gate_logits");
      }

      @Override
      public Var see(Pass pass, Site site, Var value) {
        int layer = Integer.parseInt(site.toString().split("\\.", 3)[1]);
        Shape shape = value.shape(); // [batch, head, query, key]
        int window = config.attention().windowOrAll();
        int heads = shape.length(1);
        int queries = shape.length(2);
        int keys = shape.length(3);
        Tensor scores = value.value();
        double[] logits = new double[Math.toIntExact(shape.size())];
        Arrays.fill(logits, Double.NEGATIVE_INFINITY);
        double[] row = new double[keys];
        for (int b = 0; b < shape.length(0); b++) {
          int sequence = Math.toIntExact(firstSequence + b);
          for (int head = 0; head < heads; head++) {
            for (int query = 0; query < queries; query++) {
              int position = keys - queries + query;
              int first = AttentionSpec.firstKey(position, window);
              int at = ((b * heads + head) * queries + query) * keys;
              for (int key = first; key <= position; key++) {
                row[key] = scores.get(at + key);
              }
              Query of = new Query(first, position, row);
              Draw draw = new Draw(seed, head | layer << 16, sequence);
              for (int key : mask.kept(of, draw)) {
                logits[at + key] = Double.POSITIVE_INFINITY;
              }
            }
          }
        }
        return pass.constant(Tensor.of(pass.scope().memory(), scores.dtype(), shape, logits));
      }
    };
  }

  /**
   * One query of one head.
   *
   * @param first the first key that it sees
   * @param position its own, and the last key that it sees
   * @param scores by key; only those that it sees are meant
   */
  record Query(int first, int position, double[] scores) {
    private int seen() {
      return position - first + 1;
    }
  }

  /**
   * Where random numbers come from: functions of layer, head, sequence and query.
   *
   * @param seed of the run
   * @param head the head, and the layer in the upper half
   * @param sequence its number in the text
   */
  record Draw(long seed, int head, int sequence) {}

  /**
   * Chooses the edges of one query.
   *
   * @param query what it sees
   * @param draw random numbers
   * @return keys that are kept, each once
   */
  default int[] kept(Query query, Draw draw) {
    return switch (this) {
      case TopK(int keys) -> highest(query, Math.min(keys, query.seen()));
      case Window(int keys) -> last(query, Math.min(keys, query.seen()));
      case RandomKeys(int keys) -> drawn(query, Math.min(keys, query.seen()), draw);
    };
  }

  private static int[] highest(Query query, int keys) {
    double[] sorted = Arrays.copyOfRange(query.scores(), query.first(), query.position() + 1);
    Arrays.sort(sorted);
    double least = sorted[sorted.length - keys];
    int above = 0;
    for (double score : sorted) {
      above += score > least ? 1 : 0;
    }
    int equal = keys - above;
    int[] out = new int[keys];
    int n = 0;
    for (int key = query.position(); key >= query.first(); key--) {
      double score = query.scores()[key];
      if (score > least) {
        out[n++] = key;
      } else if (score == least && equal > 0) {
        out[n++] = key;
        equal--;
      }
    }
    return out;
  }

  private static int[] last(Query query, int keys) {
    int from = query.position() - keys + 1;
    int[] out = new int[keys + (query.first() == 0 && from > 0 ? 1 : 0)];
    for (int i = 0; i < keys; i++) {
      out[i] = from + i;
    }
    return out; // where it is longer, its last element is 0: the first token
  }

  /** Floyd's algorithm (Bentley and Floyd, CACM 30(9), 1987): one number for each key kept. */
  private static int[] drawn(Query query, int keys, Draw draw) {
    boolean[] taken = new boolean[query.seen()];
    int[] out = new int[keys];
    int[] words = new int[4];
    for (int i = 0; i < keys; i++) {
      if (i % 4 == 0) {
        Philox.block(
            i / 4,
            query.position(),
            draw.head(),
            draw.sequence(),
            (int) draw.seed(),
            (int) (draw.seed() >>> 32) ^ STREAM,
            words);
      }
      int last = query.seen() - keys + i;
      // A word times a length far below 2^32: no key is likelier than another by 1 in a million.
      int chosen = (int) (((words[i % 4] & 0xffffffffL) * (last + 1)) >>> 32);
      int key = taken[chosen] ? last : chosen;
      taken[key] = true;
      out[i] = query.first() + key;
    }
    return out;
  }
}
