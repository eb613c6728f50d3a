#!/usr/bin/env python3
"""Writes families/NAME/{config.json,model.safetensors} and families.json: a tiny model of random weights for every option
of every family, and its float64 logits.

    python3 test/oracle/golden_families.py [--check]
"""
import argparse
import json
import os
import struct

import numpy as np

from golden_io import GOLDEN, write
from oracle import Model, forward

COMMAND = "python3 test/oracle/golden_families.py"
TOKENS = 17
VOCAB = 11
CLEAR = 3e-4  # no gate may stand nearer to its threshold, so that rounding to float32 flips none

LLAMA = {
    "vocab_size": VOCAB, "max_position_embeddings": 24, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3,
    "num_key_value_heads": 3, "intermediate_size": 10, "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "tie_word_embeddings": False}
NEOX = {
    "model_type": "gpt_neox", "vocab_size": VOCAB, "max_position_embeddings": 24, "hidden_size": 16, "num_hidden_layers": 2,
    "num_attention_heads": 2, "intermediate_size": 12, "hidden_act": "gelu", "layer_norm_eps": 1e-5, "rotary_emb_base": 100,
    "rotary_pct": 0.25, "use_parallel_residual": True, "tie_word_embeddings": False}

# name, dtype of the file, config
CASES = [
    ("gpt2-tied", "F32", {
        "model_type": "gpt2", "vocab_size": VOCAB, "n_positions": 20, "n_embd": 12, "n_layer": 2, "n_head": 3,
        "n_inner": 10, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5}),
    ("gpt2-untied", "F16", {
        "model_type": "gpt2", "vocab_size": VOCAB, "n_positions": 20, "n_embd": 8, "n_layer": 2, "n_head": 2,
        "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "tie_word_embeddings": False}),
    # of the four frequencies one is left, one interpolated, two divided
    ("llama-llama3-grouped-tied", "BF16", {
        **LLAMA, "model_type": "llama", "hidden_size": 16, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
        "rope_theta": 100.0, "tie_word_embeddings": True, "rope_scaling": {
            "rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32}}),
    ("llama-linear-biases", "F16", {
        **LLAMA, "model_type": "llama", "attention_bias": True, "mlp_bias": True,
        "rope_scaling": {"rope_type": "linear", "factor": 2.5}}),
    ("mistral-window", "F32", {
        **LLAMA, "model_type": "mistral", "hidden_size": 8, "num_attention_heads": 4, "num_key_value_heads": 2,
        "sliding_window": 5}),
    ("qwen2-tied", "BF16", {
        **LLAMA, "model_type": "qwen2", "num_attention_heads": 6, "num_key_value_heads": 2, "sliding_window": 4,
        "use_sliding_window": False, "tie_word_embeddings": True}),
    ("qwen3-head-dim", "F64", {
        **LLAMA, "model_type": "qwen3", "hidden_size": 8, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6,
        "intermediate_size": 6, "attention_bias": False}),
    ("olmo-clip", "F16", {**LLAMA, "model_type": "olmo", "clip_qkv": 0.8}),
    ("olmo2-grouped", "F32", {
        **LLAMA, "model_type": "olmo2", "hidden_size": 8, "num_attention_heads": 4, "num_key_value_heads": 2}),
    ("gpt-neox-parallel", "F16", NEOX),
    ("gpt-neox-sequential-tied", "BF16", {
        **NEOX, "use_parallel_residual": False, "rotary_pct": 0.5, "tie_word_embeddings": True}),
]


def shapes(c):
    """Names and shapes as transformers has them, for the models above."""
    family, out = c["model_type"], {}

    def linear(name, to, source, bias):
        out[name + ".weight"] = (to, source)
        if bias:
            out[name + ".bias"] = (to,)

    def norm(name, width, bias):
        out[name + ".weight"] = (width,)
        if bias:
            out[name + ".bias"] = (width,)

    if family == "gpt2":
        d, inner = c["n_embd"], c.get("n_inner") or 4 * c["n_embd"]
        out["transformer.wte.weight"], out["transformer.wpe.weight"] = (VOCAB, d), (c["n_positions"], d)
        for layer in range(c["n_layer"]):
            b = "transformer.h.%d." % layer
            norm(b + "ln_1", d, True)
            norm(b + "ln_2", d, True)
            for name, source, to in [("attn.c_attn", d, 3 * d), ("attn.c_proj", d, d), ("mlp.c_fc", d, inner), ("mlp.c_proj", inner, d)]:
                out[b + name + ".weight"], out[b + name + ".bias"] = (source, to), (to,)
        norm("transformer.ln_f", d, True)
        if not c.get("tie_word_embeddings", True):
            out["lm_head.weight"] = (VOCAB, d)
        return out
    d, inner = c["hidden_size"], c["intermediate_size"]
    if family == "gpt_neox":
        out["gpt_neox.embed_in.weight"] = (VOCAB, d)
        for layer in range(c["num_hidden_layers"]):
            b = "gpt_neox.layers.%d." % layer
            norm(b + "input_layernorm", d, True)
            norm(b + "post_attention_layernorm", d, True)
            linear(b + "attention.query_key_value", 3 * d, d, True)
            linear(b + "attention.dense", d, d, True)
            linear(b + "mlp.dense_h_to_4h", inner, d, True)
            linear(b + "mlp.dense_4h_to_h", d, inner, True)
        norm("gpt_neox.final_layer_norm", d, True)
        if not c["tie_word_embeddings"]:
            out["embed_out.weight"] = (VOCAB, d)
        return out
    head = c.get("head_dim") or d // c["num_attention_heads"]
    queries, keys = head * c["num_attention_heads"], head * c["num_key_value_heads"]
    biased = bool(c.get("attention_bias"))
    out["model.embed_tokens.weight"] = (VOCAB, d)
    for layer in range(c["num_hidden_layers"]):
        b = "model.layers.%d." % layer
        if family == "olmo2":
            norm(b + "post_attention_layernorm", d, False)
            norm(b + "post_feedforward_layernorm", d, False)
            norm(b + "self_attn.q_norm", queries, False)
            norm(b + "self_attn.k_norm", keys, False)
        elif family != "olmo":
            norm(b + "input_layernorm", d, False)
            norm(b + "post_attention_layernorm", d, False)
        if family == "qwen3":
            norm(b + "self_attn.q_norm", head, False)
            norm(b + "self_attn.k_norm", head, False)
        for name, to in [("q", queries), ("k", keys), ("v", keys)]:
            linear(b + "self_attn.%s_proj" % name, to, d, biased or family == "qwen2")
        linear(b + "self_attn.o_proj", d, queries, biased)
        for name in ("gate", "up"):
            linear(b + "mlp.%s_proj" % name, inner, d, bool(c.get("mlp_bias")))
        linear(b + "mlp.down_proj", d, inner, bool(c.get("mlp_bias")))
    if family != "olmo":
        norm("model.norm", d, False)
    if not c["tie_word_embeddings"]:
        out["lm_head.weight"] = (VOCAB, d)
    return out


def rounded(values, dtype):
    """The bytes of the file."""
    single = values.astype("<f4")
    if dtype == "F64":  # numbers that float32 has, since that is what Filigree computes with
        return single.astype("<f8").tobytes()
    if dtype == "BF16":
        bits = single.view("<u4")
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()
    return single.astype({"F32": "<f4", "F16": "<f2"}[dtype]).tobytes()


def file_bytes(config, dtype, seed):
    random, header, data = np.random.default_rng(seed), {"__metadata__": {"format": "pt"}}, b""
    for name, shape in sorted(shapes(config).items()):
        x = random.standard_normal(shape)
        if "norm" in name or ".ln_" in name:
            x = 0.3 * x + (1 if name.endswith("weight") else 0)
        elif len(shape) == 1:
            x = 0.3 * x
        else:
            x = 1.2 * x / np.sqrt(shape[0] if "c_" in name else shape[1])
        part = rounded(x, dtype)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def case(name, dtype, config, check):
    folder = os.path.join(GOLDEN, "families", name)
    os.makedirs(folder, exist_ok=True)
    text = json.dumps({**config, "torch_dtype": {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}[dtype]},
                      indent=1) + "\n"
    weights = os.path.join(folder, "model.safetensors")
    for seed in range(1, 200):
        raw = file_bytes(config, dtype, seed)
        if check:
            assert open(os.path.join(folder, "config.json"), encoding="utf-8").read() == text, name
            same = open(weights, "rb").read() == raw
            if not same:
                continue
        else:
            with open(os.path.join(folder, "config.json"), "w", encoding="utf-8", newline="\n") as f:
                f.write(text)
            with open(weights, "wb") as f:
                f.write(raw)
        model = Model(folder)
        ids = np.random.default_rng(seed + 1000).integers(0, VOCAB, TOKENS).tolist()
        results = []
        for mode, bias in [("dense", 0.0), ("hard", 0.0)]:
            logits, counts = forward(model, ids, None if mode == "dense" else mode, bias)
            results.append({"gates": mode, "gate_bias": bias, "logits": np.round(logits, 9), "open": counts.open,
                            "empty_rows": counts.empty_rows, "expected": np.round(counts.expected.sum(1), 9)})
        if counts.min_abs_z >= CLEAR:
            return {"name": name, "dtype": dtype, "seed": seed, "ids": ids, "pairs": counts.pairs,
                    "min_abs_z": round(counts.min_abs_z, 9), "results": results}
        assert not check, name
    raise AssertionError("no seed keeps the gates of %s clear" % name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the files instead of writing them")
    a = parser.parse_args()
    write("families.json", {
        "about": "Float64 logits [tokens][vocabulary] of families/NAME, whose weights are normal numbers of numpy's default_rng(seed),"
                 " tensors in the order of their names. open (pairs with z > 0) and empty_rows are [layers][heads], expected (sum of"
                 " sigmoid z over pairs and heads) is [layers]; a head has `pairs` pairs; in dense mode these are what hard gates would"
                 " see on the dense activations. No gate is nearer to its threshold than min_abs_z.",
        "command": COMMAND, "cases": [case(*c, a.check) for c in CASES],
    }, a.check)


if __name__ == "__main__":
    main()
