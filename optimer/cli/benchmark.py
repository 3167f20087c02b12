"""`optimer benchmark`: score rows of Table 1."""

from __future__ import annotations

from typing import Annotated

import typer

from optimer.cli.common import DEFAULT_PARAMS, ParamsOption, ScaleOption, SeedOption, load_job


def benchmark(
    rows: Annotated[list[str], typer.Argument(help="Rows: base_pt, single_ja, ja_math_optimer, …")],
    scale: ScaleOption = None,
    params_file: ParamsOption = DEFAULT_PARAMS,
    seed: SeedOption = None,
) -> None:
    """Score ROWS on every benchmark, several in one process to share start-up."""
    params, paths = load_job(scale, params_file, seed)
    from optimer.evaluation.rows import score_rows

    score_rows(params, paths, rows, typer.echo)
