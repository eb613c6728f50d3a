#!/usr/bin/env python3
"""Writes kernels.json and philox.json: single kernels whose definition is easy to get slightly wrong.

    python3 test/oracle/golden_kernels.py [--check]
"""
import argparse
import math

import numpy as np

from golden_io import write

COMMAND = "python3 test/oracle/golden_kernels.py"


def f32(x):
    """Inputs are rounded to float32 first, so that float32 and float64 kernels see the same numbers."""
    return np.asarray(x, np.float32).astype(np.float64)


def differences(f, x, dy, h):
    """Gradient of sum(dy * f(x)) by central differences of order 4, to check the formulas below."""
    out = np.zeros(x.shape)
    for i in np.ndindex(*x.shape):
        e = np.zeros(x.shape)
        e[i] = h
        out[i] = (dy * (8 * (f(x + e) - f(x - e)) - (f(x + 2 * e) - f(x - 2 * e)))).sum() / (12 * h)
    return out


def agree(name, gradient, numeric, tolerance=1e-8):
    error = np.abs(gradient - numeric).max() / max(1.0, np.abs(gradient).max())
    assert error < tolerance, "%s: %g" % (name, error)


# ---------------------------------------------------------------- elementwise, in scalar math

def sigmoid(x):
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def softplus(x):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def gelu(x):
    return 0.5 * x * math.erfc(-x / math.sqrt(2))  # erfc keeps the digits of the left tail


def gelu_slope(x):
    return 0.5 * math.erfc(-x / math.sqrt(2)) + x * math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def gelu_tanh(x):
    # 0.5 (1 + tanh t) = sigmoid(2 t), which keeps the digits of the left tail
    return x * sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3))


def gelu_tanh_slope(x):
    c = math.sqrt(2 / math.pi)
    t = 2 * c * (x + 0.044715 * x ** 3)
    return sigmoid(t) + x * sigmoid(t) * sigmoid(-t) * 2 * c * (1 + 3 * 0.044715 * x * x)


ELEMENTWISE = {
    "sigmoid": (sigmoid, lambda x: sigmoid(x) * sigmoid(-x)),
    "softplus": (softplus, sigmoid),
    "log_sigmoid": (lambda x: -softplus(-x), lambda x: sigmoid(-x)),
    "silu": (lambda x: x * sigmoid(x), lambda x: sigmoid(x) + x * sigmoid(x) * sigmoid(-x)),
    "gelu": (gelu, gelu_slope),
    "gelu_tanh": (gelu_tanh, gelu_tanh_slope),
    "tanh": (math.tanh, lambda x: 1 / math.cosh(x) ** 2 if abs(x) < 300 else 0.0),
}


def elementwise_cases():
    xs = [-1e4, -709.0, -104.0, -88.0, -30.0, -17.0, -10.0, -6.0, -5.0, -3.0, -2.0, -1.0, -0.75, -0.5, -0.125, -1e-4, -1e-8, 0.0]
    xs = f32(xs + [-x for x in reversed(xs[:-1])])
    cases = []
    for name, (f, slope) in ELEMENTWISE.items():
        middle = xs[np.abs(xs) <= 10]
        agree(name, np.array([slope(x) for x in middle]),
              differences(lambda v: np.array([f(x) for x in v]), middle, np.ones(len(middle)), 1e-3))
        cases.append({"op": name, "x": xs, "y": [f(x) for x in xs], "slope": [slope(x) for x in xs]})
    return cases


# ---------------------------------------------------------------- rows

def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def softmax_cases(rng):
    for name, x in [("plain", rng.normal(size=(3, 7)) * 3), ("one column", rng.normal(size=(2, 1))), ("equal", np.full((2, 5), 3.0)),
                    ("huge", np.array([[1e4, -1e4, 0.0, 9999.0], [-1e4, -1e4, -1e4, -1e4], [1e4, 1e4, 1e4, 1e4 - 1]])),
                    ("seventeen columns", rng.normal(size=(2, 17)))]:
        x, dy = f32(x), f32(rng.normal(size=x.shape))
        y = softmax(x)
        dx = y * (dy - (dy * y).sum(-1, keepdims=True))
        agree(name, dx, differences(softmax, x, dy, 1e-3))
        yield {"op": "softmax", "name": name, "x": x, "y": y, "dy": dy, "dx": dx}


