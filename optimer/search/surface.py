"""The item response surface: what every item would answer at merge weights not yet tried.

With items and masks fixed, a choice's log-likelihood is a nearly smooth function of the weights,
where right and wrong jump. One Gaussian process kernel serves all items (`gaussian`); the score is
read from the items' posteriors: score(w) = mean_i P(item i is right at w). Precedent: composite
Bayesian optimisation (arXiv 1906.01537).

A task is modelled by what its records allow:
* margin: choices scored by plain log-likelihood. Output: ℓ_gold − max ℓ_other, P = Φ(μ/σ).
* reference: generated answers with the log-likelihood of the reference answer (one "choice").
  Output: that log-likelihood; P = Φ of a line through it, fitted to the right and wrong answers of
  all designs.
* total: everything else (other metrics, no items): the task's score itself, a plain process.

The uncertainty of the score counts that items move together: their covariance is estimated from
the designs, and the score linearised in the items. Scores in percent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from optimer.evaluation.itemscores import ItemScores
from optimer.search.gaussian import Kernel, Posterior, fit

_AGREES = 0.99  # share of answers that the sign of the margin must explain
_FLAT = 1e-6  # outputs that vary less than this are constants


@dataclass(frozen=True)
class TaskData:
    """What designs answered on one task, and how outputs become a score."""

    kind: str
    outputs: np.ndarray
    """[n, M] outputs of the items that vary between designs."""
    weights: np.ndarray
    """[M] percent of the task's score that each output is worth."""
    constant: float
    """Percent from items that never change."""
    intercept: float = 0.0
    slope: float = 1.0
    blur: float = 0.0
    """P = Φ((intercept + slope·y) / √(blur + slope²·σ²)); unused for totals."""


def task_data(records: Sequence[ItemScores]) -> TaskData:
    """The records of one task at n designs, as outputs to model."""
    values = np.stack([record.values for record in records]).astype(float)
    percent = np.array([record.percent for record in records])
    total = TaskData("total", percent[:, None], np.ones(1), 0.0)
    plain = np.isfinite(values).all() and np.allclose(100 * values.mean(1), percent, atol=1e-3)
    if not plain or any(record.choices is None or record.gold is None for record in records):
        return total
    choices = np.stack([np.asarray(r.choices, float) for r in records])
    gold = np.asarray(records[0].gold, int)
    if (gold < 0).any():
        return total
    right = np.take_along_axis(choices, np.broadcast_to(gold, values.shape)[..., None], -1)[..., 0]
    if choices.shape[-1] == 1:
        return _reference(right, values) or total
    others = choices.copy()
    np.put_along_axis(others, np.broadcast_to(gold, values.shape)[..., None], -np.inf, -1)
    margin = right - np.nanmax(others, -1)
    if ((margin > 0) == (values > 0.5)).mean() < _AGREES or not np.isfinite(margin).all():
        return total
    return _items("margin", margin, values)


def _items(kind: str, outputs: np.ndarray, values: np.ndarray, **link: float) -> TaskData:
    moves = outputs.std(0) > _FLAT
    share = 100.0 / values.shape[1]
    fixed = share * float(values[0, ~moves].sum())
    return TaskData(kind, outputs[:, moves], np.full(int(moves.sum()), share), fixed, **link)


def _reference(loglikelihood: np.ndarray, values: np.ndarray) -> TaskData | None:
    """None where too few answers are right or wrong to fit the link."""
    right = values > 0.5
    if min(right.sum(), (~right).sum()) < 5:
        return None
    intercept, slope = _probit(np.maximum(loglikelihood, -30.0).ravel(), right.ravel())
    if slope <= 0:
        return None
    floor = np.maximum(loglikelihood, -30.0)
    return _items("reference", floor, values, intercept=intercept, slope=slope, blur=1.0)


