package filigree.interp.circuit;

/**
 * What one node reads of what another wrote.
 *
 * @param sender writes
 * @param reader reads
 * @param part which part of the reader
 */
public record Edge(Node sender, Node reader, Part part) {
  /** Checks that the part exists. */
  public Edge {
    if (part != Part.ALL && !(reader instanceof Node.Head)) {
      throw new CircuitException(
          "%s reads as a whole; only heads have a query, a key and a value"
              .formatted(reader.label()));
    }
  }

  /**
   * Returns the name.
   *
   * @return such as {@code a0.h1->a1.h0<k>}
   */
  public String label() {
    return sender.label() + "->" + reader.label() + part.suffix();
  }

  /**
   * Reads a name.
   *
   * @param label such as {@code a0.h1->a1.h0<k>}
   * @return the edge
   * @throws CircuitException where it is no edge's name
   */
  public static Edge parse(String label) {
    int arrow = label.indexOf("->");
    if (arrow < 0) {
      throw new CircuitException("'" + label + "' is no edge; edges are called a0.h1->m1");
    }
    String reader = label.substring(arrow + 2);
    Part part = Part.ALL;
    for (Part candidate : Part.values()) {
      if (candidate != Part.ALL && reader.endsWith(candidate.suffix())) {
        part = candidate;
      }
    }
    String node = reader.substring(0, reader.length() - part.suffix().length());
    return new Edge(Node.parse(label.substring(0, arrow)), Node.parse(node), part);
  }
}
