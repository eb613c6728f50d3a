package filigree.interp.report;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Base64;

/**
 * Attention as the page's script reads it: the lower triangles [layer][head][query][key up to
 * query], each weight as 16 bits, little-endian, base64.
 */
final class PatternPacking {
  private static final int WEIGHT_SCALE = 65_535;

  private PatternPacking() {}

  /** Packs a pattern whose shape and weights have been checked. */
  static String pack(double[][][][] pattern, int tokens) {
    int heads = pattern[0].length;
    ByteBuffer packed =
        ByteBuffer.allocate(2 * pattern.length * heads * triangle(tokens))
            .order(ByteOrder.LITTLE_ENDIAN);
    for (double[][][] layer : pattern) {
      for (double[][] head : layer) {
        for (int query = 0; query < tokens; query++) {
          for (int key = 0; key <= query; key++) {
            packed.putShort((short) Math.round(Math.min(head[query][key], 1) * WEIGHT_SCALE));
          }
        }
      }
    }
    return Base64.getEncoder().encodeToString(packed.array());
  }

  /** Causal pairs of a sequence: also the place of a query's row in its triangle. */
  static int triangle(int tokens) {
    return tokens * (tokens + 1) / 2;
  }
}
