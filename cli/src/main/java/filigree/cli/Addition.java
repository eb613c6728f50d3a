package filigree.cli;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import filigree.autograd.Pass;
import filigree.tensor.Kernels;
import filigree.tensor.Memory;
import filigree.tensor.Philox;
import filigree.tensor.Tensor;
import filigree.tensor.Workspace;
import filigree.transformer.Batch;
import filigree.transformer.Gates;
import filigree.transformer.TrainingData;
import filigree.transformer.Transformer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Two-digit addition as in Figure 1 of the paper (arXiv 2512.05865): eleven tokens {@code
 * dd+dd=?????}, the five answer digits read at the question marks, all in parallel. The sum is
 * padded with zeros on the left: 53+21 is 00074. Of the 10,000 pairs a tenth is held out.
 */
final class Addition {
  static final String SYMBOLS = "0123456789+=?";
  static final int TOKENS = 11;

  private static final int PAIRS = 10_000;
  private static final int HELD_OUT = 1_000;
  private static final int ANSWER_DIGITS = 5;
  private static final int FIRST_ANSWER = TOKENS - ANSWER_DIGITS;
  private static final int SPLIT_STREAM = 0x53504c;
  private static final int EPOCH_STREAM = 0x45504f;

  private final int[] training;
  private final int[] heldOut;
  private final long seed;

  /** Splits the pairs. */
  Addition(long seed) {
    this.seed = seed;
    int[] pairs = new int[PAIRS];
    Arrays.setAll(pairs, i -> i);
    new Philox(seed, SPLIT_STREAM).shuffle(pairs);
    this.heldOut = Arrays.copyOf(pairs, HELD_OUT);
    this.training = Arrays.copyOfRange(pairs, HELD_OUT, PAIRS);
  }

  /** The tokens of a problem. */
  static int[] problem(int a, int b) {
    return encode("%02d+%02d=?????".formatted(a, b));
  }

  /** The digits of the answer. */
  static String answer(int a, int b) {
    return "%05d".formatted(a + b);
  }

  static int[] encode(String text) {
    return text.chars().map(SYMBOLS::indexOf).toArray();
  }

  static String[] labels(int[] ids) {
    return Arrays.stream(ids).mapToObj(id -> SYMBOLS.substring(id, id + 1)).toArray(String[]::new);
  }

  /** Shuffled batches; a function of the step alone. */
  TrainingData batches(int size) {
    int perEpoch = training.length / size;
    return (step, memory) -> {
      long epoch = (step - 1) / perEpoch;
      int[] order = training.clone();
      new Philox(seed + (epoch << 32), EPOCH_STREAM).shuffle(order);
      int from = (int) ((step - 1) % perEpoch) * size;
      return batch(Arrays.copyOfRange(order, from, from + size), memory);
    };
  }

  /** The held-out problems. */
  List<Batch.Maker> heldOut(int size) {
    List<Batch.Maker> out = new ArrayList<>();
    for (int from = 0; from < heldOut.length; from += size) {
      int[] pairs = Arrays.copyOfRange(heldOut, from, Math.min(heldOut.length, from + size));
      out.add(memory -> batch(pairs, memory));
    }
    return out;
  }

  private static Batch batch(int[] pairs, Memory memory) {
    List<int[]> ids = new ArrayList<>();
    List<int[]> targets = new ArrayList<>();
    for (int pair : pairs) {
      int a = pair / 100;
      int b = pair % 100;
      ids.add(problem(a, b));
      int[] target = new int[TOKENS];
      Arrays.fill(target, -1);
      System.arraycopy(encode(answer(a, b)), 0, target, FIRST_ANSWER, ANSWER_DIGITS);
      targets.add(target);
    }
    return Batch.of(ids, targets, memory);
  }

  /** The share of held-out problems whose five digits are all right. */
  double accuracy(Transformer model, Gates gates, Kernels kernels) {
    int right = 0;
    try (Workspace scratch = new Workspace("accuracy")) {
      for (Batch.Maker maker : heldOut(HELD_OUT / 4)) {
        try (Pass pass = Pass.inference(kernels, scratch)) {
          Batch batch = maker.make(scratch);
          Tensor logits = model.forward(pass, batch.ids(), gates).logits().value();
          right += right(logits.toFloats(), batch.targets().toInts());
        }
      }
    }
    return (double) right / HELD_OUT;
  }

  private static int right(float[] logits, int[] targets) {
    int vocabulary = logits.length / targets.length;
    int right = 0;
    for (int sequence = 0; sequence < targets.length; sequence += TOKENS) {
      boolean all = true;
      for (int i = sequence + FIRST_ANSWER; i < sequence + TOKENS; i++) {
        int best = 0;
        for (int v = 1; v < vocabulary; v++) {
          best = logits[i * vocabulary + v] > logits[i * vocabulary + best] ? v : best;
        }
        all &= best == targets[i];
      }
      right += all ? 1 : 0;
    }
    return right;
  }

  /** A GPT-2 config.json of four layers for this task. */
  static ObjectNode config(int width, int heads) {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.putArray("architectures").add("GPT2LMHeadModel");
    json.put("model_type", "gpt2");
    json.put("vocab_size", SYMBOLS.length());
    json.put("n_positions", TOKENS);
    json.put("n_embd", width);
    json.put("n_layer", 4);
    json.put("n_head", heads);
    json.put("activation_function", "gelu_new");
    json.put("layer_norm_epsilon", 1e-5);
    // 0.02 sqrt(768 / 64): the deviation that makes this width start as GPT-2's 768 does.
    json.put("initializer_range", 0.07);
    json.put("tie_word_embeddings", false);
    json.put("torch_dtype", "float32");
    return json;
  }

  /** A tokenizer.json that maps each symbol to its id. */
  static ObjectNode tokenizer() {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("version", "1.0");
    json.putNull("truncation");
    json.putNull("padding");
    json.putArray("added_tokens");
    json.putNull("normalizer");
    ObjectNode split = json.putObject("pre_tokenizer");
    split.put("type", "Split");
    split.putObject("pattern").put("Regex", ".");
    split.put("behavior", "Isolated");
    split.put("invert", false);
    json.putNull("post_processor");
    json.putObject("decoder").put("type", "Fuse");
    ObjectNode model = json.putObject("model");
    model.put("type", "WordLevel");
    ObjectNode vocabulary = model.putObject("vocab");
    for (int i = 0; i < SYMBOLS.length(); i++) {
      vocabulary.put(SYMBOLS.substring(i, i + 1), i);
    }
    model.put("unk_token", "?");
    return json;
  }
}
