"""Options every command shares, and how they become params and paths."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optimer.params import load
from optimer.paths import PARAMS, Paths
from optimer.schema import Params

ScaleOption = Annotated[
    str | None, typer.Option(help="Scale to run; default: `scale` in params.yaml.")
]
ParamsOption = Annotated[Path, typer.Option("--params", help="Params file.")]
SeedOption = Annotated[int | None, typer.Option(help="Overrides `seed` of params.yaml.")]

DEFAULT_PARAMS = PARAMS


def load_job(scale: str | None, params_file: Path, seed: int | None) -> tuple[Params, Paths]:
    """Resolved params of one job and the paths of its scale. Raises ParamsError."""
    overrides = {} if seed is None else {"seed": seed}
    params = load(params_file, scale, overrides)
    return params, Paths(params.scale)


def new_typer(help_text: str) -> typer.Typer:
    """A command group with this project's habits: plain help, no rich tracebacks."""
    return typer.Typer(
        help=help_text,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
