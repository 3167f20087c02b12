"""Proposals of the item response surface.

First known and Sobol points, `n_initial` per weight; then the maximum of an acquisition function
over the surface: expected improvement over the best posterior mean at evaluated points, mean plus
`exploration` standard deviations, or a draw from the posterior. Points of the same batch count as
evaluated at their posterior mean (kriging believer): the mean stays, the uncertainty around them
goes. Without item records the objective itself is modelled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import ndtr

from optimer.evaluation.itemscores import ItemScores
from optimer.schema.search import SurfaceParams
from optimer.search.itemstore import ItemStore
from optimer.search.samplers.points import sobol_unit
from optimer.search.samplers.proposer import History, Seen
from optimer.search.surface import Surface, TaskData, task_data

Record = Mapping[str, ItemScores]

_CANDIDATES = 512
_ROUNDS = ((5, 0.10), (5, 0.04), (3, 0.015))  # (centres, step) of the refinement
_AROUND = 24  # candidates around each centre
_ALWAYS_FIT, _FIT_EVERY = 40, 8  # trials
_APART = 1e-3  # unit distance under which two points are the same


class SurfaceProposal:
    """Proposes from a study's trials and their item records; remembers only what it has read."""

    def __init__(self, settings: SurfaceParams, seed: int, store: ItemStore | None) -> None:
        self._settings = settings
        self._seed = seed
        self._store = store
        self._read: dict[int, Record | None] = {}
        self._fitted: tuple[tuple[int, ...], Surface] | None = None
        self._latest: tuple[tuple[int, ...], Surface] | None = None

    def __call__(self, history: History) -> np.ndarray:
        n_initial = max(self._settings.n_initial * history.n_dims, 3)
        if history.number < n_initial or len(history.seen) < 3:
            return sobol_unit(history.n_dims, history.number + 1, self._seed)[-1]
        whole, raced = self._split(history.seen)
        pending = np.array([*history.pending, *(item.unit for item in raced)])
        pending = pending.reshape(-1, history.n_dims)
        surface = self.surface(whole)
        return propose(surface, self._settings, history.rng, pending)

    def _split(self, seen: Sequence[Seen]) -> tuple[list[Seen], list[Seen]]:
        """Trials scored on all items, and those that racing stopped: known to be behind, so they
        count as tried, but their partial records would mislead."""
        sizes = {item.number: _n_items(self._record(item.number)) for item in seen}
        most = max(sizes.values())
        whole = [item for item in seen if sizes[item.number] == most]
        return whole, [item for item in seen if sizes[item.number] < most]

    def surface(self, seen: Sequence[Seen]) -> Surface:
        """The surface of these trials; a batch shares it.

        Beyond 40 trials hyperparameters follow every eighth only: they hardly move any more.
        """
        n_fitted = len(seen) if len(seen) <= _ALWAYS_FIT else len(seen) - len(seen) % _FIT_EVERY
        key = tuple(item.number for item in seen)
        if self._fitted is None or self._fitted[0] != key[:n_fitted]:
            self._fitted = key[:n_fitted], self._surface(seen[:n_fitted])
        if n_fitted == len(seen):
            return self._fitted[1]
        if self._latest is None or self._latest[0] != key:
            self._latest = key, self._surface(seen, self._fitted[1])
        return self._latest[1]

    def _surface(self, seen: Sequence[Seen], like: Surface | None = None) -> Surface:
        points = np.stack([item.unit for item in seen])
        records = [self._record(item.number) for item in seen]
        return Surface(points, outputs(records, [item.value for item in seen]), like=like)

    def _record(self, number: int) -> Record | None:
        if number not in self._read:
            self._read[number] = self._store.read(number) if self._store else None
        return self._read[number]


def _n_items(record: Record | None) -> int:
    return sum(len(scores.ids) for scores in record.values()) if record else 0


def outputs(records: Sequence[Record | None], values: Sequence[float]) -> dict[str, TaskData]:
    """Every task's outputs at n designs; the objective alone where a record is missing."""
    known = [record for record in records if record]
    if len(known) == len(records) and all(_alike(known[0], record) for record in known):
        return {task: task_data([record[task] for record in known]) for task in known[0]}
    return {"objective": TaskData("total", np.array(values)[:, None], np.ones(1), 0.0)}


def _alike(one: Record, other: Record) -> bool:
    """Whether two records answer the same items."""
    return set(one) == set(other) and all(one[task].ids == other[task].ids for task in one)


def propose(
    surface: Surface, settings: SurfaceParams, rng: np.random.Generator, pending: np.ndarray
) -> np.ndarray:
    """The point [D] of highest acquisition: Sobol candidates, then refined around the best."""
    n_dims = surface.points.shape[1]
    tried = np.vstack([surface.points, pending])
    best = surface.score(tried)[0].max()
    candidates = sobol_unit(n_dims, _CANDIDATES, int(rng.integers(2**31)))
    if settings.acquisition == "thompson":
        return candidates[int(np.argmax(_draw(surface, candidates, rng, pending)))]
    top = surface.points[np.argsort(-surface.score(surface.points)[0])[:3]]
    candidates = np.vstack([candidates, _around(top, rng, 0.10)])
    worth = _worth(surface, settings, candidates, pending, best)
    for n_centres, step in _ROUNDS:
        centres = candidates[np.argsort(-worth, kind="stable")[:n_centres]]
        fresh = _around(centres, rng, step)
        candidates = np.vstack([candidates, fresh])
        worth = np.append(worth, _worth(surface, settings, fresh, pending, best))
    for place in np.argsort(-worth, kind="stable"):
        if np.sqrt(((tried - candidates[place]) ** 2).sum(1)).min() > _APART:
            return candidates[place]
    return candidates[0]


def _around(centres: np.ndarray, rng: np.random.Generator, step: float) -> np.ndarray:
    """Gaussian steps around centres; half of them along few weights. Clipped into the cube."""
    noise = rng.normal(0, step, (len(centres), _AROUND, centres.shape[1]))
    noise[:, ::2] *= rng.random((len(centres), _AROUND // 2, centres.shape[1])) < 0.4
    return np.clip(centres[:, None] + noise, 0, 1).reshape(-1, centres.shape[1])


def _worth(
    surface: Surface, settings: SurfaceParams, points: np.ndarray, pending: np.ndarray, best: float
) -> np.ndarray:
    mean, deviation = surface.score(points, pending)
    if settings.acquisition == "optimism":
        return mean + settings.exploration * deviation
    deviation = np.maximum(deviation, 1e-9)
    z = (mean - best) / deviation
    return deviation * (z * ndtr(z) + np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi))


def _draw(
    surface: Surface, points: np.ndarray, rng: np.random.Generator, pending: np.ndarray
) -> np.ndarray:
    """One function from the posterior at `points`: its mean and deviation, and the correlation of
    the shared kernel."""
    mean, deviation = surface.score(points, pending)
    designs = np.vstack([surface.points, pending])
    kernel = surface.kernel
    prior = kernel(designs, designs) + 1e-3 * np.eye(len(designs))
    cross = kernel(designs, points)
    rest = kernel(points, points) - cross.T @ np.linalg.solve(prior, cross)
    values, vectors = np.linalg.eigh(rest)
    drawn = vectors @ (np.sqrt(np.maximum(values, 0)) * rng.normal(size=len(points)))
    return mean + deviation * drawn / np.sqrt(np.maximum(np.diag(rest), 1e-9))
