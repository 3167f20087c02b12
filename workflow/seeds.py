"""Spread over seeds: run the graph to Table 1 at several seeds and gather the tables.

    python workflow/seeds.py --scale tiny --seeds 0 1 2 3 4

The world (facts, texts, questions) stays frozen; `seed` moves data order, initialisation, splits,
masks and samplers. Each seed runs in `work/{scale}/seeds/{seed}/` and can be resumed; the seed of
params.yaml is taken from `results/{scale}/` where that run is complete. Writes
results/{scale}/tables/table1_seeds.{csv,md}.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from optimer.params import load
from optimer.paths import PARAMS, SOURCES, Paths

ROOT = Path(__file__).resolve().parents[1]


def prepare(folder: Path) -> None:
    """A working directory that reads this checkout's params and sources."""
    for name in (PARAMS, SOURCES):
        link = folder / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(ROOT / name)


def run(scale: str, seed: int, folder: Path) -> int:
    """Exit status of Snakemake for one seed, up to Table 1 and the geometry of its vectors."""
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"),
        "--directory", str(folder), "--cores", "all", "--quiet", "rules", "--rerun-incomplete",
        "--config", f"scale={scale}", f"seed={seed}", "--",
        str(Paths(scale).table("table1")), str(Paths(scale).geometry),
    ]  # fmt: skip
    unlock = [*command[: command.index("--")], "--unlock"]
    if any((folder / ".snakemake" / "locks").glob("*")):
        subprocess.run(unlock, check=False, capture_output=True)
    return subprocess.run(command, check=False).returncode


def main() -> int:
    """Run all seeds, then gather their tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scale", default="tiny")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    arguments = parser.parse_args()
    own = Paths(arguments.scale)
    folders = []
    for seed in arguments.seeds:
        if seed == load(PARAMS, arguments.scale).seed and own.table("table1").exists():
            folders.append(str(own.results))
            continue
        folder = ROOT / own.work / "seeds" / str(seed)
        prepare(folder)
        print(f"--- seed {seed}: {folder.relative_to(ROOT)}", flush=True)
        if status := run(arguments.scale, seed, folder):
            return status
        folders.append(str(folder / own.results))
    gather = ["optimer", "report", "seeds", *folders, "--scale", arguments.scale]
    return subprocess.run(gather, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
