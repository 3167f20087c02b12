"""What a person sees of a running search, read from the study itself.

So it shows the trials of every worker on every node, whoever started them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from optimer.search.study import ATTEMPT, FAILURE, OUTCOME, incumbent

_RECENT = 16  # trials that the pace is taken from


@dataclass(frozen=True)
class Snapshot:
    """Where a study is; times in seconds, scores in percent."""

    total: int
    complete: int = 0
    stopped: int = 0
    failed: int = 0
    running: int = 0
    best: tuple[int, float] | None = None
    """Number and score of the best trial."""
    weights: dict[str, float] | None = None
    """Of the best trial."""
    seconds_compose: float = 0.0
    seconds_score: float = 0.0
    """Means over the last trials."""
    seconds_left: float | None = None

    @property
    def done(self) -> int:
        return self.complete + self.stopped + self.failed


def snapshot(trials: Sequence[FrozenTrial], total: int, n_workers: int) -> Snapshot:
    """Where a study of `total` trials is, and how long `n_workers` still need."""
    outcomes = [
        trial.user_attrs[OUTCOME]
        for trial in trials
        if trial.state == TrialState.COMPLETE and OUTCOME in trial.user_attrs
    ]
    stopped = sum(bool(outcome.get("stopped")) for outcome in outcomes)
    failed = sum(bool(trial.user_attrs.get(FAILURE)) for trial in trials)
    running = sum(
        not trial.state.is_finished()
        and not trial.user_attrs.get(FAILURE)
        and any(
            key.startswith(ATTEMPT) and value == "begun" for key, value in trial.user_attrs.items()
        )
        for trial in trials
    )
    best = incumbent(trials)
    recent = outcomes[-_RECENT:]
    compose = fmean(item["seconds_compose"] for item in recent) if recent else 0.0
    score = fmean(item["seconds_score"] for item in recent) if recent else 0.0
    remaining = total - len(outcomes) - failed
    return Snapshot(
        total=total,
        complete=len(outcomes) - stopped,
        stopped=stopped,
        failed=failed,
        running=running,
        best=best,
        weights=dict(trials[best[0]].params) if best else None,
        seconds_compose=compose,
        seconds_score=score,
        seconds_left=remaining * (compose + score) / max(n_workers, 1) if recent else None,
    )


def clock(seconds: float | None) -> str:
    """`1 h 05 min`, `3 min 20 s`, `12 s`, or `?`."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def counts(now: Snapshot) -> str:
    """`24/100 done, 2 running, 3 stopped, 1 failed`."""
    parts = [f"{now.done}/{now.total} done", f"{now.running} running"]
    parts += [f"{n} {word}" for n, word in ((now.stopped, "stopped"), (now.failed, "failed")) if n]
    return ", ".join(parts)


def line(now: Snapshot) -> str:
    """One line for logs."""
    best = f"best {now.best[1]:.2f} (trial {now.best[0] + 1}), " if now.best else ""
    pace = (
        f"{now.seconds_compose + now.seconds_score:.2f} s a trial "
        f"(compose {now.seconds_compose:.2f}, score {now.seconds_score:.2f})"
    )
    return f"{counts(now)}; {best}{pace}, {clock(now.seconds_left)} left"


def panel(now: Snapshot, title: str, n_workers: int) -> Any:
    """The live display, a rich renderable."""
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    table.add_row("trials", counts(now))
    table.add_row("", ProgressBar(total=now.total, completed=now.done, width=50))
    if now.best and now.weights:
        table.add_row("best so far", f"[bold]{now.best[1]:.2f}[/bold]  trial {now.best[0] + 1}")
        table.add_row("", "  ".join(f"{name} {value:.3f}" for name, value in now.weights.items()))
    table.add_row(
        "a trial",
        f"{now.seconds_compose + now.seconds_score:.2f} s = compose {now.seconds_compose:.2f} s "
        f"+ score {now.seconds_score:.2f} s",
    )
    table.add_row("left", f"{clock(now.seconds_left)} with {n_workers} worker(s)")
    return Panel(table, title=title, title_align="left", expand=False)
