"""`optimer params`: the resolved params of a scale and where each value comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import yaml

from optimer.cli.common import DEFAULT_PARAMS, ParamsOption, ScaleOption, SeedOption, load_job
from optimer.params import provenance
from optimer.receipts import write_atomic
from optimer.schema.document import markdown


def params(
    scale: ScaleOption = None,
    params_file: ParamsOption = DEFAULT_PARAMS,
    seed: SeedOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the resolved params to this YAML file instead.")
    ] = None,
    docs: Annotated[
        bool, typer.Option("--docs", help="Print docs/params.md: every key, bounds and meaning.")
    ] = False,
) -> None:
    """Show the resolved params of a scale and where each value comes from."""
    if docs:
        typer.echo(markdown(), nl=False)
        return
    resolved, _ = load_job(scale, params_file, seed)
    if out is not None:
        text = yaml.safe_dump(resolved.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        write_atomic(
            out, f"# Resolved params of scale {resolved.scale}; written by the run.\n{text}"
        )
        return
    for key, value, origin in provenance(params_file, resolved.scale):
        if key in ("scale", "seed"):
            value = getattr(resolved, key)
        typer.echo(f"{key:<44} {value!s:<60} {origin}")
