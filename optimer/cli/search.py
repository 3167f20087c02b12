"""`optimer search`: find merge weights of one combination."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from optimer.cli.common import DEFAULT_PARAMS, ParamsOption, ScaleOption, SeedOption, load_job
from optimer.paths import Paths
from optimer.schema import Params

_RUN = "from optimer.cli.app import main; main()"


def search(
    combination: Annotated[str, typer.Argument(help="Combination: ja_math, …")],
    scale: ScaleOption = None,
    params_file: ParamsOption = DEFAULT_PARAMS,
    seed: SeedOption = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Workers on this node, each with its own engine and GPUs.")
    ] = 1,
    export: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the winner as a model; it is then scored on the report split, once."
        ),
    ] = None,
    as_worker: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Search merge weights of COMBINATION; a search that was stopped or killed continues.

    The same command on another node joins the search: the study is a journal file in work/ (on a
    filesystem that the nodes share), or in PostgreSQL if OPTIMER_STORAGE holds its URL. The trials
    are the same whatever the number of workers. To look at a study while it runs:
    `optuna-dashboard work/SCALE/search/COMBINATION/journal.log` (or the URL).
    """
    params, paths = load_job(scale, params_file, seed)
    if as_worker is not None:
        _work(params, paths, combination, export)
        return
    given = ["search", combination, "--scale", paths.scale, "--params", str(params_file)]
    if seed is not None:
        given += ["--seed", str(seed)]
    _supervise(params, paths, combination, workers, given, export)
    _show(paths, combination, export)


def _work(params: Params, paths: Paths, combination: str, export: Path | None) -> None:
    """One worker: ends with whoever started it, and quietly when it is told to."""
    from optimer.search.failures import EngineDied
    from optimer.search.job import search_combination
    from optimer.search.supervise import DIED, end_with_parent

    end_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    try:
        search_combination(params, paths, combination, typer.echo, export)
    except EngineDied as error:
        typer.echo(f"error: {error}")
        raise typer.Exit(DIED) from None


def _supervise(
    params: Params, paths: Paths, combination: str, n_workers: int, given: list[str],
    export: Path | None,
) -> None:  # fmt: skip
    from optimer.experiment import search_pool
    from optimer.search.devices import environments, visible
    from optimer.search.storage import VARIABLE
    from optimer.search.supervise import Supervisor

    search_pool(params, combination)  # an unknown one is known before anything starts
    vllm = params.search.backend == "vllm"
    per_worker = int(params.benchmark.engine.get("tensor_parallel_size", 1)) if vllm else 1

    def command(number: int) -> list[str]:
        model = ["--export", str(export)] if export is not None and number == 0 else []
        return [sys.executable, "-P", "-c", _RUN, *given, *model, "--as-worker", str(number)]

    Supervisor(
        command, environments(n_workers, per_worker, visible(os.environ), os.environ),
        paths.study(combination), os.environ.get(VARIABLE), params.search.trials, typer.echo,
    ).run(f"{combination}, {params.model.name}", live=sys.stdout.isatty())  # fmt: skip


def _show(paths: Paths, combination: str, export: Path | None) -> None:
    """The winner as weights, mixture and recipe."""
    import yaml

    best = yaml.safe_load(paths.best(combination).read_text())
    weights = ", ".join(f"{name} {weight:.3f}" for name, weight in best["weights"].items())
    again = best["rerank_score"]
    typer.echo(
        f"{combination}: best is trial {best['trial'] + 1} ({weights}): {best['search_score']:.2f}"
        + (f", re-ranked {again:.2f}" if again is not None else "")
    )
    if (optimism := best["optimism"]["expected"]) is not None:
        typer.echo(f"of that score, {optimism:.2f} points are expected to be luck of the draw")
    ratios = ", ".join(f"{name} {share:.3f}" for name, share in best["ratios"].items())
    typer.echo(f"data mixture it implies: {ratios}")
    if report := best.get("report"):
        interval = f" [{report['low']:.2f}, {report['high']:.2f}]" if report["low"] else ""
        typer.echo(f"on the report split: {report['score']:.2f}{interval}, {report['n']} items")
    typer.echo(f"written: {paths.trials(combination)}, {paths.best(combination)}, "
               f"{paths.recipe(combination)}{f', {export}' if export else ''}")  # fmt: skip
