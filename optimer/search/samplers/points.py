"""Points of the weight space that need no model: known good guesses, Sobol sequences, a grid.

Weights are dicts in the order of the pool; unit coordinates u in [0, 1] map to
low + u · (high − low). Pure functions of bounds, number and seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import numpy as np

from optimer.search.space import IT

Bounds = Mapping[str, tuple[float, float]]
Weights = dict[str, float]

ALPHA = 0.6
"""The paper's weight for one dataset beside the IT model, and of the IT model there (App. A)."""


def known_points(bounds: Bounds, previous: Iterable[Mapping[str, float]] = ()) -> list[Weights]:
    """Guesses that cost a few trials and are seldom far off, clipped into `bounds`, no two alike.

    The IT model alone; each dataset at 0.6 with IT at 0.6; all vectors, IT too, at 1/(n + 1) for n
    datasets; then `previous`: winners of earlier studies (vectors they lack count as 0).
    """
    datasets = [name for name in bounds if name != IT]
    alone = {name: 1.0 if name == IT else 0.0 for name in bounds}
    single = [
        {name: ALPHA if name in (IT, dataset) else 0.0 for name in bounds} for dataset in datasets
    ]
    uniform = {name: 1.0 / len(bounds) for name in bounds}
    earlier = [{name: float(point.get(name, 0.0)) for name in bounds} for point in previous]
    found: list[Weights] = []
    for point in [alone, *single, uniform, *earlier]:
        clipped = {name: min(max(point[name], low), high) for name, (low, high) in bounds.items()}
        if clipped not in found:
            found.append(clipped)
    return found


@lru_cache(maxsize=64)
def _sobol_unit(n_dims: int, n: int, seed: int) -> np.ndarray:
    from scipy.stats import qmc

    size = 1 << max(0, math.ceil(math.log2(max(n, 1))))
    return qmc.Sobol(n_dims, scramble=True, rng=seed % 2**63).random(size)[:n]


def sobol_unit(n_dims: int, n: int, seed: int) -> np.ndarray:
    """First n points [n, n_dims] of a seed's scrambled Sobol sequence."""
    return _sobol_unit(n_dims, n, seed).copy()


def sobol(bounds: Bounds, n: int, seed: int) -> list[Weights]:
    """The first n scrambled Sobol points inside bounds."""
    return [from_unit(bounds, row) for row in sobol_unit(len(bounds), n, seed)]


def from_unit(bounds: Bounds, unit: Sequence[float] | np.ndarray) -> Weights:
    """Weights at unit coordinates, never outside bounds by rounding."""
    return {
        name: min(max(low + float(u) * (high - low), low), high)
        for (name, (low, high)), u in zip(bounds.items(), unit, strict=True)
    }


def to_unit(bounds: Bounds, weights: Mapping[str, float]) -> np.ndarray:
    """Unit coordinates [D] of weights."""
    return np.array([(weights[name] - low) / (high - low) for name, (low, high) in bounds.items()])
