#!/usr/bin/env python3
"""Float64 oracle: logits and losses of decoder-only transformers in Hugging Face folders, in plain numpy.

Slow and short on purpose. It shares no code and no library with the Java engine, so that an agreement
of the two says something. Families: GPT-2, Llama, Mistral, Qwen2, Qwen3, OLMo, OLMo-2, GPT-NeoX.

    python3 test/oracle/oracle.py eval   MODEL --data FILE.jsonl [--limit DOCS] [--context N] [--gates hard] [--gate-bias B]
    python3 test/oracle/oracle.py logits MODEL (--ids 1,2,3 | --text T) [--gates hard] [--gate-bias B]

Legend: T tokens, D model width, H query heads, K key-value heads, d head width, V vocabulary.
"""
import argparse
import json
import math
import os
import struct

import numpy as np


# ---------------------------------------------------------------- files

def read_safetensors(path):
    """All tensors of one file as float64 (integers as int64)."""
    raw = open(path, "rb").read()
    (header_bytes,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8:8 + header_bytes])
    data = memoryview(raw)[8 + header_bytes:]
    tensors = {}
    for name, info in header.items():
        if name == "__metadata__":
            continue
        begin, end = info["data_offsets"]
        part = data[begin:end]
        dtype = info["dtype"]
        if dtype == "BF16":  # the upper half of a float32
            values = (np.frombuffer(part, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(part, {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4"}[dtype])
        values = values.astype(np.int64 if dtype[0] == "I" else np.float64)
        tensors[name] = values.reshape(info["shape"])
    return tensors


class Model:
    """A folder: config, weights by their names in the file."""

    def __init__(self, folder):
        self.folder = folder
        self.config = json.load(open(os.path.join(folder, "config.json")))
        self.weights = read_safetensors(os.path.join(folder, "model.safetensors"))
        self.family = self.config["model_type"]
        self.body = FAMILIES[self.family]
        gpt2 = self.family == "gpt2"
        self.layers = self.config["n_layer" if gpt2 else "num_hidden_layers"]
        self.heads = self.config["n_head" if gpt2 else "num_attention_heads"]
        self.context = self.config["n_positions" if gpt2 else "max_position_embeddings"]
        self.window = self.config["sliding_window"] if self.family == "mistral" else None

    def __getitem__(self, name):
        return self.weights[name]


# ---------------------------------------------------------------- pieces

def layer_norm(x, weight, bias, eps):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)  # divided by n, not n - 1
    return (x - mean) / np.sqrt(variance + eps) * weight + bias


def rms_norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


def sigmoid(x):
    small = np.exp(-np.abs(x))  # never overflows
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def silu(x):
    return x * sigmoid(x)


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def frequencies(theta, d, scaling):
    """Angles per position of the d/2 pairs; scaling is rope_scaling of config.json."""
    plain = theta ** (-np.arange(0, d, 2) / d)
    if scaling is None:
        return plain
    if scaling["rope_type"] == "linear":
        return plain / scaling["factor"]
    assert scaling["rope_type"] == "llama3"
    factor, low, high = scaling["factor"], scaling["low_freq_factor"], scaling["high_freq_factor"]
    out = []
    for f in plain:
        wavelength = 2 * math.pi / f
        if wavelength < scaling["original_max_position_embeddings"] / high:
            out.append(f)
        elif wavelength > scaling["original_max_position_embeddings"] / low:
            out.append(f / factor)
        else:
            smooth = (scaling["original_max_position_embeddings"] / wavelength - low) / (high - low)
            out.append((1 - smooth) * f / factor + smooth * f)
    return np.array(out)


def rotary(x, theta, scaling=None, rotated=None):
    """x [heads, T, d]; of the first `rotated` components (all by default) the pair of c is c + rotated/2 (the half-split
    convention of Hugging Face's Llama); the others stay."""
    heads, T, d = x.shape
    r = d if rotated is None else rotated
    angle = np.arange(T)[:, None] * frequencies(theta, r, scaling)  # [T, r/2]
    cos, sin = np.cos(angle), np.sin(angle)
    a, b, rest = x[..., :r // 2], x[..., r // 2:r], x[..., r:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin, rest], -1)


class GateCounts:
    """Gate statistics of one forward pass, [layers, heads], over the pairs that attention sees."""

    def __init__(self, T, window=None):
        self.T = T
        self.pairs = int(visible(T, window).sum())    # of one head
        self.open = []                   # pairs with z > 0
        self.expected = []               # sum of sigmoid(z)
        self.empty_rows = []             # queries whose gates are all closed
        self.min_abs_z = math.inf        # distance of the nearest gate to its threshold
        self.near = 0                    # pairs with |z| <= NEAR: those that single precision may flip


NEAR = 2e-5


def visible(T, window=None):
    """[T, T]: query i sees key j if j <= i and, with a sliding window, i - window < j."""
    i, j = np.arange(T)[:, None], np.arange(T)[None, :]
    return (j <= i) & (window is None or i - j < (window or 0))


def attention(q, k, v, gates, gate_bias, counts, threshold=0.0, window=None):
    """q [H, T, d], k and v [K, T, d] -> [H, T, d]. Query head h reads key-value head h // (H / K)."""
    H, T, d = q.shape
    k = np.repeat(k, H // k.shape[0], axis=0)
    v = np.repeat(v, H // v.shape[0], axis=0)
    causal = visible(T, window)
    s = q @ k.transpose(0, 2, 1) / math.sqrt(d)
    z = s + gate_bias
    masked = np.where(causal, s, -np.inf)
    p = np.exp(masked - masked.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    is_open = causal & (z > threshold)
    counts.open.append(is_open.sum((1, 2)))
    counts.expected.append(np.where(causal, sigmoid(z), 0).sum((1, 2)))
    counts.empty_rows.append((~is_open.any(2)).sum(1))
    distance = np.abs(z[:, causal])
    counts.min_abs_z = min(counts.min_abs_z, float(distance.min()))
    counts.near += int((distance <= NEAR).sum())
    if gates == "hard":
        p = p * is_open  # no renormalisation
    elif gates is not None:
        raise ValueError("gates is None or 'hard', not %r" % (gates,))
    return p @ v


def split_heads(x, heads):
    T, width = x.shape
    return x.reshape(T, heads, width // heads).transpose(1, 0, 2)


def join_heads(x):
    H, T, d = x.shape
    return x.transpose(1, 0, 2).reshape(T, H * d)


# ---------------------------------------------------------------- families

def gpt2(m, ids, attend):
    c = m.config
    p = "transformer." if "transformer.wte.weight" in m.weights else ""
    eps = c["layer_norm_epsilon"]
    assert c.get("activation_function", "gelu_new") in ("gelu_new", "gelu_pytorch_tanh")
    x = m[p + "wte.weight"][ids] + m[p + "wpe.weight"][:len(ids)]
    for layer in range(m.layers):
        b = "%sh.%d." % (p, layer)
        h = layer_norm(x, m[b + "ln_1.weight"], m[b + "ln_1.bias"], eps)
        qkv = h @ m[b + "attn.c_attn.weight"] + m[b + "attn.c_attn.bias"]  # Conv1D stores [in, out]
        q, k, v = (split_heads(part, m.heads) for part in np.split(qkv, 3, axis=1))
        x = x + join_heads(attend(q, k, v)) @ m[b + "attn.c_proj.weight"] + m[b + "attn.c_proj.bias"]
        h = layer_norm(x, m[b + "ln_2.weight"], m[b + "ln_2.bias"], eps)
        h = gelu_tanh(h @ m[b + "mlp.c_fc.weight"] + m[b + "mlp.c_fc.bias"])
        x = x + h @ m[b + "mlp.c_proj.weight"] + m[b + "mlp.c_proj.bias"]
    x = layer_norm(x, m[p + "ln_f.weight"], m[p + "ln_f.bias"], eps)
    tied = c.get("tie_word_embeddings", True)
    return x @ (m[p + "wte.weight"] if tied else m["lm_head.weight"]).T


def linear(m, x, name):
    """Linear stores [out, in]; a bias where the file has one."""
    y = x @ m[name + ".weight"].T
    return y + m[name + ".bias"] if name + ".bias" in m.weights else y


def gated_mlp(m, x, b):
    assert m.config["hidden_act"] == "silu"
    return linear(m, silu(linear(m, x, b + "mlp.gate_proj")) * linear(m, x, b + "mlp.up_proj"), b + "mlp.down_proj")


def llama(m, ids, attend):
    """Also Mistral (a window), Qwen2 (biases), Qwen3 (q and k normed head by head)."""
    c = m.config
    eps, theta, kv_heads = c["rms_norm_eps"], c.get("rope_theta", 10000.0), c["num_key_value_heads"]
    scaling = c.get("rope_scaling")
    # biases are where the config says, and nowhere else
    q_bias, o_bias = "model.layers.0.self_attn.q_proj.bias", "model.layers.0.self_attn.o_proj.bias"
    assert (q_bias in m.weights) == (m.family == "qwen2" or bool(c.get("attention_bias")))
    assert (o_bias in m.weights) == bool(c.get("attention_bias"))
    x = m["model.embed_tokens.weight"][ids]
    for layer in range(m.layers):
        b = "model.layers.%d." % layer
        h = rms_norm(x, m[b + "input_layernorm.weight"], eps)
        q = split_heads(linear(m, h, b + "self_attn.q_proj"), m.heads)
        k = split_heads(linear(m, h, b + "self_attn.k_proj"), kv_heads)
        v = split_heads(linear(m, h, b + "self_attn.v_proj"), kv_heads)
        if m.family == "qwen3":
            q, k = rms_norm(q, m[b + "self_attn.q_norm.weight"], eps), rms_norm(k, m[b + "self_attn.k_norm.weight"], eps)
        y = attend(rotary(q, theta, scaling), rotary(k, theta, scaling), v)
        x = x + linear(m, join_heads(y), b + "self_attn.o_proj")
        x = x + gated_mlp(m, rms_norm(x, m[b + "post_attention_layernorm.weight"], eps), b)
    return llama_head(m, x)


def olmo(m, ids, attend):
    """As Llama, with layer norms that have no weights, and q, k, v limited to -clip_qkv .. clip_qkv."""
    c = m.config
    theta, kv_heads, clip, eps = c["rope_theta"], c["num_key_value_heads"], c["clip_qkv"], 1e-5

    def projected(h, name, heads):
        y = linear(m, h, name)
        return split_heads(y if clip is None else np.clip(y, -clip, clip), heads)

    x = m["model.embed_tokens.weight"][ids]
    for layer in range(m.layers):
        b = "model.layers.%d." % layer
        h = layer_norm(x, 1, 0, eps)
        q = projected(h, b + "self_attn.q_proj", m.heads)
        k = projected(h, b + "self_attn.k_proj", kv_heads)
        v = projected(h, b + "self_attn.v_proj", kv_heads)
        y = attend(rotary(q, theta), rotary(k, theta), v)
        x = x + linear(m, join_heads(y), b + "self_attn.o_proj")
        x = x + gated_mlp(m, layer_norm(x, 1, 0, eps), b)
    x = layer_norm(x, 1, 0, eps)
    return x @ m["model.embed_tokens.weight" if c["tie_word_embeddings"] else "lm_head.weight"].T


def olmo2(m, ids, attend):
    """As Llama, but the norms stand after attention and MLP, and q and k are normed over all heads together."""
    c = m.config
    eps, theta, kv_heads = c["rms_norm_eps"], c["rope_theta"], c["num_key_value_heads"]
    assert c.get("rope_scaling") is None and not c.get("attention_bias") and c["hidden_act"] == "silu"
    x = m["model.embed_tokens.weight"][ids]
    for layer in range(m.layers):
        b = "model.layers.%d." % layer
        q = split_heads(rms_norm(x @ m[b + "self_attn.q_proj.weight"].T, m[b + "self_attn.q_norm.weight"], eps), m.heads)
        k = split_heads(rms_norm(x @ m[b + "self_attn.k_proj.weight"].T, m[b + "self_attn.k_norm.weight"], eps), kv_heads)
        v = split_heads(x @ m[b + "self_attn.v_proj.weight"].T, kv_heads)
        y = attend(rotary(q, theta), rotary(k, theta), v)
        x = x + rms_norm(join_heads(y) @ m[b + "self_attn.o_proj.weight"].T, m[b + "post_attention_layernorm.weight"], eps)
        h = silu(x @ m[b + "mlp.gate_proj.weight"].T) * (x @ m[b + "mlp.up_proj.weight"].T)
        x = x + rms_norm(h @ m[b + "mlp.down_proj.weight"].T, m[b + "post_feedforward_layernorm.weight"], eps)
    return llama_head(m, x)


def llama_head(m, x):
    x = rms_norm(x, m["model.norm.weight"], m.config["rms_norm_eps"])
    tied = m.config.get("tie_word_embeddings", False)
    return x @ (m["model.embed_tokens.weight"] if tied else m["lm_head.weight"]).T


def gpt_neox(m, ids, attend):
    """Rows of query_key_value: first head's query, key, value, then the second's. Only a part of a head is rotated."""
    c = m.config
    eps, theta, d = c["layer_norm_eps"], c["rotary_emb_base"], c["hidden_size"] // m.heads
    rotated = int(d * c["rotary_pct"])
    assert c["hidden_act"] == "gelu"

    def norm(x, name):
        return layer_norm(x, m[name + ".weight"], m[name + ".bias"], eps)

    def linear(x, name):
        return x @ m[name + ".weight"].T + m[name + ".bias"]

    x = m["gpt_neox.embed_in.weight"][ids]
    for layer in range(m.layers):
        b = "gpt_neox.layers.%d." % layer
        fused = linear(norm(x, b + "input_layernorm"), b + "attention.query_key_value").reshape(len(ids), m.heads, 3, d)
        q, k, v = (fused[:, :, i].transpose(1, 0, 2) for i in range(3))
        y = attend(rotary(q, theta, c.get("rope_scaling"), rotated), rotary(k, theta, c.get("rope_scaling"), rotated), v)
        attended = linear(join_heads(y), b + "attention.dense")
        read = x if c["use_parallel_residual"] else x + attended
        h = gelu(linear(norm(read, b + "post_attention_layernorm"), b + "mlp.dense_h_to_4h"))
        x = x + attended + linear(h, b + "mlp.dense_4h_to_h")
    tied = c["tie_word_embeddings"]
    return norm(x, "gpt_neox.final_layer_norm") @ m["gpt_neox.embed_in.weight" if tied else "embed_out.weight"].T


FAMILIES = {"gpt2": gpt2, "llama": llama, "mistral": llama, "qwen2": llama, "qwen3": llama, "olmo": olmo, "olmo2": olmo2,
            "gpt_neox": gpt_neox}


# ---------------------------------------------------------------- forward, eval, generate

def forward(model, ids, gates=None, gate_bias=0.0, threshold=0.0):
    """logits [T, V] and GateCounts. gates None is ordinary attention (the counts then say what hard gates would see).
    threshold other than 0 is only for measuring how much a gate flipped by rounding would matter."""
    ids = np.asarray(ids)
    assert 1 <= len(ids) <= model.context, "1 to %d tokens, not %d" % (model.context, len(ids))
    counts = GateCounts(len(ids), model.window)
    logits = model.body(
        model, ids, lambda q, k, v: attention(q, k, v, gates, gate_bias, counts, threshold, model.window))
    counts.open, counts.expected = np.array(counts.open), np.array(counts.expected)
    counts.empty_rows = np.array(counts.empty_rows)
    return logits, counts


def nats(logits, ids):
    """Negative log-likelihood of ids[1:], one number per scored token."""
    rows = logits[:-1]
    top = rows.max(-1)
    log_sum = top + np.log(np.exp(rows - top[:, None]).sum(-1))
    return log_sum - rows[np.arange(len(rows)), np.asarray(ids)[1:]]


def evaluate(model, documents, context, gates=None, gate_bias=0.0):
    """documents: lists of ids, each as its tokenizer gives it (with BOS where the post-processor adds one).
    Each is cut into consecutive windows of `context` tokens, the last may be shorter; the first token of a
    window is not scored. A window of one token scores nothing but its gates are counted."""
    total = scored = windows = queries = pairs = opened = empty = 0
    expected = 0.0
    for ids in documents:
        for start in range(0, len(ids), context):
            window = ids[start:start + context]
            logits, counts = forward(model, window, gates, gate_bias)
            total += math.fsum(nats(logits, window))
            scored += len(window) - 1
            windows += 1
            queries += len(window) * model.layers * model.heads
            pairs += counts.pairs * model.layers * model.heads
            opened += int(counts.open.sum())
            expected += float(counts.expected.sum())
            empty += int(counts.empty_rows.sum())
    ce = total / scored if scored else None
    return {
        "ce": ce, "perplexity": math.exp(ce) if scored else None, "tokens": scored,
        "documents": len(documents), "windows": windows, "total_nats": total,
        "queries": queries, "causal_pairs": pairs,  # both counted once per layer and head
        # what gates with z > 0 open; for a dense run: what hard gates would open on the dense activations
        "open": opened, "density": opened / pairs, "expected_density": expected / pairs,
        "edges_per_query": opened / queries, "empty_rows": empty,
    }


def greedy(model, ids, max_tokens, gates=None, gate_bias=0.0):
    """Temperature 0. Everything recomputed for each token: no cache. Returns new ids and top-1 minus top-2 logits."""
    ids, margins, prompt = list(ids), [], len(ids)
    for _ in range(max_tokens):
        row = forward(model, ids, gates, gate_bias)[0][-1]
        second, first = np.sort(row)[-2:]
        margins.append(float(first - second))
        ids.append(int(row.argmax()))
    return ids[prompt:], margins


# ---------------------------------------------------------------- tokenizer.json

class Tokenizer:
    """Just what the small checkpoints need: BPE with byte fallback, Prepend and Replace normalizers, a template
    post-processor; and the one-letter WordLevel of gpt2-induction."""

    def __init__(self, folder):
        t = json.load(open(os.path.join(folder, "tokenizer.json")))
        self.kind = t["model"]["type"]
        self.vocab = t["model"]["vocab"]
        self.pieces = {i: piece for piece, i in self.vocab.items()}
        self.unknown = self.vocab[t["model"]["unk_token"]]
        merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in t["model"].get("merges", [])]
        self.rank = {pair: rank for rank, pair in enumerate(merges)}
        self.special = {a["id"]: a["content"] for a in t["added_tokens"] if a["special"]}
        self.normalizers = (t["normalizer"] or {}).get("normalizers", [])
        self.template = (t["post_processor"] or {"single": [{"Sequence": {}}]})["single"]

    def encode(self, text):
        assert not any(content in text for content in self.special.values()), "special token in text"
        if self.kind == "WordLevel":
            assert "\n" not in text  # the pattern "." matches no line feed
            ids = [self.vocab.get(c, self.unknown) for c in text]
        else:
            ids = self.bpe(self.normalize(text))
        out = []
        for part in self.template:
            out += ids if "Sequence" in part else [self.vocab[part["SpecialToken"]["id"]]]
        return out

    def normalize(self, text):
        for n in self.normalizers:
            if n["type"] == "Prepend":
                text = n["prepend"] + text if text else text
            elif n["type"] == "Replace":
                text = text.replace(n["pattern"]["String"], n["content"])
            else:
                raise ValueError(n)
        return text

    def bpe(self, text):
        symbols = []
        for c in text:
            symbols += [c] if c in self.vocab else ["<0x%02X>" % byte for byte in c.encode()]
        while len(symbols) > 1:  # the best-ranked pair, leftmost first
            rank, at = min((self.rank.get(pair, math.inf), i) for i, pair in enumerate(zip(symbols, symbols[1:])))
            if rank == math.inf:
                break
            symbols[at:at + 2] = [symbols[at] + symbols[at + 1]]
        return [self.vocab[s] for s in symbols]

    def decode(self, ids):
        """Special tokens left out; one leading space stripped, as the decoder of the file says."""
        out = b""
        for i in ids:
            if i in self.special:
                continue
            piece = self.pieces[i]
            is_byte = len(piece) == 6 and piece.startswith("<0x")
            out += bytes([int(piece[3:5], 16)]) if is_byte else piece.replace("\u2581", " ").encode()
        text = out.decode("utf-8", "replace")
        return text[1:] if self.kind == "BPE" and text.startswith(" ") else text


def read_documents(path, limit=None):
    if path.endswith(".jsonl"):
        texts = [json.loads(line)["text"] for line in open(path, encoding="utf-8") if line.strip()]
    else:
        texts = [open(path, encoding="utf-8", newline="").read()]
    return texts if limit is None else texts[:limit]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=["eval", "logits"])
    parser.add_argument("model")
    parser.add_argument("--data")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--context", type=int)
    parser.add_argument("--ids")
    parser.add_argument("--text")
    parser.add_argument("--gates", choices=["dense", "hard"], default="dense")
    parser.add_argument("--gate-bias", type=float, default=0.0)
    a = parser.parse_args()
    model, gates = Model(a.model), None if a.gates == "dense" else a.gates
    if a.verb == "eval":
        tokenizer = Tokenizer(a.model)
        documents = [tokenizer.encode(text) for text in read_documents(a.data, a.limit)]
        print(json.dumps(evaluate(model, documents, a.context or model.context, gates, a.gate_bias), indent=1))
    else:
        ids = [int(i) for i in a.ids.split(",")] if a.ids else Tokenizer(a.model).encode(a.text)
        logits, counts = forward(model, ids, gates, a.gate_bias)
        print(json.dumps({"ids": ids, "logits": logits.tolist(), "open": counts.open.tolist(),
                          "expected": counts.expected.tolist(), "causal_pairs": counts.pairs}))


if __name__ == "__main__":
    main()
