"""Resumable checkpoints of one run, in `work/`: whole or not there.

DeepSpeed writes them with torch.save (pickle) and reads them back with `weights_only=False`; its
API offers no other way. They are this run's own live state: written and read by this module only,
never an artifact, never taken from elsewhere, deleted when the run is complete.

A checkpoint `step_000200/` counts once its `complete.json` exists, which is written last, after
all processes are done, and lists every file with its size.
"""

from __future__ import annotations

import fcntl
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optimer import receipts
from optimer.errors import TrainingError

MARKER = "complete.json"
_KEPT = 2
_STEP = re.compile(r"step_(\d{6,})")
_RUN = re.compile(r"[0-9a-f]{16}")


def step_name(step: int) -> str:
    """Folder name of step `step`: `step_000100`."""
    return f"step_{step:06d}"


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the lock of one model's training; it goes away with the process, however it ends.

    Raises TrainingError when another process is training the same model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise TrainingError(
                f"{folder}: another process is training {folder.name} right now. "
                "Wait for it or stop it, then run the same command again."
            ) from None
        yield


def drop_other_runs(state: Path) -> list[str]:
    """Delete the state of runs with another fingerprint (changed params); returns their names."""
    others = [
        item for item in state.parent.glob("*")
        if item.is_dir() and _RUN.fullmatch(item.name) and item.name != state.name
    ]  # fmt: skip
    for item in others:
        shutil.rmtree(item, ignore_errors=True)
    return [item.name for item in others]


def complete_steps(state: Path) -> list[int]:
    """Steps with a complete checkpoint, oldest first."""
    found = []
    for folder in state.glob("step_*"):
        match = _STEP.fullmatch(folder.name)
        if match and _is_complete(folder):
            found.append(int(match[1]))
    return sorted(found)


def _is_complete(folder: Path) -> bool:
    try:
        sizes = json.loads((folder / MARKER).read_text())["files"]
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError):
        return False


def drop_incomplete(state: Path) -> None:
    """Delete what a kill left half-written."""
    complete = {step_name(step) for step in complete_steps(state)}
    for folder in state.glob("step_*"):
        if folder.name not in complete:
            shutil.rmtree(folder, ignore_errors=True)


def save(engine: Any, state: Path, step: int) -> None:
    """Write the checkpoint of `step` with all processes, mark it complete, keep the last two.

    Raises TrainingError when the disk refuses; older checkpoints stay.
    """
    import torch.distributed as dist

    folder = state / step_name(step)
    try:
        engine.save_checkpoint(str(state), tag=folder.name, save_latest=False)
    except (OSError, RuntimeError) as error:
        raise TrainingError(
            f"{folder}: the resumable checkpoint could not be written ({error}). Older ones are "
            "kept: free disk space and run the same command again."
        ) from error
    dist.barrier()  # every process has written its part
    if dist.get_rank() == 0:
        sizes = {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
        receipts.write(folder / MARKER, {"step": step, "files": sizes})
        for old in complete_steps(state)[:-_KEPT]:
            shutil.rmtree(state / step_name(old), ignore_errors=True)


def load(engine: Any, state: Path, step: int) -> None:
    """Put engine and optimizer back to where they were after `step`."""
    folder, _ = engine.load_checkpoint(str(state), tag=step_name(step))
    if folder is None:
        raise TrainingError(
            f"{state / step_name(step)}: DeepSpeed could not read its checkpoint. "
            "Delete that folder and run the same command again: it resumes from the one before."
        )