def norm_cases(rng):
    inputs = [("plain", rng.normal(size=(3, 8)) * 2 + 0.5, 1e-5), ("rows near 1e-3, where eps counts", rng.normal(size=(3, 8)) * 1e-3, 1e-5),
              ("rows near 1e-3 on a mean of 0.01", rng.normal(size=(2, 8)) * 1e-3 + 0.01, 1e-5), ("constant and zero rows", np.array([[3.0] * 5, [0.0] * 5]), 1e-5),
              ("large rows", rng.normal(size=(2, 19)) * 1e3, 1e-6), ("one column", rng.normal(size=(2, 1)), 1e-5)]
    for name, x, eps in inputs:
        n = x.shape[1]
        x, weight, bias, dy = f32(x), f32(rng.normal(size=n) + 1), f32(rng.normal(size=n)), f32(rng.normal(size=x.shape))

        def normalised(x, w):
            mean = x.mean(-1, keepdims=True)
            return (x - mean) / np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + eps) * w

        deviation = np.sqrt(x.var(-1, keepdims=True) + eps)
        hat = (x - x.mean(-1, keepdims=True)) / deviation
        g = dy * weight
        dx = (g - g.mean(-1, keepdims=True) - hat * (g * hat).mean(-1, keepdims=True)) / deviation
        agree(name, dx, differences(lambda v: normalised(v, weight), x, dy, 1e-4 if eps < deviation.min() else 1e-5), 1e-6)
        yield {"op": "layer_norm", "name": name, "eps": eps, "x": x, "weight": weight, "bias": bias, "y": hat * weight + bias,
               "dy": dy, "dx": dx, "dweight": (dy * hat).sum(0), "dbias": dy.sum(0)}

        root = np.sqrt((x * x).mean(-1, keepdims=True) + eps)
        hat = x / root
        dx = (g - hat * (g * hat).mean(-1, keepdims=True)) / root
        agree(name, dx, differences(lambda v: v / np.sqrt((v * v).mean(-1, keepdims=True) + eps) * weight, x, dy, 1e-5), 1e-6)
        yield {"op": "rms_norm", "name": name, "eps": eps, "x": x, "weight": weight, "y": hat * weight,
               "dy": dy, "dx": dx, "dweight": (dy * hat).sum(0)}


def cross_entropy_cases(rng):
    for name, x, targets in [
            ("plain", rng.normal(size=(4, 6)) * 2, [0, 5, 3, 3]), ("one class", np.array([[2.5]]), [0]),
            ("huge logits", np.array([[1e4, -1e4, 0.0], [1e4, -1e4, 0.0], [1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [1e4, 1e4, -1e4]]), [0, 1, 2, 1, 0]),
            ("certain and right: the loss is tiny, not zero", np.array([[12.0, 0.0, -1.0, 2.0]]), [0])]:
        x, t = f32(x), np.array(targets)
        rows = np.arange(len(t))
        top = x.argmax(-1)
        rest = np.exp(x - x.max(-1, keepdims=True))
        rest[rows, top] = 0
        losses = x.max(-1) - x[rows, t] + np.log1p(rest.sum(-1))  # log1p: 6e-6 keeps its digits
        gradient = softmax(x)
        gradient[rows, t] -= 1
        yield {"op": "cross_entropy", "name": name, "x": x, "targets": t, "losses": losses, "mean": losses.mean(), "dx_of_mean": gradient / len(t)}


# ---------------------------------------------------------------- rotary

def rotary_cases(rng):
    def rotate(x, positions, inverse_frequency, sign=1.0):
        half = len(inverse_frequency)
        angle = positions[:, None] * inverse_frequency * sign
        cos, sin = np.cos(angle), np.sin(angle)
        a, b, rest = x[:, :half], x[:, half:2 * half], x[:, 2 * half:]
        return np.concatenate([a * cos - b * sin, b * cos + a * sin, rest], 1)

    for name, d, turned, theta, positions in [
            ("plain", 4, 4, 10000.0, [0, 1, 2, 3]), ("two components", 2, 2, 10000.0, [0, 1, 5]), ("offset", 8, 8, 10000.0, [6, 7, 8]),
            ("theta 500000, far positions", 6, 6, 500000.0, [0, 1023, 8191]), ("partial: 4 of 8 components turn", 8, 4, 10000.0, [0, 1, 30])]:
        x, dy, p = f32(rng.normal(size=(len(positions), d))), f32(rng.normal(size=(len(positions), d))), np.array(positions)
        frequency = theta ** (-np.arange(0, turned, 2) / turned)
        yield {"op": "rotary", "name": name, "theta": theta, "rotary_dim": turned, "positions": p, "inverse_frequency": frequency,
               "x": x, "y": rotate(x, p, frequency), "dy": dy, "dx": rotate(dy, p, frequency, -1.0)}

    # Llama 3's scaling: long wavelengths are stretched by the factor, short ones kept, a ramp between
    d, theta, factor, low, high, original = 16, 500000.0, 8.0, 1.0, 4.0, 8192
    scaled = []
    for f in theta ** (-np.arange(0, d, 2) / d):
        wavelength = 2 * math.pi / f
        ramp = (original / wavelength - low) / (high - low)
        ramp = min(1.0, max(0.0, ramp))
        scaled.append((1 - ramp) * f / factor + ramp * f)
    yield {"op": "rotary_llama3", "name": "Llama 3.1", "theta": theta, "rotary_dim": d, "factor": factor, "low_freq_factor": low,
           "high_freq_factor": high, "original_max_position_embeddings": original, "inverse_frequency": scaled}


# ---------------------------------------------------------------- AdamW

def adamw_cases(rng):
    for name, lr, decay, beta1, beta2, eps in [("decay", 1e-2, 0.1, 0.9, 0.95, 1e-8), ("no decay", 1e-3, 0.0, 0.9, 0.999, 1e-8),
                                               ("large eps", 1e-2, 0.01, 0.9, 0.95, 1e-2)]:
        p = f32(rng.normal(size=6))
        gradients = f32(rng.normal(size=(5, 6)) * np.array([1, 1e-6, 1e4, 0, 1, 1]))
        case = {"op": "adamw", "name": name, "lr": lr, "weight_decay": decay, "beta1": beta1, "beta2": beta2, "eps": eps, "parameter": p, "gradients": gradients}
        m, v, after = np.zeros(6), np.zeros(6), []
        for step, g in enumerate(gradients, 1):
            p = p * (1 - lr * decay)  # decoupled: before the step, times the learning rate, not through the moments
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * g * g
            p = p - lr * (m / (1 - beta1 ** step)) / (np.sqrt(v / (1 - beta2 ** step)) + eps)
            after.append(p)
        yield {**case, "parameter_after": after, "m": m, "v": v}


# ---------------------------------------------------------------- Philox 4x32-10

def philox(counter, key, rounds=10):
    c, k, mask = list(counter), list(key), 0xFFFFFFFF
    for r in range(rounds):
        if r:
            k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & mask, (a >> 32) ^ c[3] ^ k[1], a & mask]
    return c


