"""Optuna's samplers with a counter-based random state.

Optuna does not store a sampler's random state, so a resumed study would draw other trials. Here
every draw comes from a fresh sampler seeded by (seed, study, batch, place in the batch,
parameter): a proposal is a function of the stored trials alone, also for a trial that was cut off
between two of its parameters.

TPE: Bergstra et al. 2011, settings of arXiv 2603.28858 §4.2; MOTPE: Ozaki et al. 2020 (TPE on a
study of several directions); GP: Optuna's Matérn-5/2 process with logEI; NSGA-II: Deb et al. 2002.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from optimer.schema.search import SearchParams, TpeParams
from optimer.seeding import stream_seed

_MAX_GOOD = 25  # Optuna's cap on the number of trials that count as good


def gamma(share: float) -> Callable[[int], int]:
    """How many of n finished trials count as good: min(ceil(share · n), 25), Optuna's rule."""
    return lambda n: min(math.ceil(share * n), _MAX_GOOD)


def tpe(settings: TpeParams, seed: int, multivariate: bool | None = None) -> TPESampler:
    """TPE with every setting written out, since Optuna's defaults changed between releases."""
    with warnings.catch_warnings():  # `gamma` is to leave Optuna's interface in 6.0
        warnings.simplefilter("ignore", FutureWarning)
        return TPESampler(
            n_startup_trials=settings.n_startup_trials,
            n_ei_candidates=settings.n_ei_candidates,
            gamma=gamma(settings.gamma),
            multivariate=settings.multivariate if multivariate is None else multivariate,
            group=False,
            constant_liar=settings.constant_liar,
            warn_independent_sampling=False,
            seed=seed,
        )


def _gp(settings: SearchParams, seed: int) -> BaseSampler:
    return GPSampler(
        seed=seed, n_startup_trials=min(settings.tpe.n_startup_trials, 10),
        deterministic_objective=False, warn_independent_sampling=False,
    )  # fmt: skip


_MAKERS: dict[str, Callable[[SearchParams, int], BaseSampler]] = {
    "random": lambda settings, seed: RandomSampler(seed=seed),
    "tpe": lambda settings, seed: tpe(settings.tpe, seed),
    "tpe_multivariate": lambda settings, seed: tpe(settings.tpe, seed, multivariate=True),
    "motpe": lambda settings, seed: tpe(settings.tpe, seed, multivariate=True),
    "gp": _gp,
    "nsga2": lambda settings, seed: NSGAIISampler(
        population_size=max(2 * settings.batch, 16), seed=seed
    ),
}

NAMES = tuple(_MAKERS)


class CountedSampler(BaseSampler):
    """Delegates each draw to a sampler seeded by what is drawn."""

    def __init__(self, settings: SearchParams, seed: int, name: str) -> None:
        self._settings = settings
        self._seed = seed
        self._name = name
        self._make = _MAKERS[settings.sampler]

    def _fresh(self, number: int, part: str) -> BaseSampler:
        batch, place = divmod(number, self._settings.batch)
        seed = stream_seed(self._seed, "search", self._name, batch, place, part) % 2**32
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return self._make(self._settings, seed)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._fresh(trial.number, "space").infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._fresh(trial.number, "joint").sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        sampler = self._fresh(trial.number, param_name)
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Nothing: what Optuna's samplers note here would depend on the order of telling."""


optuna.logging.set_verbosity(optuna.logging.WARNING)  # our own progress lines replace Optuna's
