"""Command line: one word per phase, each calling one function of the package.

Exit codes: 0 done; 1 `optimer diff` found drift; 2 bad input or an error with a message;
130 interrupted (Ctrl-C); 143 terminated (SIGTERM). No user error ends in a traceback.
"""

from __future__ import annotations

import errno
import signal
import sys
from types import FrameType

import typer

from optimer.cli import benchmark, corpus, merge, plan, reoptimize, report, search, train, vectors
from optimer.cli.common import new_typer
from optimer.cli.diff import diff
from optimer.cli.params import params
from optimer.errors import OptimerError

app = new_typer("Choose the data mixture after training: distribution vectors and their search.")
# Phases with one job each are plain commands; the others are groups.
for name, module in (
    ("corpus", corpus),
    ("vectors", vectors),
    ("merge", merge),
    ("report", report),
):
    app.add_typer(module.app, name=name)
app.command()(train.train)
app.command()(search.search)
app.command()(reoptimize.reoptimize)
app.command()(benchmark.benchmark)
app.command()(params)
app.command()(plan.plan)
app.command()(diff)


def _stop(number: int, _frame: FrameType | None) -> None:
    """End on Ctrl-C or SIGTERM through SystemExit, so that `finally` blocks clean up."""
    word = "interrupted" if number == signal.SIGINT else "terminated"
    typer.echo(f"{word}: nothing half-written is kept; the same command continues", err=True)
    raise SystemExit(128 + number)


def main() -> None:
    """Entry point of the `optimer` command."""
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    try:
        app()
    except OptimerError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        typer.echo(
            f"error: {error.filename or 'a file'} could not be written ({error.strerror}). "
            "Free space and run the same command again; nothing incomplete is kept.",
            err=True,
        )
        sys.exit(2)
