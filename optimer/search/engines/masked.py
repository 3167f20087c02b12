"""θ_i = θ_0 + m_i ⊙ τ_i in the base's dtype: one vector's whole part in a merge as a model.

Where the mask keeps an element this is the source model's own value, elsewhere the base's, so it
fits the base's dtype exactly whenever the source model's checkpoint did, and fl32(θ_i − θ_0) gives
m_i ⊙ τ_i back to the bit. Checked element by element, never assumed.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from optimer.errors import SearchError
from optimer.merging.pool import Pool, Source
from optimer.tensors.deltas import decode


def masked_model(
    pool: Pool, index: int, scales: dict[str, list[float | None]]
) -> Iterator[tuple[str, torch.Tensor]]:
    """(canonical name, θ_i in the base's dtype) of every tensor of vector number `index`.

    Appends to scales[name] the factor s that restores the tensor's L1 norm, None where the vector
    adds nothing. Raises SearchError where the base's dtype cannot hold a θ_i exactly.
    """
    key = pool.names[index]
    alone = Pool(  # masks depend on the vector's name, not on its neighbours
        pool.base, {key: pool.vectors[key]}, pool.method, pool.density, pool.seed, pool.exclude
    )
    for name in pool.base.names():
        source = alone.sources(name)[0] if alone.is_merged(name) else None
        scales[name].append(None if source is None else source[1])
        base = pool.base.read(name)
        yield name, base if source is None else _theta(pool, index, name, base, source)
        pool.release(name)


def _theta(pool: Pool, index: int, name: str, base: torch.Tensor, source: Source) -> torch.Tensor:
    theta = decode(base, source[0], base.dtype)
    tau = source[0].dense()
    wrong = (theta.float() - base.float()) != tau
    if wrong.any():
        raise SearchError(
            f"vector {pool.names[index]}: {int(wrong.sum())} values of {name} do not fit the "
            f"engine's {base.dtype} (its checkpoint was of a wider dtype), so it cannot be "
            "composed in place; set search.swap: reload"
        )
    return theta
