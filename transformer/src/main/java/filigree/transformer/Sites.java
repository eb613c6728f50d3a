package filigree.transformer;

import filigree.autograd.Site;
import java.util.ArrayList;
import java.util.List;

/** The named values of one model, made once so that naming a value costs nothing. */
final class Sites {
  /** The named values of one block. */
  static final class Block {
    final Site residPre;
    final Site normalized1;
    final Site q;
    final Site k;
    final Site v;
    final Site rotQ;
    final Site rotK;
    final Site scores;
    final Site gateLogits;
    final Site gate;
    final Site pattern;
    final Site z;
    final Site attnOut;
    final Site residMid;
    final Site normalized2;
    final Site pre;
    final Site preLinear;
    final Site post;
    final Site mlpOut;
    final Site residPost;

    Block(int layer) {
      String block = "blocks." + layer + ".";
      residPre = new Site(block + "hook_resid_pre");
      normalized1 = new Site(block + "ln1.hook_normalized");
      q = new Site(block + "attn.hook_q");
      k = new Site(block + "attn.hook_k");
      v = new Site(block + "attn.hook_v");
      rotQ = new Site(block + "attn.hook_rot_q");
      rotK = new Site(block + "attn.hook_rot_k");
      scores = new Site(block + "attn.hook_attn_scores");
      gateLogits = new Site(block + "attn.hook_gate_logits");
      gate = new Site(block + "attn.hook_gate");
      pattern = new Site(block + "attn.hook_pattern");
      z = new Site(block + "attn.hook_z");
      attnOut = new Site(block + "hook_attn_out");
      residMid = new Site(block + "hook_resid_mid");
      normalized2 = new Site(block + "ln2.hook_normalized");
      pre = new Site(block + "mlp.hook_pre");
      preLinear = new Site(block + "mlp.hook_pre_linear");
      post = new Site(block + "mlp.hook_post");
      mlpOut = new Site(block + "hook_mlp_out");
      residPost = new Site(block + "hook_resid_post");
    }
  }

  final Site embed = new Site("hook_embed");
  final Site positions = new Site("hook_pos_embed");
  final Site normalized = new Site("ln_final.hook_normalized");
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
    boolean rotary = config.positions() instanceof ModelConfig.Positions.Rotary;
    boolean gated = config.mlp().kind() == ModelConfig.MlpKind.GATED;
    for (Block block : blocks) {
      out.addAll(List.of(block.residPre, block.normalized1, block.q, block.k, block.v));
      if (rotary) {
        out.addAll(List.of(block.rotQ, block.rotK));
      }
      out.addAll(List.of(block.scores, block.gateLogits, block.gate, block.pattern, block.z));
      out.addAll(List.of(block.attnOut, block.residMid, block.normalized2, block.pre));
      if (gated) {
        out.add(block.preLinear);
      }
      out.addAll(List.of(block.post, block.mlpOut, block.residPost));
    }
    out.add(normalized);
    out.add(logits);
    return out;
  }
}
