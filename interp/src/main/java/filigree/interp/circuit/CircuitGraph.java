package filigree.interp.circuit;

import filigree.transformer.ModelConfig;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Who can read whom in a model: nodes and edges, numbered. A node reads what earlier nodes wrote to
 * the residual stream: a head all of earlier blocks, an MLP also the heads of its own block where
 * the two stand one after the other, the logits everything (Conmy et al., arXiv 2304.14997, section
 * 2). So the senders that a reader sees are always a prefix of all senders.
 *
 * <p>Senders are numbered input, then block by block the heads and the MLP. Readers are numbered
 * block by block: the heads, once or, split, as queries, keys, values; the MLP; at last the logits.
 * Edges are numbered reader by reader.
 */
public final class CircuitGraph {
  /** Whether a head reads as a whole. */
  public enum Split {
    /** A head is one reader. */
    WHOLE,
    /** Queries, keys and values are three. */
    QKV
  }

  /**
   * Who reads.
   *
   * @param node a head, an MLP or the logits
   * @param part which part of it
   */
  public record Reader(Node node, Part part) {}

  private final int layers;
  private final int heads;
  private final Split split;
  private final ModelConfig.Residual residual;
  private final List<Node> senders = new ArrayList<>();
  private final List<Reader> readers = new ArrayList<>();
  private final int[] visible; // per reader: how many senders it sees
  private final int[] first; // per reader: the number of its first edge
  private final int edges;

  private CircuitGraph(ModelConfig config, Split split) {
    this.layers = config.sizes().layers();
    this.heads = config.attention().heads();
    this.split = split;
    this.residual = config.residual();
    senders.add(new Node.Input());
    for (int layer = 0; layer < layers; layer++) {
      for (int head = 0; head < heads; head++) {
        senders.add(new Node.Head(layer, head));
      }
      senders.add(new Node.Mlp(layer));
      for (Part part : parts(split)) {
        for (int head = 0; head < heads; head++) {
          readers.add(new Reader(new Node.Head(layer, head), part));
        }
      }
      readers.add(new Reader(new Node.Mlp(layer), Part.ALL));
    }
    readers.add(new Reader(new Node.Logits(), Part.ALL));
    this.visible = readers.stream().mapToInt(reader -> countVisible(reader.node())).toArray();
    this.first = new int[readers.size()];
    int at = 0;
    for (int reader = 0; reader < first.length; reader++) {
      first[reader] = at;
      at += visible[reader];
    }
    this.edges = at;
  }

  /**
   * Makes a model's graph.
   *
   * @param config the model
   * @param split whether a head reads as a whole
   * @return the graph
   */
  public static CircuitGraph of(ModelConfig config, Split split) {
    return new CircuitGraph(config, split);
  }

  /**
   * Lists the parts that a head reads with.
   *
   * @param split whether it reads as a whole
   * @return one or three
   */
  static List<Part> parts(Split split) {
    return switch (split) {
      case WHOLE -> List.of(Part.ALL);
      case QKV -> List.of(Part.QUERY, Part.KEY, Part.VALUE);
    };
  }

  private int countVisible(Node reader) {
    return switch (reader) {
      case Node.Input() -> 0;
      case Node.Head(int layer, int _) -> before(layer);
      case Node.Mlp(int layer) ->
          switch (residual) {
            case PRE_NORM, POST_NORM -> before(layer) + heads;
            case PARALLEL -> before(layer);
          };
      case Node.Logits() -> before(layers);
    };
  }

  /** Senders before a block. */
  private int before(int layer) {
    return 1 + layer * (heads + 1);
  }

  /**
   * Requires that edges exist: where a norm stands behind attention, as in OLMo-2, what a head adds
   * to the residual stream depends on the other heads, and is nothing that another node could read.
   *
   * @throws CircuitException where it does
   */
  public void requireEdges() {
    switch (residual) {
      case PRE_NORM, PARALLEL -> {}
      case POST_NORM ->
          throw new CircuitException(
              "this model normalises what all heads of a block write together, so single heads have"
                  + " no edges; use heads instead of edges");
    }
  }

  /**
   * Returns the number of blocks.
   *
   * @return layers
   */
  public int layers() {
    return layers;
  }

  /**
   * Returns the number of query heads of a block.
   *
   * @return heads
   */
  public int heads() {
    return heads;
  }

