package filigree.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.autograd.AdamW;
import filigree.checkpoints.CheckpointException;
import filigree.checkpoints.CheckpointWriter;
import filigree.checkpoints.ConfigJson;
import filigree.checkpoints.Tokenizer;
import filigree.interp.report.RunPage;
import filigree.sparsity.Constraint;
import filigree.sparsity.Objective;
import filigree.sparsity.RunFolder;
import filigree.sparsity.Sparsifier;
import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.Workspace;
import filigree.transformer.Evaluation;
import filigree.transformer.Gates;
import filigree.transformer.LearningRate;
import filigree.transformer.MemoryPlan;
import filigree.transformer.ModelConfig;
import filigree.transformer.Parameters;
import filigree.transformer.Pretrainer;
import filigree.transformer.Transformer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** The two-digit addition model of the paper, trained, sparsified and drawn. */
@Command(
    name = "demo",
    mixinStandardHelpOptions = true,
    description =
        "Trains a four-layer model on two-digit addition, closes its attention edges, and writes a"
            + " page that shows both; needs no file and no network.")
final class DemoCommand implements Callable<Integer> {
  private static final Path DEFAULT_OUT = Path.of("demo-run");
  private static final int WIDTH = 64;
  private static final int HEADS = 4;
  private static final int BATCH = 128;
  private static final int[][] SHOWN = {{53, 21}, {36, 28}, {43, 59}};

  /** The folder of the dense model, beside the sparse one. */
  private static final String DENSE = "dense";

  @CommandLine.Spec private CommandLine.Model.CommandSpec spec;
  @Mixin private CommonOptions common;

  @Option(
      names = "--out",
      paramLabel = "DIR",
      description = "A new folder (default: demo-run, or demo-run-2 and so on where that exists).")
  private Path out;

  @Option(
      names = "--dense-steps",
      defaultValue = "800",
      paramLabel = "N",
      description = "Steps of the dense training (default: ${DEFAULT-VALUE}).")
  private long denseSteps;

  @Option(
      names = "--steps",
      defaultValue = "1000",
      paramLabel = "N",
      description = "Steps of the sparse training (default: ${DEFAULT-VALUE}).")
  private long steps;

  @Override
  public Integer call() {
    Path folder = out == null ? vacant() : out;
    RunFolder.requireVacant(folder);
    if (denseSteps < 1) {
      throw new UsageException("--dense-steps is " + denseSteps + ", expected 1 or more");
    }
    Addition task = new Addition(common.seed());
    ObjectNode configJson = Addition.config(WIDTH, HEADS);
    ModelConfig config = ConfigJson.of("demo", configJson).model();
    try (Kernels kernels = common.open();
        Workspace weights = new Workspace("weights", common.memoryBytes());
        RunFolder run = RunFolder.create(folder)) {
      ObjectNode description = RunDescription.of(spec, common, kernels);
      description.put("name", "two-digit addition");
      run.describe(description);
      Parameters parameters =
          Parameters.random(
              config, DType.F32, weights, TrainCommand.draw(configJson, common.seed()));
      Transformer dense = new Transformer(config, parameters, weights);
      trainDense(task, dense, kernels, run);
      double denseAccuracy = task.accuracy(dense, Gates.dense(), kernels);
      save(run.path().resolve(DENSE), configJson, parameters);

      try (Sparsifier sparsifier =
          new Sparsifier(dense, task.heldOut(BATCH), settings(), AdamW.Config.DEFAULT, kernels)) {
        description.put("base_ce", sparsifier.denseCe());
        description.put("tau", sparsifier.tau());
        description.put("tolerance", sparsifier.tau() - sparsifier.denseCe());
        description.put("gate_bias", sparsifier.gates().bias());
        run.describe(description);
        Sparsifier.Result result;
        try (Progress progress = new Progress("sparsify", steps, common.err())) {
          result =
              sparsifier.run(
                  task.batches(BATCH),
                  new SparsifyRun(
                      run,
                      configJson,
                      Optional.of(run.path().resolve(DENSE)),
                      sparsifier.gating(),
                      progress,
                      common));
        }
        SparsifyRun.forget(run.path());
        ObjectNode json = finish(task, dense, result, kernels, run);
        json.put("dense_accuracy", denseAccuracy);
        description.set("result", json.deepCopy());
        run.describe(description);
        Path page = run.path().resolve("report.html");
        RunPage.write(List.of(run.path()), page);
        json.put("report", page.toString());
        common.print(json);
      }
    }
    return Main.DONE;
  }

