"""`optimer train`: continual pre-training of one model, or fetching a given one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optimer import experiment
from optimer.cli.common import (
    DEFAULT_PARAMS,
    ParamsOption,
    ScaleOption,
    SeedOption,
    load_job,
)
from optimer.paths import Paths
from optimer.schema import Params
from optimer.seeding import stream_seed


def train(
    model: Annotated[str, typer.Argument(help="Model of the pool: base, it, cpt_ja, …")],
    scale: ScaleOption = None,
    params_file: ParamsOption = DEFAULT_PARAMS,
    seed: SeedOption = None,
) -> None:
    """Leave MODEL trained (or fetched) with its receipt; a killed run continues where it was."""
    params, paths = load_job(scale, params_file, seed)
    chosen = experiment.model(params, model)
    initial = _initial_model(params, paths) if chosen.kind == "pretrain" else None
    from optimer.training import train as run

    receipt = run(params, paths, model, initial, report=typer.echo)
    typer.echo(f"{model}: complete, {paths.model(model)} ({len(receipt['files'])} files)")


def _initial_model(params: Params, paths: Paths) -> Path:
    """Random weights of the toy base; the same from the same params, so a resume may rebuild."""
    from optimer.world.model import build_toy_model

    assert params.world is not None  # kind `pretrain` exists only with a world
    folder = paths.training_state("base") / "initial"
    build_toy_model(
        paths.world / "tokenizer",
        folder,
        stream_seed(params.seed, "initial", "base"),
        **params.world.architecture.model_dump(),
    )
    return folder
