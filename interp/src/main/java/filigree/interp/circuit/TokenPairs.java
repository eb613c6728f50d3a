package filigree.interp.circuit;

import filigree.autograd.Site;
import filigree.interp.Recorder;
import filigree.tensor.Tensor;
import filigree.transformer.ModelConfig;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * Edges between tokens: what one query position of a head gets from one key position, the weight
 * times the value. In a sparse model so few are open that each can be patched exactly.
 */
public final class TokenPairs {
  /** What a pair carries instead. */
  public enum Patch {
    /** What it carries in the other run. */
    EXCHANGED,
    /** Nothing, as if its gate were closed. */
    CLOSED
  }

  /**
   * The effect of patching one pair.
   *
   * @param time tokens of the prompts; positions of prompts of other lengths are other pairs
   * @param head whose attention
   * @param query position that reads
   * @param key position that is read
   * @param open in how many prompts the edge is open in one of the two runs
   * @param change of the metric, averaged over all prompts of this length
   */
  public record Score(int time, Node.Head head, int query, int key, int open, double change) {}

  private TokenPairs() {}

  /**
   * Patches every pair whose edge is open, one at a time.
   *
   * @param study model and prompts
   * @param direction which run is patched
   * @param patch what pairs carry instead
   * @return in order of length, layer, head, query and key; closed pairs are left out
   */
  public static List<Score> patch(Study study, Direction direction, Patch patch) {
    Sums sums = new Sums();
    long[] done = {0};
    int layers = study.config().sizes().layers();
    study.forEach(
        pair -> {
          double[] before = study.values(pair, pair.base(direction));
          sums.addPrompts(pair.batch());
          Messages base = new Messages(study, pair, pair.base(direction));
          Messages source = new Messages(study, pair, pair.source(direction));
          for (int layer = 0; layer < layers; layer++) {
            layer(study, pair, new Exchange(layer, direction, patch, base, source), before, sums);
            study.tell(++done[0], (long) study.batchCount() * layers);
          }
        });
    return sums.scores();
  }

  /** Which pairs of a block are patched, and how. */
  private record Exchange(
      int layer, Direction direction, Patch patch, Messages base, Messages source) {
    boolean becomesOpen(Place place) {
      return switch (patch) {
        case EXCHANGED -> source.isOpen(place);
        case CLOSED -> false;
      };
    }

    /** Changes the z of a batch where a pair reads. */
    void apply(Study study, Place place, double[] z) {
      ModelConfig.Attention sizes = study.config().attention();
      int row = (place.prompt() * base.time + place.query()) * sizes.heads() + place.head();
      int at = row * sizes.headDim();
      base.addTo(z, at, place, -1);
      if (becomesOpen(place)) {
        source.addTo(z, at, place, 1);
      }
    }
  }

  /**
   * Prompts of a batch do not see each other, so a run patches another pair in each: there are as
   * many runs as the prompt with the most open pairs has.
   */
  private static void layer(Study study, Pair pair, Exchange exchange, double[] before, Sums sums) {
    int layer = exchange.layer();
    Tensor z = pair.base(exchange.direction()).senders().z().get(layer);
    double[] values = z.toDoubles();
    List<List<Place>> open = new ArrayList<>();
    for (int prompt = 0; prompt < pair.batch().size(); prompt++) {
      open.add(openPairs(study, pair, exchange, prompt));
    }
    int rounds = open.stream().mapToInt(List::size).max().orElse(0);
    for (int round = 0; round < rounds; round++) {
      double[] patched = values.clone();
      for (List<Place> places : open) {
        if (round < places.size()) {
          exchange.apply(study, places.get(round), patched);
        }
      }
      double[] after =
          study.remembered(
              () -> {
                Tensor put = Tensor.of(study.kept(), z.dtype(), z.shape(), patched);
                double[] metric =
                    study.run(
                        pair,
                        Study.Start.at(layer, pair.base(exchange.direction())),
                        List.of(new Replacement(Map.of(Places.z(layer), put))));
                study.kept().release(put);
                return metric;
              });
      for (int prompt = 0; prompt < open.size(); prompt++) {
        if (round < open.get(prompt).size()) {
          Place place = open.get(prompt).get(round);
          sums.add(pair.batch().time(), place, after[prompt] - before[prompt]);
        }
      }
    }
  }

