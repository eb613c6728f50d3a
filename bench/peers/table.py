"""Medians of what bench/compare measured, as a Markdown table.

    python3 bench/peers/table.py FILE     lines of JSON: gemm, ours, peer; gemm, ours, peer; ...
"""
import json
import sys
from collections import defaultdict
from statistics import median


def main():
    with open(sys.argv[1]) as lines:
        runs = [json.loads(line) for line in lines]
    # One rate for all: while one other process runs, a product cut in two takes as long as its slower
    # half, so that the rate of a single run is either the machine's or half of it.
    rate = median(run["gflops"] for run in runs[0::3])
    rows = defaultdict(list)
    floors = {}
    for gemm, ours, peer in zip(runs[0::3], runs[1::3], runs[2::3]):
        if gemm["engine"] != "gemm" or ours["engine"] != "filigree" or ours["shape"] != peer["shape"]:
            sys.exit("table.py: the lines are not in the order gemm, ours, peer")
        rows[ours["shape"], ours["mode"]].append((ours, peer))
        floors[ours["shape"]] = gemm["floor_ms"][ours["shape"]] * gemm["gflops"] / rate
    print("| shape | mode | ours ms | peer ms | ratio | floor ms | ours / floor | ours MiB | peer MiB |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|")
    for (shape, mode), rounds in rows.items():
        mine = median(ours["median_ms"] for ours, _ in rounds)
        print(
            "| %s | %s | %.1f | %.1f | %.2f | %.1f | %.2f | %d | %d |"
            % (
                shape,
                mode,
                mine,
                median(peer["median_ms"] for _, peer in rounds),
                # Within a round, where both ran under nearly the same load.
                median(ours["median_ms"] / peer["median_ms"] for ours, peer in rounds),
                floors[shape],
                mine / floors[shape],
                median(ours["peak_mib"] for ours, _ in rounds),
                median(peer["peak_mib"] for _, peer in rounds),
            )
        )
    print(
        "\nMatrix products 1024 x 1024 x 1024: %.0f GFLOP/s. Peer: %s."
        % (rate, runs[2]["engine"])
    )


if __name__ == "__main__":
    main()
