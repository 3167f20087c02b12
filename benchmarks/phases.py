"""Time and memory of each phase of a finished run, from Snakemake's own benchmark files.

    python benchmarks/phases.py [--scale tiny]

Wall seconds are summed over a phase's jobs (jobs run side by side, so the sum exceeds the run's
wall time); memory is the largest resident set of one job.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path

PHASES = {
    "world": "corpus", "overlap": "corpus", "sample": "corpus", "mix": "corpus",
    "train": "train", "fetch": "train", "extract": "vectors", "geometry": "vectors",
    "search": "search", "merge": "benchmark", "benchmark": "benchmark",
    "mergekit_parity": "benchmark",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scale", default="tiny")
    root = Path("logs") / parser.parse_args().scale / "benchmark"
    jobs = defaultdict(list)
    for file in sorted(root.rglob("*.tsv")):
        with file.open() as table:
            row = next(csv.DictReader(table, delimiter="\t"))
        kind = file.relative_to(root).parts[0].removesuffix(".tsv")
        numbers = [
            float(row[key]) if row[key] != "NA" else 0.0 for key in ("s", "cpu_time", "max_rss")
        ]
        jobs[PHASES.get(kind, "report")].append(numbers)
    print("| phase | jobs | wall seconds, summed | CPU seconds | peak MB of one job |")
    print("| --- | --- | --- | --- | --- |")
    for phase in dict.fromkeys(PHASES.values()):
        rows = jobs.get(phase, [])
        wall, cpu = (sum(row[column] for row in rows) for column in (0, 1))
        peak = max((row[2] for row in rows), default=0)
        print(f"| {phase} | {len(rows)} | {wall:.0f} | {cpu:.0f} | {peak:.0f} |")


if __name__ == "__main__":
    main()
