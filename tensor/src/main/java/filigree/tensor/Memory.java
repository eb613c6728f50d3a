package filigree.tensor;

/** Where tensors get their bytes, and the one who frees them. */
public interface Memory extends AutoCloseable {
  /**
   * Makes a tensor whose contents are undefined.
   *
   * @param shape its shape
   * @param dtype its element type
   * @return a tensor that lives until this memory is reset or closed, or the tensor is released
   * @throws TensorException where the memory's limit would be exceeded
   */
  Tensor allocate(Shape shape, DType dtype);

  /**
   * Gives a tensor's bytes back for reuse by what is allocated next. The tensor and all its views
   * must not be used again.
   *
   * @param tensor a tensor of this memory, not a view
   */
  void release(Tensor tensor);

  /**
   * Returns the bytes taken from the system.
   *
   * @return bytes
   */
  long reservedBytes();

  /** Returns every byte to the system; all tensors of this memory are dead. */
  @Override
  void close();
}
