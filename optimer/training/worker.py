"""One process of a run over several: `python -m optimer.training.worker STATE/job.json`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from optimer import receipts
from optimer.errors import OptimerError, TrainingError
from optimer.paths import Paths
from optimer.schema import Params
from optimer.training.job import prepare
from optimer.training.launch import ERROR, FACTS, die_with_parent


def main(request_file: Path) -> int:
    """Train with the other processes of the group; returns the exit code."""
    die_with_parent()  # the launcher; nothing of a dead run goes on writing
    started = time.monotonic()
    request = receipts.read(request_file)
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    try:
        params = Params.model_validate(request["params"])
        initial = Path(request["initial"]) if request["initial"] else None
        job = prepare(params, Paths(params.scale), request["model"], initial)
        if job.fingerprint != request["fingerprint"]:
            raise TrainingError(
                f"{job.model.name}: data or parent changed while the run started. "
                "Run the same command again."
            )
        from optimer.training.loop import run

        facts = run(job, rank, world, _report if rank == 0 else _silent, started)
    except OptimerError as error:
        if rank == 0 or not (request_file.parent / ERROR).exists():
            receipts.write_atomic(request_file.parent / ERROR, str(error))
        return 2
    if rank == 0:
        receipts.write(request_file.parent / FACTS, facts)
    return 0


def _report(line: str) -> None:
    print(line, flush=True)


def _silent(_line: str) -> None:
    return None


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
