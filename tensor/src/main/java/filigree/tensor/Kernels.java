package filigree.tensor;

/**
 * The whole vocabulary of computation. Every kernel writes its whole output tensor ({@code out} and
 * whatever is named as written) and allocates nothing that outlives the call. Outputs must not
 * overlap inputs unless a kernel says so. Shapes and types are checked at entry; a mismatch is a
 * {@link TensorException} that names the kernel and the axis, and nothing has been written then.
 *
 * <p>Floating tensors of one call have one type, {@link DType#F32} or, where the provider supports
 * it, {@link DType#F64}. Two operands may also be stored narrower, as frozen weights are: the table
 * of {@link #gather} and b of {@link #matmul}. They are widened exactly when read.
 *
 * <p>Numbers are expected to be finite. What a kernel makes of others is said where it is more than
 * what float arithmetic does with them.
 */
public interface Kernels extends AutoCloseable {
  /**
   * Returns the provider's name.
   *
   * @return {@code cpu} or {@code nd4j}
   */
  String name();

  /**
   * Describes provider, device, threads and instruction set for logs and reports.
   *
   * @return one line
   */
  String description();

  /**
   * Tells whether this provider computes in a type.
   *
   * @param dtype the type
   * @return whether it does
   */
  boolean computes(DType dtype);

  /**
   * Fills a tensor.
   *
   * @param out written
   * @param value the value of every element
   */
  void fill(Tensor out, double value);

  /**
   * Copies elements, converting where the types differ (round to nearest, ties to even).
   *
   * @param from read; any type
   * @param out written; same size; F32, F64, BF16 or F16
   */
  void cast(Tensor from, Tensor out);

  /**
   * Applies a function to every element.
   *
   * @param function the function
   * @param x read
   * @param out written; may be x
   */
  void map(Elementwise function, Tensor x, Tensor out);

  /**
   * Multiplies a gradient by a function's derivative.
   *
   * @param function the function
   * @param x its argument
   * @param y its value
   * @param gradient gradient with respect to y
   * @param out written: gradient f'(x); may be gradient
   */
  void mapBackward(Elementwise function, Tensor x, Tensor y, Tensor gradient, Tensor out);

  /**
   * Combines two tensors, broadcasting by NumPy's rule.
   *
   * @param op the operation
   * @param a left operand
   * @param b right operand
   * @param out written; of the broadcast shape; may be an operand of that shape
   */
  void combine(Arithmetic op, Tensor a, Tensor b, Tensor out);

  /**
   * Adds a multiple: {@code y += alpha x}.
   *
   * @param alpha the factor
   * @param x read
   * @param y read and written; same shape
   */
  void accumulate(double alpha, Tensor x, Tensor y);

  /**
   * Multiplies by a number.
   *
   * @param alpha the factor
   * @param x read
   * @param out written; may be x
   */
  void scale(double alpha, Tensor x, Tensor out);

  /**
   * Limits elements: {@code min(max(x, -limit), limit)}.
   *
   * @param limit 0 or more
   * @param x read
   * @param out written; may be x
   */
  void clip(double limit, Tensor x, Tensor out);

  /**
   * Gradient of {@link #clip}: the gradient where {@code |x| <= limit}, else 0.
   *
   * @param limit as in the forward kernel
   * @param x what was limited
   * @param gradient gradient with respect to the limited elements
   * @param out written; may be gradient
   */
  void clipBackward(double limit, Tensor x, Tensor gradient, Tensor out);

  /**
   * Sums over the axes along which {@code out} was broadcast to x's shape: those it lacks in front
   * and those of length 1. Sums are pairwise or in float64.
   *
   * @param x read
   * @param out written; a shape that broadcasts to x's
   */
  void sumTo(Tensor x, Tensor out);

  /**
   * Sums the squares of all elements, in float64.
   *
   * @param x read
   * @return the sum
   */
  double sumOfSquares(Tensor x);

