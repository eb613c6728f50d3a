package filigree.sparsity;

import filigree.autograd.AdamW;
import filigree.autograd.Gradients;
import filigree.autograd.Param;
import filigree.autograd.Pass;
import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import filigree.transformer.Batch;
import filigree.transformer.DryRun;
import filigree.transformer.Gates;
import filigree.transformer.MemoryEstimate;
import filigree.transformer.MemoryPlan;
import filigree.transformer.ModelConfig;
import filigree.transformer.Parameters;
import filigree.transformer.Transformer;
import java.util.Set;

/** How much memory post-training takes for tensors: its own step, done dry. */
public final class SparsifierMemory {
  /** Copies of what is trained: the student's and the average's. */
  private static final int COPIES = 2;

  /** Tables of a layer with gate variants: scores of both kinds, pattern, gates, what is kept. */
  private static final int TABLES = 12;

  private SparsifierMemory() {}

  /**
   * A step to estimate.
   *
   * @param batch sequences at once
   * @param time tokens of each
   * @param measured sequences at once where the model is measured on held-out text
   * @param trained what is trained
   * @param weights terms of the objective
   * @param plan what is kept for the backward pass
   */
  public record Task(
      int batch,
      int time,
      int measured,
      Sparsifier.Trainables trained,
      Objective.Weights weights,
      MemoryPlan plan) {}

  /**
   * Estimates, for plain gates: variants add {@link #tableBytes} and a few small weights.
   *
   * @param config the model
   * @param frozen what the dense model's weights take, which the student shares where it does not
   *     train
   * @param task the step
   * @return the estimate
   */
  public static MemoryEstimate of(ModelConfig config, MemoryEstimate.Weights frozen, Task task) {
    Dry dry = new Dry(task);
    long step =
        DryRun.ofStep(
            config.withGating(Set.of()),
            task.batch(),
            task.time(),
            (dense, batch, kernels, memory) -> dry.run(dense, kernels, memory));
    return new MemoryEstimate(
        frozen.residentBytes() + COPIES * dry.trainedBytes,
        frozen.mappedBytes(),
        step + dry.teacherBytes,
        dry.momentBytes,
        task.batch(),
        task.time());
  }

  /**
   * What attention step by step takes besides, which gate variants need: tables of all queries and
   * keys that the backward pass reads, where blocks are kept.
   *
   * @param config the model
   * @param batch sequences at once
   * @param time tokens of each
   * @return bytes
   */
  public static long tableBytes(ModelConfig config, int batch, int time) {
    long entries = (long) batch * config.attention().heads() * time * time;
    return entries * config.sizes().layers() * TABLES * Float.BYTES;
  }

  private static Batch batch(Workspace memory, Shape shape) {
    Tensor ids = memory.allocate(shape, DType.I32);
    Tensor targets = memory.allocate(shape, DType.I32);
    return new Batch(ids, targets, shape.size());
  }

  /** The step, and what it finds besides its own workspace. */
  private static final class Dry {
    private final Task task;
    private long trainedBytes;
    private long teacherBytes;
    private long momentBytes;

    Dry(Task task) {
      this.task = task;
    }

    void run(Transformer dense, Kernels kernels, Workspace memory) {
      measure(dense, kernels, memory);
      step(dense, kernels, memory);
      measure(dense, kernels, memory);
    }

    /** Tensors of more tokens than a step has do not fit into its slabs and get their own. */
    private void measure(Transformer dense, Kernels kernels, Workspace memory) {
      try (Pass pass = Pass.inference(kernels, memory)) {
        Batch held = batch(memory, Shape.of(task.measured(), task.time()));
        var _ = dense.score(pass, held, new Gates.Hard(0), MemoryPlan.KEEP_BLOCKS);
      }
    }

    private void step(Transformer dense, Kernels kernels, Workspace memory) {
      Batch batch = batch(memory, Shape.of(task.batch(), task.time()));
      try (Workspace tables = new Workspace("tables of a dry run");
          Workspace additions = Workspace.imaginary("adapters of a dry run");
          Workspace teacherMemory = Workspace.imaginary("teacher of a dry run")) {
        Parameters own = dense.parameters();
        Parameters changed =
            switch (task.trained()) {
              case Sparsifier.Trained all -> own;
              case Lora lora -> own.with(lora.vacant(dense, additions));
            };
        for (Param param : changed.everything()) {
          trainedBytes += task.trained().includes(param) ? param.value().byteSize() : 0;
        }
        Transformer student = new Transformer(dense.config(), changed, tables);
        Tensor share = memory.allocate(batch.targets().shape(), own.computing());
        Objective objective =
            new Objective(dense, student, task.weights(), EdgeWeights.uniform(), task.plan());
        try (Pass frozen = Pass.inference(kernels, teacherMemory);
            Pass pass = Pass.recording(kernels, memory).training(task.trained()::includes)) {
          Objective.Values values =
              objective.forward(
                  frozen,
                  pass,
                  new Objective.Weighted(batch, share.reshape(Shape.of(share.size()))),
                  new Gates.Sampled(0, 0, 0),
                  1);
          Gradients gradients = pass.backward(values.total());
          momentBytes =
              DryRun.reservedBytes(
                  (idle, state) ->
                      new AdamW(AdamW.Config.DEFAULT, param -> false, idle, state)
                          .update(gradients, 0, 0));
        }
        teacherBytes = teacherMemory.reservedBytes();
      }
    }
  }
}
