"""Proposals that need no model of the objective: Sobol points, a grid, CMA-ES.

* qmc: the scrambled Sobol sequence of the study (Owen scrambling, scipy).
* grid: what DEM does (arXiv 2406.15570): every combination of a few levels per weight. Grids of 2,
  3, 5, 9, 17 levels follow each other, each the refinement of the one before, points seen left
  out, order shuffled by seed: K weights have 2^K points in the first grid, 3^K up to the second,
  5^K up to the third (4 weights: 16, 81, 625; 6 weights: 64, 729, 15,625).
* cmaes: CMA-ES (Hansen, arXiv 1604.00772) with learning-rate adaptation for noise. Its state is
  rebuilt from the finished trials in order, generation by generation: nothing is pickled.
"""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np

from optimer.errors import SearchError
from optimer.search.samplers.points import sobol_unit
from optimer.search.samplers.proposer import History

_LEVELS = (2, 3, 5, 9, 17)
_MAX_GRID = 200_000  # points held in memory; a finer grid is no search any more
_SIGMA = 0.3  # of the unit cube, centred: CMA-ES's customary first step


def qmc(seed: int):
    """Proposal of the Sobol point with the trial's number."""

    def propose(history: History) -> np.ndarray:
        return sobol_unit(history.n_dims, history.number + 1, seed)[-1]

    return propose


@lru_cache(maxsize=8)
def grid_points(n_dims: int, n: int, seed: int) -> np.ndarray:
    """The first n grid points [n, n_dims] in unit coordinates.

    Raises SearchError when the grids that fit in memory have fewer.
    """
    known: dict[tuple[float, ...], None] = {}
    for levels in _LEVELS:
        if levels**n_dims > _MAX_GRID:
            break
        ticks = [place / (levels - 1) for place in range(levels)]
        fresh = [p for p in itertools.product(ticks, repeat=n_dims) if p not in known]
        order = np.random.default_rng([seed % 2**63, levels]).permutation(len(fresh))
        known |= dict.fromkeys(fresh[place] for place in order)
        if len(known) >= n:
            return np.array(list(itertools.islice(known, n)))
    raise SearchError(
        f"sampler grid: {n_dims} weights have {len(known)} grid points in reach, trial {n} has "
        "none left; lower search.trials or choose another sampler"
    )


def grid(seed: int):
    """Proposal of the grid point with the trial's number."""

    def propose(history: History) -> np.ndarray:
        return grid_points(history.n_dims, history.number + 1, seed)[-1]

    return propose


def cmaes(history: History) -> np.ndarray:
    """A draw of CMA-ES after all whole generations of finished trials, in order of number."""
    from cmaes import CMA

    n_dims = history.n_dims
    optimizer = CMA(
        mean=np.full(n_dims, 0.5), sigma=_SIGMA, seed=history.seed % 2**32,
        bounds=np.array([[0.0, 1.0]] * n_dims), lr_adapt=True,
    )  # fmt: skip
    size = optimizer.population_size
    for first in range(0, len(history.seen) - size + 1, size):
        generation = history.seen[first : first + size]
        optimizer.tell([(item.unit, -item.value) for item in generation])
    return optimizer.ask()
