#!/usr/bin/env python3
"""Writes gated-attention.json: the gated attention layer alone, with gradients.

    python3 test/oracle/golden_attention.py [--check]

The gradients come from the closed formulas. Before anything is written they are compared with (a) central differences
where the layer is differentiable (dense), and (b) a reverse-mode tape that knows nothing of the formulas and takes the
straight-through gate as hard + (soft - stopgrad(soft)).
"""
import argparse
import itertools
import math

import numpy as np

from golden_io import write
from oracle import sigmoid

MODES = ("dense", "hard", "sampled")


def causal_mask(queries, keys, offset):
    """Query i stands at position offset + i and sees keys j <= offset + i."""
    return np.arange(keys)[None, :] <= offset + np.arange(queries)[:, None]


# ---------------------------------------------------------------- the formulas

def formulas(c, mode):
    """c: q [B,H,Tq,d], k and v [B,K,Tk,d], u [B,H,Tq,Tk], dy [B,H,Tq,d], ds [B,H], offset, bias."""
    q, dy, b = c["q"], c["dy"], c["bias"]
    group = q.shape[1] // c["k"].shape[1]
    k, v = np.repeat(c["k"], group, 1), np.repeat(c["v"], group, 1)
    scale = 1 / math.sqrt(q.shape[-1])
    mask = causal_mask(q.shape[2], k.shape[2], c["offset"])
    count = mask.sum()
    s = q @ k.transpose(0, 1, 3, 2) * scale
    z = s + b
    noise = np.log(c["u"]) - np.log1p(-c["u"]) if mode == "sampled" else 0.0
    masked = np.where(mask, s, -np.inf)
    e = np.exp(masked - masked.max(-1, keepdims=True))
    p = e / e.sum(-1, keepdims=True)
    if mode == "dense":
        m, slope = np.broadcast_to(mask, s.shape).astype(float), 0.0
    else:
        m = (mask & (z + noise > 0)).astype(float)
        g = sigmoid(z + noise)
        slope = g * (1 - g)                        # straight-through
    y = (p * m) @ v
    G = dy @ v.transpose(0, 1, 3, 2)               # dL/dy_i . v_j
    D = (dy * y).sum(-1, keepdims=True)            # dL/dy_i . y_i
    soft = sigmoid(z)
    gate_part = p * slope * G + c["ds"][..., None, None] * np.where(mask, soft * (1 - soft), 0) / count
    dscore = p * (m * G - D) + gate_part
    dq = dscore @ k * scale
    dk = dscore.transpose(0, 1, 3, 2) @ q * scale
    dv = (p * m).transpose(0, 1, 3, 2) @ dy
    to_kv = lambda x: x.reshape(x.shape[0], -1, group, *x.shape[2:]).sum(2)  # heads that share keys add up
    return {
        "y": y, "density": np.where(mask, soft, 0).sum((2, 3)) / count,
        "hard_open": (mask & (z > 0)).sum((2, 3)), "gates_open": m.sum((2, 3)).astype(int),
        "empty_rows": (m.sum(3) == 0).sum(2), "dq": dq, "dk": to_kv(dk), "dv": to_kv(dv), "db": gate_part.sum((2, 3)),
    }, float(np.abs(z + noise)[..., mask].min())


# ---------------------------------------------------------------- (b) a tape

