package filigree.test.golden;

import static org.assertj.core.api.Assertions.assertThat;

import filigree.autograd.Pass;
import filigree.autograd.Site;
import filigree.autograd.Tap;
import filigree.autograd.Var;
import filigree.checkpoints.Safetensors;
import filigree.checkpoints.StoredTensor;
import filigree.tensor.Kernels;
import filigree.tensor.Workspace;
import filigree.test.Engine;
import filigree.test.SharedData;
import filigree.transformer.Gates;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * OLMo-2 against what its authors' own code computed (float32, on a CPU): the input and the output
 * of every module, and the logits, for 1,024 tokens.
 */
class Olmo2GoldenTest {
  private static final double TOLERANCE = 1e-4;

  /** The dropouts of a block, which do nothing here, come twice: told apart by their numbers. */
  private static final Set<Integer> DROPOUTS_OF_ATTENTION = Set.of(8, 21);

  /** Their module, without its number, and our site. */
  private static final Map<String, String> OF_A_BLOCK =
      Map.ofEntries(
          Map.entry("_input", "hook_resid_pre"),
          Map.entry("att_proj_input", "hook_resid_pre"),
          Map.entry("q_norm_input", "attn.hook_q"),
          Map.entry("k_norm_input", "attn.hook_k"),
          Map.entry("q_norm_output", "attn.q_norm.hook_normalized"),
          Map.entry("k_norm_output", "attn.k_norm.hook_normalized"),
          Map.entry("rotary_emb_output.0", "attn.hook_rot_q"),
          Map.entry("rotary_emb_output.1", "attn.hook_rot_k"),
          Map.entry("rotary_emb_input", "attn.q_norm.hook_normalized"),
          Map.entry("attn_out_input", "attn.hook_z"),
          Map.entry("attn_out_output", "attn.hook_out"),
          Map.entry("attn_norm_input", "attn.hook_out"),
          Map.entry("attn_norm_output", "ln1.hook_normalized"),
          Map.entry("ff_proj_input", "hook_resid_mid"),
          Map.entry("ff_out_input", "mlp.hook_post"),
          Map.entry("act_output", "mlp.hook_post"),
          Map.entry("ff_out_output", "mlp.hook_out"),
          Map.entry("ff_norm_input", "mlp.hook_out"),
          Map.entry("ff_norm_output", "ln2.hook_normalized"),
          Map.entry("_output.0", "hook_resid_post"));

  private static final Map<String, String> OF_THE_MODEL =
      Map.of(
          "wte_output", "hook_embed",
          "emb_drop_input", "hook_embed",
          "emb_drop_output", "hook_embed",
          "ln_f_input", "blocks.1.hook_resid_post",
          "ln_f_output", "ln_final.hook_normalized",
          "ff_out_input", "ln_final.hook_normalized",
          "logits", "hook_logits");

  /** Sees what the traces have and copies it. */
  private static final class Seen implements Tap {
    final Map<String, double[]> values = new LinkedHashMap<>();

    @Override
    public boolean wants(Site site) {
      // Scales and patterns are in no trace, and would have everything computed step by step.
      return OF_A_BLOCK.values().stream().anyMatch(site.name()::endsWith)
          || OF_THE_MODEL.containsValue(site.name())
          || site.name().endsWith("hook_attn_out")
          || site.name().endsWith("hook_mlp_out");
    }

    @Override
    public Var see(Pass pass, Site site, Var value) {
      values.put(site.name(), value.value().toDoubles());
      return value;
    }
  }

  /** The site of a trace. */
  private static String site(String trace) {
    Matcher block = Pattern.compile("(blocks\\.\\d+)\\.?(.*?)_(\\d+)_(.*)").matcher(trace);
    if (block.matches()) {
      String module = block.group(2) + "_" + block.group(4);
      boolean ofAttention = DROPOUTS_OF_ATTENTION.contains(Integer.parseInt(block.group(3)));
      String dropout = ofAttention ? "hook_attn_out" : "hook_mlp_out";
      String ours = module.startsWith("dropout_") ? dropout : OF_A_BLOCK.get(module);
      assertThat(ours).as("the site of " + trace).isNotNull();
      return block.group(1) + "." + ours;
    }
    String ours = OF_THE_MODEL.get(trace.replaceAll("_\\d+_", "_"));
    assertThat(ours).as("the site of " + trace).isNotNull();
    return ours;
  }

  @ParameterizedTest
  @EnumSource(
      value = Engine.class,
      names = {"CPU_VECTOR_2", "ND4J_F64"})
  void everyModuleAgrees(Engine engine) {
    Path folder = SharedData.require("checkpoints/olmo2-golden");
    try (Kernels kernels = engine.open();
        Workspace memory = new Workspace("traces");
        Safetensors traces = Safetensors.open(folder.resolve("traces_step1_cpu.safetensors"));
        GoldenModel model = GoldenModel.open("olmo2-golden", engine.type())) {
      int[] ids =
          Arrays.stream(traces.copy("input_ids", memory).toDoubles())
              .mapToInt(id -> (int) id)
              .toArray();
      Seen seen = new Seen();
      model.run(kernels, ids, Gates.dense(), Optional.of(seen));
      int compared = 0;
      double worst = 0;
      double worstOfScale = 0;
      for (StoredTensor trace : traces.tensors().values()) {
        if (trace.name().equals("input_ids") || trace.shape().size() == 0) {
          continue; // the ids, and the arguments of the whole model, which are the ids again
        }
        String site = site(trace.name());
        double[] expected = traces.copy(trace.name(), memory).toDoubles();
        double[] found = inTheirOrder(seen, site, trace);
        assertThat(found).as(trace.name()).isNotNull().hasSameSizeAs(expected);
        double scale = Arrays.stream(expected).map(Math::abs).max().orElseThrow();
        double difference = 0;
        for (int i = 0; i < expected.length; i++) {
          difference = Math.max(difference, Math.abs(expected[i] - found[i]));
        }
        // Some modules' values are of the order of 1e-4 themselves, so the scale is theirs.
        assertThat(difference)
            .as("%s, which is %s", trace.name(), site)
            .isLessThanOrEqualTo(TOLERANCE * Math.min(1, scale));
        worst = Math.max(worst, difference);
        worstOfScale = Math.max(worstOfScale, difference / scale);
        compared++;
      }
      assertThat(compared).isEqualTo(traces.tensors().size() - 2);
      System.out.printf(
          "OLMo-2, %s: %d traces, largest difference %.1e, of the trace's scale %.1e%n",
          engine, compared, worst, worstOfScale);
    }
  }

  /** They have heads before positions where ours stand behind. */
  private static double[] inTheirOrder(Seen seen, String site, StoredTensor trace) {
    double[] values = seen.values.get(site);
    if (values == null || trace.shape().rank() != 4) {
      return values;
    }
    int heads = trace.shape().length(1);
    int time = trace.shape().length(2);
    int width = trace.shape().length(3);
    double[] out = new double[values.length];
    for (int i = 0; i < values.length; i++) {
      int position = i / (heads * width);
      int head = i / width % heads;
      out[(head * time + position) * width + i % width] = values[i];
    }
    return out;
  }
}
