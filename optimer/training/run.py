"""Train, or fetch, one model of the pool: the function behind `optimer train MODEL`."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optimer import experiment, receipts
from optimer.paths import Paths
from optimer.schema import Params
from optimer.training import state
from optimer.training.job import VERSIONED, Job, prepare


def train(
    params: Params,
    paths: Paths,
    model_name: str,
    initial: Path | None = None,
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Leave `model_name` complete at its paths; returns its receipt.

    Models that are given are fetched from the Hub (or copied from a folder); the others are
    trained from their parent, resuming where a killed run stopped. `initial` is the folder of
    random weights that the toy base model starts from.
    Raises ParamsError, ArtifactError or TrainingError with a way out.
    """
    started = time.monotonic()
    model = experiment.model(params, model_name)
    with state.exclusive(paths.training_state(model_name)):
        if not model.trained:
            from optimer.training.fetch import fetch

            return fetch(params, paths, model_name, report)
        from optimer.training.checks import check

        job = prepare(params, paths, model_name, initial)
        check(job, report)
        paths.model_receipt(model_name).unlink(missing_ok=True)  # it is about to be replaced
        if state.drop_other_runs(job.state):
            report(f"{model_name}: params, data or parent changed, so training starts anew")
        job.state.mkdir(parents=True, exist_ok=True)
        if job.settings.devices == 1:
            from optimer.training.loop import run

            facts = run(job, 0, 1, report, started)
        else:
            from optimer.training.launch import launch

            facts = launch(job, initial)
        return finish(job, facts)


def finish(job: Job, facts: dict[str, Any]) -> dict[str, Any]:
    """Put log and trajectory in place, write the receipt, drop the state; returns the receipt."""
    from optimer.training.loop import LOG, TRAJECTORY

    name = job.model.name
    trajectory = job.paths.trajectory(name)
    receipts.write_atomic(job.paths.training_log(name), (job.state / LOG).read_bytes())
    shutil.rmtree(trajectory, ignore_errors=True)
    kept: dict[str, str] = {}
    if job.keeps_trajectory:
        from optimer.tensors import atomic_folder

        with atomic_folder(trajectory) as partial:  # the state keeps its own until all is done
            shutil.copytree(
                job.state / TRAJECTORY, partial, copy_function=_link, dirs_exist_ok=True
            )
        kept = receipts.hash_files(trajectory.rglob("*.safetensors"), trajectory)
    receipt = {
        "model": name,
        "kind": job.model.kind,
        "datasets": list(job.model.datasets),
        "trajectory": kept,
        "dtype": job.params.model.dtype,
        "steps": job.n_steps,
        "tokens": job.n_steps * job.tokens_per_step,
        "sequences_dropped": job.n_dropped,
        "settings": job.settings.model_dump(mode="json"),
        "seed": job.params.seed,
        "training_seed": job.seed,
        "fingerprint": job.fingerprint,
        "mixture": receipts.sha256(job.paths.mixture(name)),
        "parent": {"name": job.model.parent, "sha256": job.parent_sha},
        "versions": receipts.versions(*VERSIONED),
        **facts,
    }
    receipts.write(job.paths.model_receipt(name), receipt)
    shutil.rmtree(job.state, ignore_errors=True)
    return receipt


def _link(source: str, target: str) -> None:
    """A second name for a file instead of a second copy, where the file system allows it."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