  private static List<Place> openPairs(Study study, Pair pair, Exchange exchange, int prompt) {
    List<Place> out = new ArrayList<>();
    for (int head = 0; head < study.config().attention().heads(); head++) {
      for (int query = 0; query < pair.batch().time(); query++) {
        for (int key = 0; key <= query; key++) {
          Place place = new Place(prompt, exchange.layer(), head, query, key);
          if (exchange.base().isOpen(place) || exchange.becomesOpen(place)) {
            out.add(place);
          }
        }
      }
    }
    return out;
  }

  /** A pair of one prompt of a batch. */
  private record Place(int prompt, int layer, int head, int query, int key) {}

  /** What every pair carries in one run: weights and values of all blocks. */
  private static final class Messages {
    private final int time;
    private final int heads;
    private final int group;
    private final int dim;
    private final List<double[]> weights = new ArrayList<>(); // [batch, heads, query, key], gated
    private final List<double[]> gates = new ArrayList<>();
    private final List<double[]> values = new ArrayList<>(); // [batch, time, kvHeads, headDim]

    Messages(Study study, Pair pair, Recorded run) {
      time = pair.batch().time();
      heads = study.config().attention().heads();
      group = heads / study.config().attention().kvHeads();
      dim = study.config().attention().headDim();
      List<Site> sites = new ArrayList<>();
      int layers = study.config().sizes().layers();
      for (int layer = 0; layer < layers; layer++) {
        sites.addAll(List.of(Places.pattern(layer), Places.gate(layer), Places.value(layer)));
      }
      Recorder recorder = new Recorder(sites, study.kept());
      study.run(pair, Study.Start.at(0, run), List.of(recorder));
      for (int layer = 0; layer < layers; layer++) {
        double[] pattern = recorder.at(Places.pattern(layer)).toDoubles();
        double[] gate = recorder.at(Places.gate(layer)).toDoubles();
        for (int i = 0; i < pattern.length; i++) {
          pattern[i] *= gate[i];
        }
        weights.add(pattern);
        gates.add(gate);
        values.add(recorder.at(Places.value(layer)).toDoubles());
      }
    }

    private int row(Place place) {
      return ((place.prompt() * heads + place.head()) * time + place.query()) * time + place.key();
    }

    boolean isOpen(Place place) {
      return gates.get(place.layer())[row(place)] > 0;
    }

    /** Adds a multiple of what a pair carries. */
    void addTo(double[] z, int at, Place place, int sign) {
      double weight = sign * weights.get(place.layer())[row(place)];
      double[] all = values.get(place.layer());
      int kvHeads = heads / group;
      int from = ((place.prompt() * time + place.key()) * kvHeads + place.head() / group) * dim;
      for (int i = 0; i < dim; i++) {
        z[at + i] += weight * all[from + i];
      }
    }
  }

  /** Adds up over batches. */
  private static final class Sums {
    private record Key(int order, int time, Node.Head head, int query, int key) {}

    private static final class Sum {
      private int open;
      private double change;
    }

    private final Map<Integer, Integer> promptsByTime = new LinkedHashMap<>();
    private final Map<Key, Sum> sums =
        new TreeMap<>(
            Comparator.comparingInt(Key::order)
                .thenComparingInt(key -> key.head().layer())
                .thenComparingInt(key -> key.head().head())
                .thenComparingInt(Key::query)
                .thenComparingInt(Key::key));

    void addPrompts(PromptBatch batch) {
      promptsByTime.merge(batch.time(), batch.size(), Integer::sum);
    }

    void add(int time, Place place, double change) {
      int order = List.copyOf(promptsByTime.keySet()).indexOf(time);
      Node.Head head = new Node.Head(place.layer(), place.head());
      Key key = new Key(order, time, head, place.query(), place.key());
      Sum sum = sums.computeIfAbsent(key, k -> new Sum());
      sum.open++;
      sum.change += change;
    }

    List<Score> scores() {
      List<Score> out = new ArrayList<>();
      sums.forEach(
          (key, sum) ->
              out.add(
                  new Score(
                      key.time(),
                      key.head(),
                      key.query(),
                      key.key(),
                      sum.open,
                      sum.change / promptsByTime.get(key.time()))));
      return out;
    }
  }
}
