"""One final model to disk: mergekit-yaml against optimer, on a random-weight Qwen3 of 0.6B.

Run from the repository root (12 GB of disk in --folder, 8 GB of memory):

    OMP_NUM_THREADS=2 python benchmarks/final_merge.py

Base and three checkpoints are made on the fly in bf16, vectors extracted once. Both tools are
byte-compiled and read warm files; every merge runs in a fresh process, the two in turns, and the
best of --rounds counts. Imports are listed apart and taken off. Where no random mask is drawn
(mergekit's masks are its own) both models are compared element by element. Last line: the worst
method's {"speedup_vs_mergekit": wall seconds, "peak_memory_ratio": ours to theirs}.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import yaml
from random_model import VECTORS, WEIGHTS, Cost, make_apart, measure

MERGE_METHODS = (("task_arithmetic", 1.0), ("dare_linear", 0.9), ("ties", 1.0), ("ties", 0.5))

OURS = """
import sys
from pathlib import Path
from optimer.merging.pool import Pool
from optimer.merging.write import write_merged
folder, method, density = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
vectors = {n: folder / "vectors" / n for n in sys.argv[4].split(",")}
pool = Pool.open(folder / "base", vectors, method, density)
write_merged(pool, [float(w) for w in sys.argv[5].split(",")], folder / "ours", folder / "base")
"""

COMPARE = """
import sys
from pathlib import Path
from optimer.merging.parity import compare
from optimer.tensors import TensorStore
ours, theirs = (TensorStore.open(Path(sys.argv[1]) / name) for name in ("ours", "theirs"))
found = compare(((name, ours.read(name)) for name in ours.names()), theirs)
print(f"{found.share_different:.4%} differ, by {found.max_ulp} ulp at most")
"""


def recipe(folder: Path, method: str, density: float) -> Path:
    """The same merge for mergekit-yaml: fp32 arithmetic, bf16 result, embeddings from the base."""
    models = [
        {
            "model": str(folder / name),
            "parameters": {
                "weight": [{"filter": "embed_tokens", "value": 0.0}, {"value": weight}],
                "density": density,
            },
        }
        for name, weight in zip(VECTORS, WEIGHTS, strict=True)
    ]
    document = {
        "merge_method": method, "base_model": str(folder / "base"), "dtype": "float32",
        "out_dtype": "bfloat16", "models": models,
    }  # fmt: skip
    file = folder / f"{method}.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


def difference(folder: Path) -> str:
    """How far the two written models are apart.

    In a process of its own: what this one maps would count in the peak of those it starts.
    """
    done = subprocess.run(
        [sys.executable, "-c", COMPARE, str(folder)], check=True, capture_output=True, text=True
    )
    return done.stdout.strip().splitlines()[-1]


def less(cost: Cost, imports: Cost) -> tuple[float, float]:
    return cost.wall - imports.wall, cost.cpu - imports.cpu


def run(folder: Path, n_rounds: int, methods: list[str]) -> dict[str, float]:
    mergekit = shutil.which("mergekit-yaml", path=str(Path(sys.executable).parent))
    assert mergekit is not None
    log = folder / "output.txt"
    python = sys.executable
    imports: dict[str, Cost] = {}
    for name, module in (
        ("mergekit", "mergekit.scripts.run_yaml"), ("optimer", "optimer.merging.write"),
    ):  # fmt: skip
        costs = [measure([python, "-c", f"import {module}"], log) for _ in range(3)]
        imports[name] = min(costs, key=lambda cost: cost.wall)
        print(f"import {name}: {imports[name].wall:.1f} s, {imports[name].cpu:.1f} CPU s")
    print(
        f"{'method':16}{'density':>8}{'mergekit: s':>13}{'CPU s':>7}{'GB':>6}{'ours: s':>10}"
        f"{'CPU s':>7}{'GB':>6}{'faster':>8}{'CPU':>6}  weights"
    )
    speedups, memory = [], []
    for method, density in MERGE_METHODS:
        if methods and method not in methods:
            continue
        theirs, ours = [], []
        for _ in range(n_rounds):
            for out in ("ours", "theirs"):
                shutil.rmtree(folder / out, ignore_errors=True)
            theirs.append(measure([
                mergekit, str(recipe(folder, method, density)), str(folder / "theirs"),
                "--no-write-model-card", "--quiet", "--random-seed", "0",
            ], log))  # fmt: skip
            ours.append(measure([
                python, "-c", OURS, str(folder), method, str(density), ",".join(VECTORS),
                ",".join(map(str, WEIGHTS)),
            ], log))  # fmt: skip
        a, b = (min(costs, key=lambda cost: cost.wall) for costs in (theirs, ours))
        (wall, cpu), (wall_ours, cpu_ours) = (
            less(a, imports["mergekit"]),
            less(b, imports["optimer"]),
        )
        speedups.append(wall / wall_ours)
        memory.append(b.peak_gb / a.peak_gb)
        masked = method.startswith("dare") and density < 1
        print(
            f"{method:16}{density:8}{wall:13.1f}{cpu:7.1f}{a.peak_gb:6.1f}{wall_ours:10.1f}"
            f"{cpu_ours:7.1f}{b.peak_gb:6.1f}{wall / wall_ours:8.1f}{cpu / cpu_ours:6.1f}  "
            + ("masks differ" if masked else difference(folder)),
            flush=True,
        )
    return {
        "speedup_vs_mergekit": round(min(speedups), 2),
        "peak_memory_ratio": round(max(memory), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=None, help="scratch space")
    parser.add_argument("--made", type=Path, help="a folder filled by random_model.py")
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--methods", nargs="*", default=[], help="only these")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="cpu: both write")
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    if options.made is not None:
        print(json.dumps(run(options.made, options.rounds, options.methods)))
        return
    folder = Path(tempfile.mkdtemp(prefix="optimer-benchmark-", dir=options.folder))
    try:
        print(make_apart(folder / "models", options.layers))
        print(json.dumps(run(folder / "models", options.rounds, options.methods)))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
