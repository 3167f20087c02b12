"""Proposals that follow the gradient of expected accuracy.

Sampler `gradient`: trial k is where an Adam run from start k ends; start 0 is IT at 0.6 and
datasets at 0.2, the others are Sobol points. With `search.gradient.start` any other sampler gets
the end of run 0 as its first trial. Ascents need the live engine and are not repeated: a trial
that exists keeps its weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from optimer.schema.search import GradientParams, SearchParams
from optimer.search.samplers.points import (
    Bounds,
    Weights,
    from_unit,
    known_points,
    sobol_unit,
    to_unit,
)
from optimer.search.samplers.proposer import History


class GradientProposal:
    """Ends of ascents from one start a trial."""

    def __init__(self, settings: GradientParams, seed: int, bounds: Bounds, gradient: Any) -> None:
        self._settings = settings
        self._seed = seed
        self._bounds = bounds
        self._gradient = gradient
        self._ends: dict[int, Weights] = {}

    def __call__(self, history: History) -> np.ndarray:
        return to_unit(self._bounds, self.end(history.number))

    def end(self, run: int) -> Weights:
        """Where the ascent from start `run` ends; computed once in this process."""
        if run not in self._ends:
            from optimer.search.gradient import ascend

            start = None
            if run:
                unit = sobol_unit(len(self._bounds), run + 1, self._seed)[-1]
                start = from_unit(self._bounds, unit)
            found = ascend(self._gradient, self._bounds, self._settings, start)
            self._ends[run] = found.weights
        return self._ends[run]


class StartedSampler(BaseSampler):
    """Another sampler whose first trial is where the gradient leads."""

    def __init__(
        self, inner: BaseSampler, proposal: GradientProposal, settings: SearchParams, bounds: Bounds
    ) -> None:
        self._inner = inner
        self._proposal = proposal
        # known points are asked without a sampler; the last study's winner may be one more
        self._first = len(known_points(bounds)) + 1 if settings.known_points else 0

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if trial.number == self._first:
            return self._proposal.end(0)
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        if trial.number == self._first:
            return self._proposal.end(0)[param_name]
        return self._inner.sample_independent(study, trial, param_name, param_distribution)
