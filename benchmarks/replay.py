"""Studies replayed on recorded points: the sampler proposes, the nearest unused record answers.

Snapping was chosen over an emulator: an emulated world would be drawn from the surface's own model
class and flatter it. A snapped trial is told with the weights of the record, so no sampler is lied
to; the price is a coarse world (256-512 points), the same for every sampler.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import FloatDistribution
from pools import objective, pool_bounds

from optimer.evaluation.itemscores import ItemScores
from optimer.search import itemstore
from optimer.search.api import default_settings
from optimer.search.samplers import known_points, make
from optimer.search.samplers.points import to_unit
from optimer.search.samplers.proposer import Seen
from optimer.search.samplers.surface import SurfaceProposal


@dataclass
class World:
    """The recorded points of one pool."""

    combination: str
    seed: int
    weights: list[dict[str, float]]
    numbers: list[int]
    """Number of each point in the record."""
    unit: np.ndarray
    items: list[dict[str, ItemScores]]
    scores: np.ndarray
    report: dict[int, float] = field(default_factory=dict)
    """{number: score on the report split}, of points that have it."""

    @classmethod
    def load(cls, file: Path) -> World:
        combination, _, seed = file.stem.rpartition("_")
        records, weights = itemstore.load(file), itemstore.weights(file)
        numbers = sorted(n for n, split in records if split == "search" and n in weights)
        items = [records[number, "search"] for number in numbers]
        ranges = pool_bounds(combination)
        points = [weights[number] for number in numbers]
        unit = np.stack([to_unit(ranges, point) for point in points])
        scores = np.array([objective(record) for record in items])
        report = {n: objective(found) for (n, split), found in records.items() if split == "report"}
        return cls(combination, int(seed), points, numbers, unit, items, scores, report)


class Records:
    """What a sampler reads of a replayed study, in place of an ItemStore."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.chosen: list[int] = []

    def read(self, number: int, split: str = "search") -> dict[str, ItemScores]:
        return self.world.items[self.chosen[number]]


@dataclass(frozen=True)
class Variant:
    """One way of searching."""

    sampler: str
    batch: int = 1
    known: bool = False
    overrides: dict = field(default_factory=dict)
    smooth: bool = False
    """Recommend by the surface's posterior mean, else the best search score."""


def replay(world: World, variant: Variant, seed: int, n_trials: int) -> list[int]:
    """Places in `world` that a study visits, in order."""
    ranges = pool_bounds(world.combination)
    space: dict[str, Any] = {n: FloatDistribution(*limits) for n, limits in ranges.items()}
    settings = default_settings(
        sampler=variant.sampler, batch=variant.batch, trials=n_trials, top_k=1, **variant.overrides
    )
    store = Records(world)
    sampler = make(settings, seed, f"pool{world.seed}", ranges, store)  # type: ignore[arg-type]
    study = optuna.create_study(direction="maximize", sampler=sampler)
    known = known_points(ranges) if variant.known else []
    free = np.ones(len(world.unit), bool)
    for first in range(0, n_trials, variant.batch):
        numbers = range(first, min(first + variant.batch, n_trials))
        for number in numbers:
            trial = study.ask(fixed_distributions=space)
            wanted = known[number] if number < len(known) else trial.params
            gap = ((world.unit - to_unit(ranges, wanted)) ** 2).sum(1)
            place = int(np.argmin(np.where(free, gap, np.inf)))
            free[place] = False
            store.chosen.append(place)
            _move(study, trial, world.weights[place])
        for number in numbers:
            study.tell(number, float(world.scores[store.chosen[number]]))
    return store.chosen


def _move(study: optuna.Study, trial: optuna.Trial, weights: dict[str, float]) -> None:
    """Give a running trial the weights of the record that answers it."""
    storage: Any = study._storage
    frozen = copy.copy(storage._get_trial(trial._trial_id))
    frozen.params = dict(weights)
    storage._set_trial(trial._trial_id, frozen)


def recommended(world: World, variant: Variant, chosen: list[int]) -> int:
    """The place a study of these trials recommends."""
    if not variant.smooth:
        return chosen[int(np.argmax(world.scores[chosen]))]
    store = Records(world)
    store.chosen = list(chosen)
    model = SurfaceProposal(default_settings().surface, 0, store)  # type: ignore[arg-type]
    seen = [Seen(n, world.unit[p], float(world.scores[p])) for n, p in enumerate(chosen)]
    return chosen[model.surface(seen).recommend()]
