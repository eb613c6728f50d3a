package filigree.interp.relation;

import filigree.interp.AttentionMaps;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** Counts the open edges of a relation's prompts, heads taken together. */
public final class RelationTally {
  private final Relation relation;
  private final List<Map<String, Cell>> layers = new ArrayList<>();
  private int prompts;

  /** What was seen of the queries of one group in one layer. */
  private static final class Cell {
    private long queries;
    private final double[] edges;
    private final double[] weight;

    private Cell(int kinds) {
      edges = new double[kinds];
      weight = new double[kinds];
    }
  }

  /**
   * One layer and group.
   *
   * @param layer from 0
   * @param group of queries
   * @param queries how many were seen
   * @param edges open edges a query by class, all heads together
   * @param weight attention a query by class, all heads together; a head whose gates are all open
   *     gives 1
   */
  public record Row(
      int layer,
      String group,
      long queries,
      Map<String, Double> edges,
      Map<String, Double> weight) {
    /** Checks the tables. */
    public Row {
      edges = Map.copyOf(edges);
      weight = Map.copyOf(weight);
    }

    /**
     * Returns the number of edges.
     *
     * @return open edges a query
     */
    public double edgesPerQuery() {
      return sum(edges);
    }

    /**
     * Returns the share of the open edges that are of one class.
     *
     * @param kind the class
     * @return from 0 to 1; NaN where no edge is open
     */
    public double edgeShare(String kind) {
      return edges.get(kind) / sum(edges);
    }

    /**
     * Returns the share of the attention that goes along edges of one class.
     *
     * @param kind the class
     * @return from 0 to 1; NaN where no edge is open
     */
    public double weightShare(String kind) {
      return weight.get(kind) / sum(weight);
    }

    private static double sum(Map<String, Double> values) {
      return values.values().stream().mapToDouble(Double::doubleValue).sum();
    }
  }

  /**
   * Begins to count.
   *
   * @param relation tells edges apart
   * @param layerCount layers of the model
   */
  public RelationTally(Relation relation, int layerCount) {
    this.relation = relation;
    for (int layer = 0; layer < layerCount; layer++) {
      Map<String, Cell> groups = new LinkedHashMap<>();
      relation.groups().forEach(group -> groups.put(group, new Cell(relation.kinds().size())));
      layers.add(groups);
    }
  }

  /**
   * Counts the edges of a prompt.
   *
   * @param prompt of the relation
   * @param maps the model's attention on it
   */
  public void add(Relation.Prompt prompt, AttentionMaps maps) {
    prompts++;
    for (int layer = 0; layer < layers.size(); layer++) {
      for (int query = 0; query < prompt.ids().length; query++) {
        Optional<String> group = prompt.group(query);
        if (group.isPresent()) {
          Cell cell = layers.get(layer).get(group.get());
          cell.queries++;
          for (int head = 0; head < maps.open()[layer].length; head++) {
            for (int key : maps.open()[layer][head][query]) {
              int kind = relation.kinds().indexOf(prompt.kind(query, key));
              cell.edges[kind]++;
              cell.weight[kind] += maps.weights()[layer][head][query][key];
            }
          }
        }
      }
    }
  }

  /**
   * Returns the number of prompts counted.
   *
   * @return calls of {@link #add}
   */
  public int prompts() {
    return prompts;
  }

  /**
   * Returns what was counted.
   *
   * @return layer by layer, groups in their order; groups without a query left out
   */
  public List<Row> rows() {
    List<Row> out = new ArrayList<>();
    for (int layer = 0; layer < layers.size(); layer++) {
      for (Map.Entry<String, Cell> entry : layers.get(layer).entrySet()) {
        Cell cell = entry.getValue();
        if (cell.queries > 0) {
          out.add(
              new Row(
                  layer,
                  entry.getKey(),
                  cell.queries,
                  byKind(cell.edges, cell.queries),
                  byKind(cell.weight, cell.queries)));
        }
      }
    }
    return out;
  }

  private Map<String, Double> byKind(double[] sums, long queries) {
    Map<String, Double> out = new LinkedHashMap<>();
    for (int kind = 0; kind < sums.length; kind++) {
      out.put(relation.kinds().get(kind), sums[kind] / queries);
    }
    return out;
  }
}
