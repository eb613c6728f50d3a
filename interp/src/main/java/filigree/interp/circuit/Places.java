package filigree.interp.circuit;

import filigree.autograd.Site;

/** Names of the values that circuits are made of. */
final class Places {
  private Places() {}

  static Site residual(int layer) {
    return block(layer, "hook_resid_pre");
  }

  static Site attentionInput(int layer) {
    return block(layer, "hook_attn_in");
  }

  /** Where the heads of a block read with a part. */
  static Site headInput(int layer, Part part) {
    return switch (part) {
      case ALL -> attentionInput(layer);
      case QUERY -> block(layer, "hook_q_input");
      case KEY -> block(layer, "hook_k_input");
      case VALUE -> block(layer, "hook_v_input");
    };
  }

  static Site mlpInput(int layer) {
    return block(layer, "hook_mlp_in");
  }

  static Site z(int layer) {
    return block(layer, "attn.hook_z");
  }

  static Site value(int layer) {
    return block(layer, "attn.hook_v");
  }

  static Site pattern(int layer) {
    return block(layer, "attn.hook_pattern");
  }

  static Site gate(int layer) {
    return block(layer, "attn.hook_gate");
  }

  static Site mlpOutput(int layer) {
    return block(layer, "hook_mlp_out");
  }

  static Site lastResidual(int layers) {
    return block(layers - 1, "hook_resid_post");
  }

  private static Site block(int layer, String name) {
    return new Site("blocks." + layer + "." + name);
  }
}