PUBLISHED = [  # Random123, tests/kat_vectors, lines "philox4x32 10": counter, key, result
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def philox_file(check):
    words = lambda text: [int(w, 16) for w in text.split()]
    hexed = lambda values: " ".join("%08x" % v for v in values)
    for counter, key, result in PUBLISHED:
        assert hexed(philox(words(counter), words(key))) == result
    rng, computed = np.random.default_rng(4), []
    inputs = [([n, 0, 0, 0], [1, 0]) for n in range(4)] + [([0xFFFFFFFF, n, 0, 0], [1, 0]) for n in range(2)]
    inputs += [(rng.integers(0, 2 ** 32, 4).tolist(), rng.integers(0, 2 ** 32, 2).tolist()) for _ in range(6)]
    for counter, key in inputs:
        computed.append({"counter": hexed(counter), "key": hexed(key), "result": hexed(philox(counter, key))})
    write("philox.json", {
        "about": "Philox 4x32-10, words in hexadecimal, word 0 first. published: known answers of Random123 (tests/kat_vectors);"
                 " computed: by the implementation of the command, which gives the published answers.",
        "command": COMMAND,
        "published": [{"counter": c, "key": k, "result": r} for c, k, r in PUBLISHED], "computed": computed}, check)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    a = parser.parse_args()
    rng = np.random.default_rng(99)
    cases = elementwise_cases() + [c for make in (softmax_cases, norm_cases, cross_entropy_cases, rotary_cases, adamw_cases) for c in make(rng)]
    write("kernels.json", {
        "about": "Float64 results of single kernels. Matrices are [rows][columns], kernels work along a row. dx is the gradient of"
                 " sum(dy y), slope is dy/dx. Inputs are exact in float32. layer_norm divides the variance by n. rotary: component c"
                 " turns with c + rotary_dim/2 by position * inverse_frequency[c]; components from rotary_dim on stay."
                 " adamw: parameter_after[i] after step i + 1, p = p (1 - lr weight_decay), then p -= lr mhat / (sqrt(vhat) + eps).",
        "command": COMMAND, "cases": cases}, a.check)
    philox_file(a.check)


if __name__ == "__main__":
    main()
