"""`optimer diff A B`: compare two result folders table by table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_TOLERANCES = Path("results/tolerances.yaml")


def diff(
    a: Annotated[
        Path, typer.Argument(metavar="A", help="Reference: a result folder or its tables folder.")
    ],
    b: Annotated[Path, typer.Argument(metavar="B", help="Folder compared with it.")],
    exact: Annotated[
        bool, typer.Option("--exact", help="Same machine: every number must be equal.")
    ] = False,
    tolerances: Annotated[Path, typer.Option(help="Bands per file and column.")] = _TOLERANCES,
    limit: Annotated[int, typer.Option(min=1, help="Cells printed per file.")] = 30,
    out: Annotated[Path | None, typer.Option(help="Write the page to this file too.")] = None,
) -> None:
    """Compare result folder B with A; exit code 1 on drift, missing rows or missing tables."""
    from optimer.receipts import write_atomic
    from optimer.report.diff import compare_folders, render
    from optimer.report.tolerances import read_rules

    found = compare_folders(a, b, read_rules(tolerances), exact)
    page = render(found, limit)
    typer.echo(page)
    if out is not None:
        write_atomic(out, page)
    if not found.same:
        raise typer.Exit(1)
