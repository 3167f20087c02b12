"""`optimer search`: find merge weights of one combination."""

from __future__ import annotations

from typing import Annotated

import typer

from optimer.cli.common import DEFAULT_PARAMS, ParamsOption, ScaleOption, SeedOption, load_job


def search(
    combination: Annotated[str, typer.Argument(help="Combination: ja_math, …")],
    scale: ScaleOption = None,
    params_file: ParamsOption = DEFAULT_PARAMS,
    seed: SeedOption = None,
) -> None:
    """Search merge weights of COMBINATION; a killed search continues where it was."""
    params, paths = load_job(scale, params_file, seed)
    from optimer.search.job import search_combination

    found = search_combination(params, paths, combination, typer.echo)
    best = found.best
    weights = ", ".join(f"{name} {weight:.3f}" for name, weight in best.weights.items())
    again = f", re-ranked {best.rerank.objective:.2f}" if best.rerank else ""
    typer.echo(f"{combination}: best is trial {best.number + 1} ({weights}): "
               f"{best.outcome.objective:.2f}{again}")  # fmt: skip
    ratios = ", ".join(f"{name} {share:.3f}" for name, share in found.ratios.items())
    typer.echo(f"data mixture it implies: {ratios}")
    typer.echo(f"written: {paths.trials(combination)}, {paths.best(combination)}, "
               f"{paths.recipe(combination)}")  # fmt: skip
