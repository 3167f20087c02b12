"""`optimer merge`: merged models of table rows, on disk, and their check against mergekit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optimer.cli.common import (
    DEFAULT_PARAMS,
    ParamsOption,
    ScaleOption,
    SeedOption,
    load_job,
    new_typer,
)

app = new_typer("Write merged models, and check them against mergekit.")


@app.command()
def run(
    rows: Annotated[list[str], typer.Argument(help="Rows of Table 1: single_ja, ja_math_ties, …")],
    scale: ScaleOption = None,
    params_file: ParamsOption = DEFAULT_PARAMS,
    seed: SeedOption = None,
) -> None:
    """Write the merged model of each of ROWS, with its card, recipe and receipt."""
    params, paths = load_job(scale, params_file, seed)
    from optimer.merging.job import merge_rows

    merge_rows(params, paths, rows, typer.echo)


@app.command()
def parity(
    scale: ScaleOption = None,
    params_file: ParamsOption = DEFAULT_PARAMS,
    seed: SeedOption = None,
) -> None:
    """Merge every row's recipe with mergekit and compare it with the written model."""
    params, paths = load_job(scale, params_file, seed)
    from optimer.merging.job import parity_rows

    parity_rows(params, paths, typer.echo)
    typer.echo(str(paths.mergekit_parity))


@app.command()
def masked(
    row: Annotated[str, typer.Argument(help="Row of Table 1.")],
    out: Annotated[Path, typer.Argument(help="Folder to write to: one fp32 model per vector.")],
    scale: ScaleOption = None,
    params_file: ParamsOption = DEFAULT_PARAMS,
    seed: SeedOption = None,
) -> None:
    """Write ROW's masked models and a mergekit recipe on them that gives exactly its weights."""
    params, paths = load_job(scale, params_file, seed)
    from optimer.merging.job import export_row

    typer.echo(f"mergekit-yaml {export_row(params, paths, row, out)} OUT")
