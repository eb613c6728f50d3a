#!/usr/bin/python3
"""The training step of filigree.bench.StepBenchmark as a PyTorch user writes it: forward,
cross-entropy, backward, AdamW, float32. Prints the same line of JSON.

    OMP_WAIT_POLICY=PASSIVE /usr/bin/python3 bench/peers/pytorch_step.py small dense --threads 2

Sparse means sampled gates over composed softmax attention: sigmoid, logistic noise, straight
through, and 0.1 times the mean sigmoid in the loss. --start reads what StepBenchmark --start wrote,
so that both begin with the same weights and the same batch.
"""
import argparse
import json
import math
import os
import sys
import time

# OpenBLAS reads its number of threads when it is loaded, and PyTorch does not tell it later.
if "--threads" in sys.argv[:-1]:
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ[variable] = sys.argv[sys.argv.index("--threads") + 1]

import torch
import torch.nn.functional as F
from torch import nn

#         layers, width, heads, time, batch, vocabulary, tied
SHAPES = {
    "small": (4, 256, 4, 128, 8, 512, False),
    "long": (4, 256, 4, 1024, 1, 512, False),
    "gpt2": (12, 768, 12, 128, 2, 50257, True),
}
BETA = 0.1


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x, masked, causal, sparse):
        batch, time_, width = x.shape
        q, k, v = (
            part.view(batch, time_, self.heads, width // self.heads).transpose(1, 2)
            for part in self.qkv(self.norm1(x)).split(width, dim=2)
        )
        scores = (q @ k.transpose(-2, -1)) * (1 / math.sqrt(width // self.heads))
        pattern = scores.masked_fill(masked, float("-inf")).softmax(-1)
        density = None
        if sparse:
            uniform = torch.rand_like(scores).clamp(1e-6, 1 - 1e-6)
            noise = torch.log(uniform) - torch.log1p(-uniform)
            soft = torch.sigmoid(scores + noise)
            hard = (soft > 0.5).to(soft.dtype)
            pattern = pattern * (hard - soft.detach() + soft)
            pairs = time_ * (time_ + 1) // 2
            density = (torch.sigmoid(scores) * causal).sum() / (batch * self.heads * pairs)
        y = (pattern @ v).transpose(1, 2).reshape(batch, time_, width)
        x = x + self.out(y)
        x = x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))
        return x, density


class Model(nn.Module):
    def __init__(self, layers, width, heads, time_, vocabulary, tied):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(time_, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        for name, weight in self.named_parameters():
            if weight.dim() > 1:
                residual = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(weight, 0, 0.02 / (math.sqrt(2 * layers) if residual else 1))
            elif name.endswith("bias"):
                nn.init.zeros_(weight)
        if tied:
            self.head.weight = self.embed.weight
        causal = torch.ones(time_, time_, dtype=torch.bool).tril()
        self.register_buffer("masked", ~causal)
        self.register_buffer("causal", causal.to(torch.float32))

    def forward(self, ids, sparse):
        x = self.embed(ids) + self.positions.weight
        densities = []
        for block in self.blocks:
            x, density = block(x, self.masked, self.causal, sparse)
            densities.append(density)
        logits = self.head(self.norm(x))
        return logits, sum(densities) / len(densities) if sparse else None


def read(path, model, batch, time_, tied):
    """Weights in the order of ModelConfig.parameters(), then the ids."""
    import numpy

    numbers = numpy.fromfile(path, dtype="<f4")
    at = 0

    def take(*parameters):
        nonlocal at
        for parameter in parameters:
            size = parameter.numel()
            parameter.copy_(torch.from_numpy(numbers[at : at + size].copy()).view_as(parameter))
            at += size

    with torch.no_grad():
        take(model.embed.weight, model.positions.weight)
        for b in model.blocks:
            take(b.norm1.weight, b.norm1.bias)
            weights, biases = b.qkv.weight.chunk(3), b.qkv.bias.chunk(3)
            for i in range(3):
                take(weights[i], biases[i])
            take(b.out.weight, b.out.bias, b.norm2.weight, b.norm2.bias)
            take(b.up.weight, b.up.bias, b.down.weight, b.down.bias)
        take(model.norm.weight, model.norm.bias)
        if not tied:
            take(model.head.weight)
    ids = torch.from_numpy(numbers[at:].view("<i4").astype("int64")).view(batch, time_)
    return ids


def peak_mib():
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) >> 10
    return -1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("mode", choices=("dense", "sparse"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--warmup", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--start")
    parser.add_argument("--losses", action="store_true")
    arguments = parser.parse_args()
    large = arguments.shape == "gpt2"
    warmup = arguments.warmup if arguments.warmup is not None else 2 if large else 3
    steps = arguments.steps if arguments.steps is not None else 5 if large else 15
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    layers, width, heads, time_, batch, vocabulary, tied = SHAPES[arguments.shape]
    sparse = arguments.mode == "sparse"
    model = Model(layers, width, heads, time_, vocabulary, tied)
    if arguments.start:
        ids = read(arguments.start, model, batch, time_, tied)
    else:
        ids = torch.randint(0, vocabulary, (batch, time_))
    targets = torch.full_like(ids, -1)
    targets[:, :-1] = ids[:, 1:]
    targets = targets.view(-1)
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() == 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0}],
        lr=3e-4,
        betas=(0.9, 0.95),
        eps=1e-8,
    )
    losses, millis, first = [], [], 0
    for i in range(max(1, warmup) + steps):
        began = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        logits, density = model(ids, sparse)
        loss = F.cross_entropy(logits.view(-1, vocabulary), targets, ignore_index=-1)
        (loss + BETA * density if sparse else loss).backward()
        optimiser.step()
        losses.append(loss.item())
        if i >= max(1, warmup):
            millis.append((time.perf_counter() - began) * 1e3)
        elif i == 0:
            first = (time.perf_counter() - began) * 1e3
    if abs(losses[0] - math.log(vocabulary)) >= 0.2 or not losses[-1] < losses[0]:
        sys.exit(f"the loss went from {losses[0]} to {losses[-1]}; expected ln {vocabulary} at first, then less")
    millis.sort()
    half = len(millis) // 2
    result = {
        "engine": "pytorch " + torch.__version__,
        "shape": arguments.shape,
        "mode": arguments.mode,
        "threads": arguments.threads,
        "first_ms": round(first),
        "median_ms": round(millis[half] if len(millis) % 2 else (millis[half - 1] + millis[half]) / 2, 2),
        "min_ms": round(millis[0], 2),
        "max_ms": round(millis[-1], 2),
        "peak_mib": peak_mib(),
        "first_loss": round(losses[0], 5),
        "loss": round(losses[-1], 5),
    }
    if arguments.losses:
        result["losses"] = losses
    print(json.dumps(result))


if __name__ == "__main__":
    main()