def _probit(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Logistic regression of y on x by Newton steps, read as a probit (slope / 1.702)."""
    design = np.stack([np.ones_like(x), x], 1)
    beta = np.zeros(2)
    for _ in range(30):
        p = 1 / (1 + np.exp(-np.clip(design @ beta, -30, 30)))
        curvature = design.T @ (design * (p * (1 - p))[:, None]) + 1e-6 * np.eye(2)
        step = np.linalg.solve(curvature, design.T @ (y - p) - 1e-6 * beta)
        beta += step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-9))
    return float(beta[0] / 1.702), float(beta[1] / 1.702)


@dataclass(frozen=True)
class _Fitted:
    data: TaskData
    mean: np.ndarray
    scale: np.ndarray
    posterior: Posterior


class Surface:
    """The fitted surface of one objective: a weighted mean of tasks."""

    def __init__(
        self,
        points: np.ndarray,
        tasks: Mapping[str, TaskData],
        task_weights: Mapping[str, float] | None = None,
        like: Surface | None = None,
    ) -> None:
        """`points` [n, D] unit coordinates of designs, n ≥ 2; `task_weights` default to 1.

        With `like`, the surface of fewer designs of the same study, its hyperparameters are kept.
        """
        self.points = np.asarray(points, float)
        weights = dict.fromkeys(tasks, 1.0) if task_weights is None else dict(task_weights)
        total = sum(weights.values())
        self.weights = {name: weights.get(name, 0.0) / total for name in tasks}
        scaled = {name: _standard(data.outputs) for name, data in tasks.items()}
        moving = [name for name in tasks if tasks[name].outputs.shape[1] and weights.get(name)]
        self.kernel = Kernel(np.ones(self.points.shape[1]), 1.0)
        noise = np.zeros(0)
        if like is not None and set(moving) <= set(like._tasks):
            self.kernel = like.kernel
            noise = np.array([like._tasks[name].posterior.noise for name in moving])
        elif moving:
            self.kernel, noise = fit(self.points, [scaled[name][2] for name in moving])
        self._tasks: dict[str, _Fitted] = {}
        self._constant = {name: tasks[name].constant for name in tasks}
        for name, level in zip(moving, noise, strict=True):
            mean, scale, outputs = scaled[name]
            posterior = Posterior.of(self.kernel, self.points, outputs, float(level))
            self._tasks[name] = _Fitted(tasks[name], mean, scale, posterior)

    def tasks(
        self, points: np.ndarray, pending: np.ndarray | None = None
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """{task: (mean score [m], its standard deviation [m])} in percent."""
        n = len(points)
        found = {name: (np.full(n, value), np.zeros(n)) for name, value in self._constant.items()}
        for name, task in self._tasks.items():
            found[name] = _score(task, points, pending)
        return found

    def score(
        self, points: np.ndarray, pending: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """(mean [m], standard deviation [m]) of the objective; tasks err independently."""
        points = np.atleast_2d(points)
        mean, variance = np.zeros(len(points)), np.zeros(len(points))
        for name, (value, spread) in self.tasks(points, pending).items():
            mean += self.weights[name] * value
            variance += (self.weights[name] * spread) ** 2
        return mean, np.sqrt(variance)

    def recommend(self) -> int:
        """Which evaluated design has the highest posterior mean: less of a winner's curse than the
        highest score, and never a point that nobody tried."""
        return int(np.argmax(self.score(self.points)[0]))


def _standard(outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    mean = outputs.mean(0)
    scale = np.maximum(outputs.std(0), _FLAT)
    return mean, scale, (outputs - mean) / scale


def _score(
    task: _Fitted, points: np.ndarray, pending: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    data, posterior = task.data, task.posterior
    mean = task.mean + task.scale * posterior.mean(points)
    spread = posterior.spread(points, pending)
    if data.kind == "total":
        deviation = task.scale[0] * np.sqrt(posterior.variance * spread)
        return data.constant + mean[:, 0], deviation
    waits = pending is not None and len(pending) > 0
    known = (posterior.spread(points) if waits else spread) + posterior.noise
    own = data.slope * task.scale * np.sqrt(posterior.variance * known)[:, None]
    width = np.sqrt(data.blur + own**2)
    z = (data.intercept + data.slope * mean) / width
    slope = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi) * (data.slope * task.scale / width)
    worth = slope * data.weights
    together = ((posterior.white @ worth.T) ** 2).sum(0) / len(posterior.points)
    return data.constant + ndtr(z) @ data.weights, np.sqrt(together * spread)
