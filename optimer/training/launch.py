"""One run over several processes: PyTorch's launcher around `optimer.training.worker`.

The rendezvous asks the system for a free port, so runs go side by side on one machine. All
processes end with this one, however it ends.
https://docs.pytorch.org/docs/stable/elastic/run.html
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from optimer import receipts
from optimer.errors import TrainingError
from optimer.training.job import Job

REQUEST = "job.json"
FACTS = "facts.json"
ERROR = "error.txt"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies, even by kill -9."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def launch(job: Job, initial: Path | None) -> dict[str, Any]:
    """Train `job` with `settings.devices` processes; returns the facts of rank 0.

    Raises TrainingError with the first process's message when one fails.
    """
    facts, error = job.state / FACTS, job.state / ERROR
    for file in (facts, error):
        file.unlink(missing_ok=True)
    request = {
        "params": job.params.model_dump(mode="json"),
        "model": job.model.name,
        "initial": str(initial) if initial else None,
        "fingerprint": job.fingerprint,
    }
    receipts.write(job.state / REQUEST, request)
    command = [
        sys.executable, "-m", "optimer.training.launch", "--nnodes=1",
        f"--nproc_per_node={job.settings.devices}", "--rdzv-backend=c10d",
        "--rdzv-endpoint=localhost:0", "-m", "optimer.training.worker", str(job.state / REQUEST),
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    with subprocess.Popen(command, env=environment) as process:
        try:
            code = process.wait()
        finally:
            if process.poll() is None:  # Ctrl-C or SIGTERM here: take the workers along
                process.terminate()
                process.wait()
    if code != 0:
        said = error.read_text().strip() if error.exists() else ""
        raise TrainingError(
            said
            or f"{job.model.name}: the training processes ended with exit code {code}; their "
            f"output is above. The last complete checkpoint is kept in {job.state}: run the same "
            "command again to continue."
        )
    return json.loads(facts.read_text())


def main() -> None:
    """PyTorch's launcher, ending with the process that started it."""
    die_with_parent()
    from torch.distributed.run import main as run

    run(sys.argv[1:])


if __name__ == "__main__":
    main()
