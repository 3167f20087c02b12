"""Pareto fronts: points that no other beats in every objective. All objectives are maximised.

From recorded trials without new evaluations, or live with NSGA-II or MO-TPE, one objective a task
group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from optimer.errors import SearchError
from optimer.schema.search import SearchParams

Bounds = Mapping[str, tuple[float, float]]
Groups = Mapping[str, Sequence[str]]
"""{objective: tasks whose unweighted mean it is}."""


def front(scores: np.ndarray) -> list[int]:
    """Rows of [n, k] scores that no other row dominates, best first objective first.

    A row dominates another if it is at least as good everywhere and better somewhere; of equal
    rows all stay.
    """
    scores = np.asarray(scores, float)
    if scores.ndim != 2 or not len(scores) or not np.isfinite(scores).all():
        raise SearchError(f"a Pareto front needs finite scores [n, k], got shape {scores.shape}")
    ge = (scores[:, None] >= scores[None]).all(-1)
    gt = (scores[:, None] > scores[None]).any(-1)
    kept = np.flatnonzero(~(ge & gt).any(0))
    return sorted(kept.tolist(), key=lambda row: (*(-scores[row]), row))


def hypervolume(scores: np.ndarray, reference: Sequence[float]) -> float:
    """Volume between `reference` and the front of [n, k] scores; exact, for small fronts."""
    points = np.asarray(scores, float) - np.asarray(reference, float)
    points = points[(points > 0).all(1)]
    return _volume(points) if len(points) else 0.0


def _volume(points: np.ndarray) -> float:
    """By slices of the last objective."""
    if points.shape[1] == 1:
        return float(points.max())
    order = np.argsort(-points[:, -1], kind="stable")
    heights = np.append(points[order, -1], 0.0)
    total = 0.0
    for n in range(1, len(order) + 1):
        thickness = heights[n - 1] - heights[n]
        if thickness > 0:
            total += thickness * _volume(points[order[:n], :-1])
    return total


def group_scores(tasks: Mapping[str, float], groups: Groups) -> list[float]:
    """One number per group. Raises SearchError for a task that was not scored."""
    unknown = [task for members in groups.values() for task in members if task not in tasks]
    if unknown:
        raise SearchError(
            f"task {unknown[0]} was not scored; scored: {', '.join(tasks)}. Choose groups of these"
        )
    return [sum(tasks[task] for task in members) / len(members) for members in groups.values()]


@dataclass(frozen=True)
class Point:
    """One point of a front."""

    number: int
    weights: dict[str, float]
    scores: dict[str, float]
    """By objective, in percent."""


def live_front(
    bounds: Bounds,
    score: Callable[[Mapping[str, float]], Mapping[str, float]],
    groups: Groups,
    settings: SearchParams,
    seed: int = 0,
    name: str = "front",
    journal: Path | None = None,
) -> list[Point]:
    """Front of a study with one objective per group, `settings.trials` trials of nsga2 or motpe.

    `score(weights)` gives {task: percent}. With `journal` a killed study continues; one process
    only. Raises SearchError for another sampler or a score that is not finite.
    """
    import optuna
    from optuna.distributions import BaseDistribution, FloatDistribution
    from optuna.study import StudyDirection
    from optuna.trial import TrialState

    from optimer.search.samplers import MULTI_OBJECTIVE, make
    from optimer.search.storage import open_storage

    if settings.sampler not in MULTI_OBJECTIVE:
        raise SearchError(
            f"a Pareto front needs sampler {' or '.join(MULTI_OBJECTIVE)}, got {settings.sampler}"
        )
    space: dict[str, BaseDistribution] = {
        key: FloatDistribution(low, high) for key, (low, high) in bounds.items()
    }
    with open_storage(journal) as storage:
        study = optuna.create_study(
            storage=storage.optuna, study_name=name, load_if_exists=True,
            directions=[StudyDirection.MAXIMIZE] * len(groups),
            sampler=make(settings, seed, name, bounds),
        )  # fmt: skip
        for first in range(0, settings.trials, settings.batch):
            last = min(first + settings.batch, settings.trials)
            while len(study.get_trials(deepcopy=False)) < last:
                study.ask(fixed_distributions=space)
            for trial in study.get_trials(deepcopy=False)[first:last]:
                if trial.state.is_finished():
                    continue
                values = group_scores(score(dict(trial.params)), groups)
                if np.isfinite(values).all():
                    study.tell(trial.number, values)
                else:
                    study.tell(trial.number, state=TrialState.FAIL)
        trials = study.get_trials(deepcopy=False)
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if not done:
        raise SearchError("no trial of the Pareto study gave finite scores; check the vectors")
    rows = np.array([trial.values for trial in done])
    return [
        Point(
            done[row].number,
            dict(done[row].params),
            dict(zip(groups, rows[row].tolist(), strict=True)),
        )
        for row in front(rows)
    ]