  /**
   * Tells whether a head reads as a whole.
   *
   * @return the choice
   */
  public Split split() {
    return split;
  }

  /**
   * Lists who writes.
   *
   * @return senders, in order of their numbers, which is that of computation
   */
  public List<Node> senders() {
    return List.copyOf(senders);
  }

  /**
   * Lists who reads.
   *
   * @return readers, in order of their numbers
   */
  public List<Reader> readers() {
    return List.copyOf(readers);
  }

  /**
   * Returns the number of edges.
   *
   * @return edges
   */
  public int edgeCount() {
    return edges;
  }

  /**
   * Finds an edge's number.
   *
   * @param reader the reader's number
   * @param sender the sender's number, below {@link #visible}
   * @return the edge's number
   */
  public int edge(int reader, int sender) {
    if (sender >= visible[reader]) {
      throw new CircuitException(
          "%s does not read %s"
              .formatted(readers.get(reader).node().label(), senders.get(sender).label()));
    }
    return first[reader] + sender;
  }

  /**
   * Counts what a reader sees.
   *
   * @param reader its number
   * @return how many senders, from the first on
   */
  public int visible(int reader) {
    return visible[reader];
  }

  /**
   * Returns an edge.
   *
   * @param number its number
   * @return the edge
   */
  public Edge edge(int number) {
    int reader = readerOf(number);
    Reader read = readers.get(reader);
    return new Edge(senders.get(number - first[reader]), read.node(), read.part());
  }

  /**
   * Finds an edge's reader.
   *
   * @param edge the edge's number
   * @return the reader's number
   */
  public int readerOf(int edge) {
    if (edge < 0 || edge >= edges) {
      throw new CircuitException("there is no edge " + edge + " among " + edges);
    }
    int low = 0;
    int high = first.length - 1;
    while (low < high) {
      int middle = (low + high + 1) / 2;
      if (first[middle] <= edge) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    return low;
  }

  /**
   * Finds an edge's sender.
   *
   * @param edge the edge's number
   * @return the sender's number
   */
  public int senderOf(int edge) {
    return edge - first[readerOf(edge)];
  }

  /**
   * Finds an edge's number.
   *
   * @param edge the edge
   * @return its number
   * @throws CircuitException where this model has no such edge
   */
  public int indexOf(Edge edge) {
    int sender = senders.indexOf(edge.sender());
    int reader = readers.indexOf(new Reader(edge.reader(), edge.part()));
    if (sender < 0 || reader < 0 || sender >= visible[reader]) {
      throw new CircuitException(
          "this model has no edge %s; edges lead forward, and to %s"
              .formatted(
                  edge.label(),
                  switch (split) {
                    case WHOLE -> "heads as a whole";
                    case QKV -> "<q>, <k> and <v> of heads";
                  }));
    }
    return first[reader] + sender;
  }

  /**
   * Finds a sender's number.
   *
   * @param node the sender
   * @return its number
   * @throws CircuitException where this model has no such sender
   */
  public int senderIndex(Node node) {
    int sender = senders.indexOf(node);
    if (sender < 0) {
      throw new CircuitException("nothing named " + node.label() + " writes in this model");
    }
    return sender;
  }

  /** The number of a block's first head among the senders. */
  int headSender(int layer) {
    return before(layer);
  }

  /** The number of a block's MLP among the senders. */
  int mlpSender(int layer) {
    return before(layer) + heads;
  }

  /** The number of the first reader of a part of a block's heads; the heads follow each other. */
  int headReader(int layer, Part part) {
    return layer * (heads * parts(split).size() + 1) + parts(split).indexOf(part) * heads;
  }

  /** The number of a block's MLP among the readers. */
  int mlpReader(int layer) {
    return (layer + 1) * (heads * parts(split).size() + 1) - 1;
  }

  /** The number of the logits among the readers. */
  int logitsReader() {
    return readers.size() - 1;
  }

  /** The readers that a sender's node is made of, itself as reader: none for the input. */
  int[] readersOf(int sender) {
    Node node = senders.get(sender);
    return IntStream.range(0, readers.size())
        .filter(reader -> readers.get(reader).node().equals(node))
        .toArray();
  }

  /** Whether an MLP reads the heads of its own block. */
  boolean isSequential() {
    return switch (residual) {
      case PRE_NORM, POST_NORM -> true;
      case PARALLEL -> false;
    };
  }
}
