package filigree.tensor.nd4j;

import filigree.tensor.Tensor;
import filigree.tensor.TensorException;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import org.nd4j.linalg.api.memory.MemoryWorkspace;
import org.nd4j.linalg.api.memory.conf.WorkspaceConfiguration;
import org.nd4j.linalg.api.memory.enums.AllocationPolicy;
import org.nd4j.linalg.api.memory.enums.LearningPolicy;
import org.nd4j.linalg.api.memory.enums.ResetPolicy;
import org.nd4j.linalg.api.memory.enums.SpillPolicy;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

/**
 * Where the temporaries of a kernel live, and the way in and out of float64.
 *
 * <p>Every operand is copied into a float64 temporary, every formula is computed there, and the
 * result is rounded once when it is stored. So the twin of a float32 kernel is accurate to half a
 * unit in the last place of the exact formula (up to float64's own error), sums cannot lose digits
 * as ND4J's float32 sums do, and an output may share its bytes with an input.
 *
 * <p>ND4J gives memory back only when Java collects garbage, so an array made outside a workspace
 * piles up. Here all arrays between {@link #open} and {@link Scope#close} lie in an ND4J workspace,
 * which grows to the largest call seen and is reused by the next.
 */
final class Scratch implements AutoCloseable {
  /** How deep scopes may nest: the whole call, or one attention head inside it. */
  enum Level {
    /** Temporaries of the whole call. */
    CALL,
    /** Temporaries of one step of a loop inside a call. */
    STEP
  }

  private static final AtomicInteger INSTANCES = new AtomicInteger();

  // Nothing is reserved beforehand. A call that needs more than the workspace holds takes it from
  // the system, and gives it back when the workspace has grown to that size at the end of the
  // scope.
  private static final WorkspaceConfiguration CONFIGURATION =
      WorkspaceConfiguration.builder()
          .initialSize(0)
          .policyLearning(LearningPolicy.OVER_TIME)
          .cyclesBeforeInitialization(1)
          .policyAllocation(AllocationPolicy.STRICT)
          .policyReset(ResetPolicy.BLOCK_LEFT)
          .policySpill(SpillPolicy.REALLOCATE)
          .build();

  private final String name = "filigree-" + INSTANCES.incrementAndGet() + "-";
  private final Set<MemoryWorkspace> workspaces = ConcurrentHashMap.newKeySet();
  private volatile boolean closed;

  /** Opens a scope on this thread; arrays that are made until it is closed die with it. */
  Scope open(Level level) {
    if (closed) {
      throw new TensorException("nd4j: these kernels were closed; make new ones");
    }
    MemoryWorkspace workspace =
        Nd4j.getWorkspaceManager().getAndActivateWorkspace(CONFIGURATION, name + level);
    workspaces.add(workspace);
    return new Scope(workspace);
  }

  /** Opens the scope of a call. */
  Scope open() {
    return open(Level.CALL);
  }

  /** Bytes that the workspaces hold. */
  long bytes() {
    return workspaces.stream().mapToLong(MemoryWorkspace::getCurrentSize).sum();
  }

  @Override
  public void close() {
    closed = true;
    workspaces.forEach(workspace -> workspace.destroyWorkspace(true));
    workspaces.clear();
  }

  /** Copies elements into a float64 temporary of the tensor's shape; a scalar gets one axis. */
  static INDArray wide(Tensor tensor) {
    return wide(tensor, tensor.shape().rank() == 0 ? new long[] {1} : tensor.shape().dims());
  }

  /** Copies elements into a float64 temporary [rows, last axis]. */
  static INDArray wideRows(Tensor tensor) {
    return wide(tensor, tensor.shape().rows(), tensor.shape().dim(-1));
  }

  /**
   * Copies elements into a float64 temporary of another shape. Note that {@code reshape('c', n)}
   * with one length is a trap: it is read as the shape [99, n]. Row-major is ND4J's default anyway.
   */
  static INDArray wide(Tensor tensor, long... shape) {
    return Bridge.wide(tensor, shape);
  }

  /** Rounds a float64 result to a tensor of as many elements. */
  static void store(INDArray value, Tensor out) {
    Bridge.store(value, out);
  }

  /** Temporaries between an opening and its closing. */
  static final class Scope implements AutoCloseable {
    private final MemoryWorkspace workspace;

    private Scope(MemoryWorkspace workspace) {
      this.workspace = workspace;
    }

    @Override
    public void close() {
      workspace.close();
    }
  }
}
