"""`optimer plan`: jobs, tokens, device-hours, disk and memory of a scale, before it runs."""

from __future__ import annotations

import typer

from optimer import planning
from optimer.cli.common import DEFAULT_PARAMS, ParamsOption, ScaleOption, SeedOption, load_job


def plan(
    scale: ScaleOption = None,
    params_file: ParamsOption = DEFAULT_PARAMS,
    seed: SeedOption = None,
) -> None:
    """Show what a scale will need, from a stated cost model."""
    params, _ = load_job(scale, params_file, seed)
    typer.echo(planning.render(params, planning.plan(params)))
