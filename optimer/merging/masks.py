"""Which elements of a vector's tensor a merge keeps: random (DARE) and by magnitude (TIES).

Random masks come from a counter-based generator (Philox, Salmon et al. 2011,
https://doi.org/10.1145/2063384.2063405) keyed by (seed, vector, tensor): element i always gets the
same 32 bits, in whatever order, chunk, process or device the rest is computed, and the mask of a
lower density is a subset of the mask of a higher one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch

from optimer.seeding import stream_seed
from optimer.tensors import CHUNK, chunks
from optimer.tensors.deltas import Delta

_PER_COUNTER = 8  # one Philox counter gives four 64-bit words: eight elements

Mask = Callable[[torch.Tensor, int, int], torch.Tensor]
"""(τ[start:stop] fp32, start, stop) -> bool [stop − start], True where the element is kept."""


def random_bits(key: int, start: int, stop: int) -> np.ndarray:
    """uint32 [stop − start] of elements start..stop of the stream `key`; start divides by 8."""
    if start % _PER_COUNTER:
        raise ValueError(f"start must be a multiple of {_PER_COUNTER}, got {start}")
    generator = np.random.Generator(np.random.Philox(key=key, counter=start // _PER_COUNTER))
    # the full range gives the generator's words as they are, a third faster than random_raw
    words = generator.integers(
        0, 2**64 - 1, size=(stop - start + 1) // 2, dtype=np.uint64, endpoint=True
    )
    return words.astype("<u8", copy=False).view("<u4")[: stop - start]


def random_mask(seed: int, vector: str, tensor: str, density: float) -> Mask:
    """DARE's mask: each element is kept with probability `density` (to 2⁻³²)."""
    key = stream_seed(seed, "mask", vector, tensor)
    highest = np.uint32(max(1, round(density * 2**32)) - 1)

    def mask(_tau: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        return torch.from_numpy(random_bits(key, start, stop) <= highest)

    return mask


def magnitude_mask(delta: Delta, density: float) -> Mask:
    """TIES' mask: the k = max(1, ⌊density · n⌋) largest |τ|; of equal ones the first are kept.

    mergekit keeps the same k up to which of the elements equal to the smallest kept |τ| it takes:
    its sort leaves their order undefined (and different between machines).
    """
    k = max(1, int(density * delta.n_elements))
    threshold, last_tie = kth_largest(delta, k)
    threshold = np.float32(threshold)

    def mask(tau: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        size = tau.abs().numpy()  # numpy compares several times faster than torch on a CPU
        kept, ties = size > threshold, size == threshold
        if last_tie < stop - 1:
            ties[max(0, last_tie + 1 - start) :] = False
        return torch.from_numpy(np.logical_or(kept, ties, out=kept))

    return mask


def kth_largest(delta: Delta, k: int) -> tuple[float, int]:
    """(t, last): exactly k elements have |τ| > t, or |τ| = t at a flat index ≤ last.

    Radix selection over the bit patterns of |τ| (which order like the numbers) in two passes of
    65,536 bins and one for the ties, so memory does not grow with the tensor.
    """
    high, rank = _bin(_counts(bits >> 16 for bits, _ in _patterns(delta)), k)
    among = (bits[bits >> 16 == high] & 0xFFFF for bits, _ in _patterns(delta))
    low, missing = _bin(_counts(among), rank)
    pattern = (high << 16) | low
    threshold = float(np.int32(pattern).view(np.float32))
    for bits, start in _patterns(delta):
        ties = np.flatnonzero(bits == pattern)
        if len(ties) >= missing:
            return threshold, start + int(ties[missing - 1])
        missing -= len(ties)
    raise AssertionError("the counting passes found more ties than there are")


def _counts(parts: Iterable[np.ndarray]) -> np.ndarray:
    counts = np.zeros(1 << 16, dtype=np.int64)
    for values in parts:
        counts += torch.bincount(torch.from_numpy(values), minlength=1 << 16).numpy()
    return counts


def _bin(counts: np.ndarray, k: int) -> tuple[int, int]:
    """(bin that holds the k-th largest, its rank within that bin)."""
    from_top = counts[::-1].cumsum()
    position = int(np.searchsorted(from_top, k))
    above = int(from_top[position - 1]) if position else 0
    return (1 << 16) - 1 - position, k - above


def _patterns(delta: Delta) -> Iterator[tuple[np.ndarray, int]]:
    """(int32 bit patterns of |τ| of a chunk, its start), chunk by chunk."""
    tau = torch.empty(min(CHUNK, delta.n_elements))
    for start, stop in chunks(delta.n_elements):
        part = tau[: stop - start]
        delta.fill(part, start, stop)
        yield part.abs_().view(torch.int32).numpy(), start
