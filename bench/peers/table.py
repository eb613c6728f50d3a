"""Medians of what bench/compare measured, as Markdown tables, and the targets of the engine.

    python3 bench/peers/table.py FILE     lines of JSON; each gemm begins a round: gemm, ours, peers
"""
import json
import sys
from collections import defaultdict
from statistics import median

OURS = "filigree"
# Share of the best peer's time, by threads; the floor is that of the same run.
RATIO_ONE_THREAD = {("long", "dense"): 1.0, ("long", "sparse"): 0.55}
RATIO = {("long", "dense"): 1.0, ("long", "sparse"): 0.45}
RATIO_ELSE = {True: 0.85, False: 0.75}
FLOOR = 1.4
FLOOR_SHAPES = ("small", "gpt2")


def read(path):
    """Rounds of one shape and mode: [{engine: run}], and the rate and floors of each."""
    rounds = []
    with open(path) as lines:
        for run in map(json.loads, lines):
            if run["engine"] == "gemm":
                rounds.append({"gemm": run})
            elif not rounds or run["engine"] in rounds[-1]:
                sys.exit("table.py: the lines are not in the order gemm, ours, peers")
            else:
                rounds[-1][run["engine"]] = run
    for one in rounds:
        shapes = {(run["shape"], run["mode"]) for name, run in one.items() if name != "gemm"}
        if OURS not in one or len(one) < 3 or len(shapes) != 1:
            sys.exit("table.py: a round lacks ours or every peer, or mixes shapes")
    return rounds


def verdict(value, limit, strictly=False):
    met = value < limit if strictly else value <= limit
    return ("met" if met else "missed") + " (%s %.4g)" % ("below" if strictly else "at most", limit)


def table(header, rows):
    print("| " + " | ".join(header) + " |")
    print("|---|---|" + "---:|" * (len(header) - 2))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def main():
    rounds = read(sys.argv[1])
    # One rate for all: while one other process runs, a product cut in two takes as long as its slower
    # half, so that the rate of a single run is either the machine's or half of it.
    rate = median(one["gemm"]["gflops"] for one in rounds)
    one_thread = rounds[0]["gemm"]["threads"] == 1
    rows = defaultdict(list)
    for one in rounds:
        rows[one[OURS]["shape"], one[OURS]["mode"]].append(one)
    peers = sorted({name for one in rounds for name in one} - {OURS, "gemm"}, reverse=True)

    def compare(group, what):
        """Medians of ours and of each peer, the best peer, and the median of the ratios to it."""
        found = {
            name: median(one[name][what] for one in group)
            for name in peers
            if all(name in one for one in group)
        }
        best = min(found, key=found.get)
        # Within a round, where both ran under nearly the same load.
        ratio = median(one[OURS][what] / one[best][what] for one in group)
        return median(one[OURS][what] for one in group), found, best, ratio

    times, memory = [], []
    for (shape, mode), group in rows.items():
        mine, found, best, ratio = compare(group, "median_ms")
        limits = RATIO_ONE_THREAD if one_thread else RATIO
        gemm = group[0]["gemm"]
        floor = gemm["floor_ms"][shape] * gemm["gflops"] / rate
        times.append(
            [shape, mode, "%.1f" % mine]
            + ["%.1f" % found[name] if name in found else "-" for name in peers]
            + [best, "%.2f" % ratio]
            + [verdict(ratio, limits.get((shape, mode), RATIO_ELSE[one_thread]))]
            + ["%.1f" % floor, "%.2f" % (mine / floor)]
            + [verdict(mine / floor, FLOOR) if shape in FLOOR_SHAPES else "-"]
        )
        mine, found, best, ratio = compare(group, "peak_mib")
        memory.append(
            [shape, mode, "%d" % mine]
            + ["%d" % found[name] if name in found else "-" for name in peers]
            + [best, "%.2f" % ratio, verdict(ratio, 1, strictly=True)]
        )
    names = [name + " ms" for name in peers]
    table(
        ["shape", "mode", "ours ms", *names, "best peer", "ratio", "target"]
        + ["floor ms", "ours / floor", "target"],
        times,
    )
    names = [name + " MiB" for name in peers]
    table(["shape", "mode", "ours MiB", *names, "best peer", "ratio", "target"], memory)
    openblas = median(one["gemm"]["openblas_gflops"] for one in rounds)
    print(
        "Matrix products 1024 x 1024 x 1024: %.0f GFLOP/s, of which the floor is made; by OpenBLAS: %.0f."
        % (rate, openblas)
    )


if __name__ == "__main__":
    main()