class Var:
    """A value and how to send its gradient to its parents; parents are (Var, function of the gradient)."""

    ids = itertools.count()

    def __init__(self, value, parents=()):
        self.value, self.parents, self.id, self.grad = np.asarray(value, float), parents, next(Var.ids), None

    def __add__(self, o):
        o = o if isinstance(o, Var) else Var(o)
        return Var(self.value + o.value, ((self, lambda g: g), (o, lambda g: g)))

    def __mul__(self, o):
        o = o if isinstance(o, Var) else Var(o)
        return Var(self.value * o.value, ((self, lambda g: g * o.value), (o, lambda g: g * self.value)))

    def __matmul__(self, o):
        return Var(self.value @ o.value, ((self, lambda g: g @ o.value.swapaxes(-1, -2)),
                                          (o, lambda g: self.value.swapaxes(-1, -2) @ g)))

    def __sub__(self, o):
        return self + o * Var(-1.0)

    def map(self, value, derivative):
        return Var(value, ((self, lambda g: g * derivative),))

    def transposed(self):
        return Var(self.value.swapaxes(-1, -2), ((self, lambda g: g.swapaxes(-1, -2)),))

    def sum(self, axis):
        return Var(self.value.sum(axis, keepdims=True), ((self, lambda g: g),))

    def head(self, b, h):
        def put(g):
            full = np.zeros(self.value.shape)
            full[b, h] = g
            return full
        return Var(self.value[b, h], ((self, put),))

    def stopped(self):
        return Var(self.value)

    def backward(self):
        nodes, todo = {}, [self]
        while todo:
            node = todo.pop()
            if node.id not in nodes:
                nodes[node.id] = node
                node.grad = np.zeros(node.value.shape)
                todo += [parent for parent, _ in node.parents]
        self.grad = np.ones(self.value.shape)
        for i in sorted(nodes, reverse=True):  # a node is always younger than its parents
            for parent, rule in nodes[i].parents:
                g = np.broadcast_to(rule(nodes[i].grad), np.broadcast_shapes(np.shape(rule(nodes[i].grad)), parent.value.shape))
                while g.ndim > parent.value.ndim:
                    g = g.sum(0)
                for axis, size in enumerate(parent.value.shape):
                    if size == 1 and g.shape[axis] != 1:
                        g = g.sum(axis, keepdims=True)
                parent.grad = parent.grad + g


def logistic(x):
    value = 0.5 * (1 + np.tanh(x.value / 2))
    return x.map(value, value * (1 - value))


