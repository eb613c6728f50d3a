package filigree.sparsity;

import filigree.autograd.Pass;
import filigree.tensor.Kernels;
import filigree.tensor.Philox;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import filigree.transformer.Batch;
import filigree.transformer.Evaluation;
import filigree.transformer.Gates;
import filigree.transformer.MemoryPlan;
import filigree.transformer.Transformer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Held-out batches with the dense model's loss on each, so that another model is compared with it
 * batch by batch: the difference of two losses on the same text has far less noise than either.
 */
final class HeldOut {
  private static final int SHUFFLE_STREAM = 0x50524f;

  private final List<Batch.Maker> batches;
  private final double[] denseNats;
  private final long[] scored;
  private final List<List<Integer>> probes = new ArrayList<>();
  private final Kernels kernels;
  private final Workspace workspace;

  /**
   * Measures the dense model once.
   *
   * @param probeTokens scored tokens in each probe, at least
   */
  HeldOut(
      List<Batch.Maker> batches,
      Transformer dense,
      long probeTokens,
      Kernels kernels,
      Workspace workspace) {
    this.batches = batches;
    this.denseNats = new double[batches.size()];
    this.scored = new long[batches.size()];
    this.kernels = kernels;
    this.workspace = workspace;
    long all = 0;
    for (int i = 0; i < batches.size(); i++) {
      denseNats[i] = nats(i, dense, Gates.dense());
      all += scored[i];
    }
    if (all == 0) {
      throw new RunException("the validation text holds no token to score; use longer documents");
    }
    group(probeTokens);
  }

  /**
   * Groups the batches, in random order, into probes of about equally many tokens: the windows at
   * the ends of documents are short, and counted alone they would be all noise.
   */
  private void group(long probeTokens) {
    int[] order = new int[batches.size()];
    Arrays.setAll(order, i -> i);
    new Philox(0, SHUFFLE_STREAM).shuffle(order);
    List<Integer> group = new ArrayList<>();
    long tokens = 0;
    for (int batch : order) {
      group.add(batch);
      tokens += scored[batch];
      if (tokens >= probeTokens) {
        probes.add(group);
        group = new ArrayList<>();
        tokens = 0;
      }
    }
    if (probes.isEmpty()) {
      probes.add(group);
    } else {
      probes.getLast().addAll(group);
    }
  }

  int probeCount() {
    return probes.size();
  }

  /** The dense model's loss on everything, nats per scored token. */
  double denseCe() {
    double nats = 0;
    long tokens = 0;
    for (int i = 0; i < batches.size(); i++) {
      nats += denseNats[i];
      tokens += scored[i];
    }
    return nats / tokens;
  }

  /** How far a model lies above the dense one on one probe, nats per scored token. */
  double excess(Transformer model, Gates gates, int probe) {
    double nats = 0;
    long tokens = 0;
    for (int i : probes.get(probe)) {
      nats += nats(i, model, gates) - denseNats[i];
      tokens += scored[i];
    }
    return nats / tokens;
  }

  /** Loss and edges of a model on everything. */
  Evaluation evaluate(Transformer model, Gates gates) {
    return Evaluation.of(
        model, batches, gates, new Evaluation.Run(kernels, workspace, tokens -> {}));
  }

  private double nats(int i, Transformer model, Gates gates) {
    try (Pass pass = Pass.inference(kernels, workspace)) {
      Batch batch = batches.get(i).make(workspace);
      Tensor losses = model.score(pass, batch, gates, MemoryPlan.KEEP_BLOCKS).losses().value();
      scored[i] = batch.scored();
      double sum = 0;
      for (long row = 0; row < losses.size(); row++) {
        sum += losses.get(row);
      }
      return sum;
    }
  }
}
