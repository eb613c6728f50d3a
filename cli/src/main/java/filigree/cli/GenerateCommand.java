package filigree.cli;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.checkpoints.Tokenizer;
import filigree.tensor.Kernels;
import filigree.transformer.Generator;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Set;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Continues a prompt. */
@Command(
    name = "generate",
    mixinStandardHelpOptions = true,
    description = "Continues a prompt, streamed, with a key-value cache.")
final class GenerateCommand implements Callable<Integer> {
  /** What a tokenizer shows for bytes that are not yet a whole character. */
  private static final char UNFINISHED = '\uFFFD';

  @Mixin private CommonOptions common;
  @Mixin private GateOptions gateOptions;

  @Parameters(paramLabel = "MODEL", description = "A Hugging Face model folder.")
  private Path folder;

  @Option(names = "--prompt", required = true, paramLabel = "T", description = "The beginning.")
  private String prompt;

  @Option(
      names = "--max-tokens",
      required = true,
      paramLabel = "N",
      description = "Most tokens to add.")
  private int maxTokens;

  @Option(
      names = "--temperature",
      defaultValue = "0",
      description = "0 takes the likeliest token (default: ${DEFAULT-VALUE}).")
  private double temperature;

  @Option(names = "--top-p", defaultValue = "1", description = "Keep this much probability.")
  private double topP;

  @Option(names = "--top-k", defaultValue = "0", description = "Keep this many tokens; 0 for all.")
  private int topK;

  @Override
  public Integer call() {
    if (maxTokens < 1) {
      throw new UsageException("--max-tokens is " + maxTokens + ", expected 1 or more");
    }
    Generator.Sampling sampling = new Generator.Sampling(temperature, topK, topP, common.seed());
    try (LoadedModel model = LoadedModel.open(folder, common);
        Kernels kernels = common.open()) {
      Tokenizer tokenizer = model.checkpoint().requireTokenizer();
      int[] ids = model.requireInVocabulary(tokenizer.encode(prompt));
      Set<Integer> stops = stops(model.checkpoint().configJson().path("eos_token_id"));
      // The prompt is shown with the first token, when it is known to be usable.
      Text text = new Text(tokenizer, ids, prompt);
      Generator generator =
          new Generator(model.transformer(), kernels, gateOptions.gates(model, common.seed()));
      long began = System.nanoTime();
      int[] fresh =
          generator.generate(
              ids,
              maxTokens,
              sampling,
              token -> {
                boolean more = !stops.contains(token);
                String piece = text.begin() + (more ? text.add(token) : "");
                if (!common.isJson()) {
                  common.out().print(piece);
                  common.out().flush();
                }
                return more;
              });
      double seconds = (System.nanoTime() - began) * 1e-9;
      ObjectNode json = common.object();
      json.put("prompt", prompt);
      json.put("text", text.whole());
      ArrayNode all = json.putArray("ids");
      Arrays.stream(fresh).forEach(all::add);
      json.put("tokens_per_second", fresh.length / seconds);
      if (common.isJson()) {
        common.print(json);
      } else {
        common.out().println();
        common.err().printf("%.1f tokens per second%n", fresh.length / seconds);
      }
    }
    return Main.DONE;
  }

  /** The ids that end a text: one number, a list, or none. */
  static Set<Integer> stops(JsonNode eos) {
    Set<Integer> out = new HashSet<>();
    if (eos.isInt()) {
      out.add(eos.intValue());
    }
    eos.forEach(id -> out.add(id.intValue()));
    return out;
  }

  /** Text as it grows: a token may end in the middle of a character, or change how spaces look. */
  private static final class Text {
    private final Tokenizer tokenizer;
    private int[] ids;
    private final String prompt;
    private String shown;
    private String beginning;

    Text(Tokenizer tokenizer, int[] prompt, String beginning) {
      this.tokenizer = tokenizer;
      this.ids = prompt;
      this.prompt = tokenizer.decode(prompt);
      this.shown = this.prompt;
      this.beginning = beginning;
    }

    /** The prompt as it was written, at the first call; nothing afterwards. */
    String begin() {
      String out = beginning;
      beginning = "";
      return out;
    }

    /** The text that a token adds; empty until a character is whole. */
    String add(int token) {
      ids = Arrays.copyOf(ids, ids.length + 1);
      ids[ids.length - 1] = token;
      String all = tokenizer.decode(ids);
      if (all.isEmpty() || all.charAt(all.length() - 1) == UNFINISHED || !all.startsWith(shown)) {
        return "";
      }
      String fresh = all.substring(shown.length());
      shown = all;
      return fresh;
    }

    /** The generated text. */
    String whole() {
      String all = tokenizer.decode(ids);
      return all.startsWith(prompt) ? all.substring(prompt.length()) : all;
    }
  }
}
