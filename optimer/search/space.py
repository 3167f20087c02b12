"""The search space: one weight per vector of the pool, IT first (the paper's Algorithm 1).

α_it ∈ `bounds_it`, α_d ∈ `bounds_dataset`; no sum-to-one constraint (arXiv 2603.28858 §3.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from optimer.errors import SearchError

IT = "it"
PREFIX = "cpt_"
Bounds = Mapping[str, tuple[float, float]]


def bounds(
    vectors: Sequence[str], bounds_it: Sequence[float], bounds_dataset: Sequence[float]
) -> dict[str, tuple[float, float]]:
    """{vector: (low, high)} in the order of the pool; the vector called `it` is the IT vector.

    Raises SearchError when a name occurs twice, the pool is empty or a range is not one.
    """
    if not vectors or len(set(vectors)) != len(vectors):
        raise SearchError(
            f"a search needs at least one vector and distinct names, got {list(vectors)}; "
            "name each vector of the pool once"
        )
    ranges = {name: bounds_it if name == IT else bounds_dataset for name in vectors}
    for name, (low, high) in ranges.items():
        if not low < high:
            raise SearchError(f"bounds of {name}: need low < high, got [{low}, {high}]")
    return {name: (float(low), float(high)) for name, (low, high) in ranges.items()}


def dataset_of(vector: str) -> str:
    """Dataset whose CPT gave the vector: `cpt_ja` -> `ja`."""
    return vector.removeprefix(PREFIX)


def ratios(weights: Mapping[str, float]) -> tuple[dict[str, float], list[str]]:
    """Mixture ratios that merge weights imply, and the datasets whose negative weight became 0.

    r_d = max(α_d, 0) / Σ max(α, 0) over the CPT vectors; the IT vector takes no part.
    Raises SearchError when no CPT weight is positive: no mixture corresponds to that.
    """
    cpt = {dataset_of(name): float(weight) for name, weight in weights.items() if name != IT}
    clipped = [name for name, weight in cpt.items() if weight < 0]
    total = sum(max(weight, 0.0) for weight in cpt.values())
    if total <= 0:
        raise SearchError(
            "a mixture needs at least one positive dataset weight, got "
            + ", ".join(f"{name} {weight:g}" for name, weight in cpt.items())
            + "; raise the lower end of search.bounds_dataset, or drop the ratio row"
        )
    return {name: max(weight, 0.0) / total for name, weight in cpt.items()}, clipped
