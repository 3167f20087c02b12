"""`optimer reoptimize`: another objective from a finished search, without new trials."""

from __future__ import annotations

from typing import Annotated

import typer

from optimer.cli.common import DEFAULT_PARAMS, ParamsOption, ScaleOption, SeedOption, load_job


def reoptimize(
    combination: Annotated[
        str | None, typer.Argument(help="Combination whose search is finished: ja_math, …")
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            help="Tasks with weights: `gsm8k:2,ja_leaderboard_mgsm`; weight 1 if left out."
        ),
    ] = None,
    constraint: Annotated[
        list[str] | None, typer.Option(help="`task>=score` or `task<=score` in %; may be repeated.")
    ] = None,
    front: Annotated[
        bool, typer.Option("--front", help="Print the Pareto front of the trials over their tasks.")
    ] = False,
    verify: Annotated[
        int,
        typer.Option(min=0, max=100, help="Score this many proposed weights on the live model."),
    ] = 0,
    table2: Annotated[
        bool,
        typer.Option("--table2", help="The paper's Table 2, after `optimer search flexibility`."),
    ] = False,
    scale: ScaleOption = None,
    params_file: ParamsOption = DEFAULT_PARAMS,
    seed: SeedOption = None,
) -> None:
    """Weights for another objective, from the recorded trials of a finished search.

    Answered in seconds by the item response surface, without evaluating anything; with --verify N
    the N points it expects most of are scored on the live model first.
    """
    params, paths = load_job(scale, params_file, seed)
    if table2:
        from optimer.search.flexibility import table2 as run

        for row in run(params, paths, typer.echo):
            typer.echo(f"{row.label}: average {row.average:.2f} on the report split")
        typer.echo(f"written: {paths.table('table2')}, {paths.table('table2', 'md')}")
        return
    if combination is None or not (objective or front):
        raise typer.BadParameter("give a combination and --objective or --front, or --table2")
    from optimer.search import rejob

    if front:
        for line in rejob.front_lines(params, paths, combination):
            typer.echo(line)
    if objective:
        for line in rejob.answer_lines(
            params, paths, combination, objective, constraint or [], verify, typer.echo
        ):
            typer.echo(line)
