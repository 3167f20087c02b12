"""Which GPUs and how many threads each worker of a node gets; nothing here loads torch."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping

from optimer.errors import SearchError


def visible(environ: Mapping[str, str]) -> list[str]:
    """GPUs of this node that its processes may use: CUDA_VISIBLE_DEVICES, else all there are."""
    if (given := environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [part.strip() for part in given.split(",") if part.strip() not in ("", "-1")]
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    found = subprocess.run(  # noqa: PLW1510 (a driver that is not there is no error)
        [tool, "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True
    )
    return found.stdout.split() if found.returncode == 0 else []


def environments(
    n_workers: int, per_worker: int, gpus: list[str], environ: Mapping[str, str]
) -> list[dict[str, str]]:
    """The environment of each worker: `per_worker` GPUs of its own, its share of the threads.

    Raises SearchError when there are GPUs, but not enough for all.
    """
    if gpus and n_workers * per_worker > len(gpus):
        raise SearchError(
            f"--workers {n_workers}: each takes {per_worker} GPU(s), {len(gpus)} are visible; "
            f"start at most {len(gpus) // per_worker} here, and more on other nodes"
        )
    threads = max(1, (os.cpu_count() or 1) // n_workers)
    made = []
    for number in range(n_workers):
        own = {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": str(threads), **environ}
        if gpus:
            first = number * per_worker
            own["CUDA_VISIBLE_DEVICES"] = ",".join(gpus[first : first + per_worker])
        made.append(own)
    return made
