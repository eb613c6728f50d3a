package filigree.checkpoints;

import filigree.tensor.Shape;

/**
 * One tensor as a safetensors header describes it.
 *
 * @param name its name in the file
 * @param type its element type in the file
 * @param shape its shape in the file
 * @param begin its first byte, counted from the end of the header
 * @param end one past its last byte
 */
public record StoredTensor(String name, StoredType type, Shape shape, long begin, long end) {

  /**
   * Returns its size in the file.
   *
   * @return bytes
   */
  public long byteSize() {
    return end - begin;
  }
}
