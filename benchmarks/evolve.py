"""mergekit-evolve in memory, if the one that is installed runs: seconds per evaluation, or why not.

Its genome is a dare_linear merge of the same models; `--in-memory` composes into a live Hugging
Face model and scores it with lm_eval.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from random_model import measure

EVALUATIONS = (2, 6)  # two runs: their difference leaves start-up out


def run_evolve(
    folder: Path, vectors: Sequence[str], task: str, n_items: int
) -> tuple[float | None, str]:
    """(seconds of one evaluation, or None; the last words of what broke)."""
    program = str(Path(sys.executable).parent / "mergekit-evolve")
    found = subprocess.run([program, "--help"], check=False, capture_output=True, text=True)
    if found.returncode:
        missing = [name for name in ("ray", "cma") if not _importable(name)]
        words = found.stderr.strip().splitlines()[-1]
        return None, f"`mergekit-evolve --help` fails: {words}" + (
            f" (not installed: {', '.join(missing)}, of the extra mergekit[evolve])"
            if missing
            else ""
        )
    genome = {
        "models": [str(folder / name) for name in vectors],
        "base_model": str(folder / "base"),
        "merge_method": "dare_linear",
        "layer_granularity": 0,
    }
    config = folder / "evolve.yaml"
    tasks = [{"name": task, "weight": 1.0, "metric": "acc,none"}]
    config.write_text(yaml.safe_dump({"genome": genome, "tasks": tasks, "limit": n_items}))
    seconds = []
    for n_evaluations in EVALUATIONS:
        command = [
            program, str(config), "--storage-path", str(folder / "evolve"), "--in-memory",
            "--no-vllm", "--strategy", "pool", "--num-gpus", "1", "--max-fevals",
            str(n_evaluations), "--force-population-size", "2", "--batch-size", "8",
            "--no-save-final-model", "--task-search-path", str(folder / "run"),
        ]  # fmt: skip
        try:
            seconds.append(measure(command, folder / "output.txt").wall)
        except SystemExit as error:
            return None, str(error).strip().splitlines()[-1]
    return (seconds[1] - seconds[0]) / (EVALUATIONS[1] - EVALUATIONS[0]), ""


def _importable(name: str) -> bool:
    command = [sys.executable, "-c", f"import {name}"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0
