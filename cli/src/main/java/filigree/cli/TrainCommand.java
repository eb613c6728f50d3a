package filigree.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.autograd.AdamW;
import filigree.checkpoints.CheckpointWriter;
import filigree.checkpoints.ConfigJson;
import filigree.checkpoints.Corpus;
import filigree.checkpoints.Tokenizer;
import filigree.sparsity.RunFolder;
import filigree.tensor.DType;
import filigree.tensor.Kernels;
import filigree.tensor.Workspace;
import filigree.transformer.LearningRate;
import filigree.transformer.MemoryEstimate;
import filigree.transformer.MemoryPlan;
import filigree.transformer.ModelConfig;
import filigree.transformer.Parameters;
import filigree.transformer.Pretrainer;
import filigree.transformer.Transformer;
import filigree.transformer.WindowSampler;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Pretraining from scratch. */
@Command(
    name = "train",
    mixinStandardHelpOptions = true,
    description = "Trains a model from random weights; the tokenizer lies beside the config.")
final class TrainCommand implements Callable<Integer> {
  @CommandLine.Spec private CommandLine.Model.CommandSpec spec;
  @Mixin private CommonOptions common;

  @Option(
      names = "--config",
      required = true,
      paramLabel = "FILE",
      description = "A config.json of a known family.")
  private Path configFile;

  @Option(
      names = "--tokenizer",
      paramLabel = "FILE",
      description = "A tokenizer.json (default: the one in the config's folder).")
  private Path tokenizerFile;

  @Option(names = "--data", required = true, paramLabel = "DATA", description = "Training text.")
  private Path data;

  @Option(names = "--out", required = true, paramLabel = "DIR", description = "A new folder.")
  private Path out;

  @Option(names = "--steps", required = true, paramLabel = "N", description = "Training steps.")
  private long steps;

  @Option(names = "--context", paramLabel = "T", description = "Tokens per window.")
  private Integer context;

  @Option(
      names = "--batch-size",
      defaultValue = "8",
      paramLabel = "B",
      description = "Windows per step (default: ${DEFAULT-VALUE}).")
  private int batchSize;

  @Option(
      names = "--lr",
      defaultValue = "1e-3",
      paramLabel = "R",
      description = "Highest learning rate (default: ${DEFAULT-VALUE}).")
  private double rate;

  @Override
  public Integer call() {
    if (steps < 1 || batchSize < 1) {
      throw new UsageException(
          "--steps is %d and --batch-size %d, expected 1 or more of each"
              .formatted(steps, batchSize));
    }
    RunFolder.requireVacant(out);
    ConfigJson configJson = ConfigJson.read(configFile);
    ModelConfig config = configJson.model();
    int tokens = context == null ? config.sizes().context() : context;
    if (tokens < 2 || tokens > config.sizes().context()) {
      throw new UsageException(
          "--context is %d, expected from 2 to the model's context of %d"
              .formatted(tokens, config.sizes().context()));
    }
    Path tokenizerPath =
        tokenizerFile == null ? configFile.resolveSibling(Tokenizer.FILE) : tokenizerFile;
    if (!Files.exists(tokenizerPath)) {
      throw new UsageException(
          tokenizerPath + ": there is no such tokenizer; name one with --tokenizer");
    }
    List<int[]> documents = new ArrayList<>();
    try (Tokenizer tokenizer = Tokenizer.open(tokenizerPath)) {
      if (tokenizer.vocabularySize() > config.sizes().vocabulary()) {
        throw new UsageException(
            "%s has %d tokens, more than the %d of %s"
                .formatted(
                    tokenizerPath,
                    tokenizer.vocabularySize(),
                    config.sizes().vocabulary(),
                    configFile));
      }
      Corpus.of(data).documents().forEach(text -> documents.add(tokenizer.encode(text)));
    }
    common.requireFits(
        "train",
        MemoryEstimate.of(
            config,
            MemoryEstimate.Weights.widened(config),
            new MemoryEstimate.Task(
                batchSize, tokens, MemoryEstimate.Trained.ALL, MemoryPlan.KEEP_ALL)));
    WindowSampler sampler = new WindowSampler(documents, tokens, batchSize, common.seed());
    try (Kernels kernels = common.open();
        Workspace weights = new Workspace("weights", common.memoryBytes());
        RunFolder run = RunFolder.create(out)) {
      ObjectNode description = RunDescription.of(spec, common, kernels);
      RunDescription.addFile(description.putObject("data"), "train", data);
      RunDescription.addFile(description.putObject("model"), "config", configFile);
      run.describe(description);
      Parameters parameters =
          Parameters.random(config, DType.F32, weights, draw(configJson.json(), common.seed()));
      Transformer model = new Transformer(config, parameters, weights);
      double[] recent = new double[(int) Math.min(steps, 50)];
      long began = System.nanoTime();
      try (Pretrainer trainer = new Pretrainer(model, AdamW.Config.DEFAULT, kernels);
          Progress progress = new Progress("train", steps, common.err())) {
        LearningRate schedule = LearningRate.cosine(rate, Math.max(1, steps / 20), steps);
        trainer.train(
            sampler,
            steps,
            schedule,
            step -> {
              recent[(int) (step.step() % recent.length)] = step.ce();
              run.append(line(common.object(), step, began));
              progress.to(step.step(), "loss %.4f".formatted(step.ce()));
            });
      }
      CheckpointWriter.write(
          run.model(),
          new CheckpointWriter.Contents(
              configJson.json(),
              Optional.empty(),
              parameters.tensors(),
              Optional.of(tokenizerPath.toAbsolutePath().getParent())));
      double loss = Arrays.stream(recent).average().orElseThrow();
      ObjectNode result = common.object();
      result.put("loss", loss);
      result.put("steps", steps);
      result.put("parameters", config.parameterCount());
      result.put("out", run.model().toString());
      description.set("result", result);
      run.describe(description);
      common.print(result);
    }
    return Main.DONE;
  }

  /** The deviation that the config asks for, or the one that nearly all models use. */
  static Parameters.Draw draw(ObjectNode configJson, long seed) {
    return new Parameters.Draw(configJson.path("initializer_range").asDouble(0.02), seed);
  }

  /** A line of metrics.jsonl for a step of dense training. */
  static ObjectNode line(ObjectNode json, Pretrainer.Step step, long began) {
    json.put("phase", "dense");
    json.put("step", step.step());
    json.put("ce", step.ce());
    json.put("lr", step.rate());
    json.put("grad_norm", step.gradientNorm());
    json.put("tokens", step.tokens());
    json.put("wall_ms", (System.nanoTime() - began) / 1_000_000);
    return json;
  }
}
