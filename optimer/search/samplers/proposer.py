"""Samplers of our own: one point a trial, a function of earlier trials and a counter.

What a proposal may look at: the COMPLETE trials of earlier batches (asynchronously: all COMPLETE
ones), and, as pending, those of its own batch that come before it, whatever their state. So a
resumed study, and one with other workers, proposes the same points. FAILED trials are ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from optimer.schema.search import SearchParams
from optimer.search.samplers.points import Bounds, Weights, from_unit, to_unit
from optimer.seeding import stream_seed


@dataclass(frozen=True)
class Seen:
    """One finished trial."""

    number: int
    unit: np.ndarray
    """[D] unit coordinates."""
    value: float
    """Objective in percent, to be maximised."""


@dataclass(frozen=True)
class History:
    """What a proposal may look at."""

    bounds: Bounds
    number: int
    """Number of the trial that is proposed."""
    seed: int
    """Seed of this proposal, fixed by (seed, study, batch, place)."""
    seen: list[Seen]
    """Finished trials by number."""
    pending: list[np.ndarray]
    """Unit coordinates of trials without a value that run beside this one."""

    @property
    def n_dims(self) -> int:
        return len(self.bounds)

    @property
    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)


Propose = Callable[[History], np.ndarray]
"""Unit coordinates [D] of the next trial."""


class ProposingSampler(BaseSampler):
    """An Optuna sampler around a pure function of the history."""

    def __init__(
        self, settings: SearchParams, seed: int, name: str, bounds: Bounds, propose: Propose
    ) -> None:
        self._batch = settings.batch
        self._mode = str(getattr(settings, "mode", "synchronous"))
        self._seed = seed
        self._name = name
        self._bounds = bounds
        self._propose = propose

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {name: FloatDistribution(low, high) for name, (low, high) in self._bounds.items()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        history = self.history(study.get_trials(deepcopy=False), trial.number)
        return self.weights(self._propose(history))

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self.sample_relative(study, trial, {})[param_name]

    def weights(self, unit: np.ndarray) -> Weights:
        return from_unit(self._bounds, np.clip(unit, 0.0, 1.0))

    def history(self, trials: list[FrozenTrial], number: int) -> History:
        """What the proposal of trial `number` may look at."""
        batch, place = divmod(number, self._batch)
        first = number - place
        seen, pending = [], []
        for trial in trials:
            if trial.number == number or not _whole(trial.params, self._bounds):
                continue
            unit = to_unit(self._bounds, trial.params)
            asynchronous = self._mode == "asynchronous"
            settled = asynchronous or trial.number < first
            if settled and trial.state == TrialState.COMPLETE:
                seen.append(Seen(trial.number, unit, float(trial.values[0])))
            elif trial.state == TrialState.PRUNED and settled:
                pending.append(unit)  # stopped early: known to be no good, never proposed again
            elif trial.number < number and (
                first <= trial.number or trial.state == TrialState.RUNNING
            ):
                pending.append(unit)
        seed = stream_seed(self._seed, "search", self._name, batch, place, "point")
        return History(self._bounds, number, seed, seen, pending)


def _whole(params: Mapping[str, Any], bounds: Bounds) -> bool:
    return set(bounds) <= set(params)