def taped(c, mode):
    q, k, v, b = Var(c["q"]), Var(c["k"]), Var(c["v"]), Var(np.full(c["q"].shape[:2], c["bias"]))
    B, H, Tq, d = c["q"].shape
    K, Tk = c["k"].shape[1:3]
    mask = causal_mask(Tq, Tk, c["offset"]).astype(float)
    loss = Var(0.0)
    for i, h in itertools.product(range(B), range(H)):
        qh, kh, vh = q.head(i, h), k.head(i, h // (H // K)), v.head(i, h // (H // K))
        s = (qh @ kh.transposed()) * (d ** -0.5)
        z = s + b.head(i, h)
        top = np.where(mask > 0, s.value, -np.inf).max(-1, keepdims=True)
        e = np.exp(np.where(mask > 0, s.value - top, -np.inf))
        e = s.map(e, e)
        total = e.sum(-1)
        p = e * total.map(1 / total.value, -1 / total.value ** 2)
        if mode != "dense":
            noisy = z + (np.log(c["u"][i, h] / (1 - c["u"][i, h])) if mode == "sampled" else 0.0)
            soft = logistic(noisy)
            gate = Var((noisy.value > 0).astype(float)) + (soft - soft.stopped())
            p = p * gate
        loss = loss + ((p @ vh) * c["dy"][i, h]).sum((0, 1)) + (logistic(z) * mask).sum((0, 1)) * (c["ds"][i, h] / mask.sum())
    loss.backward()
    return {"dq": q.grad, "dk": k.grad, "dv": v.grad, "db": b.grad}


# ---------------------------------------------------------------- (a) central differences

def central_differences(c, name, h=1e-5):
    def loss(x):
        result, _ = formulas({**c, name: x}, "dense")
        return (result["y"] * c["dy"]).sum() + (result["density"] * c["ds"]).sum()
    out = np.zeros(c[name].shape)
    for index in np.ndindex(*c[name].shape):
        step = np.zeros(c[name].shape)
        step[index] = h
        out[index] = (loss(c[name] + step) - loss(c[name] - step)) / (2 * h)
    return out


# ---------------------------------------------------------------- cases

def grid(x, steps=64):
    return np.round(x * steps) / steps  # exact in float32 and short in decimal


def make_case(rng, name, B, H, K, Tq, d, offset=0, bias=0.0, scale=1.0):
    Tk = offset + Tq
    for _ in range(1000):
        c = {"name": name, "batch": B, "heads": H, "kv_heads": K, "queries": Tq, "keys": Tk, "head_dim": d,
             "offset": offset, "bias": bias,
             "q": grid(rng.normal(size=(B, H, Tq, d)) * scale), "k": grid(rng.normal(size=(B, K, Tk, d)) * scale),
             "v": grid(rng.normal(size=(B, K, Tk, d))),
             "u": np.clip(grid(rng.random((B, H, Tq, Tk)), 1024), 1 / 1024, 1023 / 1024),
             "dy": grid(rng.normal(size=(B, H, Tq, d))), "ds": grid(rng.normal(size=(B, H)) * 4)}
        if all(formulas(c, mode)[1] > 1e-3 for mode in MODES):  # no gate that single precision could flip
            return c
    raise AssertionError(name)


def cases():
    rng = np.random.default_rng(2025)
    out = [
        make_case(rng, "one token, one of everything", 1, 2, 1, 1, 2),
        make_case(rng, "two tokens", 1, 2, 2, 2, 3),
        make_case(rng, "grouped heads", 1, 4, 2, 5, 2, bias=0.5),
        make_case(rng, "batch of two, all heads share one key", 2, 2, 1, 4, 3, bias=-0.5),
        make_case(rng, "nine tokens", 1, 2, 1, 9, 3),
        make_case(rng, "cache: one query after six keys", 1, 4, 2, 1, 4, offset=6),
        make_case(rng, "cache: three queries after four keys", 2, 2, 1, 3, 2, offset=4, bias=2.0),
        make_case(rng, "bias closes every gate", 1, 2, 1, 4, 2, bias=-20.0),
        make_case(rng, "bias opens every gate", 1, 2, 1, 4, 2, bias=20.0),
        make_case(rng, "scores in the hundreds", 1, 2, 1, 4, 6, scale=14.0),
    ]
    zero = make_case(rng, "z is exactly 0: the gate is closed", 1, 2, 1, 3, 2)
    zero["q"] = np.zeros_like(zero["q"])
    zero["u"] = np.where(zero["u"] == 0.5, 0.75, zero["u"])
    out.append(zero)
    extreme = make_case(rng, "u next to 0 and 1", 1, 2, 1, 3, 2)
    extreme["u"] = np.where(extreme["u"] < 0.5, 2.0 ** -24, 1 - 2.0 ** -24)
    out.append(extreme)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    a = parser.parse_args()
    records, worst_tape, worst_difference = [], 0.0, 0.0
    for c in cases():
        expected = {}
        for mode in MODES:
            result, margin = formulas(c, mode)
            for name, gradient in taped(c, mode).items():
                worst_tape = max(worst_tape, np.abs(gradient - result[name]).max() / max(1, np.abs(gradient).max()))
            expected[mode] = {**result, "gate_margin": margin}
        for name in "qkv":
            numeric = central_differences(c, name)
            worst_difference = max(worst_difference, np.abs(numeric - expected["dense"]["d" + name]).max()
                                   / max(1, np.abs(numeric).max()))
        records.append({**c, "expected": expected})
    print("formulas against the tape %.1e, dense against central differences %.1e" % (worst_tape, worst_difference))
    assert worst_tape < 1e-10 and worst_difference < 1e-7
    write("gated-attention.json", {
        "about": "Gated attention alone. q, y, dy, dq [batch][heads][queries][head_dim]; k, v, dk, dv [batch][kv_heads][keys][head_dim];"
                 " u [batch][heads][queries][keys]; ds, density, hard_open, gates_open, empty_rows, db [batch][heads]."
                 " Query i sees keys j <= offset + i; head h reads kv head h / (heads / kv_heads). Loss = sum(dy y) + sum(ds density)."
                 " Noise log(u) - log(1 - u) only in mode sampled. density = mean sigmoid(q.k/sqrt(d) + bias) over the causal pairs"
                 " of the call, in every mode. gates_open counts the gates used, hard_open those with z > 0 without noise."
                 " gate_margin = min |z + noise|. db is the gradient of bias, per batch and head. Inputs are exact in float32.",
        "command": "python3 test/oracle/golden_attention.py", "cases": records,
    }, a.check)


if __name__ == "__main__":
    main()
