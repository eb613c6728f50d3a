package filigree.autograd;

import filigree.tensor.Arithmetic;
import filigree.tensor.DType;
import filigree.tensor.Elementwise;
import filigree.tensor.Kernels;
import filigree.tensor.Memory;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;

/**
 * What an operation may use while it runs: the kernels, and memory that its pass owns. The short
 * methods allocate their result.
 *
 * @param kernels the provider
 * @param memory the pass's memory
 */
public record Scope(Kernels kernels, Memory memory) {
  /**
   * Makes a tensor with undefined contents.
   *
   * @param shape its shape
   * @param dtype its type
   * @return the tensor
   */
  public Tensor make(Shape shape, DType dtype) {
    return memory.allocate(shape, dtype);
  }

  /**
   * Makes a tensor like another, with undefined contents.
   *
   * @param other gives shape and type
   * @return the tensor
   */
  public Tensor like(Tensor other) {
    return memory.allocate(other.shape(), other.dtype());
  }

  /**
   * Makes a tensor of zeros like another.
   *
   * @param other gives shape and type
   * @return zeros
   */
  public Tensor zerosLike(Tensor other) {
    Tensor out = like(other);
    kernels.fill(out, 0);
    return out;
  }

  /**
   * Gives a temporary back.
   *
   * @param temporary a tensor made here, not a view
   */
  public void release(Tensor temporary) {
    memory.release(temporary);
  }

  Tensor combine(Arithmetic op, Tensor a, Tensor b) {
    Tensor out = make(a.shape().broadcast(b.shape()), a.dtype());
    kernels.combine(op, a, b, out);
    return out;
  }

  Tensor scaled(double factor, Tensor x) {
    Tensor out = like(x);
    kernels.scale(factor, x, out);
    return out;
  }

  Tensor map(Elementwise function, Tensor x) {
    Tensor out = like(x);
    kernels.map(function, x, out);
    return out;
  }

  /** Undoes a broadcast: sums a temporary over what the shape lacks, giving the temporary back. */
  Tensor collapse(Tensor temporary, Shape shape) {
    if (temporary.shape().equals(shape)) {
      return temporary;
    }
    Tensor out = make(shape, temporary.dtype());
    kernels.sumTo(temporary, out);
    release(temporary);
    return out;
  }
}