  /**
   * Multiplies matrices: {@code out = alpha A B + beta out}. Axes before the last two are batch
   * axes and must be equal, or b has none and all rows of a are multiplied by the one matrix.
   *
   * @param alpha the factor of the product
   * @param a [..., m, k], or [..., k, m] with {@code ta}
   * @param ta whether a is transposed
   * @param b [..., k, n], or [..., n, k] with {@code tb}; of the type of the call, or weights as
   *     they were stored, BF16 or F16 (then without batch axes)
   * @param tb whether b is transposed
   * @param beta the factor of what out holds; 0 never reads it
   * @param out written; [..., m, n]
   */
  void matmul(
      double alpha, Tensor a, Transpose ta, Tensor b, Transpose tb, double beta, Tensor out);

  /**
   * Multiplies rows by one matrix and adds one row to all: {@code out = A B + bias}.
   *
   * @param a [..., m, k]
   * @param b [k, n], or [n, k] with {@code tb}; types as in {@link #matmul}
   * @param tb whether b is transposed
   * @param bias [n]
   * @param out written; [..., m, n]
   */
  void affine(Tensor a, Tensor b, Transpose tb, Tensor bias, Tensor out);

  /**
   * Computes the gradients of a linear map's weight and bias, {@code weight = G^T X + beta weight}
   * and {@code bias =} the sum of G's rows, which both read all of G.
   *
   * @param gradient G, [..., out]
   * @param x the map's input X, [..., in], of as many rows
   * @param beta the factor of what weight holds; 0 never reads it
   * @param weight written; [out, in]
   * @param bias written; [out]
   */
  void affineBackward(Tensor gradient, Tensor x, double beta, Tensor weight, Tensor bias);

  /**
   * Permutes axes: {@code out[i_axes[0], i_axes[1], ...] = x[i_0, i_1, ...]}, as NumPy's transpose.
   *
   * @param x read; any type
   * @param axes which axis of x becomes axis 0, 1, ... of out
   * @param out written
   */
  void permute(Tensor x, int[] axes, Tensor out);

  /**
   * Copies a box of {@code x} into {@code out} or a box of {@code out} from {@code x}: along one
   * axis, {@code length} indices from {@code fromX} in x to those from {@code fromOut} in out. Axes
   * other than that one must be equal. The rest of out is left as it is.
   *
   * @param x read
   * @param fromX first index in x
   * @param out written in part
   * @param fromOut first index in out
   * @param axis the axis
   * @param length how many indices
   */
  void copyAlong(Tensor x, long fromX, Tensor out, long fromOut, int axis, long length);

  /**
   * Normalises rows to sum 1: {@code exp(x - max) / sum}.
   *
   * @param x rows along the last axis
   * @param out written; may be x
   */
  void softmax(Tensor x, Tensor out);

  /**
   * Gradient of {@link #softmax}: {@code y (g - sum(g y))}.
   *
   * @param y the softmax
   * @param gradient gradient with respect to y
   * @param out written; may be gradient
   */
  void softmaxBackward(Tensor y, Tensor gradient, Tensor out);

  /**
   * Sets the entries of queries that may not see keys to a value, in place; positions and window as
   * in {@link AttentionSpec}.
   *
   * @param scores read and written; [..., query, key]
   * @param window how many keys a query sees at most, {@link AttentionSpec#ALL_KEYS} for no limit
   * @param value what is written, minus infinity for scores and 0 for gradients and gates
   */
  void maskCausal(Tensor scores, int window, double value);

  /**
   * Layer normalisation (Ba, Kiros, Hinton, arXiv 1607.06450): {@code (x - mean) / sqrt(variance +
   * epsilon) weight + bias} over the last axis.
   *
   * @param x rows
   * @param weight [last axis]
   * @param bias [last axis]
   * @param epsilon added to the variance
   * @param out written
   * @param mean written; one per row
   * @param inverse written; {@code 1 / sqrt(variance + epsilon)}, one per row
   */
  void layerNorm(
      Tensor x,
      Tensor weight,
      Tensor bias,
      double epsilon,
      Tensor out,
      Tensor mean,
      Tensor inverse);

