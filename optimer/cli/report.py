"""`optimer report`: tables and figures from result files."""

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

app = new_typer("Phase report: tables and figures, from result files only.")

# The names of optimer.report.figures.FIGURES, repeated because importing it loads matplotlib;
# a test keeps the two equal.
FIGURES = {
    "fig3_cosine": "Figure 3: cosines and norms of the distribution vectors.",
    "fig4_pca": "Figure 4: principal components, merge weights.",
    "fig5_trajectory": "Figure 5: path of one CPT vector during training.",
    "fig6_search": "Figure 6: weights tried by one search, and its progress.",
    "fig8_layers": "Figure 8: cosines layer by layer.",
}


def _say(written: list[Path]) -> None:
    for path in written:
        typer.echo(f"wrote {path}")


@app.command()
def table1(
    scale: ScaleOption = None,
    params_file: ParamsOption = DEFAULT_PARAMS,
    seed: SeedOption = None,
) -> None:
    """Table 1, the paper's beside it, metrics.json."""
    params, paths = load_job(scale, params_file, seed)
    from optimer.report.metrics import write_metrics
    from optimer.report.paper import write_table1_vs_paper
    from optimer.report.table1 import write_table1

    written = write_table1(params, paths)
    written += [*write_table1_vs_paper(params, paths), write_metrics(params, paths)]
    typer.echo(paths.table("table1", "md").read_text())
    _say(written)


@app.command()
def weights(
    scale: ScaleOption = None,
    params_file: ParamsOption = DEFAULT_PARAMS,
    seed: SeedOption = None,
) -> None:
    """Merge weights found, implied data ratios."""
    params, paths = load_job(scale, params_file, seed)
    from optimer.report.weights import write_weights

    _say(write_weights(params, paths))


@app.command()
def seeds(
    folders: Annotated[list[Path], typer.Argument(help="Result folders, one per seed.")],
    scale: ScaleOption = None,
    params_file: ParamsOption = DEFAULT_PARAMS,
) -> None:
    """Table 1 over the runs of several seeds."""
    params, paths = load_job(scale, params_file, None)
    from optimer.report.seeds import write_seeds

    _say(write_seeds(params, paths, folders))


@app.command()
def figures(
    scale: ScaleOption = None,
    params_file: ParamsOption = DEFAULT_PARAMS,
    seed: SeedOption = None,
) -> None:
    """All figures."""
    params, paths = load_job(scale, params_file, seed)
    from optimer.report.figures import FIGURES as drawers

    for draw in drawers.values():
        _say(draw(params, paths))


def _figure_command(name: str, text: str) -> None:
    @app.command(name, help=text)
    def draw(
        scale: ScaleOption = None,
        params_file: ParamsOption = DEFAULT_PARAMS,
        seed: SeedOption = None,
    ) -> None:
        params, paths = load_job(scale, params_file, seed)
        from optimer.report.figures import FIGURES as drawers

        _say(drawers[name](params, paths))


for _name, _text in FIGURES.items():
    _figure_command(_name, _text)


@app.command()
def readme(
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether it is in step (exit code 1 if not).")
    ] = False,
    file: Annotated[Path, typer.Option(help="Page with the markers.")] = Path("README.md"),
) -> None:
    """Put Table 1 of scale tiny into README.md."""
    from optimer.paths import Paths
    from optimer.report.readme import update_readme

    in_step = update_readme(file, Paths("tiny"), check=check)
    if check and not in_step:
        typer.echo(f"{file}: the result table is stale; run `optimer report readme`", err=True)
        raise typer.Exit(1)
    typer.echo(f"{file}: in step" if in_step else f"wrote {file}")
