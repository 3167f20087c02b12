"""Samplers of merge weights by name; every draw is a function of stored trials and a counter.

| name | proposes |
| --- | --- |
| tpe | univariate TPE, the paper's settings (`search.tpe`) |
| tpe_multivariate | the same with joint densities |
| gp | Optuna's Gaussian process on the objective |
| cmaes | CMA-ES with learning-rate adaptation |
| random, qmc, grid | no model: uniform draws, Sobol points, refined grids (DEM) |
| gradient | ends of Adam runs on expected accuracy, from several starts |
| surface | the item response surface (`optimer.search.surface`) |
| nsga2, motpe | for studies of several directions: a Pareto front |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from optuna.samplers import BaseSampler

from optimer.errors import SearchError
from optimer.schema.search import SearchParams
from optimer.search.itemstore import ItemStore
from optimer.search.samplers import counted, simple
from optimer.search.samplers.gradient import GradientProposal, StartedSampler
from optimer.search.samplers.points import Bounds, known_points
from optimer.search.samplers.proposer import ProposingSampler
from optimer.search.samplers.surface import SurfaceProposal
from optimer.seeding import stream_seed

__all__ = ["MULTI_OBJECTIVE", "NAMES", "Gradient", "known_points", "make"]

MULTI_OBJECTIVE = ("nsga2", "motpe")
_OWN = ("cmaes", "grid", "qmc", "gradient", "surface")
NAMES = (*(name for name in counted.NAMES if name not in MULTI_OBJECTIVE), *_OWN)

Gradient = Callable[[Mapping[str, float], int], tuple[float, dict[str, float]]]
"""(weights, step) -> (expected accuracy in percent, its derivative by each weight)."""


def make(
    settings: SearchParams,
    seed: int,
    name: str,
    bounds: Bounds,
    store: ItemStore | None = None,
    gradient: Gradient | None = None,
) -> BaseSampler:
    """The sampler that `settings.sampler` names, for the study `name`.

    `store`: item records of finished trials, which `surface` reads (without them it models the
    objective alone). `gradient`: derivative of the search objective, which `gradient` and
    `search.gradient.start` need. Raises SearchError for an unknown name or a missing gradient.
    """
    wanted = settings.sampler
    if wanted not in NAMES and wanted not in MULTI_OBJECTIVE:
        raise SearchError(
            f"search.sampler must be one of {', '.join((*NAMES, *MULTI_OBJECTIVE))}; got {wanted!r}"
        )
    sampler: Any
    if wanted in counted.NAMES:
        sampler = counted.CountedSampler(settings, seed, name)
    else:
        propose = _proposal(settings, stream_seed(seed, "points", name), bounds, store, gradient)
        sampler = ProposingSampler(settings, seed, name, bounds, propose)
    if settings.gradient.start and wanted != "gradient":
        ascents = _ascents(settings, stream_seed(seed, "points", name), bounds, gradient)
        sampler = StartedSampler(sampler, ascents, settings, bounds)
    return sampler


def _proposal(
    settings: SearchParams, seed: int, bounds: Bounds, store: ItemStore | None,
    gradient: Gradient | None,
) -> Any:  # fmt: skip
    if settings.sampler == "qmc":
        return simple.qmc(seed)
    if settings.sampler == "grid":
        return simple.grid(seed)
    if settings.sampler == "cmaes":
        return simple.cmaes
    if settings.sampler == "surface":
        return SurfaceProposal(settings.surface, seed, store)
    return _ascents(settings, seed, bounds, gradient)


def _ascents(
    settings: SearchParams, seed: int, bounds: Bounds, gradient: Gradient | None
) -> GradientProposal:
    if gradient is None:
        raise SearchError(
            "sampler gradient and search.gradient.start need a live model that can be "
            "differentiated: merge.method dare_linear or task_arithmetic on benchmark.backend: hf "
            "(from Python: search(..., gradient=...)); or choose another sampler"
        )
    return GradientProposal(settings.gradient, seed, bounds, gradient)