  /**
   * Gradient of {@link #layerNorm}.
   *
   * @param x rows
   * @param weight [last axis]
   * @param mean from the forward kernel
   * @param inverse from the forward kernel
   * @param gradient gradient with respect to the output
   * @param dx written
   * @param dweight written
   * @param dbias written
   */
  void layerNormBackward(
      Tensor x,
      Tensor weight,
      Tensor mean,
      Tensor inverse,
      Tensor gradient,
      Tensor dx,
      Tensor dweight,
      Tensor dbias);

  /**
   * Root mean square normalisation (Zhang and Sennrich, arXiv 1910.07467): {@code x /
   * sqrt(mean(x^2) + epsilon) weight} over the last axis.
   *
   * @param x rows
   * @param weight [last axis]
   * @param epsilon added to the mean square
   * @param out written
   * @param inverse written; {@code 1 / sqrt(mean(x^2) + epsilon)}, one per row
   */
  void rmsNorm(Tensor x, Tensor weight, double epsilon, Tensor out, Tensor inverse);

  /**
   * Gradient of {@link #rmsNorm}.
   *
   * @param x rows
   * @param weight [last axis]
   * @param inverse from the forward kernel
   * @param gradient gradient with respect to the output
   * @param dx written
   * @param dweight written
   */
  void rmsNormBackward(
      Tensor x, Tensor weight, Tensor inverse, Tensor gradient, Tensor dx, Tensor dweight);

  /**
   * Rotary position embedding (Su et al., arXiv 2104.09864) in the half-split layout of Hugging
   * Face checkpoints: element r of the first half is paired with element {@code r + R / 2}, where R
   * = 2 x pairs is the rotated width; elements from R on pass unchanged.
   *
   * @param x [batch, time, heads, headDim]
   * @param cos [positions, pairs], in the type of x
   * @param sin [positions, pairs]
   * @param offset position of time 0
   * @param direction which way
   * @param out written; may be x
   */
  void rotary(Tensor x, Tensor cos, Tensor sin, int offset, Rotation direction, Tensor out);

  /**
   * Gathers rows: {@code out[n] = table[ids[n]]}.
   *
   * @param table [entries, width]; of the type of out, or BF16 or F16
   * @param ids I32, any shape
   * @param out written; [shape of ids..., width]; of the type that the provider computes in
   * @throws TensorException where an id is out of range; names the first such id and its place
   */
  void gather(Tensor table, Tensor ids, Tensor out);

  /**
   * Adds rows: {@code table[ids[n]] += gradient[n]}, in order of n, so that the result does not
   * depend on the number of threads.
   *
   * @param ids I32
   * @param gradient [shape of ids..., width]
   * @param table read and written; [entries, width]
   * @throws TensorException where an id is out of range; nothing has been written then
   */
  void scatterAdd(Tensor ids, Tensor gradient, Tensor table);

  /**
   * Cross-entropy in nats, {@code logSumExp(row) - row[target]}.
   *
   * @param logits [rows, vocab]
   * @param targets I32 [rows]; -1 is not scored
   * @param losses written; [rows]; 0 where not scored
   * @param logSumExp written; [rows]
   * @throws TensorException where a target is out of range
   */
  void crossEntropy(Tensor logits, Tensor targets, Tensor losses, Tensor logSumExp);

  /**
   * Gradient of {@link #crossEntropy}: {@code (softmax(row) - onehot(target)) gradient[row]}.
   *
   * @param logits [rows, vocab]
   * @param targets I32 [rows]
   * @param logSumExp from the forward kernel
   * @param gradient [rows]: gradient with respect to each row's loss
   * @param out written; may be logits, which then are gone
   */
  void crossEntropyBackward(
      Tensor logits, Tensor targets, Tensor logSumExp, Tensor gradient, Tensor out);

  /**
   * Divergence of a student from a teacher in nats, {@code KL(softmax(teacher) ||
   * softmax(student))}, row by row. Where the teacher's logit is minus infinity the class counts 0;
   * where only the student's is, the divergence is infinite; a row of minus infinities is no
   * distribution, and the result NaN.
   *
   * @param student [rows, vocab] logits
   * @param teacher [rows, vocab] logits
   * @param divergence written; [rows]
   */
  void divergence(Tensor student, Tensor teacher, Tensor divergence);

