package filigree.transformer;

import filigree.autograd.Site;
import java.util.ArrayList;
import java.util.List;

/** The named values of one model, made once so that naming a value costs nothing. */
final class Sites {
  /** The named values of one normalisation. */
  static final class Norm {
    /** What rows are divided by: {@code sqrt(variance + epsilon)}, [..., 1]. */
    final Site scale;

    /** The result, weight and bias included. */
    final Site normalized;

    Norm(String name) {
      scale = new Site(name + ".hook_scale");
      normalized = new Site(name + ".hook_normalized");
    }

    List<Site> all() {
      return List.of(scale, normalized);
    }
  }

  /** The named values of one block. */
  static final class Block {
    final Site residPre;
    final Site attnIn;
    final Site qInput;
    final Site kInput;
    final Site vInput;
    final Norm norm1;
    final Site q;
    final Site k;
    final Site v;
    final Norm normQ;
    final Norm normK;
    final Norm gateNormQ;
    final Norm gateNormK;
    final Site rotQ;
    final Site rotK;
    final Site scores;
    final Site gateLogits;
    final Site gate;
    final Site pattern;
    final Site z;
    final Site result;
    final Site attnWritten;
    final Site attnOut;
    final Site residMid;
    final Site mlpIn;
    final Norm norm2;
    final Site pre;
    final Site preLinear;
    final Site post;
    final Site mlpWritten;
    final Site mlpOut;
    final Site residPost;

    Block(int layer) {
      String block = "blocks." + layer + ".";
      residPre = new Site(block + "hook_resid_pre");
      attnIn = new Site(block + "hook_attn_in");
      qInput = new Site(block + "hook_q_input");
      kInput = new Site(block + "hook_k_input");
      vInput = new Site(block + "hook_v_input");
      norm1 = new Norm(block + "ln1");
      q = new Site(block + "attn.hook_q");
      k = new Site(block + "attn.hook_k");
      v = new Site(block + "attn.hook_v");
      normQ = new Norm(block + "attn.q_norm");
      normK = new Norm(block + "attn.k_norm");
      gateNormQ = new Norm(block + "attn.gate_q_norm");
      gateNormK = new Norm(block + "attn.gate_k_norm");
      rotQ = new Site(block + "attn.hook_rot_q");
      rotK = new Site(block + "attn.hook_rot_k");
      scores = new Site(block + "attn.hook_attn_scores");
      gateLogits = new Site(block + "attn.hook_gate_logits");
      gate = new Site(block + "attn.hook_gate");
      pattern = new Site(block + "attn.hook_pattern");
      z = new Site(block + "attn.hook_z");
      result = new Site(block + "attn.hook_result");
      attnWritten = new Site(block + "attn.hook_out"); // before a norm that stands behind
      attnOut = new Site(block + "hook_attn_out");
      residMid = new Site(block + "hook_resid_mid");
      mlpIn = new Site(block + "hook_mlp_in");
      norm2 = new Norm(block + "ln2");
      pre = new Site(block + "mlp.hook_pre");
      preLinear = new Site(block + "mlp.hook_pre_linear");
      post = new Site(block + "mlp.hook_post");
      mlpWritten = new Site(block + "mlp.hook_out");
      mlpOut = new Site(block + "hook_mlp_out");
      residPost = new Site(block + "hook_resid_post");
    }
  }

  final Site embed = new Site("hook_embed");
  final Site positions = new Site("hook_pos_embed");
  final Norm norm = new Norm("ln_final");
  final Site logits = new Site("hook_logits");
  final List<Block> blocks = new ArrayList<>();

  Sites(int layers) {
    for (int layer = 0; layer < layers; layer++) {
      blocks.add(new Block(layer));
    }
  }

  List<Site> all(ModelConfig config) {
    List<Site> out = new ArrayList<>();
    out.add(embed);
    if (config.positions() instanceof ModelConfig.Positions.Learned) {
      out.add(positions);
    }
    for (Block block : blocks) {
      out.add(block.residPre);
      out.addAll(List.of(block.attnIn, block.qInput, block.kInput, block.vInput));
      switch (config.residual()) {
        case PRE_NORM -> {
          out.addAll(block.norm1.all());
          addAttention(out, config, block);
          out.addAll(List.of(block.attnOut, block.residMid, block.mlpIn));
          out.addAll(block.norm2.all());
          addMlp(out, config, block);
          out.add(block.mlpOut);
        }
        case POST_NORM -> {
          addAttention(out, config, block);
          out.add(block.attnWritten);
          out.addAll(block.norm1.all());
          out.addAll(List.of(block.attnOut, block.residMid, block.mlpIn));
          addMlp(out, config, block);
          out.add(block.mlpWritten);
          out.addAll(block.norm2.all());
          out.add(block.mlpOut);
        }
        case PARALLEL -> {
          out.addAll(block.norm1.all());
          addAttention(out, config, block);
          out.addAll(List.of(block.attnOut, block.mlpIn));
          out.addAll(block.norm2.all());
          addMlp(out, config, block);
          out.add(block.mlpOut);
        }
      }
      out.add(block.residPost);
    }
    out.addAll(norm.all());
    out.add(logits);
    return out;
  }

  private static void addAttention(List<Site> out, ModelConfig config, Block block) {
    out.addAll(List.of(block.q, block.k, block.v));
    if (config.attention().qkNorm() != ModelConfig.QkNorm.ABSENT) {
      out.addAll(block.normQ.all());
      out.addAll(block.normK.all());
      if (config.gating().contains(GateVariant.OWN_PROJECTION)) {
        out.addAll(block.gateNormQ.all());
        out.addAll(block.gateNormK.all());
      }
    }
    if (config.positions() instanceof ModelConfig.Positions.Rotary) {
      out.addAll(List.of(block.rotQ, block.rotK));
    }
    out.addAll(List.of(block.scores, block.pattern, block.gateLogits, block.gate));
    out.addAll(List.of(block.z, block.result));
  }

  private static void addMlp(List<Site> out, ModelConfig config, Block block) {
    out.add(block.pre);
    if (config.mlp().kind() == ModelConfig.MlpKind.GATED) {
      out.add(block.preLinear);
    }
    out.add(block.post);
  }
}
