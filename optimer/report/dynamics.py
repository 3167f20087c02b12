"""Figure 6: where the search went and how fast it got there (paper §5.4, Fig. 6)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import ceil
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from optimer.errors import ArtifactError
from optimer.experiment import search_pool
from optimer.paths import Paths
from optimer.report import style
from optimer.report.files import read_csv, write_csv
from optimer.report.weights import read_best
from optimer.schema import Params

NAME = "fig6_search"
SCORES = ["score", "best_so_far", "rerank_score"]


@dataclass(frozen=True)
class Trial:
    """One line of trials.csv; scores in %."""

    number: int
    batch: int
    phase: str
    weights: dict[str, float]
    score: float
    rerank_score: float | None


def read_trials(params: Params, paths: Paths, combination: str) -> list[Trial]:
    """Trials by number. Raises ArtifactError when the file is missing, empty or incomplete."""
    path = paths.trials(combination)
    _, lines = read_csv(path)
    try:
        trials = [
            Trial(
                int(line["number"]),
                int(line["batch"]),
                line["phase"],
                {name: float(line[f"w_{name}"]) for name in search_pool(params, combination)},
                float(line["score"]),
                float(line["rerank_score"]) if line.get("rerank_score") else None,
            )
            for line in lines
            if line.get("state") != "failed"  # it has no score
        ]
    except (KeyError, ValueError) as error:
        raise ArtifactError(
            f"{path}: not a trials table ({type(error).__name__}: {error}). "
            f"Run `optimer search {combination}` again."
        ) from None
    if not trials:
        raise ArtifactError(f"{path}: no trials in it. Run `optimer search {combination}` again.")
    return sorted(trials, key=lambda trial: trial.number)


def best_so_far(scores: list[float]) -> list[float]:
    """Running maximum."""
    return [max(scores[: i + 1]) for i in range(len(scores))]


def draw_dynamics(params: Params, paths: Paths) -> list[Path]:
    """Write fig6_search.{csv,svg} for report.figures_combination."""
    name = params.report.figures_combination
    trials = read_trials(params, paths, name)
    winner = read_best(params, paths)[name]
    vectors = list(search_pool(params, name))
    running = best_so_far([trial.score for trial in trials])
    table = write_csv(
        paths.figure(NAME, "csv"),
        ["trial", "batch", "phase", *(f"w_{v}" for v in vectors), *SCORES],
        (
            [t.number, t.batch, t.phase, *(f"{t.weights[v]:.6g}" for v in vectors)]
            + [None if x is None else f"{x:.4f}" for x in (t.score, top, t.rerank_score)]
            for t, top in zip(trials, running, strict=True)
        ),
    )
    pairs = list(combinations(vectors, 2))
    n_rows = ceil(len(pairs) / 3)
    with style.canvas(9.2, 2.9 * n_rows + 3.3) as figure:
        halves = figure.subfigures(2, 1, squeeze=False, height_ratios=[2.9 * n_rows, 3.3])
        upper, lower = halves.ravel()
        upper.suptitle(f"(a) weights tried, {winner.label}", x=0.01, ha="left", fontsize=10)
        grid = upper.subplots(n_rows, min(3, len(pairs)), squeeze=False).ravel()
        points = None
        for axes, (one, other) in zip(grid, pairs, strict=False):
            points = _weights(axes, params, trials, winner.weights, one, other)
        for axes in grid[len(pairs) :]:
            axes.set_visible(False)
        assert points is not None  # a search has at least two vectors
        upper.colorbar(points, ax=list(grid), label="score in %", pad=0.01)
        _progress(lower, trials, running, winner.trial)
        return [table, style.save(figure, paths.figure(NAME))]


def _weights(
    axes: Axes, params: Params, trials: list[Trial], best: dict[str, float], one: str, other: str
) -> PathCollection:
    order = sorted(trials, key=lambda trial: trial.score)  # the best ones on top
    points = axes.scatter(
        [trial.weights[one] for trial in order],
        [trial.weights[other] for trial in order],
        c=[trial.score for trial in order],
        cmap="viridis",
        s=22,
        linewidths=0,
    )
    axes.scatter(best[one], best[other], s=110, facecolors="none", edgecolors="#D00000")
    for vector, bounds in ((one, axes.set_xlim), (other, axes.set_ylim)):
        limits = params.search.bounds_it if vector == "it" else params.search.bounds_dataset
        room = 0.04 * (limits[1] - limits[0])
        bounds(limits[0] - room, limits[1] + room)
    axes.set_xlabel(f"α {style.label(params, one)}", color=style.color(params, one))
    axes.set_ylabel(f"α {style.label(params, other)}", color=style.color(params, other))
    return points


def _progress(
    figure: Figure | SubFigure, trials: list[Trial], running: list[float], winner: int
) -> None:
    axes = figure.subplots()
    numbers = [trial.number for trial in trials]
    points = axes.scatter(
        numbers, [t.score for t in trials], c=[t.batch for t in trials], cmap="cividis", s=26,
        label="trial", zorder=3,
    )  # fmt: skip
    early = [trial for trial in trials if trial.phase == "random"]
    if early:
        edge = max(trial.number for trial in early) + 0.5
        axes.axvspan(-0.5, edge, color="#EEEEEE", zorder=0, label="random start")
    reranked = [trial for trial in trials if trial.rerank_score is not None]
    axes.scatter(
        [t.number for t in reranked], [t.rerank_score or 0.0 for t in reranked], marker="_", s=140,
        color="#D00000", label="re-ranked on other items", zorder=4,
    )  # fmt: skip
    axes.step(numbers, running, where="post", color="black", linewidth=1.2, label="best so far")
    chosen = [trial for trial in trials if trial.number == winner]
    axes.scatter(
        [t.number for t in chosen], [t.score for t in chosen], s=130, facecolors="none",
        edgecolors="#D00000", label="winner", zorder=4,
    )  # fmt: skip
    axes.set_xlim(-0.5, max(numbers) + 0.5)
    spread = float(np.ptp([t.score for t in trials])) or 1.0
    axes.set_ylim(min(t.score for t in trials) - 0.08 * spread, None)
    axes.set_xlabel("trial")
    axes.set_ylabel("score in %")
    axes.set_title("(b) progress")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=5)
    figure.colorbar(points, ax=axes, label="batch", pad=0.01, ticks=MaxNLocator(integer=True))