  private static Path vacant() {
    Path candidate = DEFAULT_OUT;
    for (int n = 2; Files.exists(candidate); n++) {
      candidate = Path.of(DEFAULT_OUT + "-" + n);
    }
    return candidate;
  }

  private void trainDense(Addition task, Transformer dense, Kernels kernels, RunFolder run) {
    AdamW.Config optimiser = new AdamW.Config(0.9, 0.95, 1e-8, 0.1, 1);
    long began = System.nanoTime();
    try (Pretrainer trainer = new Pretrainer(dense, optimiser, kernels);
        Progress progress = new Progress("train", denseSteps, common.err())) {
      trainer.train(
          task.batches(BATCH),
          denseSteps,
          LearningRate.cosine(3e-3, Math.max(1, denseSteps / 8), denseSteps),
          step -> {
            run.append(TrainCommand.line(common.object(), step, began));
            progress.to(step.step(), "loss %.4f".formatted(step.ce()));
          });
    }
  }

  private Sparsifier.Settings settings() {
    return new Sparsifier.Settings(
        steps,
        LearningRate.cosine(2e-3, Math.min(50, Math.max(1, steps / 10)), steps),
        new Constraint.Config(0.005, 10, 0.04, 1, 0.5, 0.1, 100),
        new Objective.Weights(1, 0),
        OptionalDouble.of(2),
        50,
        new Sparsifier.Measuring(4, 500, 50),
        Sparsifier.Trained.ALL,
        MemoryPlan.KEEP_ALL,
        Sparsifier.Control.NONE,
        Sparsifier.Choices.NONE,
        common.seed());
  }

  private ObjectNode finish(
      Addition task, Transformer dense, Sparsifier.Result result, Kernels kernels, RunFolder run) {
    ObjectNode json = common.object();
    Evaluation best = result.best().evaluation();
    try (LoadedModel model = LoadedModel.open(run.model(), common)) {
      Transformer sparse = model.transformer();
      Gates gates = result.gates().gates(common.seed());
      AttentionFile file = new AttentionFile(kernels, dense, sparse, gates);
      for (int[] pair : SHOWN) {
        int[] ids = Addition.problem(pair[0], pair[1]);
        file.add(
            pair[0] + "+" + pair[1],
            ids,
            Addition.labels(ids),
            Optional.of(Addition.answer(pair[0], pair[1])));
      }
      try (Workspace scratch = new Workspace("evaluation")) {
        Evaluation.Run with = new Evaluation.Run(kernels, scratch, tokens -> {});
        file.edges(Evaluation.of(dense, task.heldOut(BATCH), Gates.dense(), with), best);
      }
      file.write(run);
      json.put("dense_loss", result.denseCe());
      json.put("sparse_loss", best.ce());
      json.put("sampled_loss", result.sampledCe());
      json.put("sparse_accuracy", task.accuracy(sparse, gates, kernels));
    }
    json.put("satisfied", result.best().satisfied());
    json.put("density", best.density());
    json.put("expected_density", best.expectedDensity());
    json.put("edges_per_query", best.edgesPerQuery());
    json.put("best_step", result.best().step());
    json.put("steps", result.steps());
    json.put("out", run.path().toString());
    return json;
  }

  private static void save(Path folder, ObjectNode configJson, Parameters parameters) {
    CheckpointWriter.write(
        folder,
        new CheckpointWriter.Contents(
            configJson, Optional.empty(), parameters.tensors(), Optional.empty()));
    Path file = folder.resolve(Tokenizer.FILE);
    try {
      Files.writeString(file, Addition.tokenizer().toPrettyString());
    } catch (IOException e) {
      throw new CheckpointException(file + ": cannot be written: " + e.getMessage(), e);
    }
  }
}
