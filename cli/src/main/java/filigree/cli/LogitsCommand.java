package filigree.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.autograd.Pass;
import filigree.checkpoints.Safetensors;
import filigree.tensor.Kernels;
import filigree.tensor.Shape;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import filigree.transformer.Gates;
import filigree.transformer.MemoryEstimate;
import filigree.transformer.MemoryPlan;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.SequencedMap;
import java.util.concurrent.Callable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Logits of one sequence, as a file. */
@Command(
    name = "logits",
    mixinStandardHelpOptions = true,
    description = "Writes the logits of a sequence: tensor 'logits' [tokens, vocabulary], float32.")
final class LogitsCommand implements Callable<Integer> {
  @Mixin private CommonOptions common;
  @Mixin private GateOptions gateOptions;

  @Parameters(paramLabel = "MODEL", description = "A Hugging Face model folder.")
  private Path folder;

  @ArgGroup(multiplicity = "1")
  private Prompt prompt;

  @Option(
      names = "--out",
      required = true,
      paramLabel = "F.safetensors",
      description = "The file to write; an existing one is not replaced.")
  private Path out;

  /** Ids or text. */
  static final class Prompt {
    @Option(names = "--ids", split = ",", paramLabel = "1,2,3", description = "Token ids.")
    private int[] ids;

    @Option(names = "--text", paramLabel = "T", description = "Text for the tokenizer.")
    private String text;
  }

  @Override
  public Integer call() {
    try (LoadedModel model = LoadedModel.open(folder, common);
        Workspace workspace = new Workspace("logits", common.memoryBytes())) {
      int[] ids =
          model.requireInVocabulary(
              prompt.ids != null
                  ? prompt.ids
                  : model.checkpoint().requireTokenizer().encode(prompt.text));
      Gates gates = gateOptions.gates(model, common.seed());
      common.requireFits(
          "logits",
          MemoryEstimate.of(
              model.checkpoint().config(),
              model.checkpoint().frozenBytes(),
              new MemoryEstimate.Task(
                  1, ids.length, MemoryEstimate.Trained.NOTHING, MemoryPlan.KEEP_ALL)));
      try (Kernels kernels = common.open();
          Pass pass = Pass.inference(kernels, workspace)) {
        Tensor input = Tensor.ofInts(workspace, Shape.of(1, ids.length), ids);
        Tensor logits = model.transformer().forward(pass, input, gates).logits().value();
        SequencedMap<String, Tensor> tensors = new LinkedHashMap<>();
        tensors.put("logits", logits.reshape(Shape.of(ids.length, logits.shape().dim(-1))));
        Safetensors.write(out, tensors, Map.of(), Safetensors.IfExists.FAIL);
      }
      ObjectNode json = common.object();
      json.put("tokens", ids.length);
      json.put("vocabulary", model.checkpoint().config().sizes().vocabulary());
      json.put("out", out.toString());
      common.print(json);
    }
    return Main.DONE;
  }
}
