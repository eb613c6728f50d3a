#!/usr/bin/env python3
"""Writes logits-*.json, generation-stories260k.json and eval.json from the real checkpoints.

    python3 test/oracle/golden_logits.py --data ../shared/data [--check]
"""
import argparse
import hashlib
import os

import numpy as np

from golden_io import write
from oracle import NEAR, Model, Tokenizer, evaluate, forward, greedy, nats, read_documents

COMMAND = "python3 test/oracle/golden_logits.py --data ../shared/data"
MODES = [("dense", 0.0), ("hard", 0.0), ("hard", 2.0)]
CORPUS = "corpora/tinystories-valid.jsonl"


def gates_of(mode):
    return None if mode == "dense" else mode


def sha256(path):
    return hashlib.sha256(open(path, "rb").read()).hexdigest()


def logits_case(model, name, ids, vocab_entries):
    T, results = len(ids), []
    positions = sorted({0, T // 2, T - 1})
    for mode, bias in MODES:
        logits, counts = forward(model, ids, gates_of(mode), bias)
        result = {
            "gates": mode, "gate_bias": bias,
            "rows": [logits[p][vocab_entries] for p in positions],
            "argmax": logits[positions].argmax(-1),
            "sum": logits.sum(), "sum_of_squares": (logits ** 2).sum(),
            "ce": nats(logits, ids).mean() if T > 1 else None,
            "open": counts.open, "empty_rows": counts.empty_rows, "expected": counts.expected.sum(1),
        }
        if mode == "hard":
            shifted = [forward(model, ids, mode, bias, threshold)[0] for threshold in (-NEAR, NEAR)]
            result["min_abs_z"] = counts.min_abs_z
            result["near_pairs"] = counts.near
            result["near_logit_change"] = max(np.abs(s - logits).max() for s in shifted)
        results.append(result)
    return {"name": name, "ids": ids, "positions": positions, "causal_pairs": counts.pairs, "results": results}


def logits_file(data, name, prompts, entries_wanted, check):
    folder = os.path.join(data, "checkpoints", name)
    model = Model(folder)
    vocab = model.config["vocab_size"]
    entries = np.arange(vocab) if vocab <= entries_wanted else np.linspace(0, vocab - 1, entries_wanted).astype(int)
    write("logits-%s.json" % name, {
        "about": "Float64 logits of checkpoints/%s. rows[i] are the logits at positions[i] of the vocabulary entries in"
                 " vocab_entries; argmax[i] is over the whole vocabulary; sum and sum_of_squares run over the whole [tokens, vocab]"
                 " matrix; ce is mean nats of ids[1:]; open (pairs with z > 0) and empty_rows (queries without one) are [layers][heads],"
                 " expected (sum of sigmoid z over pairs and heads) is [layers]; a head has causal_pairs pairs; in dense mode these are"
                 " what hard gates would see on the dense activations. min_abs_z: distance of the nearest gate from its threshold;"
                 " near_pairs: pairs with |z| <= near; near_logit_change: how far any logit moves when all of those are opened, or"
                 " all closed. One gate that rounding flips moves logits by up to 0.1, so single precision can be held to a tight"
                 " tolerance only where near_pairs is 0." % name,
        "command": COMMAND, "checkpoint": name, "weights_sha256": sha256(os.path.join(folder, "model.safetensors")),
        "vocab": vocab, "context": model.context, "near": NEAR, "vocab_entries": entries,
        "cases": [logits_case(model, case, ids, entries) for case, ids in prompts],
    }, check)


def text_prompts(data, name, lengths):
    """The first documents joined, cut to each length; then arbitrary ids, so that every byte token is seen."""
    tokenizer = Tokenizer(os.path.join(data, "checkpoints", name))
    ids = tokenizer.encode("\n".join(read_documents(os.path.join(data, CORPUS), 3)))
    vocab = len(tokenizer.vocab)
    return ([("story, %d tokens" % n, ids[:n]) for n in lengths]
            + [("arbitrary ids, 40 tokens", np.random.default_rng(7).integers(0, vocab, 40).tolist())])


def induction_prompts():
    half = np.random.default_rng(11).permutation(26)[:16] + 1
    ids = np.concatenate([half, half]).tolist()
    return [("repeated letters, %d tokens" % n, ids[:n]) for n in (1, 2, 7, 16, 25, 32)] + [("one letter", [5] * 9)]


def generation_file(data, check):
    folder = os.path.join(data, "checkpoints", "stories260k")
    model, tokenizer = Model(folder), Tokenizer(folder)
    prompt = "Once upon a time"
    ids, cases = tokenizer.encode(prompt), []
    for mode, bias in [("dense", 0.0), ("hard", 2.0)]:
        new, margins = greedy(model, ids, 80, gates_of(mode), bias)
        text = tokenizer.decode(ids + new)
        assert text.startswith(prompt)
        counts = forward(model, (ids + new)[:-1], gates_of(mode), bias)[1]
        cases.append({"gates": mode, "gate_bias": bias, "ids": new, "text": text, "continuation": text[len(prompt):],
                      "min_margin": min(margins), "min_margin_at": int(np.argmin(margins)),
                      "min_abs_z": counts.min_abs_z, "near_pairs": counts.near})
    write("generation-stories260k.json", {
        "about": "Greedy continuation by 80 tokens. ids are the new tokens only; text is prompt and continuation decoded together,"
                 " BOS left out; min_margin is the smallest difference of the two best logits, at new token min_margin_at;"
                 " min_abs_z and near_pairs (|z| <= 2e-5) tell whether rounding may flip a hard gate on the way.",
        "command": COMMAND, "checkpoint": "stories260k", "prompt": prompt, "prompt_ids": ids, "max_tokens": 80, "cases": cases,
    }, check)


def eval_file(data, check):
    cases = []
    texts = read_documents(os.path.join(data, CORPUS), 40)
    for name, limit, context, modes in [
            ("babyllama", 2, 47, MODES),      # 800 = 17 * 47 + 1 tokens: the last window of document 0 has one token
            ("babyllama", 6, 256, MODES),
            ("babyllama", 40, 256, MODES[:2]),
            ("stories260k", 8, 128, MODES),
            ("stories260k", 40, 512, MODES[:2])]:
        folder = os.path.join(data, "checkpoints", name)
        model, tokenizer = Model(folder), Tokenizer(folder)
        documents = [tokenizer.encode(t) for t in texts[:limit]]
        for mode, bias in modes:
            print("  eval", name, limit, context, mode, bias, flush=True)
            result = evaluate(model, documents, context, gates_of(mode), bias)
            cases.append({"checkpoint": name, "limit": limit, "context": context, "gates": mode, "gate_bias": bias, **result})
    write("eval.json", {
        "about": "eval of the first `limit` documents. density, open and empty_rows of a dense case say what hard gates would open"
                 " on the dense activations. queries and causal_pairs count every layer and head.",
        "command": COMMAND, "data": CORPUS, "cases": cases,
    }, check)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--check", action="store_true", help="compare with the files instead of writing them")
    parser.add_argument("--skip-eval", action="store_true", help="leave eval.json alone, which takes minutes")
    a = parser.parse_args()
    logits_file(a.data, "gpt2-induction", induction_prompts(), 32, a.check)
    logits_file(a.data, "babyllama", text_prompts(a.data, "babyllama", (1, 2, 17, 64, 256)), 32, a.check)
    logits_file(a.data, "stories260k", text_prompts(a.data, "stories260k", (1, 5, 33, 128, 512)), 32, a.check)
    generation_file(a.data, a.check)
    if not a.skip_eval:
        eval_file(a.data, a.check)


if __name__ == "__main__":
    main()