  /**
   * Gradient of {@link #divergence} with respect to the student: {@code (softmax(student) -
   * softmax(teacher)) gradient[row]}. The teacher gets none.
   *
   * @param student [rows, vocab] logits
   * @param teacher [rows, vocab] logits
   * @param gradient [rows]
   * @param out written; may be student
   */
  void divergenceBackward(Tensor student, Tensor teacher, Tensor gradient, Tensor out);

  /**
   * Gate values of a table of gate logits: 1 where {@code z + n > 0}, and {@code sigmoid(z)} for
   * {@link Gate.Soft}. The unfused twin of what {@link #attention} does inside.
   *
   * @param gate the gate; its bias is already in z
   * @param z gate logits; [batch, head, query, key]
   * @param out written; 0 or 1, or between for {@link Gate.Soft}
   */
  void gate(Gate gate, Tensor z, Tensor out);

  /**
   * Straight-through gradient of {@link #gate}: {@code g sigmoid'(z + n)}; for {@link Gate.Soft}
   * that is the gradient itself, and for {@link Gate.Open} it is 0.
   *
   * @param gate the gate
   * @param z gate logits
   * @param gradient gradient with respect to the gates
   * @param out written
   */
  void gateBackward(Gate gate, Tensor z, Tensor gradient, Tensor out);

  /**
   * Gated causal attention: {@code y = (softmax(s) m) v} with {@code s = scale q . k}; see {@link
   * Gate}. Softmax runs over all causal keys; rows all of whose gates are closed are exactly 0.
   *
   * <p>A NaN or infinity in a row of v reaches every query that may see the key, and may reach
   * earlier queries of the same sequence and head, because a mask of 0 times NaN is NaN; other
   * sequences and heads it does not reach.
   *
   * @param spec heads, scale and gate
   * @param q [batch, query, heads, headDim]
   * @param k [batch, key, kvHeads, headDim]
   * @param v [batch, key, kvHeads, headDim]
   * @param out written; like q
   * @param logSumExp written; [batch, heads, query]: natural log of the sum of exp(s)
   * @param expected written; [batch, heads]: mean over causal pairs of sigmoid(z) without noise; 1
   *     for {@link Gate.Open}
   * @param counts written; F64 [batch, heads, {@value AttentionSpec#COUNTS}]: open gates, empty
   *     rows, open gates to key 0, open diagonal gates, all four without noise; see the columns in
   *     {@link AttentionSpec}
   */
  void attention(
      AttentionSpec spec,
      Tensor q,
      Tensor k,
      Tensor v,
      Tensor out,
      Tensor logSumExp,
      Tensor expected,
      Tensor counts);

  /**
   * Gradient of {@link #attention}, with p = softmax(s), g = sigmoid(z + n), G = dy . v and D = dy
   * . y (method: straight through):
   *
   * <pre>
   *   ds = p ((g (1 - g) + m) G - D) + dexpected sigmoid(z) (1 - sigmoid(z)) / pairs
   *   dv = sum over queries of p m dy
   * </pre>
   *
   * <p>For {@link Gate.Open} {@code ds = p (G - D)}. Noise is recomputed from its key.
   *
   * @param spec as in the forward kernel
   * @param q as in the forward kernel
   * @param k as in the forward kernel
   * @param v as in the forward kernel
   * @param out from the forward kernel
   * @param logSumExp from the forward kernel
   * @param dout gradient with respect to out
   * @param dexpected gradient with respect to expected; [batch, heads]
   * @param dq written
   * @param dk written
   * @param dv written
   */
  void attentionBackward(
      AttentionSpec spec,
      Tensor q,
      Tensor k,
      Tensor v,
      Tensor out,
      Tensor logSumExp,
      Tensor dout,
      Tensor dexpected,
      Tensor dq,
      Tensor dk,
      Tensor dv);

  /**
   * Updates a parameter in one pass.
   *
   * @param step the constants
   * @param parameter read and written
   * @param gradient read
   * @param mean read and written
   * @param variance read and written
   */
  void adamw(AdamWStep step, Tensor parameter, Tensor gradient, Tensor mean, Tensor variance);

  /** Stops threads and frees scratch memory. */
  @Override
  void close();
}
