package filigree.test.memory;

import filigree.autograd.AdamW;
import filigree.autograd.Gradients;
import filigree.autograd.Op;
import filigree.autograd.Pass;
import filigree.autograd.Var;
import filigree.tensor.Arithmetic;
import filigree.tensor.Kernels;
import filigree.tensor.Workspace;
import filigree.tensor.provider.Backend;
import filigree.test.TinyModel;
import filigree.transformer.Batch;
import filigree.transformer.Gates;
import filigree.transformer.TrainingData;
import filigree.transformer.Transformer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * The process that {@link MemoryTest} measures: trains a tiny model with sampled gates and AdamW
 * and prints, now and then, the step, its resident memory and the bytes of its workspaces.
 */
final class TrainingProcess {
  private static final int BATCH = 8;

  private TrainingProcess() {}

  /** Takes steps to warm up, steps that count, and how many of these lie between two lines. */
  public static void main(String[] args) throws IOException {
    int warmUp = Integer.parseInt(args[0]);
    int steps = Integer.parseInt(args[1]);
    int every = Integer.parseInt(args[2]);
    try (Kernels kernels = Backend.CPU.open(2);
        Workspace weights = new Workspace("weights");
        Workspace state = new Workspace("optimiser state");
        Workspace scratch = new Workspace("step")) {
      Transformer model = TinyModel.make(weights, 1);
      TrainingData data = TinyModel.text(1, BATCH);
      AdamW optimiser = new AdamW(AdamW.Config.DEFAULT, param -> true, kernels, state);
      for (int step = 1 - warmUp; step <= steps; step++) {
        try (Pass pass = Pass.recording(kernels, scratch)) {
          Batch batch = data.batch(step, scratch);
          Transformer.Output output =
              model.forward(pass, batch.ids(), new Gates.Sampled(0, 1, step));
          Var loss = Transformer.loss(pass, output.logits(), batch);
          Var objective = pass.apply(new Op.Combine(Arithmetic.ADD), loss, output.density(pass));
          Gradients gradients = pass.backward(objective);
          optimiser.update(gradients, gradients.norm(kernels), 1e-3);
        }
        if (step == 1 - warmUp || (step > 0 && step % every == 0)) {
          // What Java could free is not the engine's: only what stays resident counts.
          System.gc();
          System.out.printf(
              "%d %d %d%n",
              step,
              residentBytes(),
              weights.reservedBytes() + state.reservedBytes() + scratch.reservedBytes());
        }
      }
    }
  }

  /** VmRSS: everything resident, the heap, code and libraries included. */
  private static long residentBytes() throws IOException {
    return Files.readAllLines(Path.of("/proc/self/status")).stream()
        .filter(line -> line.startsWith("VmRSS:"))
        .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")) << 10)
        .findFirst()
        .orElseThrow();
  }
}
